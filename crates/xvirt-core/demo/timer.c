#include "timer.h"
#include "apic.h"
#include "interrupt.h"
#include "options.h"
#include "print.h"

static volatile uint64_t ticks;
static uint64_t told, wanted;

void timer_start(void)
{
    uint32_t hertz = (uint32_t)option_number("hz", 10);

    wanted = option_number("ticks", 10);
    print("timer: hz=%u\n", hertz);
    apic_timer_start(VECTOR_TIMER, hertz);
}

void timer_interrupt(void)
{
    ticks++;
}

int timer_poll(void)
{
    while (told < ticks && (!wanted || told < wanted))
        print("timer: tick %lu\n", ++told);
    return !wanted || told < wanted;
}

uint64_t timer_ticks(void)
{
    return ticks;
}

#include "timer.h"
#include "apic.h"
#include "interrupt.h"
#include "io.h"
#include "options.h"
#include "print.h"

#define PIT_CHANNEL_0   0x40
#define PIT_MODE        0x43
#define PIT_RATE        0x34    /* channel 0, both bytes, periodic */
#define PIT_HERTZ       1193182u
#define PIT_SLOWEST     19      /* its counter has 16 bits */
#define PIT_IRQ         0

static volatile uint64_t ticks;
static uint64_t told, wanted;

static void pit_start(uint32_t hertz)
{
    uint32_t count = PIT_HERTZ / hertz;

    apic_route_irq(PIT_IRQ, VECTOR_TIMER);
    out8(PIT_MODE, PIT_RATE);
    out8(PIT_CHANNEL_0, (uint8_t)count);
    out8(PIT_CHANNEL_0, (uint8_t)(count >> 8));
}

void timer_start(void)
{
    int pit = option_is("timer", "pit");
    uint32_t hertz = (uint32_t)option_number("hz", pit ? 50 : 10);

    if (pit && hertz < PIT_SLOWEST)
        hertz = PIT_SLOWEST;
    wanted = option_number("ticks", 10);
    print("timer: source=%s hz=%u\n", pit ? "pit" : "lapic", hertz);
    if (pit)
        pit_start(hertz);
    else
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

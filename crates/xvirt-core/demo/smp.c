#include "smp.h"
#include "acpi.h"
#include "apic.h"
#include "interrupt.h"
#include "io.h"
#include "memory.h"
#include "print.h"
#include "result.h"

/* A CPU starts in real mode, on a page below 1 MiB; boot protocol data on this page is no longer needed. */
#define TRAMPOLINE 0x8000ul
#define STACK_SIZE 0x4000ul

/* Some seconds on any CPU. */
#define START_CYCLES 20000000000ul

extern const char smp_trampoline[], smp_trampoline_end[];

/* Read by trampoline.S. */
uint64_t smp_stack;

static void (*job_of_all)(uint32_t cpu);
static uint32_t running = 1;

static uint64_t cycles(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* The C entry point of another CPU, called by trampoline.S. Interrupts stay disabled: it never waits for one. */
void smp_main(void)
{
    interrupt_load();
    apic_enable();

    uint32_t cpu = __atomic_load_n(&running, __ATOMIC_ACQUIRE);
    print("cpu %u up\n", cpu);
    __atomic_store_n(&running, cpu + 1, __ATOMIC_RELEASE);
    if (job_of_all)
        job_of_all(cpu);
    for (;;)
        __asm__ volatile("cli; hlt");
}

static int start(uint32_t id)
{
    uint32_t before = smp_cpus();
    uint64_t begun = cycles();

    smp_stack = (uint64_t)memory_pages(STACK_SIZE) + STACK_SIZE;
    apic_send_init(id);
    apic_send_startup(id, TRAMPOLINE / PAGE_SIZE);
    while (smp_cpus() == before) {
        if (cycles() - begun > START_CYCLES)
            return 0;
        cpu_pause();
    }
    return 1;
}

void smp_start(void (*job)(uint32_t cpu))
{
    job_of_all = job;
    memcpy((void *)TRAMPOLINE, smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
    for (uint32_t i = 0; i < acpi_interrupts.cpus; i++) {
        uint32_t id = acpi_interrupts.apic_id[i];
        if (id != apic_id() && !start(id)) {
            print("smp: apic %u did not start\n", id);
            result_fail();
        }
    }
    print("smp: cpus=%u\n", smp_cpus());
}

uint32_t smp_cpus(void)
{
    return __atomic_load_n(&running, __ATOMIC_ACQUIRE);
}

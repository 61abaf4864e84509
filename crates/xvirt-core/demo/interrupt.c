#include "interrupt.h"
#include "apic.h"
#include "boot.h"
#include "power.h"
#include "print.h"
#include "timer.h"

#define GATE_INTERRUPT 0x8e     /* present, ring 0, interrupts off inside */
#define EXCEPTIONS 32

struct gate {
    uint16_t offset_low, selector;
    uint8_t stack, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

/* The stack frame made by interrupts.S. */
struct frame {
    uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

extern const char interrupt_stubs[];

static struct gate gates[INTERRUPT_VECTORS];
static volatile uint32_t count;
static int config_changed;

void interrupt_load(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = { sizeof gates - 1, (uint64_t)gates };

    __asm__ volatile("lidt %0" : : "m"(table));
}

void interrupt_setup(void)
{
    for (uint32_t i = 0; i < INTERRUPT_VECTORS; i++) {
        uint64_t stub = (uint64_t)interrupt_stubs + i * INTERRUPT_STUB_SIZE;
        gates[i] = (struct gate){
            .offset_low = (uint16_t)stub,
            .selector = SEGMENT_CODE,
            .type = GATE_INTERRUPT,
            .offset_middle = (uint16_t)(stub >> 16),
        };
    }
    interrupt_load();
    apic_enable();
    __asm__ volatile("sti");
}

uint8_t interrupt_vector(void)
{
    static uint8_t next = VECTOR_FIRST_DEVICE;
    uint8_t vector = next;

    next = next + 1 == VECTOR_SPURIOUS ? VECTOR_FIRST_DEVICE : next + 1;
    return vector;
}

__attribute__((noreturn)) static void stop(const struct frame *frame)
{
    uint64_t fault_address;

    __asm__ volatile("mov %%cr2, %0" : "=r"(fault_address));
    print("demo: exception vector=%lu error=0x%lx rip=0x%lx cr2=0x%lx\n", frame->vector, frame->error, frame->rip,
          fault_address);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* Called by interrupts.S. Devices are not handled here: counting is enough to wake the main loop, which does. */
void interrupt_handle(const struct frame *frame)
{
    if (frame->vector < EXCEPTIONS)
        stop(frame);
    if (frame->vector == VECTOR_SPURIOUS)
        return;
    if (frame->vector == VECTOR_TIMER)
        timer_interrupt();
    else if (frame->vector == VECTOR_ACPI)
        power_interrupt();
    else if (frame->vector == VECTOR_CONFIG)
        __atomic_store_n(&config_changed, 1, __ATOMIC_RELEASE);
    count++;
    apic_end_of_interrupt();
}

int interrupt_config_changed(void)
{
    /* Atomically, and before the caller looks, so that a later change is reported again. */
    return __atomic_exchange_n(&config_changed, 0, __ATOMIC_ACQ_REL);
}

uint32_t interrupt_count(void)
{
    return count;
}

void interrupt_wait(uint32_t seen)
{
    __asm__ volatile("cli" : : : "memory");
    if (count == seen)
        __asm__ volatile("sti; hlt" : : : "memory"); /* sti takes effect after hlt, so no interrupt is missed */
    else
        __asm__ volatile("sti" : : : "memory");
}

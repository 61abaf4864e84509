#include "apic.h"
#include "acpi.h"
#include "interrupt.h"
#include "io.h"

#define MSR_APIC_BASE           0x1b
#define APIC_BASE_ENABLE        (1 << 11)
#define APIC_BASE_X2APIC        (1 << 10)
#define MSR_X2APIC              0x800
#define XAPIC                   0xfee00000ul
#define CPUID_1_ECX_X2APIC      (1 << 21)

/* Register offsets as in xAPIC; x2APIC has them 16 apart. */
#define ID                      0x020
#define END_OF_INTERRUPT        0x0b0
#define SPURIOUS                0x0f0
#define COMMAND_LOW             0x300
#define COMMAND_HIGH            0x310
#define TIMER                   0x320
#define TIMER_COUNT             0x380
#define TIMER_DIVIDE            0x3e0

#define SPURIOUS_ENABLE         0x100
#define COMMAND_INIT            0x4500
#define COMMAND_STARTUP         0x4600
#define COMMAND_PENDING         0x1000
#define TIMER_PERIODIC          0x20000
#define TIMER_DIVIDE_BY_1       0xb

/* The timer's clock as KVM and QEMU emulate it: one count per nanosecond. */
#define TIMER_HERTZ             1000000000u

#define PIC_MASTER_MASK         0x21
#define PIC_SLAVE_MASK          0xa1

#define IOAPIC_SELECT           0x00
#define IOAPIC_WINDOW           0x10
#define IOAPIC_ENTRY            0x10
#define ENTRY_ACTIVE_LOW        (1 << 13)
#define ENTRY_LEVEL             (1 << 15)

/* MADT, "MPS INTI flags" */
#define FLAG_POLARITY           0x3
#define FLAG_ACTIVE_LOW         0x3
#define FLAG_TRIGGER            0xc
#define FLAG_LEVEL              0xc

static int x2apic;

static void write(uint32_t offset, uint32_t value)
{
    if (x2apic)
        write_msr(MSR_X2APIC + offset / 16, value);
    else
        write32(XAPIC + offset, value);
}

void apic_enable(void)
{
    uint64_t base = read_msr(MSR_APIC_BASE) | APIC_BASE_ENABLE;

    x2apic = !!(cpuid(1).ecx & CPUID_1_ECX_X2APIC);
    write_msr(MSR_APIC_BASE, x2apic ? base | APIC_BASE_X2APIC : base);
    write(SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    out8(PIC_MASTER_MASK, 0xff);
    out8(PIC_SLAVE_MASK, 0xff);
}

uint32_t apic_id(void)
{
    if (x2apic)
        return (uint32_t)read_msr(MSR_X2APIC + ID / 16);
    return read32(XAPIC + ID) >> 24;
}

void apic_end_of_interrupt(void)
{
    write(END_OF_INTERRUPT, 0);
}

static void send(uint32_t id, uint32_t command)
{
    if (x2apic) {
        write_msr(MSR_X2APIC + COMMAND_LOW / 16, (uint64_t)id << 32 | command);
        return;
    }
    write32(XAPIC + COMMAND_HIGH, id << 24);
    write32(XAPIC + COMMAND_LOW, command);
    while (read32(XAPIC + COMMAND_LOW) & COMMAND_PENDING)
        cpu_pause();
}

void apic_send_init(uint32_t id)
{
    send(id, COMMAND_INIT);
}

void apic_send_startup(uint32_t id, uint8_t page)
{
    send(id, COMMAND_STARTUP | page);
}

void apic_timer_start(uint8_t vector, uint32_t hertz)
{
    write(TIMER_DIVIDE, TIMER_DIVIDE_BY_1);
    write(TIMER, TIMER_PERIODIC | vector);
    write(TIMER_COUNT, TIMER_HERTZ / hertz);
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
    write32(acpi_interrupts.ioapic + IOAPIC_SELECT, reg);
    write32(acpi_interrupts.ioapic + IOAPIC_WINDOW, value);
}

void apic_route_irq(uint32_t irq, uint8_t vector)
{
    uint32_t pin = acpi_interrupts.isa[irq].pin, flags = acpi_interrupts.isa[irq].flags, entry = vector;

    if (!acpi_interrupts.ioapic)
        return;
    if ((flags & FLAG_POLARITY) == FLAG_ACTIVE_LOW)
        entry |= ENTRY_ACTIVE_LOW;
    if ((flags & FLAG_TRIGGER) == FLAG_LEVEL)
        entry |= ENTRY_LEVEL;
    ioapic_write(IOAPIC_ENTRY + 2 * pin + 1, apic_id() << 24);
    ioapic_write(IOAPIC_ENTRY + 2 * pin, entry);
}

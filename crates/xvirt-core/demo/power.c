#include "power.h"
#include "acpi.h"
#include "apic.h"
#include "hotplug.h"
#include "interrupt.h"
#include "io.h"
#include "options.h"
#include "print.h"

#define PM1_POWER_BUTTON        (1 << 8)        /* in status and in enable */
#define PM1_CONTROL_SCI         (1 << 0)
#define PM1_CONTROL_SLEEP_TYPE  10
#define PM1_CONTROL_SLEEP       (1 << 13)
#define FADT_HAS_RESET          (1 << 10)
#define KEYBOARD_CONTROLLER     0x64
#define KEYBOARD_RESET          0xfe
#define PANIC_PORT              0x505
#define PANICKED                1

static volatile int pressed;

/* Reports that a request had no effect, after the VMM had time to act on it. */
__attribute__((noreturn)) static void complain(const char *what)
{
    for (uint32_t i = 0; i < 1000000; i++)
        cpu_pause();
    print("demo: %s failed\n", what);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void power_off(void)
{
    const struct acpi_fadt *fadt = acpi_fadt();
    int type = acpi_soft_off_type();

    if (type >= 0 && fadt->pm1a_control)
        out16((uint16_t)fadt->pm1a_control, (uint16_t)(type << PM1_CONTROL_SLEEP_TYPE | PM1_CONTROL_SLEEP));
    complain("poweroff");
}

void power_reboot(void)
{
    const struct acpi_fadt *fadt = acpi_fadt();

    if (fadt && fadt->header.length >= __builtin_offsetof(struct acpi_fadt, arm_boot_flags)
        && fadt->flags & FADT_HAS_RESET) {
        const struct acpi_address *reset = &fadt->reset_register;
        if (reset->space == ACPI_SPACE_PORT)
            out8((uint16_t)reset->address, fadt->reset_value);
        else if (reset->space == ACPI_SPACE_MEMORY)
            write8(reset->address, fadt->reset_value);
    }
    out8(KEYBOARD_CONTROLLER, KEYBOARD_RESET);
    complain("reboot");
}

/* An exception without a handler causes a double fault without a handler, and so a triple fault. */
void power_crash(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = { 0, 0 };

    __asm__ volatile("lidt %0; ud2" : : "m"(nothing));
    __builtin_unreachable();
}

/* Signals an event through pvpanic, and stops. */
void power_panic(void)
{
    out8(PANIC_PORT, (uint8_t)option_number("event", PANICKED));
    for (;;)
        __asm__ volatile("cli; hlt");
}

void power_button_enable(void)
{
    const struct acpi_fadt *fadt = acpi_fadt();

    if (!fadt || !fadt->pm1a_event)
        return;
    /* If firmware owns ACPI, it names a port to request it from; without a port, ACPI is always enabled. */
    if (fadt->smi_command && fadt->acpi_enable && !(in16((uint16_t)fadt->pm1a_control) & PM1_CONTROL_SCI)) {
        out8((uint16_t)fadt->smi_command, fadt->acpi_enable);
        while (!(in16((uint16_t)fadt->pm1a_control) & PM1_CONTROL_SCI))
            cpu_pause();
    }
    /* The SCI is level-triggered: a pending event would raise it repeatedly. */
    out16((uint16_t)fadt->pm1a_event, 0xffff);
    apic_route_irq(fadt->sci_interrupt, VECTOR_ACPI);
    out16((uint16_t)(fadt->pm1a_event + fadt->pm1_event_length / 2), PM1_POWER_BUTTON);
}

void power_interrupt(void)
{
    uint16_t port = (uint16_t)acpi_fadt()->pm1a_event, status = in16(port);

    out16(port, status);
    hotplug_interrupt();
    if (status & PM1_POWER_BUTTON)
        pressed = 1;
}

int power_button_pressed(void)
{
    return pressed;
}

/* What the command line asks for, in order. */
#include "acpi.h"
#include "boot.h"
#include "console.h"
#include "counter.h"
#include "interrupt.h"
#include "options.h"
#include "paging.h"
#include "pci.h"
#include "power.h"
#include "print.h"
#include "result.h"
#include "rng.h"
#include "smp.h"
#include "timer.h"

static int counting, ticking;

/* Ends what was set up without being asked on the command line. */
static void check_power_button(void)
{
    if (!power_button_pressed())
        return;
    print("power button\n");
    console_flush();
    power_off();
}

/* Everything that goes on until it is told to stop, a little of each in turn; sleeps when none has anything to do. */
static void run(void)
{
    while (counting || ticking) {
        uint32_t seen = interrupt_count();

        check_power_button();
        counting = counting && counter_poll();
        ticking = ticking && timer_poll();
        if (!counting && ticking)
            interrupt_wait(seen);
    }
}

__attribute__((noreturn)) static void end(void)
{
    result_print();
    console_flush();
    if (option_mode("poweroff"))
        power_off();
    if (option_mode("reboot"))
        power_reboot();
    if (option_mode("crash"))
        power_crash();
    for (;;) {
        uint32_t seen = interrupt_count();

        check_power_button();
        interrupt_wait(seen);
    }
}

void demo_main(uint32_t protocol, uint64_t handed_over)
{
    boot_read(protocol, handed_over);
    acpi_read();
    print("xvirt demo: entry=%s cpus=%u memory=%luM\n", boot_protocol_name(), acpi_interrupts.cpus,
          (boot_ram_bytes() + (1 << 20) - 1) >> 20);
    paging_map_ram();
    interrupt_setup();
    power_button_enable();
    pci_scan();
    console_start();

    if (option_mode("hello"))
        print("demo: hello\n");
    if (option_mode("rng"))
        rng_run();
    counting = option_mode("counter") && counter_setup();
    if (option_mode("smp"))
        smp_start(counting ? counter_run : 0);
    ticking = option_mode("timer");
    if (ticking)
        timer_start();
    run();
    end();
}

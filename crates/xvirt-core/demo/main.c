/* Runs the modes of the command line, in order. */
#include "acpi.h"
#include "agent.h"
#include "balloon.h"
#include "blk.h"
#include "blkbench.h"
#include "boot.h"
#include "console.h"
#include "counter.h"
#include "echo.h"
#include "hostile.h"
#include "hotplug.h"
#include "interrupt.h"
#include "net.h"
#include "options.h"
#include "paging.h"
#include "pci.h"
#include "power.h"
#include "print.h"
#include "result.h"
#include "rng.h"
#include "serial.h"
#include "smp.h"
#include "soak.h"
#include "timer.h"
#include "vsock.h"
#include "watchdog.h"

/* The modes that run until they are stopped. The first ones keep the CPU busy, the others wait for interrupts. */
static int counting, loading, soaking, attacking;
static int ballooning, echoing, networking, plugging, serving, talking, ticking;

static int waiting(void)
{
    return ballooning || echoing || networking || plugging || serving || talking || ticking;
}

/* Handles events from outside. */
static void watch(void)
{
    if (interrupt_config_changed()) {
        blk_watch();
        net_watch();
        balloon_watch();
    }
    if (!power_button_pressed())
        return;
    if (soaking)
        soak_end();
    print("power button\n");
    console_flush();
    power_off();
}

/* Whether a mode has work now, without an interrupt. */
static int working(void)
{
    return (counting && !counter_waits()) || loading || soaking || attacking;
}

/* Whether a mode that does not wait for interrupts is active. */
static int busy(void)
{
    return counting || working();
}

/* Polls all active modes in turn; sleeps when none has work. */
static void run(void)
{
    uint32_t looked_at = interrupt_count() - 1;

    while (busy() || waiting()) {
        uint32_t seen = interrupt_count();

        if (seen != looked_at) {
            watch();
            if (ballooning)
                balloon_poll();
            if (echoing)
                echo_poll();
            networking = networking && net_poll();
            if (plugging)
                hotplug_poll();
            if (serving)
                agent_poll();
            if (talking)
                vsock_poll();
            ticking = ticking && timer_poll();
            looked_at = seen;
        }
        counting = counting && counter_poll();
        loading = loading && blk_load_poll();
        soaking = soaking && soak_poll();
        attacking = attacking && hostile_poll();
        if (!working() && waiting())
            interrupt_wait(seen);
    }
}

__attribute__((noreturn)) static void end(void)
{
    result_print();
    console_flush();
    if (option_mode(MODE_POWEROFF))
        power_off();
    if (option_mode(MODE_REBOOT))
        power_reboot();
    if (option_mode(MODE_CRASH))
        power_crash();
    if (option_mode(MODE_PANIC))
        power_panic();
    for (;;) {
        uint32_t seen = interrupt_count();

        watch();
        interrupt_wait(seen);
    }
}

static void setup(uint32_t protocol, uint64_t handed_over)
{
    serial_start();
    boot_read(protocol, handed_over);
    acpi_read();
    print("xvirt demo: entry=%s cpus=%u memory=%luM\n", boot_protocol_name(), acpi_interrupts.cpus,
          (boot_ram_bytes() + (1 << 20) - 1) >> 20);
    options_read();
    paging_map_ram();
    interrupt_setup();
    power_button_enable();
    pci_scan();
    /* The console cannot be used for output while it is attacked. */
    if (!option_mode(MODE_HOSTILE))
        console_start();
}

/* Starts the requested modes; those that end by themselves are run to their end here. */
static void start(void)
{
    if (option_mode(MODE_HELLO))
        print("demo: hello\n");
    if (option_mode(MODE_RNG))
        rng_run();
    if (option_mode(MODE_GENERATION))
        generation_run();
    loading = option_mode(MODE_BLKLOAD);
    if (option_mode(MODE_BLK) || option_mode(MODE_BLKVERIFY) || loading)
        blk_start();
    if (option_mode(MODE_BLK))
        blk_run();
    if (option_mode(MODE_BLKVERIFY))
        blk_verify();
    if (option_mode(MODE_BLKBENCH))
        blkbench_run();
    soaking = option_mode(MODE_SOAK) && soak_start();
    networking = option_mode(MODE_NET);
    if (networking)
        net_start();
    talking = option_mode(MODE_VSOCK);
    if (talking)
        vsock_start();
    ballooning = option_mode(MODE_BALLOON) && balloon_start();
    if (option_mode(MODE_WATCHDOG))
        watchdog_run();
    counting = option_mode(MODE_COUNTER) && counter_setup();
    attacking = option_mode(MODE_HOSTILE) && hostile_start();
    if (option_mode(MODE_SMP))
        smp_start(counting ? counter_run : attacking ? hostile_run : 0);
    ticking = option_mode(MODE_TIMER);
    if (ticking)
        timer_start();
    plugging = option_mode(MODE_HOTPLUG);
    if (plugging)
        hotplug_start();
    serving = option_mode(MODE_AGENT);
    if (serving)
        agent_start();
    echoing = option_mode(MODE_ECHO);
    if (echoing)
        echo_start();
}

void demo_main(uint32_t protocol, uint64_t handed_over)
{
    setup(protocol, handed_over);
    start();
    run();
    end();
}

/* What the command line asks for, in order. */
#include "acpi.h"
#include "boot.h"
#include "options.h"
#include "power.h"
#include "print.h"

void demo_main(uint32_t protocol, uint64_t handed_over)
{
    boot_read(protocol, handed_over);
    acpi_read();
    print("xvirt demo: entry=%s cpus=%u memory=%luM\n", boot_protocol_name(), acpi_interrupts.cpus,
          (boot_ram_bytes() + (1 << 20) - 1) >> 20);

    if (option_mode("hello"))
        print("demo: hello\n");
    print("demo: done\n");
    if (option_mode("poweroff"))
        power_off();
    if (option_mode("reboot"))
        power_reboot();
    if (option_mode("crash"))
        power_crash();
}

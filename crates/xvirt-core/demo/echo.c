#include "echo.h"
#include "apic.h"
#include "console.h"
#include "hotplug.h"
#include "interrupt.h"
#include "memory.h"
#include "power.h"
#include "print.h"
#include "serial.h"
#include "smp.h"

#define LINE_SIZE 200

struct source {
    int (*read)(void);
    void (*write)(const char *bytes, size_t length);
    size_t length;
    char line[LINE_SIZE];
};

static struct source sources[] = {
    { .read = serial_read, .write = serial_write },
    { .read = console_read, .write = console_write },
};

void echo_start(void)
{
    apic_route_irq(SERIAL_IRQ, VECTOR_SERIAL);
    serial_enable_interrupt();
    print("echo: ready\n");
}

static void leave(void (*how)(void))
{
    print("demo: done\n");
    console_flush();
    how();
}

/* `eject` and a slot, in decimal. */
static void eject(const char *text)
{
    uint32_t slot = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        slot = slot * 10 + (uint32_t)(*text - '0');
    hotplug_eject(slot & 31);
}

static void answer(const struct source *source)
{
    const char *line = source->line;

    if (!strcmp(line, "ping"))
        print_only(source->write, "pong\n");
    else if (!strcmp(line, "status"))
        print_only(source->write, "status: cpus=%u interrupts=%u\n", smp_cpus(), interrupt_count());
    else if (!strcmp(line, "poweroff"))
        leave(power_off);
    else if (!strcmp(line, "reboot"))
        leave(power_reboot);
    else if (!strcmp(line, "crash"))
        leave(power_crash);
    else if (!memcmp(line, "eject ", 6))
        eject(line + 6);
    else
        print_only(source->write, "echo: %s\n", line);
}

static void take(struct source *source, char byte)
{
    if (byte != '\r' && byte != '\n') {
        if (source->length < LINE_SIZE - 1)
            source->line[source->length++] = byte;
        return;
    }
    source->line[source->length] = 0;
    if (source->length)
        answer(source);
    source->length = 0;
}

void echo_poll(void)
{
    for (uint32_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        int byte;
        while ((byte = sources[i].read()) >= 0)
            take(&sources[i], (char)byte);
    }
}

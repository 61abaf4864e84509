#include "watchdog.h"
#include "acpi.h"
#include "io.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "result.h"

#define PING            1
#define SET_COUNT       6
#define IS_RUNNING      8
#define RUN             9
#define HAS_BITTEN      32
#define FORGET          33

#define READ_VALUE      0
#define READ_COUNT      1
#define WRITE_VALUE     2
#define WRITE_COUNT     3

#define PERIODS_DEFAULT 5

struct wdat {
    struct acpi_header header;
    uint32_t header_length;
    uint8_t pci[8];
    uint32_t period, most, least, flags, entries;
    struct {
        uint8_t action, instruction;
        uint16_t reserved;
        struct acpi_address address;
        uint32_t value, mask;
    } __attribute__((packed)) entry[];
} __attribute__((packed));

/* Executes the table's entries for an action; returns the value that was read, or whether it was as expected. */
static uint32_t act(const struct wdat *wdat, uint8_t action, uint32_t count)
{
    for (uint32_t i = 0; i < wdat->entries; i++) {
        if (wdat->entry[i].action != action)
            continue;
        uint16_t port = (uint16_t)wdat->entry[i].address.address;
        int wide = wdat->entry[i].address.access_size == 2;
        uint32_t value = wdat->entry[i].value, mask = wdat->entry[i].mask;

        switch (wdat->entry[i].instruction) {
        case READ_VALUE:
            return ((wide ? in16(port) : in8(port)) & mask) == value;
        case READ_COUNT:
            return (wide ? in16(port) : in8(port)) & mask;
        case WRITE_COUNT:
            value = count;
            /* fall through */
        case WRITE_VALUE:
            if (wide)
                out16(port, (uint16_t)(value & mask));
            else
                out8(port, (uint8_t)(value & mask));
            return 0;
        }
    }
    print("watchdog: no action %u\n", action);
    result_fail();
    return 0;
}

void watchdog_run(void)
{
    const struct wdat *wdat = acpi_table("WDAT");
    uint32_t periods = (uint32_t)option_number("periods", PERIODS_DEFAULT);

    if (!wdat) {
        print("watchdog: none\n");
        result_fail();
        return;
    }
    if (act(wdat, HAS_BITTEN, 0)) {
        act(wdat, FORGET, 0);
        print("watchdog: it bit\n");
        return;
    }
    act(wdat, SET_COUNT, periods);
    act(wdat, RUN, 0);
    act(wdat, PING, 0);
    print("watchdog: runs=%u period=%u periods=%u\n", act(wdat, IS_RUNNING, 0), wdat->period, periods);
}

void generation_run(void)
{
    const uint8_t *id = acpi_generation_id();

    if (!id) {
        print("generation: none\n");
        result_fail();
        return;
    }
    char hex[33];
    for (uint32_t i = 0; i < 16; i++) {
        hex[2 * i] = "0123456789abcdef"[id[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    hex[32] = 0;
    print("generation: %s\n", hex);
}

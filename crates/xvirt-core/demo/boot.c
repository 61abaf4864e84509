/* Reads PVH's start_info and Linux's zero page. */
#include "boot.h"
#include "memory.h"

#define MAP_TYPE_RAM 1

struct boot boot;

/* xen/include/public/arch-x86/hvm/start_info.h */
struct pvh_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
    uint64_t memmap_paddr;      /* from version 1 on */
    uint32_t memmap_entries, reserved;
};

struct pvh_map_entry {
    uint64_t start, size;
    uint32_t type, reserved;
};

/* Linux, Documentation/arch/x86/zero-page.rst: the offsets are the protocol. */
#define ZERO_PAGE_RSDP          0x070
#define ZERO_PAGE_MAP_ENTRIES   0x1e8
#define ZERO_PAGE_COMMAND_LINE  0x228
#define ZERO_PAGE_MAP           0x2d0

struct e820_entry {
    uint64_t start, size;
    uint32_t type;
} __attribute__((packed));

static void add_range(uint64_t start, uint64_t size, uint32_t type)
{
    if (type != MAP_TYPE_RAM || boot.ram_ranges == BOOT_RAM_RANGES)
        return;
    boot.ram[boot.ram_ranges++] = (struct ram_range){ start, size };
}

static void copy_command_line(uint64_t address)
{
    const char *from = (const char *)address;
    unsigned int i = 0;

    if (from) {
        for (; i < sizeof boot.command_line - 1 && from[i]; i++)
            boot.command_line[i] = from[i];
    }
    boot.command_line[i] = 0;
}

static void read_pvh(const struct pvh_start_info *info)
{
    boot.rsdp = info->rsdp_paddr;
    copy_command_line(info->cmdline_paddr);
    if (info->version < 1)
        return;

    const struct pvh_map_entry *map = (const struct pvh_map_entry *)info->memmap_paddr;
    for (uint32_t i = 0; i < info->memmap_entries; i++)
        add_range(map[i].start, map[i].size, map[i].type);
}

static void read_zero_page(const uint8_t *page)
{
    memcpy(&boot.rsdp, page + ZERO_PAGE_RSDP, sizeof boot.rsdp);

    uint32_t command_line;
    memcpy(&command_line, page + ZERO_PAGE_COMMAND_LINE, sizeof command_line);
    copy_command_line(command_line);

    const struct e820_entry *map = (const struct e820_entry *)(page + ZERO_PAGE_MAP);
    for (uint32_t i = 0; i < page[ZERO_PAGE_MAP_ENTRIES]; i++)
        add_range(map[i].start, map[i].size, map[i].type);
}

void boot_read(uint32_t protocol, uint64_t handed_over)
{
    boot.protocol = protocol;
    if (protocol == BOOT_PVH)
        read_pvh((const struct pvh_start_info *)handed_over);
    else
        read_zero_page((const uint8_t *)handed_over);
}

const char *boot_protocol_name(void)
{
    return boot.protocol == BOOT_PVH ? "pvh" : "linux64";
}

uint64_t boot_ram_bytes(void)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < boot.ram_ranges; i++)
        bytes += boot.ram[i].size;
    return bytes;
}

/* The parameters of the boot protocol, in one structure for both protocols. */
#pragma once

#define BOOT_PVH        1
#define BOOT_LINUX      2

#define SEGMENT_CODE    0x08
#define SEGMENT_DATA    0x10

#ifndef __ASSEMBLER__
#include <stdint.h>

#define BOOT_COMMAND_LINE_SIZE 1024
#define BOOT_RAM_RANGES 32

struct ram_range {
    uint64_t start, size;
};

struct boot {
    uint32_t protocol;
    uint32_t ram_ranges;
    uint64_t rsdp;              /* 0 if unknown */
    struct ram_range ram[BOOT_RAM_RANGES];
    char command_line[BOOT_COMMAND_LINE_SIZE];
};

/* The parameters of this boot; valid after boot_read. */
extern struct boot boot;

/* Copies everything out of the loader's structures, whose memory may be reused afterwards. */
void boot_read(uint32_t protocol, uint64_t handed_over);

/* "pvh" or "linux64". */
const char *boot_protocol_name(void);

/* Bytes of usable RAM in the map given by the loader. */
uint64_t boot_ram_bytes(void);
#endif

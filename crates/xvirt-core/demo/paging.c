#include "paging.h"
#include "boot.h"
#include "io.h"
#include "memory.h"

#define ENTRIES             512
#define PRESENT_WRITABLE    0x03
#define LARGE               0x83
#define GIB                 (1ul << 30)
#define PAGE_2M             (1ul << 21)
#define MAPPED_AT_ENTRY     (4 * GIB)
#define MAPPABLE            (512 * GIB)     /* one page directory pointer table */
#define CPUID_EXTENDED      0x80000001
#define EDX_1_GIB_PAGES     (1 << 26)

extern uint64_t page_directory_pointers[ENTRIES];

static void map_gib(uint64_t address)
{
    uint64_t *entry = &page_directory_pointers[address / GIB];

    if (*entry)
        return;
    if (cpuid(CPUID_EXTENDED).edx & EDX_1_GIB_PAGES) {
        *entry = address | LARGE;
        return;
    }
    uint64_t *directory = memory_pages(PAGE_SIZE);
    for (uint64_t i = 0; i < ENTRIES; i++)
        directory[i] = (address + i * PAGE_2M) | LARGE;
    *entry = (uint64_t)directory | PRESENT_WRITABLE;
}

void paging_map(uint64_t start, uint64_t bytes)
{
    uint64_t end = start + bytes, at = start & ~(GIB - 1);

    if (at < MAPPED_AT_ENTRY)
        at = MAPPED_AT_ENTRY;
    for (; at < end && at < MAPPABLE; at += GIB)
        map_gib(at);
}

void paging_map_ram(void)
{
    for (uint32_t i = 0; i < boot.ram_ranges; i++)
        paging_map(boot.ram[i].start, boot.ram[i].size);
}

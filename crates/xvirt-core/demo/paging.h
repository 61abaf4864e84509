/* The page tables beyond the first 4 GiB, which entry.S maps. */
#pragma once
#include <stdint.h>

/* Identity-maps the unmapped parts of a range. */
void paging_map(uint64_t start, uint64_t bytes);

/* Maps all RAM. */
void paging_map_ram(void);

/* The page tables beyond the first 4 GiB, which entry.S brings along. */
#pragma once
#include <stdint.h>

/* Maps a range one to one where it is not yet. */
void paging_map(uint64_t start, uint64_t bytes);

/* Maps all RAM. */
void paging_map_ram(void);

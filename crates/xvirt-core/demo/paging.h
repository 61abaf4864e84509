/* The page tables beyond the first 4 GiB, which entry.S brings along. */
#pragma once

/* Maps RAM above 4 GiB one to one, if there is any. */
void paging_map_high_ram(void);

/* A counter in every page of a range: shows memory that was lost, stale or swapped. */
#pragma once
#include <stdint.h>

/* Reads the range from the command line; 0 when it is not all RAM. */
int counter_setup(void);

/* All passes over another CPU's share. */
void counter_run(uint32_t cpu);

/* One pass over this CPU's share; 0 when all CPUs have done all theirs. */
int counter_poll(void);

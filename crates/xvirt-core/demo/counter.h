/* A counter in every page of a range, to detect lost, stale or swapped memory. */
#pragma once
#include <stdint.h>

/* Reads the range from the command line; 0 when it is not all RAM. */
int counter_setup(void);

/* Makes all passes over the share of another CPU, on that CPU. */
void counter_run(uint32_t cpu);

/* One pass over this CPU's share, or the part of it that this tick allows; 0 when all CPUs have done all theirs. */
int counter_poll(void);

/* Whether this CPU has nothing to do until the next tick. */
int counter_waits(void);

/* The entropy device. */
#pragma once

/* Reads some bytes of each and prints them. */
void rng_run(void);

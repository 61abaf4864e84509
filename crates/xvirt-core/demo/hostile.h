/* A driver that breaks the rules of every device there is, as `seed=` says, for `rounds=` rounds or for ever. */
#pragma once
#include <stdint.h>

/* Finds the devices; 0 when there are none. */
int hostile_start(void);

/* One round; 0 when all wanted ones are done. */
int hostile_poll(void);

/* Changes what the devices read, on another CPU, while they read it. */
void hostile_run(uint32_t cpu);

/* A driver that breaks the rules of every device, pseudo-randomly by `seed=`, for `rounds=` rounds or forever. */
#pragma once
#include <stdint.h>

/* Finds the devices; 0 when there are none. */
int hostile_start(void);

/* One round; 0 when all requested ones are done. */
int hostile_poll(void);

/* Changes memory on another CPU while the devices read it. */
void hostile_run(uint32_t cpu);

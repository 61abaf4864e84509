/* The other CPUs. */
#pragma once
#include <stdint.h>

/* Starts them one by one; each prints `cpu N up`, runs `job` (may be null) and then halts forever. */
void smp_start(void (*job)(uint32_t cpu));

/* The number of running CPUs, including this one. */
uint32_t smp_cpus(void);

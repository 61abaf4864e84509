/* The other CPUs. */
#pragma once
#include <stdint.h>

/* Starts them one after the other; each says `cpu N up`, does `job` (null for nothing) and then sleeps for good. */
void smp_start(void (*job)(uint32_t cpu));

/* How many CPUs run, this one included. */
uint32_t smp_cpus(void);

/* A spin lock between CPUs, which get it in the order in which they ask: on a host with one processor, a CPU that takes it
   again at once would otherwise keep it from the others for good. */
#pragma once
#include "io.h"

struct lock {
    unsigned next, served;
};

static inline void lock(struct lock *lock)
{
    unsigned ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);

    while (__atomic_load_n(&lock->served, __ATOMIC_ACQUIRE) != ticket)
        cpu_pause();
}

static inline void unlock(struct lock *lock)
{
    __atomic_store_n(&lock->served, lock->served + 1, __ATOMIC_RELEASE);
}

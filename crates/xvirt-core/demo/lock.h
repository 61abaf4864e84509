/* A spin lock between CPUs. */
#pragma once
#include "io.h"

struct lock {
    int held;
};

static inline void lock(struct lock *lock)
{
    while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
        cpu_pause();
}

static inline void unlock(struct lock *lock)
{
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

/* Reproducible pseudo-random numbers: xorshift64, and the mixing function of splitmix64. */
#pragma once
#include <stdint.h>

/* Spreads a number over all 64 bits. */
static inline uint64_t random_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

struct random {
    uint64_t state;             /* never 0 */
};

static inline uint64_t random_next(struct random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state;
}

static inline uint64_t random_below(struct random *random, uint64_t limit)
{
    return (random_next(random) >> 16) % limit;
}

static inline int random_one_in(struct random *random, uint64_t times)
{
    return !random_below(random, times);
}

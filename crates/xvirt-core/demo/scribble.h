/* The rings of a hostile driver: mostly valid, because a completely invalid ring is rejected immediately. */
#pragma once
#include "random.h"

#define SCRIBBLE_RINGS          16u
#define SCRIBBLE_RING_SIZE      32u     /* descriptors */

/* Memory that devices may overwrite. */
void scribble_start(void);

/* The addresses of the three parts of a ring: valid ones, or occasionally arbitrary ones. */
struct scribble_ring {
    uint64_t descriptors, available, used;
};
struct scribble_ring scribble_place(struct random *random, uint32_t ring);

/* Writes descriptors, indirect tables, requests and indices; the caller then kicks the device. */
void scribble(struct random *random, uint32_t ring);

/* Overwrites one word anywhere in that memory, while a device reads it. */
void scribble_word(struct random *random);

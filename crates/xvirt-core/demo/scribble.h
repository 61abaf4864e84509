/* What a hostile driver writes into its rings: mostly sound, for a ring that is all nonsense is thrown out at once. */
#pragma once
#include "random.h"

#define SCRIBBLE_RINGS          16u
#define SCRIBBLE_RING_SIZE      32u     /* descriptors */

/* Memory where devices may write whatever and wherever they like. */
void scribble_start(void);

/* Where the three parts of a ring lie: as the specification wants it, or now and then anywhere. */
struct scribble_ring {
    uint64_t descriptors, available, used;
};
struct scribble_ring scribble_place(struct random *random, uint32_t ring);

/* Writes descriptors, indirect tables, requests and indices; the device is to be kicked then. */
void scribble(struct random *random, uint32_t ring);

/* One word anywhere in that memory, while a device reads it. */
void scribble_word(struct random *random);

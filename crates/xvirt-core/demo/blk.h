/* Virtio disks: patterned blocks written, read back and compared; on all disks, or only on that of `disk=`. */
#pragma once
#include "pci.h"

/* Finds all disks and prints their properties. */
void blk_start(void);

/* Writes and verifies writable disks, and reads the others. */
void blk_run(void);

/* Verifies the data of an earlier run with the same seed. */
void blk_verify(void);

/*
 * One round of writing and verifying, each with another pattern; 0 when all requested rounds are done. With
 * `load=flush`, a round writes some blocks, flushes, and reports it. With `load=continue`, a round also flushes, and the
 * first one continues from the round in which the disk was left, which is verified when the disk is set up.
 */
int blk_load_poll(void);

/* Sets up a disk that was plugged in, writes and verifies it; 0 on failure. Later rounds include it. */
int blk_plug(const struct pci_function *function);

/* Closes the disk of this PCI function, if any. */
void blk_unplug(const struct pci_function *function);

/* Reports when a disk's size changed. */
void blk_watch(void);

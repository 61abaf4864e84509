/* Virtio disks: patterned blocks written, read back and compared; on all disks, or on the one `disk=` names. */
#pragma once
#include "pci.h"

/* Finds all disks and says what they are. */
void blk_start(void);

/* Writes and verifies what can be written, and reads the rest. */
void blk_run(void);

/* Verifies what a former run with the same seed wrote. */
void blk_verify(void);

/*
 * One more round of writing and verifying, each with another pattern; 0 when all wanted rounds are done. With
 * `load=flush` a round writes some blocks, flushes, and says so.
 */
int blk_load_poll(void);

/* Sets one up that was plugged in, writes and verifies it; 0 when it does not work. Later rounds go over it too. */
int blk_plug(const struct pci_function *function);

/* Lets go of the disk that is this function, if one is. */
void blk_unplug(const struct pci_function *function);

/* Says when a disk's size changed. */
void blk_watch(void);

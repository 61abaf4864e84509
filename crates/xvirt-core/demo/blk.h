/* Virtio disks: patterned blocks written, read back and compared; on all disks, or on the one `disk=` names. */
#pragma once

/* Finds all disks and says what they are. */
void blk_start(void);

/* Writes and verifies what can be written, and reads the rest. */
void blk_run(void);

/* Verifies what a former run with the same seed wrote. */
void blk_verify(void);

/* One more round of writing and verifying, each with another pattern; 0 when all wanted rounds are done. */
int blk_load_poll(void);

/* Says when a disk's size changed. */
void blk_watch(void);

/*
 * Writes and reads disks in random order for as long as requested, many requests at once. Every read is compared with
 * the last write, so lost, stale, torn or misplaced data is detected.
 */
#pragma once

/* Finds the disks; 0 when none can be written. */
int soak_start(void);

/* One batch of requests on each disk; 0 when all requested rounds are done, or on an error. */
int soak_poll(void);

/* Makes everything durable, and prints a digest of the expected contents of each disk. */
void soak_end(void);

/*
 * Disks written and read in random order for as long as wanted, many requests at once. Every read is compared with
 * what was written last, so nothing can be lost, stale, torn or misplaced without being seen.
 */
#pragma once

/* Finds the disks; 0 when none can be written. */
int soak_start(void);

/* One batch of requests on each disk; 0 when all wanted rounds are done, or something was wrong. */
int soak_poll(void);

/* Makes everything durable, and says in one number for each disk what must be on it. */
void soak_end(void);

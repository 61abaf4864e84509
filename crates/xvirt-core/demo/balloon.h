/* The virtio memory balloon: moves pages of a range to the host and back, as the target demands. */
#pragma once

/* Touches all pages of the range and starts towards the balloon's target; 0 when there is no balloon. */
int balloon_start(void);

/* Answers requests for statistics. */
void balloon_poll(void);

/* Follows a changed target. */
void balloon_watch(void);

/* The virtio memory balloon: pages of a range go to the host and come back as it wants. */
#pragma once

/* Touches all pages of the range and goes for the balloon's target; 0 when there is no balloon. */
int balloon_start(void);

/* Answers questions for statistics. */
void balloon_poll(void);

/* Goes for another target. */
void balloon_watch(void);

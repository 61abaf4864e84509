/* Virtio network cards: every frame goes back to its sender. */
#pragma once
#include <stdint.h>

/* Finds all cards and says what they are. */
void net_start(void);

/* Sends back what arrived; 0 when the wanted number of frames was echoed. */
int net_poll(void);

/* Says when a link went up or down. */
void net_watch(void);

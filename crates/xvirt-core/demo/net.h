/* Virtio network cards: every frame goes back to its sender. */
#pragma once
#include "pci.h"
#include <stdint.h>

/* Finds all cards and says what they are. */
void net_start(void);

/* Sends back what arrived; 0 when the wanted number of frames was echoed. */
int net_poll(void);

/* Says when a link went up or down. */
void net_watch(void);

/* Sets up a card that was plugged in and sends a frame; 0 when it does not work. */
int net_plug(const struct pci_function *function);

/* Lets go of the card that is this function, if one is. */
void net_unplug(const struct pci_function *function);

/* Virtio network cards: every frame goes back to its sender. */
#pragma once
#include "pci.h"
#include <stdint.h>

/* Finds all cards and prints their properties. */
void net_start(void);

/* Sends received frames back; 0 when the requested number of frames was echoed. */
int net_poll(void);

/* Announces cards that were moved, and reports when a link goes up or down. */
void net_watch(void);

/* Sets up a card that was plugged in and sends a frame; 0 on failure. */
int net_plug(const struct pci_function *function);

/* Closes the card of this PCI function, if any. */
void net_unplug(const struct pci_function *function);

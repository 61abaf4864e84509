/* Hot plug of disks and network cards, through the registers that the VMM's AML uses, without an AML interpreter. */
#pragma once
#include <stdint.h>

/* Starts to listen, and first handles earlier events. */
void hotplug_start(void);

/* The SCI's handler: acknowledges its cause. */
void hotplug_interrupt(void);

/* Sets up devices that were plugged in, and ejects those requested. */
void hotplug_poll(void);

/* Ejects the device in a slot, requested or not. */
void hotplug_eject(uint32_t slot);

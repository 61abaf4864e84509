/* Disks and cards that come and go, by the registers that the VMM's ACPI code stands on: without an AML interpreter. */
#pragma once
#include <stdint.h>

/* Listens from now on; what came before is looked at first. */
void hotplug_start(void);

/* The SCI's handler: acknowledges what raised it. */
void hotplug_interrupt(void);

/* Sets up what came, and lets go of what is asked for. */
void hotplug_poll(void);

/* Lets go of what is in a slot, asked or not. */
void hotplug_eject(uint32_t slot);

/* The watchdog described by the WDAT, and the generation ID at the address in the DSDT. */
#pragma once

/* Starts the watchdog, which is never reset; but if it has caused the last reset, only reports that. */
void watchdog_run(void);

/* Prints the generation ID. */
void generation_run(void);

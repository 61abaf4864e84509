/* The watchdog that the WDAT describes, and the generation ID that the DSDT points to. */
#pragma once

/* Starts the watchdog, which is not attended to any more; but says so and does nothing when it bit before. */
void watchdog_run(void);

/* Says what the generation ID is. */
void generation_run(void);

/* Timer interrupts, counted and reported. */
#pragma once
#include <stdint.h>

/* Starts the timer requested by the command line. */
void timer_start(void);

/* The timer's handler. */
void timer_interrupt(void);

/* Prints the ticks since the last call; 0 when the requested number is reached. */
int timer_poll(void);

/* The interrupts so far. */
uint64_t timer_ticks(void);

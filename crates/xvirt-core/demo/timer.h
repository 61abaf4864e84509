/* Timer interrupts, counted and told. */
#pragma once

/* Starts the timer the command line asks for. */
void timer_start(void);

/* The timer's handler. */
void timer_interrupt(void);

/* Prints the ticks that came since the last call; 0 when the wanted number is reached. */
int timer_poll(void);

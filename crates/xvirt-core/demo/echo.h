/* The guest's end of its consoles: lines in, answers out. */
#pragma once

/* Listens from now on. */
void echo_start(void);

/* Answers the lines that came, each on the console it came from. */
void echo_poll(void);

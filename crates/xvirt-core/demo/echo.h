/* Answers lines on the guest's consoles. */
#pragma once

/* Starts to listen. */
void echo_start(void);

/* Answers received lines, each on its console. */
void echo_poll(void);

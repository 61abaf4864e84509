/* Whether everything was right so far. */
#pragma once

/* Notes a failure; the line saying what it was is the caller's. */
void result_fail(void);

/* Prints `demo: done`, or `demo: failed` after a failure. */
void result_print(void);

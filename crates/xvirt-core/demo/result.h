/* Whether everything succeeded so far. */
#pragma once

/* Records a failure, which the caller prints. */
void result_fail(void);

/* Prints `demo: done`, or `demo: failed` after a failure. */
void result_print(void);

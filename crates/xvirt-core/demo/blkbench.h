/* A benchmark of the first disk with `depth=` requests in flight; the data is ignored. */
#pragma once

/* Runs `requests=` of them and reports when they begin and end. */
void blkbench_run(void);

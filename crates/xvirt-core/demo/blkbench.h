/* The first disk, kept busy with as many requests as `depth=` says, for measuring: its data is not looked at. */
#pragma once

/* Runs `requests=` of them and says when they begin and end. */
void blkbench_run(void);

/* The virtio console: lines out and bytes in. */
#pragma once
#include <stddef.h>

/* Starts the console if there is one; what was and what will be printed goes there too. */
void console_start(void);

/* Queues bytes for the host. Nobody may be reading there, so a full queue loses them rather than stop the guest. */
void console_write(const char *bytes, size_t length);

/* The next received byte, or -1. */
int console_read(void);

/* Waits a moment for the host to have taken everything. */
void console_flush(void);

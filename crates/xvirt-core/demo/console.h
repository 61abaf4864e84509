/* The virtio console: lines out and bytes in. */
#pragma once
#include <stddef.h>

/* Starts the console if there is one; earlier and later output is also sent there. */
void console_start(void);

/* Queues bytes for the host. A full queue drops them, because a host that does not read must not stop the guest. */
void console_write(const char *bytes, size_t length);

/* The next received byte, or -1. */
int console_read(void);

/* Waits a moment for the host to receive everything. */
void console_flush(void);

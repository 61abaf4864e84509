/* The vsock device: data received on a connection is sent back on it. */
#pragma once

/* Sets the device up, and opens the connections to the host requested by the command line. */
void vsock_start(void);

/* Sends received data back. */
void vsock_poll(void);

/* The socket device: what comes in on a connection goes back out on it. */
#pragma once

/* Sets the device up, and opens the connections to the host that the command line asks for. */
void vsock_start(void);

/* Sends back what arrived. */
void vsock_poll(void);

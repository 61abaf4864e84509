/* One port of the virtio console: bytes out and bytes in. */
#pragma once
#include <stddef.h>
#include "virtio.h"

struct port {
    struct virtqueue receive, transmit;
    char *free_buffers[VIRTQUEUE_SIZE];     /* transmit buffers not in the queue */
    uint32_t free_count, transmit_buffers;
    char *received;
    uint32_t at, length;
};

/* Sets up the queues of port `number`, before the device is ready; 0 when it has none. */
int port_setup(struct virtio *device, struct port *port, uint32_t number);

/* Gives the device buffers for input, once it is ready. */
void port_start(struct port *port);

/* Queues as many bytes as there are buffers for, and returns how many. */
size_t port_write(struct port *port, const char *bytes, size_t length);

/* The number of buffers that the device has not used yet. */
uint32_t port_unsent(struct port *port);

/* The next received byte, or -1. */
int port_read(struct port *port);

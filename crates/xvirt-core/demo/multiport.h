/* The ports of the virtio console other than the console (virtio 1.2, 5.3): one here, found by its name. */
#pragma once
#include "port.h"

#define MULTIPORT (1ul << 1)                /* the feature */

/* Sets up the queues, before the device is ready; 0 when it has none. */
int multiport_setup(struct virtio *device);

/* Asks the device for its ports, once it is ready. */
void multiport_start(void);

/* The port of this name, once the device has announced and opened it; null until then. */
struct port *multiport_find(const char *name);

/* Opens that port, or closes it; the device knows when this returns. */
void multiport_open(int open);

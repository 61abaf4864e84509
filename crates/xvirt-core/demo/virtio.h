/* A modern virtio device on PCI (virtio 1.2, 4.1). */
#pragma once
#include "pci.h"
#include "virtqueue.h"

#define VIRTIO_NET      1
#define VIRTIO_BLK      2
#define VIRTIO_CONSOLE  3
#define VIRTIO_RNG      4
#define VIRTIO_BALLOON  5
#define VIRTIO_VSOCK    19

#define VIRTIO_FIRST_DEVICE 0x1040     /* the PCI device id of type 0 */

struct virtio {
    const struct pci_function *function;
    uint64_t common, notify, config, msix_table;
    uint32_t notify_multiplier;
    uint64_t features;          /* the negotiated features */
};

/*
 * The order is the specification's: open resets the nth device of a type (0 when there is none), negotiate agrees on
 * features (0 when the device refuses, or has no MSI-X), then come the queues, and ready lets it run.
 */
const struct pci_function *virtio_find(uint16_t type, uint32_t nth);
int virtio_open(struct virtio *device, uint16_t type, uint32_t nth);
int virtio_open_function(struct virtio *device, const struct pci_function *function);
int virtio_negotiate(struct virtio *device, uint64_t wanted);
int virtio_queue(struct virtio *device, struct virtqueue *queue, uint16_t index);
void virtio_ready(struct virtio *device);

/* The addresses of a queue's rings, and its number of descriptors. */
struct virtio_rings {
    uint16_t size;
    uint64_t descriptors, available, used;
};

/* Enables a queue at these addresses, unchecked; 0 when the device has no such queue. `virtio_queue` checks. */
int virtio_place_queue(const struct virtio *device, uint16_t index, const struct virtio_rings *rings);

/* Resets the device, which then no longer accesses memory. */
void virtio_close(struct virtio *device);

/* Whether feature bit `bit` was negotiated. */
int virtio_has(const struct virtio *device, uint32_t bit);

/* Fields of the device's own configuration. */
uint8_t virtio_config8(const struct virtio *device, uint32_t offset);
uint16_t virtio_config16(const struct virtio *device, uint32_t offset);
uint32_t virtio_config32(const struct virtio *device, uint32_t offset);
uint64_t virtio_config64(const struct virtio *device, uint32_t offset);
void virtio_set_config32(const struct virtio *device, uint32_t offset, uint32_t value);

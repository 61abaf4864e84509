/* A split virtqueue (virtio 1.2, 2.7), with event indices if the device supports them. */
#pragma once
#include <stdint.h>

#define VIRTQUEUE_SIZE 64

struct virtqueue {
    uint16_t size;              /* a power of two, at most VIRTQUEUE_SIZE */
    uint16_t index;
    uint16_t free_first, free_count;
    uint16_t told;              /* the available index at the last kick */
    uint16_t used_seen;
    int event_index, silent;
    uint64_t notify;            /* the queue's notification address */
    struct virtqueue_descriptor *descriptors;
    volatile uint16_t *available, *used_header;
    volatile struct virtqueue_used *used;
    void *tokens[VIRTQUEUE_SIZE];
};

/* One piece of a request. */
struct virtqueue_buffer {
    const void *address;
    uint32_t length;
    int device_writes;
};

/* Sets up the rings, in new memory unless the queue has memory already. */
void virtqueue_setup(struct virtqueue *queue, uint16_t index, uint16_t size, int event_index);

/* Disables interrupts for this queue: its owner polls. */
void virtqueue_silence(struct virtqueue *queue);

/* Gives the device a request; 0 when the queue is full. `token` is returned with the answer. */
int virtqueue_add(struct virtqueue *queue, const struct virtqueue_buffer *buffers, uint32_t count, void *token);

/* Notifies the device of new requests, if it asked for that. */
void virtqueue_kick(struct virtqueue *queue);

/* The token of the next completed request and the number of bytes written by the device, or null. */
void *virtqueue_take(struct virtqueue *queue, uint32_t *written);

/* Like virtqueue_take, but sleeps until there is one. */
void *virtqueue_wait(struct virtqueue *queue, uint32_t *written);

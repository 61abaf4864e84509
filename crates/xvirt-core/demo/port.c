#include "port.h"
#include "memory.h"

#define BUFFER_SIZE         512
#define RECEIVE_BUFFERS     8

/* Port 0 has the first two queues, the next two are for control messages. */
static uint16_t first_queue(uint32_t number)
{
    return number ? (uint16_t)(2 * number + 2) : 0;
}

int port_setup(struct virtio *device, struct port *port, uint32_t number)
{
    uint16_t first = first_queue(number);

    return virtio_queue(device, &port->receive, first) && virtio_queue(device, &port->transmit, first + 1);
}

static void give(struct port *port, char *buffer)
{
    struct virtqueue_buffer piece = { buffer, BUFFER_SIZE, 1 };

    virtqueue_add(&port->receive, &piece, 1, buffer);
}

void port_start(struct port *port)
{
    port->transmit_buffers = port->transmit.size;
    char *buffers = memory_pages((port->transmit_buffers + RECEIVE_BUFFERS) * BUFFER_SIZE);
    for (; port->free_count < port->transmit_buffers; buffers += BUFFER_SIZE)
        port->free_buffers[port->free_count++] = buffers;
    for (uint32_t i = 0; i < RECEIVE_BUFFERS && i < port->receive.size; i++)
        give(port, buffers + i * BUFFER_SIZE);
    virtqueue_kick(&port->receive);
}

uint32_t port_unsent(struct port *port)
{
    char *sent;

    while ((sent = virtqueue_take(&port->transmit, 0)))
        port->free_buffers[port->free_count++] = sent;
    return port->transmit_buffers - port->free_count;
}

size_t port_write(struct port *port, const char *bytes, size_t length)
{
    size_t left = length;

    port_unsent(port);
    while (left && port->free_count) {
        char *buffer = port->free_buffers[--port->free_count];
        uint32_t part = left < BUFFER_SIZE ? (uint32_t)left : BUFFER_SIZE;
        struct virtqueue_buffer piece = { buffer, part, 0 };

        memcpy(buffer, bytes, part);
        virtqueue_add(&port->transmit, &piece, 1, buffer);
        bytes += part;
        left -= part;
    }
    virtqueue_kick(&port->transmit);
    return length - left;
}

int port_read(struct port *port)
{
    if (port->at == port->length) {
        if (port->received) {
            give(port, port->received);
            virtqueue_kick(&port->receive);
        }
        port->at = port->length = 0;
        port->received = virtqueue_take(&port->receive, &port->length);
        if (!port->received || !port->length)
            return -1;
    }
    return (uint8_t)port->received[port->at++];
}

#include "console.h"
#include "io.h"
#include "lock.h"
#include "memory.h"
#include "print.h"
#include "result.h"
#include "virtio.h"

#define RECEIVE             0
#define TRANSMIT            1
#define BUFFER_SIZE         512
#define RECEIVE_BUFFERS     8
#define FLUSH_LOOKS         1000000u

static struct virtio device;
static struct virtqueue receive, transmit;
static int started;

/* Transmit buffers not in the queue. One CPU may wait for all of them while another prints. */
static struct lock transmit_lock;
static char *free_buffers[VIRTQUEUE_SIZE];
static uint32_t free_count, transmit_buffers;

static struct {
    const char *bytes;
    uint32_t at, length;
} received;

static void give(char *buffer)
{
    struct virtqueue_buffer piece = { buffer, BUFFER_SIZE, 1 };

    virtqueue_add(&receive, &piece, 1, buffer);
}

void console_start(void)
{
    if (!virtio_open(&device, VIRTIO_CONSOLE, 0))
        return;
    if (!virtio_negotiate(&device, 0) || !virtio_queue(&device, &receive, RECEIVE)
        || !virtio_queue(&device, &transmit, TRANSMIT)) {
        print("console: cannot be set up\n");
        result_fail();
        return;
    }
    virtqueue_silence(&transmit);
    virtio_ready(&device);

    transmit_buffers = transmit.size;
    char *buffers = memory_pages((transmit_buffers + RECEIVE_BUFFERS) * BUFFER_SIZE);
    for (; free_count < transmit_buffers; buffers += BUFFER_SIZE)
        free_buffers[free_count++] = buffers;
    for (uint32_t i = 0; i < RECEIVE_BUFFERS && i < receive.size; i++)
        give(buffers + i * BUFFER_SIZE);
    virtqueue_kick(&receive);
    started = 1;
    print_also_to(console_write);
}

/* With the lock held. */
static void collect_sent(void)
{
    char *sent;

    while ((sent = virtqueue_take(&transmit, 0)))
        free_buffers[free_count++] = sent;
}

void console_write(const char *bytes, size_t length)
{
    lock(&transmit_lock);
    collect_sent();
    while (length && free_count) {
        char *buffer = free_buffers[--free_count];
        uint32_t part = length < BUFFER_SIZE ? (uint32_t)length : BUFFER_SIZE;
        struct virtqueue_buffer piece = { buffer, part, 0 };

        memcpy(buffer, bytes, part);
        virtqueue_add(&transmit, &piece, 1, buffer);
        bytes += part;
        length -= part;
    }
    virtqueue_kick(&transmit);
    unlock(&transmit_lock);
}

int console_read(void)
{
    if (!started)
        return -1;
    if (received.at == received.length) {
        if (received.bytes) {
            give((char *)received.bytes);
            virtqueue_kick(&receive);
        }
        received.at = received.length = 0;
        received.bytes = virtqueue_take(&receive, &received.length);
        if (!received.bytes || !received.length)
            return -1;
    }
    return (uint8_t)received.bytes[received.at++];
}

void console_flush(void)
{
    if (!started)
        return;
    uint32_t left = 1;

    for (uint32_t i = 0; i < FLUSH_LOOKS && left; i++) {
        lock(&transmit_lock);
        collect_sent();
        left = transmit_buffers - free_count;
        unlock(&transmit_lock);
        cpu_pause();
    }
}

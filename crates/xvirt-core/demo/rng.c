#include "rng.h"
#include "memory.h"
#include "print.h"
#include "result.h"
#include "virtio.h"

#define BYTES 32

static void run(struct virtio *device, uint32_t number)
{
    static const uint8_t zeroes[BYTES];
    struct virtqueue queue;
    uint8_t *bytes = memory_pages(BYTES);
    uint32_t have = 0;

    if (!virtio_negotiate(device, 0) || !virtio_queue(device, &queue, 0)) {
        print("rng %u: cannot be set up\n", number);
        result_fail();
        return;
    }
    virtio_ready(device);
    while (have < BYTES) {
        struct virtqueue_buffer piece = { bytes + have, BYTES - have, 1 };
        uint32_t written;

        virtqueue_add(&queue, &piece, 1, bytes);
        virtqueue_kick(&queue);
        virtqueue_wait(&queue, &written);
        if (!written || written > BYTES - have) {
            print("rng %u: answered with %u bytes\n", number, written);
            result_fail();
            return;
        }
        have += written;
    }
    char hex[2 * BYTES + 1];
    for (uint32_t i = 0; i < BYTES; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    hex[2 * BYTES] = 0;
    int good = memcmp(bytes, zeroes, BYTES) != 0;
    print("rng %u: bytes=%s %s\n", number, hex, good ? "ok" : "all zero");
    if (!good)
        result_fail();
}

void rng_run(void)
{
    struct virtio device;

    for (uint32_t i = 0; virtio_open(&device, VIRTIO_RNG, i); i++)
        run(&device, i);
}

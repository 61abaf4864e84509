#include "disk.h"
#include "memory.h"
#include "print.h"
#include "result.h"

#define CONFIG_CAPACITY     0
#define CONFIG_QUEUES       34
#define PIECES              3       /* header, data, status */
#define FEATURE(bit)        (1ul << (bit))

static void setup_slots(struct disk *disk)
{
    if (!disk->slots) {
        disk->slots = memory_pages(DISK_BATCH * sizeof *disk->slots);
        uint8_t *data = memory_pages(DISK_BATCH * DISK_BLOCK_SIZE);
        for (uint32_t i = 0; i < DISK_BATCH; i++)
            disk->slots[i].data = (uint64_t *)(data + i * DISK_BLOCK_SIZE);
    }
    disk->batch = disk->queues[0].size / PIECES;
    if (disk->batch > DISK_BATCH)
        disk->batch = DISK_BATCH;
}

/* A device without GET_ID answers "unsupported", and the serial stays empty. */
static void read_serial(struct disk *disk)
{
    struct disk_slot *slot = &disk->slots[0];

    disk_submit(disk, 0, DISK_GET_ID, 0, DISK_SERIAL_SIZE);
    disk_finish(disk, 1);
    if (!slot->status)
        memcpy(disk->serial, slot->data, DISK_SERIAL_SIZE);
}

int disk_open(struct disk *disk, const struct pci_function *function, uint32_t number)
{
    const uint64_t wanted = FEATURE(DISK_FEATURE_READ_ONLY) | FEATURE(DISK_FEATURE_FLUSH)
        | FEATURE(DISK_FEATURE_QUEUES) | FEATURE(DISK_FEATURE_DISCARD) | FEATURE(DISK_FEATURE_WRITE_ZEROES);

    disk->number = number;
    disk->queue_count = 0;
    if (!virtio_open_function(&disk->device, function))
        return 0;
    uint32_t queues = virtio_negotiate(&disk->device, wanted) ? 1 : 0;
    if (queues && virtio_has(&disk->device, DISK_FEATURE_QUEUES))
        queues = virtio_config16(&disk->device, CONFIG_QUEUES);
    if (queues > DISK_MAX_QUEUES)
        queues = DISK_MAX_QUEUES;
    while (disk->queue_count < queues
           && virtio_queue(&disk->device, &disk->queues[disk->queue_count], (uint16_t)disk->queue_count))
        disk->queue_count++;
    if (!disk->queue_count) {
        print("blk %u: cannot be set up\n", number);
        result_fail();
        return 0;
    }
    virtio_ready(&disk->device);
    setup_slots(disk);
    disk->sectors = disk_capacity(disk);
    read_serial(disk);
    return 1;
}

void disk_close(struct disk *disk)
{
    virtio_close(&disk->device);
}

uint64_t disk_capacity(const struct disk *disk)
{
    return virtio_config64(&disk->device, CONFIG_CAPACITY);
}

void disk_submit(struct disk *disk, uint32_t slot, uint32_t type, uint64_t sector, uint32_t length)
{
    struct disk_slot *at = &disk->slots[slot];
    struct virtqueue *queue = &disk->queues[slot % disk->queue_count];
    int device_writes = type == DISK_READ || type == DISK_GET_ID;
    struct virtqueue_buffer pieces[PIECES];
    uint32_t count = 0;

    at->header.type = type;
    at->header.reserved = 0;
    at->header.sector = sector;
    at->status = 0xff;
    pieces[count++] = (struct virtqueue_buffer){ &at->header, sizeof at->header, 0 };
    if (length)
        pieces[count++] = (struct virtqueue_buffer){ at->data, length, device_writes };
    pieces[count++] = (struct virtqueue_buffer){ &at->status, sizeof at->status, 1 };
    virtqueue_add(queue, pieces, count, at);
}

void disk_finish(struct disk *disk, uint32_t count)
{
    for (uint32_t i = 0; i < disk->queue_count && i < count; i++)
        virtqueue_kick(&disk->queues[i]);
    for (uint32_t i = 0; i < count; i++)
        virtqueue_wait(&disk->queues[i % disk->queue_count], 0);
}

int disk_check(const struct disk *disk, uint32_t slot, const char *what)
{
    const struct disk_slot *at = &disk->slots[slot];

    if (!at->status)
        return 1;
    print("blk %u: %s error status=%u sector=%lu\n", disk->number, what, at->status, at->header.sector);
    result_fail();
    return 0;
}

int disk_request(struct disk *disk, uint32_t type, uint64_t sector, uint32_t length, const char *what)
{
    disk_submit(disk, 0, type, sector, length);
    disk_finish(disk, 1);
    return disk_check(disk, 0, what);
}

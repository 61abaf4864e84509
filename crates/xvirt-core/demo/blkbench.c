#include "blkbench.h"
#include "disk.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "random.h"
#include "result.h"

#define SECTOR_SIZE     512u
#define PIECES          3u
#define MOST_BYTES      (1u << 20)

static struct disk disk;
static struct random numbers = { 1 };
static uint64_t bytes, places, submitted;
static int writing, random_places, flushing;

/* Replaces the usual slots and buffers with ones of its own size. */
static uint32_t prepare(void)
{
    uint64_t depth = option_number("depth", 1), most = disk.queues[0].size / PIECES;

    bytes = option_number("bytes", DISK_BLOCK_SIZE);
    if (bytes > MOST_BYTES || bytes < SECTOR_SIZE || bytes % SECTOR_SIZE)
        bytes = DISK_BLOCK_SIZE;
    if (!depth || depth > most)
        depth = most;
    places = disk.sectors * SECTOR_SIZE / bytes;
    disk.slots = memory_pages(depth * sizeof *disk.slots);
    uint8_t *data = memory_pages(depth * bytes);
    for (uint32_t i = 0; i < depth; i++)
        disk.slots[i].data = (uint64_t *)(data + i * bytes);
    return (uint32_t)depth;
}

static void submit(struct disk_slot *slot)
{
    uint64_t place = random_places ? random_below(&numbers, places) : submitted % places;

    if (flushing && submitted % 2)
        disk_submit(&disk, (uint32_t)(slot - disk.slots), DISK_FLUSH, 0, 0);
    else
        disk_submit(&disk, (uint32_t)(slot - disk.slots), writing ? DISK_WRITE : DISK_READ,
                    place * (bytes / SECTOR_SIZE), (uint32_t)bytes);
    submitted++;
}

void blkbench_run(void)
{
    uint64_t wanted = option_number("requests", 1000);

    writing = option_is("do", "write") || option_is("do", "randwrite") || option_is("do", "flush");
    random_places = option_is("do", "randread") || option_is("do", "randwrite");
    flushing = option_is("do", "flush");
    if (!disk_open(&disk, virtio_find(VIRTIO_BLK, 0), 0) || !disk.sectors) {
        print("bench: no disk\n");
        result_fail();
        return;
    }
    /* All in one queue, on which virtqueue_wait waits. */
    disk.queue_count = 1;
    uint32_t depth = prepare();
    print("bench: begin depth=%u bytes=%lu\n", depth, bytes);
    for (uint32_t i = 0; i < depth; i++)
        submit(&disk.slots[i]);
    virtqueue_kick(&disk.queues[0]);
    for (uint64_t done = 0; done < submitted; done++) {
        struct disk_slot *slot = virtqueue_wait(&disk.queues[0], 0);

        if (!disk_check(&disk, (uint32_t)(slot - disk.slots), "bench"))
            return;
        if (submitted < wanted) {
            submit(slot);
            virtqueue_kick(&disk.queues[0]);
        }
    }
    print("bench: end requests=%lu\n", submitted);
}

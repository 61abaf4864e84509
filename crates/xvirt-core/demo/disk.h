/* One virtio disk: requests and their answers. blk.c decides which. */
#pragma once
#include "virtio.h"

#define DISK_BLOCK_SIZE     4096u
#define DISK_BLOCK_SECTORS  8u
#define DISK_BATCH          16u     /* blocks in flight at once */
#define DISK_SERIAL_SIZE    20
#define DISK_MAX_QUEUES     8

/* Request types, and the feature bits that offer some of them. */
#define DISK_READ           0
#define DISK_WRITE          1
#define DISK_FLUSH          4
#define DISK_GET_ID         8
#define DISK_DISCARD        11
#define DISK_WRITE_ZEROES   13
#define DISK_FEATURE_READ_ONLY      5
#define DISK_FEATURE_FLUSH          9
#define DISK_FEATURE_QUEUES         12
#define DISK_FEATURE_DISCARD        13
#define DISK_FEATURE_WRITE_ZEROES   14

struct disk_slot {
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    uint8_t status;
    uint64_t *data;             /* DISK_BLOCK_SIZE bytes */
};

struct disk {
    struct virtio device;
    struct virtqueue queues[DISK_MAX_QUEUES];
    uint32_t number, queue_count, batch;
    uint64_t sectors;
    uint64_t blocks, stride, last, pattern; /* for blk.c: count, distance and last position, and their pattern */
    char serial[DISK_SERIAL_SIZE + 1];
    struct disk_slot *slots;    /* DISK_BATCH of them */
};

/* Sets a disk up with a number and reads its serial; 0 when there is none. `disk` may be one that was closed. */
int disk_open(struct disk *disk, const struct pci_function *function, uint32_t number);
void disk_close(struct disk *disk);

/* The device's current capacity in sectors of 512 bytes. */
uint64_t disk_capacity(const struct disk *disk);

/* Submits the request in a slot, to the queues in turn; `disk_finish` waits for all `count` of them. */
void disk_submit(struct disk *disk, uint32_t slot, uint32_t type, uint64_t sector, uint32_t length);
void disk_finish(struct disk *disk, uint32_t count);

/* Whether a slot's request succeeded; reports a failure. */
int disk_check(const struct disk *disk, uint32_t slot, const char *what);

/* One request through slot 0, its data in that slot's buffer. */
int disk_request(struct disk *disk, uint32_t type, uint64_t sector, uint32_t length, const char *what);

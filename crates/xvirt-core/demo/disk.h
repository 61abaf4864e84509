/* One virtio disk: requests and their answers. blk.c decides what to do with it. */
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
    uint64_t blocks, stride, last, pattern; /* blk.c's: how many blocks, how far apart, where the last one, with what */
    char serial[DISK_SERIAL_SIZE + 1];
    struct disk_slot *slots;    /* DISK_BATCH of them */
};

/* Sets a disk up, calls it by a number and reads its serial; 0 when there is none. One that was closed may be another. */
int disk_open(struct disk *disk, const struct pci_function *function, uint32_t number);
void disk_close(struct disk *disk);

/* Capacity in sectors of 512 bytes, as the device has it now. */
uint64_t disk_capacity(const struct disk *disk);

/* Puts the request in a slot into the queue whose turn it is; the last `disk_finish` waits for all `count` of them. */
void disk_submit(struct disk *disk, uint32_t slot, uint32_t type, uint64_t sector, uint32_t length);
void disk_finish(struct disk *disk, uint32_t count);

/* Whether a slot's request went well; if not, says so. */
int disk_check(const struct disk *disk, uint32_t slot, const char *what);

/* One request through slot 0, its data in that slot's buffer. */
int disk_request(struct disk *disk, uint32_t type, uint64_t sector, uint32_t length, const char *what);

#include "blk.h"
#include "disk.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "random.h"
#include "result.h"

#define MAX_DISKS       16
#define BLOCKS_DEFAULT  16
#define MAX_ROUNDS      (1u << 20)

static struct disk *disks[MAX_DISKS];
static uint32_t disk_count;
static uint64_t rounds, rounds_wanted, rounds_per_line;

/*
 * A disk's data depends on the seed and on the disk, so that swapped disks are detected. A clone has another serial
 * and its template's data; with `pattern=index`, the data depends on the disk's number instead.
 */
static uint64_t pattern_of(const struct disk *disk)
{
    uint64_t pattern = random_mix(option_number("seed", 1));

    if (option_is("pattern", "index") || !disk->serial[0])
        return random_mix(pattern + disk->number);
    for (const char *c = disk->serial; *c; c++)
        pattern = random_mix(pattern + (uint8_t)*c);
    return pattern;
}

/* Word `i` of the block at a sector; cheap, because the CPU may be an emulated one. */
static uint64_t word_at(uint64_t pattern, uint64_t sector, uint64_t i)
{
    return pattern + sector * 0x9e3779b97f4a7c15 + i * 0xd1342543de82ef95;
}

/*
 * Blocks are spread evenly, from the beginning of the disk to its initial end or that of `span=`. They stay there if the
 * disk grows, with `span=` also after a reboot.
 */
static void lay_out(struct disk *disk)
{
    uint64_t span = option_number("span", disk->sectors), wanted = option_number("blocks", BLOCKS_DEFAULT);
    uint64_t there = (span < disk->sectors ? span : disk->sectors) / DISK_BLOCK_SECTORS;

    disk->blocks = wanted < there ? wanted : there;
    if (!disk->blocks)
        return;
    disk->stride = there / disk->blocks * DISK_BLOCK_SECTORS;
    disk->last = (there - 1) * DISK_BLOCK_SECTORS;
}

static uint64_t sector_of(const struct disk *disk, uint64_t block)
{
    if (block && block + 1 == disk->blocks)
        return disk->last;
    return block * disk->stride;
}

static int compare(const struct disk *disk, uint32_t slot)
{
    const uint64_t *data = disk->slots[slot].data;
    uint64_t sector = disk->slots[slot].header.sector;

    for (uint64_t i = 0; i < DISK_BLOCK_SIZE / 8; i++) {
        uint64_t expected = word_at(disk->pattern, sector, i);
        if (data[i] == expected)
            continue;
        print("blk %u: sector %lu word %lu expected 0x%lx found 0x%lx\n", disk->number, sector, i, expected, data[i]);
        result_fail();
        return 0;
    }
    return 1;
}

static void fill(const struct disk *disk, uint32_t slot, uint64_t sector)
{
    for (uint64_t word = 0; word < DISK_BLOCK_SIZE / 8; word++)
        disk->slots[slot].data[word] = word_at(disk->pattern, sector, word);
}

/* Writes or reads all blocks, in batches over all queues; data that was read is compared if `verify`. */
static int transfer(struct disk *disk, uint32_t type, int verify)
{
    uint64_t blocks = disk->blocks;
    int good = 1;

    for (uint64_t first = 0; first < blocks; first += disk->batch) {
        uint32_t count = blocks - first < disk->batch ? (uint32_t)(blocks - first) : disk->batch;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t sector = sector_of(disk, first + i), *data = disk->slots[i].data;
            /* A read that transfers nothing must not find the old data. */
            data[0] = ~word_at(disk->pattern, sector, 0);
            if (type == DISK_WRITE)
                fill(disk, i, sector);
            disk_submit(disk, i, type, sector, DISK_BLOCK_SIZE);
        }
        disk_finish(disk, count);
        for (uint32_t i = 0; i < count; i++) {
            if (!disk_check(disk, i, type == DISK_WRITE ? "write" : "read") || (verify && !compare(disk, i)))
                good = 0;
        }
    }
    return good;
}

/* Whether this disk exists, and `disk=` does not exclude it. */
static int is_meant(uint32_t number)
{
    return disks[number]->device.function && option_number("disk", number) == number;
}

static void say(const struct disk *disk, const char *what)
{
    print("blk %u: %s blocks=%lu\n", disk->number, what, disk->blocks);
}

/* The range of discard and write-zeroes: sector, count, flags. */
static int clear(struct disk *disk, uint32_t type, uint64_t sector, const char *what)
{
    disk->slots[0].data[0] = sector;
    disk->slots[0].data[1] = DISK_BLOCK_SECTORS;
    return disk_request(disk, type, 0, 16, what);
}

static int is_zero(struct disk *disk, uint64_t sector)
{
    const uint64_t *data = disk->slots[0].data;

    memset(disk->slots[0].data, 0xff, DISK_BLOCK_SIZE);
    if (!disk_request(disk, DISK_READ, sector, DISK_BLOCK_SIZE, "read"))
        return 0;
    for (uint32_t i = 0; i < DISK_BLOCK_SIZE / 8; i++) {
        if (data[i]) {
            print("blk %u: sector %lu not zero\n", disk->number, sector);
            result_fail();
            return 0;
        }
    }
    return 1;
}

/* Discards or zeroes a block between the first two patterned ones, if any. The data after a discard is undefined. */
static int clear_some(struct disk *disk)
{
    uint64_t sector = DISK_BLOCK_SECTORS;

    if (disk->blocks < 2 || sector_of(disk, 1) <= sector)
        return 1;
    if (virtio_has(&disk->device, DISK_FEATURE_WRITE_ZEROES)) {
        memset(disk->slots[0].data, 0xa5, DISK_BLOCK_SIZE);
        if (!disk_request(disk, DISK_WRITE, sector, DISK_BLOCK_SIZE, "write")
            || !clear(disk, DISK_WRITE_ZEROES, sector, "write-zeroes") || !is_zero(disk, sector))
            return 0;
        print("blk %u: zeroed\n", disk->number);
    }
    if (virtio_has(&disk->device, DISK_FEATURE_DISCARD)) {
        if (!clear(disk, DISK_DISCARD, sector, "discard"))
            return 0;
        print("blk %u: discarded\n", disk->number);
    }
    return 1;
}

static int write_all(struct disk *disk)
{
    if (!transfer(disk, DISK_WRITE, 0))
        return 0;
    say(disk, "written");
    if (virtio_has(&disk->device, DISK_FEATURE_FLUSH)) {
        if (!disk_request(disk, DISK_FLUSH, 0, 0, "flush"))
            return 0;
        print("blk %u: flushed\n", disk->number);
    }
    return clear_some(disk);
}

/* Writes the half of the blocks that the round's pattern selects, and reports when they are durable. */
static int write_some(struct disk *disk)
{
    uint32_t count = 0;

    for (uint64_t block = 0; block < disk->blocks; block++) {
        if (random_mix(disk->pattern + block) & 1) {
            fill(disk, count, sector_of(disk, block));
            disk_submit(disk, count++, DISK_WRITE, sector_of(disk, block), DISK_BLOCK_SIZE);
        }
        if (count < disk->batch && block + 1 < disk->blocks)
            continue;
        disk_finish(disk, count);
        while (count) {
            if (!disk_check(disk, --count, "write"))
                return 0;
        }
    }
    if (!disk_request(disk, DISK_FLUSH, 0, 0, "flush"))
        return 0;
    print("blk %u: flushed %lu\n", disk->number, rounds);
    return 1;
}

static int read_all(struct disk *disk, int verify)
{
    if (!transfer(disk, DISK_READ, verify))
        return 0;
    say(disk, verify ? "verified" : "read");
    return 1;
}

/* The pattern of the block in a slot, 0 if it is all zeroes; 0 is returned if it holds anything else. */
static int pattern_in(const struct disk *disk, uint32_t slot, uint64_t *pattern)
{
    const uint64_t *data = disk->slots[slot].data;
    uint64_t sector = disk->slots[slot].header.sector;

    *pattern = data[0] ? data[0] - word_at(0, sector, 0) : 0;
    for (uint64_t i = 0; i < DISK_BLOCK_SIZE / 8; i++) {
        if (data[i] == (*pattern ? word_at(*pattern, sector, i) : 0))
            continue;
        print("blk %u: sector %lu failed: it is torn at word %lu\n", disk->number, sector, i);
        return 0;
    }
    return 1;
}

/* Collects the patterns of all blocks, at most two; returns their number, or -1 on failure. */
static int patterns_on(struct disk *disk, uint64_t found[2])
{
    int count = 0;

    for (uint64_t block = 0; block < disk->blocks; block++) {
        uint64_t sector = sector_of(disk, block), pattern;
        if (!disk_request(disk, DISK_READ, sector, DISK_BLOCK_SIZE, "read") || !pattern_in(disk, 0, &pattern))
            return -1;
        if ((count > 0 && found[0] == pattern) || (count > 1 && found[1] == pattern))
            continue;
        if (count == 2) {
            print("blk %u: sector %lu failed: it is of a third round\n", disk->number, sector);
            return -1;
        }
        found[count++] = pattern;
    }
    return count;
}

/*
 * Finds the round in which a disk was left, so that its load goes on from there, and completes it. As each round is
 * flushed before the next, whatever ended it left the data of one round, or of one and the next; 0 is the data of a new
 * disk, whose first round is 0 if it was plugged in and else 1.
 */
static int recover(struct disk *disk)
{
    uint64_t found[2] = { 0 }, round = 0;
    int count = patterns_on(disk, found);

    if (count <= 0 || (count == 1 && !found[0]))
        return count >= 0;
    while (disk->pattern != found[0] && disk->pattern != found[1] && round < MAX_ROUNDS) {
        disk->pattern = random_mix(disk->pattern);
        round++;
    }
    uint64_t other = disk->pattern == found[0] ? found[1] : found[0], next = random_mix(disk->pattern);
    if (round == MAX_ROUNDS || (count == 2 && other != next && (other || round > 1))) {
        print("blk %u: failed: patterns 0x%lx and 0x%lx are not of two rounds in a row\n", disk->number, found[0],
              found[1]);
        return 0;
    }
    if (other == next) {
        disk->pattern = next;
        round++;
    }
    print("blk %u: continues after round %lu\n", disk->number, round);
    return transfer(disk, DISK_WRITE, 0) && disk_request(disk, DISK_FLUSH, 0, 0, "flush");
}

/* Sets a disk up with the lowest free number, or returns null. */
static struct disk *open(const struct pci_function *function)
{
    uint32_t number = 0;

    while (number < disk_count && disks[number]->device.function)
        number++;
    if (!function || number == MAX_DISKS)
        return 0;
    if (number == disk_count)
        disks[disk_count++] = memory_pages(sizeof **disks);
    struct disk *disk = disks[number];
    if (!disk_open(disk, function, number)) {
        disk->device.function = 0;
        return 0;
    }
    disk->pattern = pattern_of(disk);
    lay_out(disk);
    print("blk %u: serial=%s sectors=%lu queues=%u readonly=%s\n", disk->number, disk->serial, disk->sectors,
          disk->queue_count, virtio_has(&disk->device, DISK_FEATURE_READ_ONLY) ? "yes" : "no");
    if (option_is("load", "continue") && !recover(disk)) {
        print("blk %u: failed\n", number);
        result_fail();
        disk_close(disk);
        return 0;
    }
    return disk;
}

void blk_start(void)
{
    uint32_t next = 0;

    rounds_wanted = option_number("rounds", 0);
    rounds_per_line = option_number("every", 100);
    while (open(virtio_find(VIRTIO_BLK, next)))
        next++;
}

static int run(struct disk *disk)
{
    int read_only = virtio_has(&disk->device, DISK_FEATURE_READ_ONLY);
    int good = read_only ? read_all(disk, 0) : write_all(disk) && read_all(disk, 1);

    print("blk %u: %s\n", disk->number, good ? "ok" : "failed");
    return good;
}

void blk_run(void)
{
    for (uint32_t i = 0; i < disk_count; i++) {
        if (is_meant(i))
            run(disks[i]);
    }
}

int blk_plug(const struct pci_function *function)
{
    struct disk *disk = open(function);

    return disk && run(disk);
}

void blk_unplug(const struct pci_function *function)
{
    for (uint32_t i = 0; i < disk_count; i++) {
        if (disks[i]->device.function == function)
            disk_close(disks[i]);
    }
}

void blk_verify(void)
{
    for (uint32_t i = 0; i < disk_count; i++) {
        if (is_meant(i))
            print("blk %u: %s\n", i, read_all(disks[i], 1) ? "ok" : "failed");
    }
}

int blk_load_poll(void)
{
    rounds++;
    for (uint32_t i = 0; i < disk_count; i++) {
        struct disk *disk = disks[i];
        if (!is_meant(i) || virtio_has(&disk->device, DISK_FEATURE_READ_ONLY))
            continue;
        disk->pattern = random_mix(disk->pattern);
        if (option_is("load", "flush")) {
            if (!write_some(disk))
                return 0;
            continue;
        }
        if (!transfer(disk, DISK_WRITE, 0)
            || (option_is("load", "continue") && !disk_request(disk, DISK_FLUSH, 0, 0, "flush"))
            || !transfer(disk, DISK_READ, 1)) {
            print("blk %u: failed\n", i);
            return 0;
        }
        if (rounds % rounds_per_line == 0 || rounds == rounds_wanted)
            print("blk %u: round %lu\n", i, rounds);
    }
    return rounds != rounds_wanted;
}

void blk_watch(void)
{
    for (uint32_t i = 0; i < disk_count; i++) {
        if (!disks[i]->device.function)
            continue;
        uint64_t sectors = disk_capacity(disks[i]);
        if (sectors == disks[i]->sectors)
            continue;
        disks[i]->sectors = sectors;
        print("blk %u: resized sectors=%lu\n", i, sectors);
    }
}

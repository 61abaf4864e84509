#include "soak.h"
#include "disk.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "random.h"
#include "result.h"

#define MAX_DISKS       4
#define WORDS           (DISK_BLOCK_SIZE / 8)
#define BLOCKS_DEFAULT  256
#define FLUSH_TIMES     16          /* one flush per this many batches */

/* `generations` counts the writes of each block; a block with 0 is not read. */
struct soak {
    struct disk disk;
    uint64_t key, written, verified, flushes;
    uint32_t *generations;
    uint32_t in_flight[DISK_BATCH]; /* the block of each slot */
};

static struct soak *soaks[MAX_DISKS];
static uint32_t soak_count;
static struct random numbers;
static uint64_t rounds, rounds_wanted, rounds_per_line;

/* `demo/soak.rs` in the library implements these two functions as well. */
static uint64_t first_word(const struct soak *soak, uint64_t block, uint64_t generation)
{
    return random_mix(soak->key + block * 0x9e3779b97f4a7c15 + generation * 0xd1342543de82ef95);
}

static uint64_t digest(const struct soak *soak)
{
    uint64_t sum = 0;

    for (uint64_t block = 0; block < soak->disk.blocks; block++)
        sum += random_mix(block << 32 | soak->generations[block]);
    return sum;
}

static int open(struct soak *soak, uint32_t number, uint64_t seed)
{
    struct disk *disk = &soak->disk;
    uint64_t wanted = option_number("blocks", BLOCKS_DEFAULT);

    if (!disk_open(disk, virtio_find(VIRTIO_BLK, number), number))
        return 0;
    uint64_t there = disk->sectors / DISK_BLOCK_SECTORS;
    disk->blocks = wanted < there ? wanted : there;
    disk->stride = disk->blocks ? there / disk->blocks * DISK_BLOCK_SECTORS : 0;
    soak->key = random_mix(seed) ^ random_mix(number + 1);
    soak->generations = memory_pages(disk->blocks * sizeof *soak->generations);
    print("soak %u: blocks=%lu queues=%u\n", number, disk->blocks, disk->queue_count);
    return disk->blocks != 0;
}

int soak_start(void)
{
    uint64_t seed = option_number("seed", 1);

    rounds_wanted = option_number("rounds", 0);
    rounds_per_line = option_number("every", 100);
    numbers.state = random_mix(seed) | 1;
    for (; soak_count < MAX_DISKS; soak_count++) {
        struct soak *soak = memory_pages(sizeof *soak);
        if (!open(soak, soak_count, seed))
            break;
        soaks[soak_count] = soak;
    }
    return soak_count != 0;
}

/* Chooses a block that no other slot of the batch has, because two requests in flight have no defined order. */
static int choose(struct soak *soak, uint32_t slot)
{
    uint32_t block = (uint32_t)random_below(&numbers, soak->disk.blocks);

    for (uint32_t i = 0; i < slot; i++) {
        if (soak->in_flight[i] == block)
            return 0;
    }
    soak->in_flight[slot] = block;
    return 1;
}

static void submit(struct soak *soak, uint32_t slot)
{
    uint64_t block = soak->in_flight[slot], *data = soak->disk.slots[slot].data;
    int write = !soak->generations[block] || random_one_in(&numbers, 2);

    if (write) {
        uint64_t word = first_word(soak, block, ++soak->generations[block]);
        data[0] = soak->generations[block];
        for (uint64_t i = 1; i < WORDS; i++)
            data[i] = word += 0xbf58476d1ce4e5b9;
        soak->written++;
    } else {
        /* A read that transfers nothing, or only a part, must not find the old data. */
        data[0] = data[WORDS - 1] = 0;
        soak->verified++;
    }
    disk_submit(&soak->disk, slot, write ? DISK_WRITE : DISK_READ, block * soak->disk.stride, DISK_BLOCK_SIZE);
}

static int compare(const struct soak *soak, uint32_t slot)
{
    const uint64_t *data = soak->disk.slots[slot].data;
    uint64_t block = soak->in_flight[slot], generation = soak->generations[block];
    uint64_t word = first_word(soak, block, generation), wrong = data[0] != generation;

    for (uint64_t i = 1; i < WORDS; i++)
        wrong |= data[i] ^ (word += 0xbf58476d1ce4e5b9);
    if (!wrong)
        return 1;
    print("soak %u: block %lu expected generation %lu found %lu, or its data differ\n", soak->disk.number, block,
          generation, data[0]);
    result_fail();
    return 0;
}

static int flush(struct soak *soak)
{
    if (!virtio_has(&soak->disk.device, DISK_FEATURE_FLUSH))
        return 1;
    soak->flushes++;
    return disk_request(&soak->disk, DISK_FLUSH, 0, 0, "flush");
}

static int batch(struct soak *soak)
{
    uint32_t count = 0;
    int good = 1;

    while (count < soak->disk.batch && choose(soak, count))
        submit(soak, count++);
    disk_finish(&soak->disk, count);
    for (uint32_t slot = 0; slot < count; slot++) {
        int read = soak->disk.slots[slot].header.type == DISK_READ;
        good &= disk_check(&soak->disk, slot, read ? "read" : "write") && (!read || compare(soak, slot));
    }
    return good && (rounds % FLUSH_TIMES || flush(soak));
}

int soak_poll(void)
{
    rounds++;
    for (uint32_t i = 0; i < soak_count; i++) {
        if (!batch(soaks[i])) {
            print("soak %u: failed\n", i);
            return 0;
        }
        if (rounds % rounds_per_line == 0)
            print("soak %u: written=%lu verified=%lu flushes=%lu\n", i, soaks[i]->written, soaks[i]->verified,
                  soaks[i]->flushes);
    }
    if (rounds != rounds_wanted)
        return 1;
    soak_end();
    return 0;
}

void soak_end(void)
{
    for (uint32_t i = 0; i < soak_count; i++) {
        struct soak *soak = soaks[i];
        if (flush(soak))
            print("soak %u: ended written=%lu verified=%lu digest=%lu\n", i, soak->written, soak->verified,
                  digest(soak));
    }
}

#include "balloon.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "result.h"
#include "virtio.h"

#define INFLATE         0
#define DEFLATE         1
#define STATISTICS      2
#define FEATURES        (1ul << 1)      /* statistics */
#define TARGET          0
#define ACTUAL          4

#define START_DEFAULT   (16ul << 20)
#define PAGES_DEFAULT   4096
#define BATCH           256
#define MARK            0xb0ba11005ull

struct statistic {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));

#define TAG_FREE        4
#define TAG_TOTAL       5
#define TAG_AVAILABLE   6

static struct virtio device;
static struct virtqueue inflate, deflate, statistics;
static struct statistic *report;
static uint32_t *batch;
static uint64_t first;
static uint32_t pages, given;

static volatile uint64_t *page(uint32_t number)
{
    return (volatile uint64_t *)(first + number * PAGE_SIZE);
}

static void tell(struct virtqueue *queue, uint32_t from, uint32_t count)
{
    struct virtqueue_buffer piece = { batch, count * 4, 0 };

    for (uint32_t i = 0; i < count; i++)
        batch[i] = (uint32_t)(first / PAGE_SIZE) + from + i;
    virtqueue_add(queue, &piece, 1, batch);
    virtqueue_kick(queue);
    virtqueue_wait(queue, 0);
}

/* Returned pages must be zero and writable. */
static void take_back(uint32_t from, uint32_t count)
{
    tell(&deflate, from, count);
    for (uint32_t i = from; i < from + count; i++) {
        if (*page(i)) {
            print("balloon: page 0x%lx came back with 0x%lx\n", (uint64_t)page(i), *page(i));
            result_fail();
        }
        *page(i) = MARK + i;
    }
}

static void send_report(void)
{
    struct virtqueue_buffer piece = { report, 3 * sizeof *report, 0 };
    uint64_t left = (pages - given) * PAGE_SIZE;

    report[0] = (struct statistic){ TAG_FREE, left / 2 };
    report[1] = (struct statistic){ TAG_TOTAL, pages * PAGE_SIZE };
    report[2] = (struct statistic){ TAG_AVAILABLE, left };
    virtqueue_add(&statistics, &piece, 1, report);
    virtqueue_kick(&statistics);
}

int balloon_start(void)
{
    if (!virtio_open(&device, VIRTIO_BALLOON, 0)) {
        print("balloon: none\n");
        return 0;
    }
    if (!virtio_negotiate(&device, FEATURES) || !virtio_queue(&device, &inflate, INFLATE)
        || !virtio_queue(&device, &deflate, DEFLATE) || !virtio_queue(&device, &statistics, STATISTICS)) {
        print("balloon: cannot be set up\n");
        result_fail();
        return 0;
    }
    batch = memory_pages(BATCH * 4);
    report = memory_pages(PAGE_SIZE);
    first = option_number("start", START_DEFAULT);
    pages = (uint32_t)option_number("pages", PAGES_DEFAULT);
    if (first < memory_end() || !memory_is_ram(first, pages * PAGE_SIZE)) {
        print("balloon: no room\n");
        result_fail();
        return 0;
    }
    for (uint32_t i = 0; i < pages; i++)
        *page(i) = MARK + i;
    virtio_ready(&device);
    send_report();
    print("balloon: touched=%u\n", pages);
    balloon_watch();
    return 1;
}

void balloon_poll(void)
{
    while (virtqueue_take(&statistics, 0))
        send_report();
}

void balloon_watch(void)
{
    if (!pages)
        return;
    uint32_t target = virtio_config32(&device, TARGET), before = given;

    if (target > pages)
        target = pages;
    while (given != target) {
        uint32_t count = given < target ? target - given : given - target;
        if (count > BATCH)
            count = BATCH;
        if (given < target) {
            tell(&inflate, given, count);
            given += count;
        } else {
            given -= count;
            take_back(given, count);
        }
    }
    if (given == before)
        return;
    virtio_set_config32(&device, ACTUAL, given);
    print("balloon: pages=%u\n", given);
}

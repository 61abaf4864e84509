#include "counter.h"
#include "acpi.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "result.h"
#include "smp.h"
#include "timer.h"

#define START_DEFAULT   0x1000000ul
#define PAGES_DEFAULT   256

/* The beginning of each page. It has the address because two swapped pages may have the same count. */
struct page {
    uint64_t address, count;
};

struct share {
    uint64_t first, pages, passes;
    uint64_t next;          /* the page of this pass that comes next */
    uint64_t ticks;         /* those that were used up */
    int finished;
};

static uint64_t wanted, every, per_tick;
static struct share *shares;
static uint32_t finished;
static int stopped;

int counter_setup(void)
{
    uint64_t start = option_number("start", START_DEFAULT), pages = option_number("pages", PAGES_DEFAULT);
    uint32_t cpus = option_mode(MODE_SMP) ? acpi_interrupts.cpus : 1;

    shares = memory_pages(cpus * sizeof *shares);
    wanted = option_number("passes", 0);
    every = option_number("every", 100);
    per_tick = option_number("pertick", 0);
    if (start % PAGE_SIZE || start < memory_end() || !memory_is_ram(start, pages * PAGE_SIZE)) {
        print("counter: start=0x%lx pages=%lu is not free memory\n", start, pages);
        result_fail();
        return 0;
    }
    for (uint32_t i = 0; i < cpus; i++) {
        uint64_t from = pages * i / cpus, to = pages * (i + 1) / cpus;
        shares[i] = (struct share){ .first = start + from * PAGE_SIZE, .pages = to - from };
    }
    print("counter: start=0x%lx pages=%lu cpus=%u\n", start, pages, cpus);
    return 1;
}

static void fill(const struct share *share)
{
    for (uint64_t i = 0; i < share->pages; i++) {
        uint64_t address = share->first + i * PAGE_SIZE;
        *(volatile struct page *)address = (struct page){ address, 0 };
    }
}

static void fail(const char *what, uint64_t address, uint64_t expected, uint64_t found)
{
    __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
    print("counter: page 0x%lx %sexpected %lu found %lu\n", address, what, expected, found);
    result_fail();
}

/* Checks and increments the next counters of the share, at most `most`; 0 when one was wrong. */
static int count(struct share *share, uint64_t most)
{
    uint64_t left = share->pages - share->next, end = share->next + (most < left ? most : left);

    for (; share->next < end; share->next++) {
        uint64_t address = share->first + share->next * PAGE_SIZE;
        volatile struct page *page = (volatile struct page *)address;
        if (page->count != share->passes) {
            fail("", address, share->passes, page->count);
            return 0;
        }
        if (page->address != address) {
            fail("address ", address, address, page->address);
            return 0;
        }
        page->count = share->passes + 1;
    }
    return 1;
}

/* How many pages may be counted in now. The first pass is not slowed down. */
static uint64_t allowance(struct share *share)
{
    if (!per_tick || !share->passes)
        return share->pages;
    uint64_t ticks = timer_ticks(), pages = (ticks - share->ticks) * per_tick;
    share->ticks = ticks;
    return pages;
}

/* Does one pass, or as much of it as is allowed; 0 when there is nothing more to do. */
static int step(uint32_t cpu)
{
    struct share *share = &shares[cpu];

    if (!share->passes)
        fill(share);
    int going = !__atomic_load_n(&stopped, __ATOMIC_RELAXED) && count(share, allowance(share));
    if (going && share->next < share->pages)
        return 1;
    share->next = 0;
    share->passes++;
    int last = wanted && share->passes == wanted;
    if (going && (last || share->passes % every == 0))
        print("counter: cpu %u pass %lu\n", cpu, share->passes);
    if (going && !last)
        return 1;
    share->finished = 1;
    __atomic_fetch_add(&finished, 1, __ATOMIC_RELEASE);
    return 0;
}

void counter_run(uint32_t cpu)
{
    while (step(cpu))
        ;
}

int counter_poll(void)
{
    if (!shares[0].finished)
        step(0);
    return __atomic_load_n(&finished, __ATOMIC_ACQUIRE) < smp_cpus();
}

int counter_waits(void)
{
    const struct share *share = &shares[0];

    return per_tick && share->passes && share->ticks == timer_ticks();
}

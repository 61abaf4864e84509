#include "scribble.h"
#include "memory.h"

#define AVAILABLE_AT            1024u
#define USED_AT                 2048u
#define INDIRECT_AT             3072u       /* a second table of descriptors, in the page of each ring */
#define DATA_PAGES              48u
#define REQUEST_EVERY           4u          /* pages of data, one of which begins with a request's header */
#define REQUEST_PIECES          3u
#define GROUND                  ((SCRIBBLE_RINGS + DATA_PAGES) * PAGE_SIZE)

#define DESCRIPTOR_NEXT         1u
#define DESCRIPTOR_WRITE        2u
#define DESCRIPTOR_INDIRECT     4u

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static uint8_t *ground;

void scribble_start(void)
{
    ground = memory_pages(GROUND);
}

static uint8_t *page_of(uint32_t ring)
{
    return ground + ring * PAGE_SIZE;
}

static uint64_t inside(struct random *random)
{
    return (uint64_t)ground + random_below(random, GROUND);
}

static uint64_t anywhere(struct random *random)
{
    return random_one_in(random, 2) ? random_next(random) : inside(random);
}

struct scribble_ring scribble_place(struct random *random, uint32_t ring)
{
    uint64_t page = (uint64_t)page_of(ring);
    struct scribble_ring place = { page, page + AVAILABLE_AT, page + USED_AT };

    /* A ring begins empty, because otherwise the device would reject it immediately. */
    if (!random_one_in(random, 30))
        ((volatile uint16_t *)place.available)[1] = 0;
    if (random_one_in(random, 30))
        place.descriptors = anywhere(random);
    if (random_one_in(random, 30))
        place.available = anywhere(random);
    if (random_one_in(random, 30))
        place.used = anywhere(random);
    return place;
}

/* A well-formed request to a disk: a header, sectors to read or write, a status. */
static struct descriptor piece_of_request(struct random *random, uint32_t i)
{
    uint32_t header = SCRIBBLE_RINGS + REQUEST_EVERY * (uint32_t)random_below(random, DATA_PAGES / REQUEST_EVERY);
    uint16_t next = (uint16_t)(i + 1), direction = (uint16_t)(DESCRIPTOR_WRITE * random_below(random, 2));

    switch (i % REQUEST_PIECES) {
    case 0:
        return (struct descriptor){ (uint64_t)page_of(header), 16, DESCRIPTOR_NEXT, next };
    case 1:
        return (struct descriptor){ inside(random), 512 * (uint32_t)random_below(random, 9),
                                    DESCRIPTOR_NEXT | direction, next };
    default:
        return (struct descriptor){ inside(random), 1, DESCRIPTOR_WRITE, 0 };
    }
}

/* Any chain: the first half is for the device to read, the second to write. */
static struct descriptor piece_of_chain(struct random *random, uint32_t i)
{
    static const uint32_t usual[] = { 0, 1, 12, 16, 512, 4096, 16384 };
    uint16_t write = i >= SCRIBBLE_RING_SIZE / 2 ? DESCRIPTOR_WRITE : 0;

    return (struct descriptor){
        .address = inside(random),
        .length = usual[random_below(random, sizeof usual / sizeof usual[0])],
        .flags = (uint16_t)(write | random_below(random, 2)),
        .next = (uint16_t)(i + 1),
    };
}

/* Corrupts one descriptor. */
static void spoil(struct random *random, struct descriptor *at, uint32_t ring)
{
    switch (random_below(random, 5)) {
    case 0:
        at->address = anywhere(random);
        break;
    case 1:
        at->length = (uint32_t)random_next(random);
        break;
    case 2:
        at->flags = (uint16_t)random_next(random);
        break;
    case 3:
        at->next = (uint16_t)random_next(random);
        break;
    default:
        at->address = (uint64_t)page_of(ring) + INDIRECT_AT;
        at->length = (uint32_t)(1 + random_below(random, SCRIBBLE_RING_SIZE)) * sizeof *at;
        at->flags = DESCRIPTOR_INDIRECT;
    }
}

static void write_table(struct random *random, struct descriptor *table, uint32_t ring, int requests, uint64_t odds)
{
    for (uint32_t i = 0; i < SCRIBBLE_RING_SIZE; i++) {
        table[i] = requests ? piece_of_request(random, i) : piece_of_chain(random, i);
        if (random_one_in(random, odds))
            spoil(random, &table[i], ring);
    }
}

/* Data that begins like the header of a disk request: type and sector. */
static void write_requests(struct random *random)
{
    for (uint32_t page = 0; page < DATA_PAGES; page += REQUEST_EVERY) {
        uint64_t *at = (uint64_t *)page_of(SCRIBBLE_RINGS + page);

        at[0] = random_below(random, random_one_in(random, 3) ? 15 : 2);
        at[1] = random_one_in(random, 4) ? random_next(random) : random_below(random, 64);
    }
}

void scribble(struct random *random, uint32_t ring)
{
    volatile uint16_t *available = (volatile uint16_t *)(page_of(ring) + AVAILABLE_AT);
    /* A device stops serving this driver at the first error, so there are either many errors or almost none. */
    uint64_t odds = random_one_in(random, 2) ? 15 : 1000;
    int requests = !random_one_in(random, 3);

    write_table(random, (struct descriptor *)page_of(ring), ring, requests, odds);
    write_table(random, (struct descriptor *)(page_of(ring) + INDIRECT_AT), ring, requests, odds);
    write_requests(random);
    for (uint32_t i = 0; i < SCRIBBLE_RING_SIZE; i++) {
        uint64_t head = random_below(random, SCRIBBLE_RING_SIZE);
        if (requests)
            head = head / REQUEST_PIECES % (SCRIBBLE_RING_SIZE / REQUEST_PIECES) * REQUEST_PIECES;
        available[2 + i] = (uint16_t)(random_one_in(random, 10 * odds) ? random_next(random) : head);
    }
    available[0] = (uint16_t)random_below(random, 2);
    /* Advances by up to the size of the ring, or to any value, as if the device were far behind. */
    available[1] = (uint16_t)(random_one_in(random, odds) ? random_next(random)
                                                          : available[1] + random_below(random, SCRIBBLE_RING_SIZE + 1));
}

void scribble_word(struct random *random)
{
    uint64_t at = random_below(random, GROUND / 4);

    ((volatile uint32_t *)ground)[at] = (uint32_t)random_next(random);
}

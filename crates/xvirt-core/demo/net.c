#include "net.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "reply.h"
#include "result.h"
#include "virtio.h"

#define MAX_CARDS           8
#define RECEIVE             0
#define TRANSMIT            1
#define CONTROL             2
#define FEATURE_MTU         3
#define FEATURE_MAC         5
#define FEATURE_STATUS      16
#define FEATURE_CONTROL     17
#define FEATURE_ANNOUNCE    21
#define CONFIG_MAC          0
#define CONFIG_STATUS       6
#define CONFIG_MTU          10
#define STATUS_LINK_UP      1
#define STATUS_ANNOUNCE     2
#define COMMAND_OK          0
#define MTU_DEFAULT         1500
#define MTU_MOST            9216

#define HEADER_SIZE         12      /* struct virtio_net_hdr, with num_buffers */
#define ETHERNET_SIZE       14
#define VLAN_TAG_SIZE       4

struct packet {
    uint32_t length;                /* of header and frame */
    uint8_t bytes[];
};

struct card {
    struct virtio device;
    struct virtqueue receive, transmit, control;
    uint32_t number, mtu, packet_size;
    int link;
    uint64_t frames, bytes, told;
    uint8_t mac[6];
    uint8_t *packets;               /* one per receive buffer, with this size; kept for the next card */
    uint32_t room;
};

static struct card *cards[MAX_CARDS];
static uint32_t card_count;
static uint64_t wanted, every;

static int link_of(const struct card *card)
{
    return !virtio_has(&card->device, FEATURE_STATUS)
        || (virtio_config16(&card->device, CONFIG_STATUS) & STATUS_LINK_UP);
}

static void give(struct card *card, struct packet *packet)
{
    struct virtqueue_buffer piece = { packet->bytes, card->packet_size, 1 };

    virtqueue_add(&card->receive, &piece, 1, packet);
}

/* Reads the card's address; returns whether it has changed. */
static int read_address(struct card *card)
{
    int changed = 0;

    for (uint32_t i = 0; i < 6; i++) {
        uint8_t byte = virtio_config8(&card->device, CONFIG_MAC + i);
        changed |= byte != card->mac[i];
        card->mac[i] = byte;
    }
    return changed;
}

static int setup(struct card *card, const struct pci_function *function, uint32_t number)
{
    card->number = number;
    card->frames = card->bytes = card->told = 0;
    if (!virtio_open_function(&card->device, function))
        return 0;
    if (!virtio_negotiate(&card->device, 1ul << FEATURE_MTU | 1ul << FEATURE_MAC | 1ul << FEATURE_STATUS
                          | 1ul << FEATURE_CONTROL | 1ul << FEATURE_ANNOUNCE)
        || !virtio_queue(&card->device, &card->receive, RECEIVE)
        || !virtio_queue(&card->device, &card->transmit, TRANSMIT)
        || (virtio_has(&card->device, FEATURE_CONTROL) && !virtio_queue(&card->device, &card->control, CONTROL))) {
        print("net %u: cannot be set up\n", number);
        result_fail();
        return 0;
    }
    read_address(card);
    card->mtu = virtio_has(&card->device, FEATURE_MTU) ? virtio_config16(&card->device, CONFIG_MTU) : MTU_DEFAULT;
    if (card->mtu > MTU_MOST)
        card->mtu = MTU_MOST;
    card->packet_size = HEADER_SIZE + ETHERNET_SIZE + VLAN_TAG_SIZE + card->mtu;
    virtio_ready(&card->device);

    uint32_t room = (card->packet_size + (uint32_t)sizeof(struct packet) + 63) & ~63u;
    if (card->room < room) {
        card->packets = memory_pages((size_t)room * VIRTQUEUE_SIZE);
        card->room = room;
    }
    for (uint32_t i = 0; i < card->receive.size; i++)
        give(card, (struct packet *)(card->packets + i * card->room));
    virtqueue_kick(&card->receive);
    card->link = link_of(card);
    return 1;
}

/* Sets a card up with the lowest free number, or returns null. */
static struct card *open(const struct pci_function *function)
{
    uint32_t number = 0;

    while (number < card_count && cards[number]->device.function)
        number++;
    if (!function || number == MAX_CARDS)
        return 0;
    if (number == card_count)
        cards[card_count++] = memory_pages(sizeof **cards);
    struct card *card = cards[number];
    const uint8_t *mac = card->mac;
    if (!setup(card, function, number)) {
        card->device.function = 0;
        return 0;
    }
    print("net %u: mac=%02x:%02x:%02x:%02x:%02x:%02x mtu=%u link=%s\n", card->number, mac[0], mac[1], mac[2],
          mac[3], mac[4], mac[5], card->mtu, card->link ? "up" : "down");
    return card;
}

/* Broadcasts a frame from the card's address and waits until it is sent. */
static void broadcast(struct card *card)
{
    static struct {
        uint8_t header[HEADER_SIZE], to[6], from[6], type[2], data[46];
    } __attribute__((packed)) frame = { .to = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, .type = { 0x88, 0xb5 } };
    struct virtqueue_buffer piece = { &frame, sizeof frame, 0 };
    struct packet *packet;

    memcpy(frame.from, card->mac, 6);
    /* Frames that were sent back may take up the whole ring. */
    while (!virtqueue_add(&card->transmit, &piece, 1, &frame))
        give(card, virtqueue_wait(&card->transmit, 0));
    virtqueue_kick(&card->transmit);
    while ((packet = virtqueue_wait(&card->transmit, 0)) != (void *)&frame)
        give(card, packet);
}

void net_start(void)
{
    uint32_t next = 0;

    wanted = option_number("frames", 0);
    every = option_number("netevery", 1);
    reply_start();
    while (open(virtio_find(VIRTIO_NET, next)))
        next++;
}

int net_plug(const struct pci_function *function)
{
    struct card *card = open(function);

    if (!card)
        return 0;
    broadcast(card);
    print("net %u: sent\n", card->number);
    return 1;
}

void net_unplug(const struct pci_function *function)
{
    for (uint32_t i = 0; i < card_count; i++) {
        if (cards[i]->device.function == function)
            virtio_close(&cards[i]->device);
    }
}

/* Swaps a frame's addresses and sends it from its receive buffer. */
static void send_back(struct card *card, struct packet *packet)
{
    uint8_t *frame = packet->bytes + HEADER_SIZE;
    struct virtqueue_buffer piece = { packet->bytes, packet->length, 0 };

    memset(packet->bytes, 0, HEADER_SIZE);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, card->mac, 6);
    reply_rewrite(frame, packet->length - HEADER_SIZE, card->mac);
    if (!virtqueue_add(&card->transmit, &piece, 1, packet)) {
        give(card, packet);
        return;
    }
    card->frames++;
    card->bytes += packet->length - HEADER_SIZE;
}

static void poll(struct card *card)
{
    struct packet *packet;
    uint32_t length;

    while ((packet = virtqueue_take(&card->transmit, 0)))
        give(card, packet);
    while ((packet = virtqueue_take(&card->receive, &length))) {
        packet->length = length;
        if (length >= HEADER_SIZE + ETHERNET_SIZE)
            send_back(card, packet);
        else
            give(card, packet);
    }
    virtqueue_kick(&card->transmit);
    virtqueue_kick(&card->receive);
}

int net_poll(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < card_count; i++) {
        struct card *card = cards[i];
        if (!card->device.function)
            continue;
        poll(card);
        sum += card->frames;
        if (card->frames / every == card->told / every)
            continue;
        print("net %u: frames=%lu bytes=%lu\n", i, card->frames, card->bytes);
        card->told = card->frames;
    }
    return !wanted || sum < wanted;
}

/* Announces the card to its network after a move, as the device has asked (virtio 1.2, 5.1.6.5.4). */
static void announce(struct card *card)
{
    static const uint8_t acknowledge[] = { 3, 0 };
    static volatile uint8_t answer;
    struct virtqueue_buffer pieces[] = { { acknowledge, sizeof acknowledge, 0 }, { (void *)&answer, 1, 1 } };

    broadcast(card);
    answer = 0xff;
    virtqueue_add(&card->control, pieces, 2, card);
    virtqueue_kick(&card->control);
    virtqueue_wait(&card->control, 0);
    if (answer != COMMAND_OK || (virtio_config16(&card->device, CONFIG_STATUS) & STATUS_ANNOUNCE)) {
        print("net %u: cannot acknowledge\n", card->number);
        result_fail();
        return;
    }
    print("net %u: announced\n", card->number);
}

void net_watch(void)
{
    for (uint32_t i = 0; i < card_count; i++) {
        if (!cards[i]->device.function)
            continue;
        /* In a copy of this VM, the card has an address of its own. */
        if (read_address(cards[i]))
            print("net %u: another address\n", i);
        if (virtio_has(&cards[i]->device, FEATURE_ANNOUNCE)
            && (virtio_config16(&cards[i]->device, CONFIG_STATUS) & STATUS_ANNOUNCE))
            announce(cards[i]);
        int link = link_of(cards[i]);
        if (link == cards[i]->link)
            continue;
        cards[i]->link = link;
        print("net %u: link=%s\n", i, link ? "up" : "down");
    }
}

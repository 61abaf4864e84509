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
#define FEATURE_MTU         3
#define FEATURE_MAC         5
#define FEATURE_STATUS      16
#define CONFIG_MAC          0
#define CONFIG_STATUS       6
#define CONFIG_MTU          10
#define STATUS_LINK_UP      1
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
    struct virtqueue receive, transmit;
    uint32_t number, mtu, packet_size;
    int link;
    uint64_t frames, bytes, told;
    uint8_t mac[6];
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

static int open(struct card *card, uint32_t number)
{
    card->number = number;
    if (!virtio_open(&card->device, VIRTIO_NET, number))
        return 0;
    if (!virtio_negotiate(&card->device, 1ul << FEATURE_MTU | 1ul << FEATURE_MAC | 1ul << FEATURE_STATUS)
        || !virtio_queue(&card->device, &card->receive, RECEIVE)
        || !virtio_queue(&card->device, &card->transmit, TRANSMIT)) {
        print("net %u: cannot be set up\n", number);
        result_fail();
        return 0;
    }
    for (uint32_t i = 0; i < 6; i++)
        card->mac[i] = virtio_config8(&card->device, CONFIG_MAC + i);
    card->mtu = virtio_has(&card->device, FEATURE_MTU) ? virtio_config16(&card->device, CONFIG_MTU) : MTU_DEFAULT;
    if (card->mtu > MTU_MOST)
        card->mtu = MTU_MOST;
    card->packet_size = HEADER_SIZE + ETHERNET_SIZE + VLAN_TAG_SIZE + card->mtu;
    virtio_ready(&card->device);

    uint32_t stride = (card->packet_size + (uint32_t)sizeof(struct packet) + 63) & ~63u;
    uint8_t *packets = memory_pages((size_t)stride * card->receive.size);
    for (uint32_t i = 0; i < card->receive.size; i++)
        give(card, (struct packet *)(packets + i * stride));
    virtqueue_kick(&card->receive);
    card->link = link_of(card);
    return 1;
}

void net_start(void)
{
    wanted = option_number("frames", 0);
    every = option_number("netevery", 1);
    reply_start();
    for (; card_count < MAX_CARDS; card_count++) {
        struct card *card = memory_pages(sizeof *card);
        const uint8_t *mac = card->mac;
        if (!open(card, card_count))
            return;
        print("net %u: mac=%02x:%02x:%02x:%02x:%02x:%02x mtu=%u link=%s\n", card->number, mac[0], mac[1], mac[2],
              mac[3], mac[4], mac[5], card->mtu, card->link ? "up" : "down");
        cards[card_count] = card;
    }
}

/* Turns a frame round and sends it from the buffer it came in. */
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
        poll(card);
        sum += card->frames;
        if (card->frames / every == card->told / every)
            continue;
        print("net %u: frames=%lu bytes=%lu\n", i, card->frames, card->bytes);
        card->told = card->frames;
    }
    return !wanted || sum < wanted;
}

void net_watch(void)
{
    for (uint32_t i = 0; i < card_count; i++) {
        int link = link_of(cards[i]);
        if (link == cards[i]->link)
            continue;
        cards[i]->link = link;
        print("net %u: link=%s\n", i, link ? "up" : "down");
    }
}

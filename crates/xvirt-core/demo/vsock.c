#include "vsock.h"
#include "memory.h"
#include "options.h"
#include "print.h"
#include "result.h"
#include "virtio.h"

#define RECEIVE             0
#define TRANSMIT            1
#define EVENT               2
#define CONFIG_CID          0

/* struct virtio_vsock_hdr */
#define HOST                2
#define STREAM              1
#define OP_REQUEST          1
#define OP_RESPONSE         2
#define OP_RESET            3
#define OP_SHUTDOWN         4
#define OP_DATA             5
#define OP_CREDIT_UPDATE    6
#define OP_CREDIT_REQUEST   7
#define SHUTDOWN_SEND       2
#define SHUTDOWN_BOTH       3

#define FIRST_PORT          1000    /* the first of the ports on which connections are accepted */
#define PORTS               8
#define FIRST_OWN_PORT      5000
#define MAX_CONNECTIONS     64
#define BUFFER              (128u << 10)
#define DATA_SIZE           (64u << 10)
#define DATA_PACKETS        48
#define SMALL_PACKETS       64

struct header {
    uint64_t source_cid, destination_cid;
    uint32_t source_port, destination_port, length;
    uint16_t type, op;
    uint32_t flags, buffer, forwarded;
} __attribute__((packed));

struct packet {
    struct packet *next;
    int small;                  /* has no room for data, and is not a receive buffer */
    struct header header;
    uint8_t data[];
} __attribute__((packed));

struct connection {
    int used, ended;            /* the peer sends no more */
    uint32_t port, peer_port;
    uint32_t sent, forwarded, peer_buffer, peer_forwarded;
    uint64_t bytes;
    struct packet *first, *last;
};

static struct virtio device;
static struct virtqueue receive, transmit, events;
static uint64_t cid;
static struct packet *small_packets;
static struct connection connections[MAX_CONNECTIONS];

static void give(struct packet *packet)
{
    struct virtqueue_buffer piece = { &packet->header, sizeof packet->header + DATA_SIZE, 1 };

    virtqueue_add(&receive, &piece, 1, packet);
}

/* Reclaims packets that the device has sent. */
static void reap(void)
{
    struct packet *packet;

    while ((packet = virtqueue_take(&transmit, 0))) {
        if (packet->small) {
            packet->next = small_packets;
            small_packets = packet;
        } else {
            give(packet);
        }
    }
}

static void send(struct packet *packet, uint32_t length)
{
    struct virtqueue_buffer piece = { &packet->header, (uint32_t)sizeof packet->header + length, 0 };

    packet->header.length = length;
    while (!virtqueue_add(&transmit, &piece, 1, packet)) {
        virtqueue_kick(&transmit);
        reap();
    }
}

static void address(struct header *header, uint32_t port, uint32_t peer_port, uint16_t op)
{
    *header = (struct header){
        .source_cid = cid,
        .destination_cid = HOST,
        .source_port = port,
        .destination_port = peer_port,
        .type = STREAM,
        .op = op,
        .buffer = BUFFER,
    };
}

static struct packet *small_packet(uint32_t port, uint32_t peer_port, uint16_t op)
{
    struct packet *packet;

    while (!(packet = small_packets)) {
        virtqueue_kick(&transmit);
        reap();
    }
    small_packets = packet->next;
    address(&packet->header, port, peer_port, op);
    return packet;
}

static void tell(const struct connection *connection, uint16_t op, uint32_t flags)
{
    struct packet *packet = small_packet(connection->port, connection->peer_port, op);

    packet->header.flags = flags;
    packet->header.forwarded = connection->forwarded;
    send(packet, 0);
}

static struct connection *find(uint32_t port, uint32_t peer_port)
{
    for (uint32_t i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *connection = &connections[i];
        if (connection->used && connection->port == port && connection->peer_port == peer_port)
            return connection;
    }
    return 0;
}

static struct connection *add(uint32_t port, uint32_t peer_port)
{
    for (uint32_t i = 0; i < MAX_CONNECTIONS; i++) {
        if (connections[i].used)
            continue;
        connections[i] = (struct connection){ .used = 1, .port = port, .peer_port = peer_port };
        return &connections[i];
    }
    return 0;
}

static void end(struct connection *connection)
{
    while (connection->first) {
        struct packet *packet = connection->first;
        connection->first = packet->next;
        give(packet);
    }
    connection->used = 0;
    print("vsock: port=%u bytes=%lu closed\n", connection->port, connection->bytes);
}

/* Sends waiting data back, as far as the peer has room, and shuts down once all is sent. */
static void go_on(struct connection *connection)
{
    while (connection->first) {
        struct packet *packet = connection->first;
        uint32_t length = packet->header.length;
        uint32_t room = connection->peer_buffer - (connection->sent - connection->peer_forwarded);
        if (length > room)
            return;
        connection->first = packet->next;
        connection->sent += length;
        connection->forwarded += length;
        connection->bytes += length;
        address(&packet->header, connection->port, connection->peer_port, OP_DATA);
        packet->header.forwarded = connection->forwarded;
        send(packet, length);
    }
    if (connection->ended == 1) {
        connection->ended = 2;
        tell(connection, OP_SHUTDOWN, SHUTDOWN_BOTH);
    }
}

static void keep(struct connection *connection, struct packet *packet)
{
    packet->next = 0;
    if (connection->first)
        connection->last->next = packet;
    else
        connection->first = packet;
    connection->last = packet;
}

static void refuse(const struct header *header)
{
    if (header->op != OP_RESET)
        send(small_packet(header->destination_port, header->source_port, OP_RESET), 0);
}

static struct connection *request(const struct header *header)
{
    struct connection *connection = 0;

    if (header->op == OP_REQUEST && header->destination_port - FIRST_PORT < PORTS)
        connection = add(header->destination_port, header->source_port);
    if (!connection)
        refuse(header);
    return connection;
}

/* Whether the packet is kept. */
static int take(struct packet *packet)
{
    const struct header *header = &packet->header;
    struct connection *connection = find(header->destination_port, header->source_port);
    int known = connection != 0, kept = 0;

    if (!known && !(connection = request(header)))
        return 0;
    connection->peer_buffer = header->buffer;
    connection->peer_forwarded = header->forwarded;
    switch (header->op) {
    case OP_REQUEST:
        tell(connection, known ? OP_RESET : OP_RESPONSE, 0);
        break;
    case OP_RESET:
        end(connection);
        return 0;
    case OP_SHUTDOWN:
        if (header->flags & SHUTDOWN_SEND && !connection->ended)
            connection->ended = 1;
        break;
    case OP_DATA:
        keep(connection, packet);
        kept = 1;
        break;
    case OP_CREDIT_REQUEST:
        tell(connection, OP_CREDIT_UPDATE, 0);
        break;
    }
    go_on(connection);
    return kept;
}

static int open(void)
{
    if (!virtio_open(&device, VIRTIO_VSOCK, 0) || !virtio_negotiate(&device, 0)
        || !virtio_queue(&device, &receive, RECEIVE) || !virtio_queue(&device, &transmit, TRANSMIT)
        || !virtio_queue(&device, &events, EVENT)) {
        print("vsock: cannot be set up\n");
        result_fail();
        return 0;
    }
    cid = virtio_config64(&device, CONFIG_CID);
    virtio_ready(&device);

    uint32_t stride = (uint32_t)((sizeof(struct packet) + DATA_SIZE + 63) & ~63ul);
    uint8_t *packets = memory_pages((size_t)stride * DATA_PACKETS);
    for (uint32_t i = 0; i < DATA_PACKETS; i++)
        give((struct packet *)(packets + i * stride));
    struct packet *small = memory_pages(sizeof *small * SMALL_PACKETS);
    for (uint32_t i = 0; i < SMALL_PACKETS; i++) {
        small[i].small = 1;
        small[i].next = small_packets;
        small_packets = &small[i];
    }
    virtqueue_kick(&receive);
    return 1;
}

void vsock_start(void)
{
    uint32_t peer_port = (uint32_t)option_number("vsockport", 0);
    uint64_t count = option_number("vsockcount", 1);

    if (!open())
        return;
    print("vsock: cid=%lu ready\n", cid);
    for (uint32_t i = 0; peer_port && i < count; i++) {
        struct connection *connection = add(FIRST_OWN_PORT + i, peer_port);
        if (connection)
            tell(connection, OP_REQUEST, 0);
    }
    virtqueue_kick(&transmit);
}

void vsock_poll(void)
{
    struct packet *packet;

    reap();
    while ((packet = virtqueue_take(&receive, 0))) {
        if (!take(packet))
            give(packet);
    }
    virtqueue_kick(&transmit);
    virtqueue_kick(&receive);
}

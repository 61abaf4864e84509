#include "multiport.h"
#include "io.h"
#include "memory.h"

#define CONTROL_RECEIVE     2
#define CONTROL_TRANSMIT    3
#define BUFFER_SIZE         128
#define BUFFERS             4

/* The one port besides the console's. */
#define NUMBER              1

enum event {
    DEVICE_READY = 0,
    DEVICE_ADD = 1,
    PORT_READY = 3,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

/* struct virtio_console_control, followed by a name. */
struct message {
    uint32_t port;
    uint16_t event, value;
    char name[BUFFER_SIZE - 8];
};

static struct virtqueue control_receive, control_transmit;
static struct port port;
static char port_name[BUFFER_SIZE];
static int host_open;

int multiport_setup(struct virtio *device)
{
    if (!virtio_queue(device, &control_receive, CONTROL_RECEIVE)
        || !virtio_queue(device, &control_transmit, CONTROL_TRANSMIT) || !port_setup(device, &port, NUMBER))
        return 0;
    virtqueue_silence(&control_transmit);
    return 1;
}

static void give(struct message *message)
{
    struct virtqueue_buffer piece = { message, sizeof *message, 1 };

    virtqueue_add(&control_receive, &piece, 1, message);
    virtqueue_kick(&control_receive);
}

/* Waits for each message, so that data sent before a port is closed is received before it is closed. */
static void say(uint32_t number, enum event event, uint16_t value)
{
    static struct message message;
    struct virtqueue_buffer piece = { &message, 8, 0 };

    message = (struct message){ .port = number, .event = (uint16_t)event, .value = value };
    virtqueue_add(&control_transmit, &piece, 1, &message);
    virtqueue_kick(&control_transmit);
    while (!virtqueue_take(&control_transmit, 0))
        cpu_pause();
}

void multiport_start(void)
{
    struct message *messages = memory_pages(BUFFERS * BUFFER_SIZE);

    port_start(&port);
    for (uint32_t i = 0; i < BUFFERS; i++)
        give(&messages[i]);
    say(~0u, DEVICE_READY, 1);
}

static void hear(const struct message *message, uint32_t length)
{
    if (message->event == DEVICE_ADD)
        say(message->port, PORT_READY, 1);
    if (message->port != NUMBER)
        return;
    if (message->event == PORT_OPEN)
        host_open = message->value;
    if (message->event == PORT_NAME && length > 8) {
        memcpy(port_name, message->name, length - 8);
        port_name[length - 8] = 0;
    }
}

struct port *multiport_find(const char *name)
{
    struct message *message;
    uint32_t length;

    while ((message = virtqueue_take(&control_receive, &length))) {
        hear(message, length);
        give(message);
    }
    return host_open && !strcmp(port_name, name) ? &port : 0;
}

void multiport_open(int open)
{
    say(NUMBER, PORT_OPEN, (uint16_t)open);
}

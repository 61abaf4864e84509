#include "console.h"
#include "io.h"
#include "lock.h"
#include "memory.h"
#include "multiport.h"
#include "options.h"
#include "port.h"
#include "print.h"
#include "result.h"
#include "virtio.h"

#define FLUSH_LOOKS         1000000u

static struct virtio device;
static struct port port;
static int started;

/* One CPU may wait until everything is sent while another prints. */
static struct lock transmit_lock;

void console_start(void)
{
    int multiport = option_mode(MODE_AGENT);

    if (!virtio_open(&device, VIRTIO_CONSOLE, 0))
        return;
    if (!virtio_negotiate(&device, multiport ? MULTIPORT : 0) || !port_setup(&device, &port, 0)
        || (multiport && !multiport_setup(&device))) {
        print("console: cannot be set up\n");
        result_fail();
        return;
    }
    virtqueue_silence(&port.transmit);
    virtio_ready(&device);
    port_start(&port);
    if (multiport)
        multiport_start();
    started = 1;
    print_also_to(console_write);
}

void console_write(const char *bytes, size_t length)
{
    lock(&transmit_lock);
    port_write(&port, bytes, length);
    unlock(&transmit_lock);
}

int console_read(void)
{
    return started ? port_read(&port) : -1;
}

void console_flush(void)
{
    if (!started)
        return;
    uint32_t left = 1;

    for (uint32_t i = 0; i < FLUSH_LOOKS && left; i++) {
        lock(&transmit_lock);
        left = port_unsent(&port);
        unlock(&transmit_lock);
        cpu_pause();
    }
}

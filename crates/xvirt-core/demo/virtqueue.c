#include "virtqueue.h"
#include "interrupt.h"
#include "io.h"
#include "memory.h"

#define DESCRIPTOR_NEXT         1
#define DESCRIPTOR_WRITE        2
#define AVAILABLE_NO_INTERRUPT  1
#define USED_NO_NOTIFY          1

/* All three rings of VIRTQUEUE_SIZE fit into one page. */
#define AVAILABLE_AT            1024
#define USED_AT                 2048

/* The rings after their flags and index words. */
#define FLAGS                   0
#define INDEX                   1
#define RING                    2

struct virtqueue_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct virtqueue_used {
    uint32_t head, written;
};

void virtqueue_setup(struct virtqueue *queue, uint16_t index, uint16_t size, int event_index)
{
    uint8_t *page = queue->descriptors ? (uint8_t *)queue->descriptors : memory_pages(PAGE_SIZE);

    memset(page, 0, PAGE_SIZE);
    *queue = (struct virtqueue){
        .size = size,
        .index = index,
        .free_count = size,
        .event_index = event_index,
        .descriptors = (struct virtqueue_descriptor *)page,
        .available = (volatile uint16_t *)(page + AVAILABLE_AT),
        .used_header = (volatile uint16_t *)(page + USED_AT),
        .used = (volatile struct virtqueue_used *)(page + USED_AT + 4),
    };
    for (uint16_t i = 0; i < size; i++)
        queue->descriptors[i].next = (uint16_t)(i + 1);
}

/* With event indices, the device interrupts when its index passes `used_event`; half the range away is never soon. */
static void ask_for_interrupt(struct virtqueue *queue)
{
    uint16_t event = queue->silent ? (uint16_t)(queue->used_seen + 0x8000) : queue->used_seen;

    if (queue->event_index)
        queue->available[RING + queue->size] = event;
    else
        queue->available[FLAGS] = queue->silent ? AVAILABLE_NO_INTERRUPT : 0;
}

void virtqueue_silence(struct virtqueue *queue)
{
    queue->silent = 1;
    ask_for_interrupt(queue);
}

int virtqueue_add(struct virtqueue *queue, const struct virtqueue_buffer *buffers, uint32_t count, void *token)
{
    uint16_t head = queue->free_first, at = head;

    if (queue->free_count < count)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        struct virtqueue_descriptor *descriptor = &queue->descriptors[at];
        descriptor->address = (uint64_t)buffers[i].address;
        descriptor->length = buffers[i].length;
        descriptor->flags = (uint16_t)((buffers[i].device_writes ? DESCRIPTOR_WRITE : 0)
                                       | (i + 1 < count ? DESCRIPTOR_NEXT : 0));
        at = descriptor->next;
    }
    queue->free_first = at;
    queue->free_count = (uint16_t)(queue->free_count - count);
    queue->tokens[head] = token;

    uint16_t available = queue->available[INDEX];
    queue->available[RING + available % queue->size] = head;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    queue->available[INDEX] = (uint16_t)(available + 1);
    return 1;
}

void virtqueue_kick(struct virtqueue *queue)
{
    uint16_t available = queue->available[INDEX];
    int wanted;

    /* The device writes its event index before it reads ours; we write our index before we read its event index. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (queue->event_index) {
        uint16_t event = *(volatile uint16_t *)&queue->used[queue->size];
        wanted = (uint16_t)(available - event - 1) < (uint16_t)(available - queue->told);
    } else {
        wanted = !(queue->used_header[FLAGS] & USED_NO_NOTIFY);
    }
    queue->told = available;
    if (wanted)
        write16(queue->notify, queue->index);
}

void *virtqueue_take(struct virtqueue *queue, uint32_t *written)
{
    if (queue->used_header[INDEX] == queue->used_seen) {
        ask_for_interrupt(queue);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (queue->used_header[INDEX] == queue->used_seen)
            return 0;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    uint16_t slot = queue->used_seen++ % queue->size, head = (uint16_t)queue->used[slot].head, at = head, count = 1;
    if (written)
        *written = queue->used[slot].written;
    for (; queue->descriptors[at].flags & DESCRIPTOR_NEXT; count++)
        at = queue->descriptors[at].next;
    queue->descriptors[at].next = queue->free_first;
    queue->free_first = head;
    queue->free_count = (uint16_t)(queue->free_count + count);
    return queue->tokens[head];
}

void *virtqueue_wait(struct virtqueue *queue, uint32_t *written)
{
    for (;;) {
        uint32_t seen = interrupt_count();
        void *token = virtqueue_take(queue, written);

        if (token)
            return token;
        interrupt_wait(seen);
    }
}

#include "virtio.h"
#include "interrupt.h"
#include "io.h"

#define VENDOR                  0x1af4

/* struct virtio_pci_cap */
#define CAPABILITY_TYPE         3
#define CAPABILITY_BAR          4
#define CAPABILITY_OFFSET       8
#define CAPABILITY_MULTIPLIER   16
#define TYPE_COMMON             1
#define TYPE_NOTIFY             2
#define TYPE_CONFIG             4

/* struct virtio_pci_common_cfg */
#define DEVICE_FEATURE_SELECT   0x00
#define DEVICE_FEATURE          0x04
#define DRIVER_FEATURE_SELECT   0x08
#define DRIVER_FEATURE          0x0c
#define CONFIG_MSIX_VECTOR      0x10
#define STATUS                  0x14
#define CONFIG_GENERATION       0x15
#define QUEUE_SELECT            0x16
#define QUEUE_SIZE              0x18
#define QUEUE_MSIX_VECTOR       0x1a
#define QUEUE_ENABLE            0x1c
#define QUEUE_NOTIFY_OFFSET     0x1e
#define QUEUE_DESCRIPTORS       0x20
#define QUEUE_AVAILABLE         0x28
#define QUEUE_USED              0x30

#define STATUS_ACKNOWLEDGE      0x01
#define STATUS_DRIVER           0x02
#define STATUS_DRIVER_OK        0x04
#define STATUS_FEATURES_OK      0x08

#define FEATURE_EVENT_INDEX     29
#define FEATURE_VERSION_1       32

static void find_structures(struct virtio *device)
{
    const struct pci_function *function = device->function;
    uint8_t at = 0;

    while ((at = pci_capability(function, PCI_CAPABILITY_VENDOR, at))) {
        uint8_t type = pci_read8(function, at + CAPABILITY_TYPE);
        if (type != TYPE_COMMON && type != TYPE_NOTIFY && type != TYPE_CONFIG)
            continue;
        uint64_t address = pci_bar(function, pci_read8(function, at + CAPABILITY_BAR))
            + pci_read32(function, at + CAPABILITY_OFFSET);
        if (type == TYPE_COMMON) {
            device->common = address;
        } else if (type == TYPE_CONFIG) {
            device->config = address;
        } else {
            device->notify = address;
            device->notify_multiplier = pci_read32(function, at + CAPABILITY_MULTIPLIER);
        }
    }
}

static void add_status(const struct virtio *device, uint8_t bits)
{
    write8(device->common + STATUS, read8(device->common + STATUS) | bits);
}

static void reset(const struct virtio *device)
{
    write8(device->common + STATUS, 0);
    while (read8(device->common + STATUS))
        cpu_pause();
}

const struct pci_function *virtio_find(uint16_t type, uint32_t nth)
{
    return pci_find(VENDOR, VIRTIO_FIRST_DEVICE + type, nth);
}

int virtio_open(struct virtio *device, uint16_t type, uint32_t nth)
{
    return virtio_open_function(device, virtio_find(type, nth));
}

int virtio_open_function(struct virtio *device, const struct pci_function *function)
{
    *device = (struct virtio){ .function = function };
    if (!device->function)
        return 0;
    pci_enable(device->function);
    find_structures(device);
    if (!device->common || !device->notify)
        return 0;
    reset(device);
    add_status(device, STATUS_ACKNOWLEDGE);
    add_status(device, STATUS_DRIVER);
    device->msix_table = pci_msix_enable(device->function);
    return 1;
}

int virtio_negotiate(struct virtio *device, uint64_t wanted)
{
    uint64_t common = device->common, offered = 0;

    if (!device->msix_table)
        return 0;
    for (uint32_t half = 0; half < 2; half++) {
        write32(common + DEVICE_FEATURE_SELECT, half);
        offered |= (uint64_t)read32(common + DEVICE_FEATURE) << 32 * half;
    }
    device->features = offered & (wanted | 1ul << FEATURE_EVENT_INDEX | 1ul << FEATURE_VERSION_1);
    for (uint32_t half = 0; half < 2; half++) {
        write32(common + DRIVER_FEATURE_SELECT, half);
        write32(common + DRIVER_FEATURE, (uint32_t)(device->features >> 32 * half));
    }
    add_status(device, STATUS_FEATURES_OK);
    if (!(read8(common + STATUS) & STATUS_FEATURES_OK))
        return 0;

    /* Entry 0 of the table is for configuration changes, entry n + 1 for queue n. */
    pci_msix_route(device->msix_table, 0, VECTOR_CONFIG);
    write16(common + CONFIG_MSIX_VECTOR, 0);
    return 1;
}

/* Two halves: the specification allows writing 64-bit fields so, and every device must support it. */
static void write_address(uint64_t field, uint64_t address)
{
    write32(field, (uint32_t)address);
    write32(field + 4, (uint32_t)(address >> 32));
}

int virtio_place_queue(const struct virtio *device, uint16_t index, const struct virtio_rings *rings)
{
    uint64_t common = device->common;

    write16(common + QUEUE_SELECT, index);
    if (!read16(common + QUEUE_SIZE))
        return 0;
    write16(common + QUEUE_SIZE, rings->size);
    write_address(common + QUEUE_DESCRIPTORS, rings->descriptors);
    write_address(common + QUEUE_AVAILABLE, rings->available);
    write_address(common + QUEUE_USED, rings->used);
    pci_msix_route(device->msix_table, index + 1u, interrupt_vector());
    write16(common + QUEUE_MSIX_VECTOR, index + 1);
    write16(common + QUEUE_ENABLE, 1);
    return 1;
}

int virtio_queue(struct virtio *device, struct virtqueue *queue, uint16_t index)
{
    uint64_t common = device->common;

    write16(common + QUEUE_SELECT, index);
    uint16_t size = read16(common + QUEUE_SIZE);
    if (!size)
        return 0;
    if (size > VIRTQUEUE_SIZE)
        size = VIRTQUEUE_SIZE;
    virtqueue_setup(queue, index, size, virtio_has(device, FEATURE_EVENT_INDEX));
    queue->notify = device->notify + read16(common + QUEUE_NOTIFY_OFFSET) * device->notify_multiplier;
    return virtio_place_queue(device, index, &(struct virtio_rings){
        .size = size,
        .descriptors = (uint64_t)queue->descriptors,
        .available = (uint64_t)queue->available,
        .used = (uint64_t)queue->used_header,
    });
}

void virtio_ready(struct virtio *device)
{
    add_status(device, STATUS_DRIVER_OK);
}

void virtio_close(struct virtio *device)
{
    reset(device);
    device->function = 0;
}

int virtio_has(const struct virtio *device, uint32_t bit)
{
    return device->features >> bit & 1;
}

uint8_t virtio_config8(const struct virtio *device, uint32_t offset)
{
    return read8(device->config + offset);
}

uint16_t virtio_config16(const struct virtio *device, uint32_t offset)
{
    return read16(device->config + offset);
}

uint32_t virtio_config32(const struct virtio *device, uint32_t offset)
{
    return read32(device->config + offset);
}

uint64_t virtio_config64(const struct virtio *device, uint32_t offset)
{
    uint8_t before;
    uint64_t value;

    do {
        before = read8(device->common + CONFIG_GENERATION);
        value = virtio_config32(device, offset) | (uint64_t)virtio_config32(device, offset + 4) << 32;
    } while (read8(device->common + CONFIG_GENERATION) != before);
    return value;
}

void virtio_set_config32(const struct virtio *device, uint32_t offset, uint32_t value)
{
    write32(device->config + offset, value);
}

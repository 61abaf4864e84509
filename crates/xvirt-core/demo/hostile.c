#include "hostile.h"
#include "io.h"
#include "options.h"
#include "print.h"
#include "scribble.h"
#include "serial.h"
#include "virtio.h"

#define MAX_TARGETS         16
#define BAR_SIZE            0x8000u
#define CONFIG_COMMAND      0x04
#define CONFIG_BAR          0x10
#define COMMAND_MASK        0xffffu

#define POWER_CONTROL       0x604       /* and the reset register after it: a machine that is off cannot attack */
#define POWER_CONTROL_END   0x610
#define POWER_TIMER         0x608
#define KEYBOARD_CONTROLLER 0x64
#define PCI_WINDOW          0xc0000000ul
#define PCI_WINDOW_SIZE     0x20000000ul
#define PCI_ECAM            0xe0000000ul
#define PCI_ECAM_SIZE       0x100000ul

static const uint16_t kinds[] = { VIRTIO_NET, VIRTIO_BLK, VIRTIO_CONSOLE, VIRTIO_RNG };

/* A device, and its original configuration. */
struct target {
    uint16_t kind;
    uint32_t nth, command, bar_low, bar_high;
    struct virtio device;
};

static struct target targets[MAX_TARGETS];
static uint32_t target_count;
static struct random numbers;
static uint64_t rounds, rounds_wanted, rounds_per_line;

static void add_targets(uint16_t kind)
{
    for (uint32_t nth = 0; target_count < MAX_TARGETS; nth++) {
        struct target *target = &targets[target_count];

        if (!virtio_open(&target->device, kind, nth))
            return;
        const struct pci_function *function = target->device.function;
        target->kind = kind;
        target->nth = nth;
        target->command = pci_read32(function, CONFIG_COMMAND) & COMMAND_MASK;
        target->bar_low = pci_read32(function, CONFIG_BAR);
        target->bar_high = pci_read32(function, CONFIG_BAR + 4);
        target_count++;
    }
}

int hostile_start(void)
{
    rounds_wanted = option_number("rounds", 0);
    rounds_per_line = option_number("every", 100);
    numbers.state = option_number("seed", 1) * 0x9e3779b97f4a7c15 | 1;
    scribble_start();
    for (uint32_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        add_targets(kinds[i]);
    print("hostile: devices=%u\n", target_count);
    return target_count != 0;
}

/* All of them, because a BAR that was moved may overlap another. */
static void put_back(void)
{
    for (uint32_t i = 0; i < target_count; i++) {
        const struct target *target = &targets[i];

        pci_write32(target->device.function, CONFIG_COMMAND, target->command);
        pci_write32(target->device.function, CONFIG_BAR, target->bar_low);
        pci_write32(target->device.function, CONFIG_BAR + 4, target->bar_high);
    }
}

static void write_any(uint64_t address)
{
    uint64_t value = random_next(&numbers);

    switch (random_below(&numbers, 4)) {
    case 0:
        write8(address, (uint8_t)value);
        break;
    case 1:
        write16(address, (uint16_t)value);
        break;
    case 2:
        write32(address, (uint32_t)value);
        break;
    default:
        *(volatile uint64_t *)address = value;
    }
}

static void read_any(uint64_t address)
{
    switch (random_below(&numbers, 3)) {
    case 0:
        read8(address);
        break;
    case 1:
        read16(address);
        break;
    default:
        read32(address);
    }
}

/* Interrupts that the CPU cannot mask would end the attack, so most messages are ordinary ones. */
static void write_vector(const struct virtio *device)
{
    uint64_t at = device->msix_table + random_below(&numbers, 20) * 16;
    uint32_t message = (uint32_t)random_next(&numbers);

    write32(at, random_one_in(&numbers, 4) ? (uint32_t)random_next(&numbers) : 0xfee00000u);
    write32(at + 4, random_one_in(&numbers, 8) ? (uint32_t)random_next(&numbers) : 0);
    write32(at + 8, random_one_in(&numbers, 500) ? message : message & ~0x700u);
    write32(at + 12, (uint32_t)random_below(&numbers, 2));
}

static void write_registers(const struct virtio *device)
{
    for (uint32_t i = 0; i < 12; i++) {
        write_any(device->common + random_below(&numbers, 64));
        read_any(device->common + random_below(&numbers, BAR_SIZE));
        write_vector(device);
    }
    for (uint32_t i = 0; i < 4; i++)
        write_any(device->notify + random_below(&numbers, 0x1000));
}

static void write_port(void)
{
    static const uint16_t known[] = { 0x20, 0x40, 0x60, 0x70, 0xa0, 0x3f8, 0x600, POWER_TIMER, 0xcf8 };
    uint16_t port = (uint16_t)random_next(&numbers);
    uint32_t value = (uint32_t)random_next(&numbers);

    if (!random_one_in(&numbers, 3))
        port = (uint16_t)(known[random_below(&numbers, sizeof known / sizeof known[0])] + random_below(&numbers, 8));
    /* A write of four bytes covers the next three ports, too. */
    if ((port + 3 >= POWER_CONTROL && port < POWER_CONTROL_END && port != POWER_TIMER)
        || (port <= KEYBOARD_CONTROLLER && port + 3 >= KEYBOARD_CONTROLLER))
        return;
    switch (random_below(&numbers, 3)) {
    case 0:
        in8(port);
        out8(port, (uint8_t)value);
        break;
    case 1:
        in16(port);
        out16(port, (uint16_t)value);
        break;
    default:
        in32(port);
        out32(port, value);
    }
}

static void write_configuration(void)
{
    struct pci_function any = { .address = (uint8_t)random_next(&numbers) };
    const struct pci_function *function = &any;

    if (!random_one_in(&numbers, 8))
        function = targets[random_below(&numbers, target_count)].device.function;
    pci_write32(function, (uint32_t)random_below(&numbers, 256), (uint32_t)random_next(&numbers));
    if (random_one_in(&numbers, 2))
        pci_write32(function, CONFIG_BAR, (uint32_t)(PCI_WINDOW + random_below(&numbers, PCI_WINDOW_SIZE)));
    write_any(PCI_ECAM + random_below(&numbers, PCI_ECAM_SIZE));
    write_any(PCI_WINDOW + random_below(&numbers, PCI_WINDOW_SIZE));
}

static void set_up_queues(const struct target *target)
{
    for (uint16_t queue = 0; queue < SCRIBBLE_RINGS; queue++) {
        struct scribble_ring place = scribble_place(&numbers, queue);
        struct virtio_rings rings = {
            .size = SCRIBBLE_RING_SIZE,
            .descriptors = place.descriptors,
            .available = place.available,
            .used = place.used,
        };

        if (random_one_in(&numbers, 20))
            rings.size = (uint16_t)random_next(&numbers);
        if (!virtio_place_queue(&target->device, queue, &rings))
            return;
    }
}

static void kick(const struct virtio *device, uint32_t queue)
{
    write16(device->notify + queue * device->notify_multiplier, (uint16_t)queue);
}

static void attack(struct target *target)
{
    struct virtio *device = &target->device;

    if (!virtio_open(device, target->kind, target->nth) || !virtio_negotiate(device, random_next(&numbers)))
        return;
    set_up_queues(target);
    virtio_ready(device);
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t queue = 0; queue < 3; queue++) {
            scribble(&numbers, queue);
            kick(device, queue);
        }
        if (random_one_in(&numbers, 2))
            write_registers(device);
    }
}

int hostile_poll(void)
{
    /* Interrupts are ignored, like all answers of devices. */
    __asm__ volatile("cli");
    put_back();
    attack(&targets[random_below(&numbers, target_count)]);
    if (random_one_in(&numbers, 3)) {
        write_configuration();
        for (uint32_t i = 0; i < 8; i++)
            write_port();
        serial_start();
    }
    rounds++;
    if (rounds % rounds_per_line == 0 || rounds == rounds_wanted)
        print("hostile: round %lu\n", rounds);
    return rounds != rounds_wanted;
}

void hostile_run(uint32_t cpu)
{
    struct random own = { numbers.state + 2 * cpu };

    for (;;)
        scribble_word(&own);
}

#include "hotplug.h"
#include "acpi.h"
#include "blk.h"
#include "io.h"
#include "net.h"
#include "pci.h"
#include "print.h"
#include "result.h"
#include "virtio.h"

/* As in device/hotplug.rs, and in AML in the DSDT. */
#define INSERTED        0x620
#define REMOVAL         0x624
#define EJECT           0x628
#define EVENT           (1 << 1)        /* in the status and enable registers of the GPE0 block */

static int raised;

static uint16_t status_port(void)
{
    const struct acpi_fadt *fadt = acpi_fadt();

    return fadt ? (uint16_t)fadt->gpe0 : 0;
}

void hotplug_start(void)
{
    uint16_t port = status_port();

    if (!port) {
        print("hotplug: the machine has none\n");
        result_fail();
        return;
    }
    out8(port, EVENT);
    out8((uint16_t)(port + acpi_fadt()->gpe0_length / 2), EVENT);
    raised = 1;
    hotplug_poll();
    print("hotplug: ready\n");
}

void hotplug_interrupt(void)
{
    uint16_t port = status_port();
    uint8_t status = port ? in8(port) : 0;

    if (!(status & EVENT))
        return;
    out8(port, EVENT);
    __atomic_store_n(&raised, 1, __ATOMIC_RELEASE);
}

static void plug(uint32_t slot)
{
    const struct pci_function *function = pci_look_at((uint8_t)(slot << 3));
    int good = 0;

    if (function && function->device == VIRTIO_FIRST_DEVICE + VIRTIO_BLK)
        good = blk_plug(function);
    else if (function && function->device == VIRTIO_FIRST_DEVICE + VIRTIO_NET)
        good = net_plug(function);
    print("hotplug: slot %u %s\n", slot, good ? "plugged" : "failed");
    if (!good)
        result_fail();
}

void hotplug_eject(uint32_t slot)
{
    const struct pci_function *function = pci_at((uint8_t)(slot << 3));

    if (function) {
        blk_unplug(function);
        net_unplug(function);
        pci_forget(function);
    }
    print("hotplug: slot %u let go\n", slot);
    out32(EJECT, 1u << slot);
}

void hotplug_poll(void)
{
    /* Cleared first, so that later events cause another check. */
    if (!__atomic_exchange_n(&raised, 0, __ATOMIC_ACQ_REL))
        return;
    uint32_t inserted = in32(INSERTED), removal = in32(REMOVAL);
    for (uint32_t slot = 0; slot < 32; slot++) {
        if (inserted >> slot & 1)
            plug(slot);
        if (removal >> slot & 1)
            hotplug_eject(slot);
    }
}

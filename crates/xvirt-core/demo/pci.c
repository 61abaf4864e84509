#include "pci.h"
#include "apic.h"
#include "io.h"
#include "paging.h"

#define CONFIG_ADDRESS      0xcf8
#define CONFIG_DATA         0xcfc
#define CONFIG_ENABLE       0x80000000u

#define VENDOR              0x00
#define DEVICE              0x02
#define COMMAND             0x04
#define STATUS              0x06
#define HEADER_TYPE         0x0e
#define BARS                0x10
#define CAPABILITIES        0x34

#define NO_FUNCTION         0xffff
#define COMMAND_MEMORY      0x0002
#define COMMAND_MASTER      0x0004
#define COMMAND_NO_INTX     0x0400
#define STATUS_CAPABILITIES 0x0010
#define HEADER_MULTI        0x80
#define BAR_64_BIT          0x4
#define BAR_FLAGS           0xf
#define BAR_MAPPED          0x10000

#define MSIX_CONTROL        2
#define MSIX_TABLE          4
#define MSIX_ENABLE         0x8000
#define MSIX_MASK_ALL       0x4000
#define MSIX_ENTRY_SIZE     16
#define MSI_ADDRESS         0xfee00000u

#define MAX_FUNCTIONS       32

static struct pci_function functions[MAX_FUNCTIONS];
static uint32_t count;

static void select(uint8_t address, uint32_t offset)
{
    out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)address << 8 | (offset & 0xfc));
}

uint8_t pci_read8(const struct pci_function *function, uint32_t offset)
{
    select(function->address, offset);
    return in8((uint16_t)(CONFIG_DATA + (offset & 3)));
}

uint16_t pci_read16(const struct pci_function *function, uint32_t offset)
{
    select(function->address, offset);
    return in16((uint16_t)(CONFIG_DATA + (offset & 2)));
}

uint32_t pci_read32(const struct pci_function *function, uint32_t offset)
{
    select(function->address, offset);
    return in32(CONFIG_DATA);
}

void pci_write32(const struct pci_function *function, uint32_t offset, uint32_t value)
{
    select(function->address, offset);
    out32(CONFIG_DATA, value);
}

static void config_write16(const struct pci_function *function, uint32_t offset, uint16_t value)
{
    select(function->address, offset);
    out16((uint16_t)(CONFIG_DATA + (offset & 2)), value);
}

const struct pci_function *pci_at(uint8_t address)
{
    for (uint32_t i = 0; i < count; i++) {
        if (functions[i].address == address && functions[i].vendor != NO_FUNCTION)
            return &functions[i];
    }
    return 0;
}

/* Records a function that is found, in a free entry if there is one. */
const struct pci_function *pci_look_at(uint8_t address)
{
    struct pci_function found = { .address = address };
    uint32_t place = 0;

    found.vendor = pci_read16(&found, VENDOR);
    if (found.vendor == NO_FUNCTION)
        return 0;
    found.device = pci_read16(&found, DEVICE);
    while (place < count && functions[place].vendor != NO_FUNCTION)
        place++;
    if (place == MAX_FUNCTIONS)
        return 0;
    if (place == count)
        count++;
    functions[place] = found;
    return &functions[place];
}

void pci_forget(const struct pci_function *function)
{
    functions[function - functions].vendor = NO_FUNCTION;
}

void pci_scan(void)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        struct pci_function first = { .address = (uint8_t)(slot << 3) };
        if (!pci_look_at(first.address) || !(pci_read8(&first, HEADER_TYPE) & HEADER_MULTI))
            continue;
        for (uint32_t i = 1; i < 8; i++)
            pci_look_at((uint8_t)(slot << 3 | i));
    }
}

const struct pci_function *pci_find(uint16_t vendor, uint16_t device, uint32_t nth)
{
    for (uint32_t i = 0; i < count; i++) {
        if (functions[i].vendor == vendor && functions[i].device == device && !nth--)
            return &functions[i];
    }
    return 0;
}

uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after)
{
    uint8_t at;

    if (!(pci_read16(function, STATUS) & STATUS_CAPABILITIES))
        return 0;
    at = pci_read8(function, after ? after + 1u : CAPABILITIES);
    while (at && pci_read8(function, at) != id)
        at = pci_read8(function, at + 1u);
    return at;
}

uint64_t pci_bar(const struct pci_function *function, uint32_t index)
{
    uint32_t low = pci_read32(function, BARS + index * 4);
    uint64_t address = low & ~(uint32_t)BAR_FLAGS;

    if (low & BAR_64_BIT)
        address |= (uint64_t)pci_read32(function, BARS + index * 4 + 4) << 32;
    paging_map(address, BAR_MAPPED);
    return address;
}

void pci_enable(const struct pci_function *function)
{
    uint16_t command = pci_read16(function, COMMAND);

    config_write16(function, COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX);
}

uint64_t pci_msix_enable(const struct pci_function *function)
{
    uint8_t at = pci_capability(function, PCI_CAPABILITY_MSIX, 0);

    if (!at)
        return 0;
    uint32_t table = pci_read32(function, at + MSIX_TABLE);
    uint16_t control = pci_read16(function, at + MSIX_CONTROL);
    config_write16(function, at + MSIX_CONTROL, (uint16_t)((control | MSIX_ENABLE) & ~MSIX_MASK_ALL));
    return pci_bar(function, table & 7) + (table & ~7u);
}

void pci_msix_route(uint64_t table, uint32_t entry, uint8_t vector)
{
    uint64_t at = table + entry * MSIX_ENTRY_SIZE;

    write32(at, MSI_ADDRESS | apic_id() << 12);
    write32(at + 4, 0);
    write32(at + 8, vector);
    write32(at + 12, 0); /* not masked */
}

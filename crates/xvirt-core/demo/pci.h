/* PCI configuration through I/O ports, on bus 0. */
#pragma once
#include <stdint.h>

#define PCI_CAPABILITY_VENDOR   0x09
#define PCI_CAPABILITY_MSIX     0x11

/* The address of a function is as in a configuration address: slot << 3 | function. */
struct pci_function {
    uint8_t address;
    uint16_t vendor, device;
};

/* Scans all slots once. */
void pci_scan(void);

/* The function at an address, or null. The first scans the address, the second uses the last scan. */
const struct pci_function *pci_look_at(uint8_t address);
const struct pci_function *pci_at(uint8_t address);

/* Removes the record of a function that is gone. */
void pci_forget(const struct pci_function *function);

/* The nth function with these ids, or null. */
const struct pci_function *pci_find(uint16_t vendor, uint16_t device, uint32_t nth);

uint8_t pci_read8(const struct pci_function *function, uint32_t offset);
uint16_t pci_read16(const struct pci_function *function, uint32_t offset);
uint32_t pci_read32(const struct pci_function *function, uint32_t offset);
void pci_write32(const struct pci_function *function, uint32_t offset, uint32_t value);

/* The offset of the first capability of a type after `after` (0: from the beginning), or 0. */
uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after);

/* The address of a memory BAR, as assigned by the VMM; mapped. */
uint64_t pci_bar(const struct pci_function *function, uint32_t index);

/* Enables the function's BARs and bus mastering. */
void pci_enable(const struct pci_function *function);

/* Enables MSI-X and returns the address of its table, or 0 when the function has none. */
uint64_t pci_msix_enable(const struct pci_function *function);

/* Sends entry `entry` of a table to this CPU as `vector`. */
void pci_msix_route(uint64_t table, uint32_t entry, uint8_t vector);

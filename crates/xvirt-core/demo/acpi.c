#include "acpi.h"
#include "boot.h"
#include "memory.h"

#define BIOS_AREA_START 0xe0000
#define BIOS_AREA_END   0x100000

struct acpi_interrupts acpi_interrupts;
static const struct acpi_fadt *fadt;

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
} __attribute__((packed));

static const struct rsdp *find_rsdp(void)
{
    if (boot.rsdp)
        return (const struct rsdp *)boot.rsdp;
    for (uint64_t at = BIOS_AREA_START; at < BIOS_AREA_END; at += 16) {
        if (!memcmp((const void *)at, "RSD PTR ", 8))
            return (const struct rsdp *)at;
    }
    return 0;
}

/* The table with this signature, from the XSDT if there is one, else from the RSDT. */
static const void *find_table(const struct rsdp *rsdp, const char *signature)
{
    int wide = rsdp->revision >= 2 && rsdp->xsdt;
    const struct acpi_header *root = (const struct acpi_header *)(wide ? rsdp->xsdt : rsdp->rsdt);
    uint32_t width = wide ? 8 : 4;

    for (uint32_t at = sizeof *root; at + width <= root->length; at += width) {
        uint64_t address = 0;
        memcpy(&address, (const uint8_t *)root + at, width);
        const struct acpi_header *table = (const struct acpi_header *)address;
        if (table && !memcmp(table->signature, signature, 4))
            return table;
    }
    return 0;
}

static void add_cpu(uint32_t apic_id, uint32_t flags)
{
    if (flags & 1 && acpi_interrupts.cpus < ACPI_MAX_CPUS)
        acpi_interrupts.apic_id[acpi_interrupts.cpus++] = apic_id;
}

static uint32_t field32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* ACPI 6.5, 5.2.12: entries of type, length and body follow the two words after the header. */
static void read_madt(const struct acpi_header *madt)
{
    const uint8_t *at = (const uint8_t *)(madt + 1) + 8, *end = (const uint8_t *)madt + madt->length;

    for (; at + 2 <= end && at[1] >= 2; at += at[1]) {
        switch (at[0]) {
        case 0: /* local APIC */
            add_cpu(at[3], field32(at + 4));
            break;
        case 1: /* I/O APIC; the machine has one */
            acpi_interrupts.ioapic = field32(at + 4);
            break;
        case 2: /* an ISA interrupt with another pin, polarity or trigger mode */
            if (at[3] < 16) {
                acpi_interrupts.isa[at[3]].pin = field32(at + 4);
                acpi_interrupts.isa[at[3]].flags = (uint16_t)(at[8] | at[9] << 8);
            }
            break;
        case 9: /* local x2APIC */
            add_cpu(field32(at + 4), field32(at + 8));
            break;
        }
    }
}

void acpi_read(void)
{
    for (uint32_t irq = 0; irq < 16; irq++)
        acpi_interrupts.isa[irq].pin = irq;

    const struct rsdp *rsdp = find_rsdp();
    if (rsdp) {
        fadt = find_table(rsdp, "FACP");
        const struct acpi_header *madt = find_table(rsdp, "APIC");
        if (madt)
            read_madt(madt);
    }
    if (!acpi_interrupts.cpus)
        acpi_interrupts.cpus = 1;
}

const struct acpi_fadt *acpi_fadt(void)
{
    return fadt;
}

const void *acpi_table(const char *signature)
{
    const struct rsdp *rsdp = find_rsdp();

    return rsdp ? find_table(rsdp, signature) : 0;
}

static const struct acpi_header *find_dsdt(void)
{
    if (!fadt)
        return 0;
    if (fadt->header.length >= sizeof *fadt && fadt->x_dsdt)
        return (const struct acpi_header *)fadt->x_dsdt;
    return (const struct acpi_header *)(uint64_t)fadt->dsdt;
}

/*
 * `ADDR` is Name(ADDR, Package() { DWord, 0 }): PackageOp, a package length of one byte, the element count, and the
 * first element, the lower half of the address. The upper half is ignored.
 */
const uint8_t *acpi_generation_id(void)
{
    const struct acpi_header *dsdt = find_dsdt();

    if (!dsdt || dsdt->length < sizeof *dsdt + 16)
        return 0;
    const uint8_t *at = (const uint8_t *)(dsdt + 1), *end = (const uint8_t *)dsdt + dsdt->length - 12;
    for (; at < end; at++) {
        if (!memcmp(at, "ADDR\x12", 5) && at[7] == 0x0c)
            return (const uint8_t *)(uint64_t)field32(at + 8);
    }
    return 0;
}

/*
 * `_S5_` is Name(_S5_, Package() { Byte, ... }): NameOp, the name, PackageOp, a package length of 1 to 4 bytes, the
 * element count, and the first element as ZeroOp, OneOp, a byte or a word. Searching for that needs no AML interpreter.
 */
int acpi_soft_off_type(void)
{
    const struct acpi_header *dsdt = find_dsdt();

    if (!dsdt || dsdt->length < sizeof *dsdt + 16)
        return -1;

    const uint8_t *at = (const uint8_t *)(dsdt + 1), *end = (const uint8_t *)dsdt + dsdt->length - 12;
    for (; at < end; at++) {
        if (memcmp(at, "_S5_\x12", 5))
            continue;
        const uint8_t *element = at + 5 + 1 + (at[5] >> 6) + 1;
        if (*element == 0x0a || *element == 0x0b)
            return element[1];
        return *element;
    }
    return -1;
}

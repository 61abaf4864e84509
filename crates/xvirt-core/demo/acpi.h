/* The ACPI tables that the guest reads, and the values that it uses. */
#pragma once
#include <stdint.h>

#define ACPI_MAX_CPUS 64

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision, creator_id, creator_revision;
} __attribute__((packed));

/* ACPI 6.5, 5.2.3.2 */
struct acpi_address {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} __attribute__((packed));

#define ACPI_SPACE_MEMORY 0
#define ACPI_SPACE_PORT 1

/* ACPI 6.5, 5.2.9: the part up to the 64-bit DSDT address. */
struct acpi_fadt {
    struct acpi_header header;
    uint32_t firmware_ctrl, dsdt;
    uint8_t reserved, profile;
    uint16_t sci_interrupt;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios_request, pstate_control;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
    uint8_t gpe0_length, gpe1_length, gpe1_base, cstate_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved2;
    uint32_t flags;
    struct acpi_address reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor_version;
    uint64_t x_firmware_ctrl, x_dsdt;
} __attribute__((packed));

/* The interrupts according to the MADT. */
struct acpi_interrupts {
    uint32_t cpus;                          /* the number of enabled CPUs, at least 1 */
    uint32_t apic_id[ACPI_MAX_CPUS];
    uint64_t ioapic;                        /* 0 when there is none */
    struct {
        uint32_t pin;                       /* global interrupt the ISA line is wired to */
        uint16_t flags;                     /* polarity and trigger, 0 = default of the bus */
    } isa[16];
};

extern struct acpi_interrupts acpi_interrupts;

/* Finds the tables. Without tables, there is one CPU and no power control. */
void acpi_read(void);

/* The table with this signature, or null. */
const void *acpi_table(const char *signature);

/* The 16 bytes of the virtual machine's generation ID, or null. */
const uint8_t *acpi_generation_id(void);

/* Null when there is none. */
const struct acpi_fadt *acpi_fadt(void);

/* The sleep type of `_S5_` in the DSDT, or -1. */
int acpi_soft_off_type(void);

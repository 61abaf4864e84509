/* The local APIC of each CPU, and the I/O APIC. */
#pragma once
#include <stdint.h>

/* Enables this CPU's local APIC, as x2APIC if available, and masks the PIC. */
void apic_enable(void);

uint32_t apic_id(void);
void apic_end_of_interrupt(void);

/* The two steps that start another CPU, in real mode at `page` * 4096. */
void apic_send_init(uint32_t id);
void apic_send_startup(uint32_t id, uint8_t page);

/* Interrupts this CPU periodically. */
void apic_timer_start(uint8_t vector, uint32_t hertz);

/* Routes an ISA interrupt to this CPU, as described by the MADT. */
void apic_route_irq(uint32_t irq, uint8_t vector);

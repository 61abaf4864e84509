/* The interrupt table, and sleeping until an interrupt comes. */
#pragma once

#define INTERRUPT_VECTORS       0x50
#define INTERRUPT_STUB_SIZE     16

#define VECTOR_TIMER            0x20
#define VECTOR_SERIAL           0x21
#define VECTOR_ACPI             0x22
#define VECTOR_CONFIG           0x23    /* a virtio device changed its configuration */
#define VECTOR_FIRST_DEVICE     0x30
#define VECTOR_SPURIOUS         0x4f

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Fills the table and loads it on this CPU. */
void interrupt_setup(void);

/* Loads the filled table on another CPU. */
void interrupt_load(void);

/* A vector for a device's message-signalled interrupt; vectors are shared once all are in use. */
uint8_t interrupt_vector(void);

/* Whether a device's configuration changed since the last call. */
int interrupt_config_changed(void);

/*
 * The number of interrupts so far, and a sleep unless that number changed: take the count, check the devices, and
 * then wait for a change. So an interrupt that arrives between checking and sleeping is not missed.
 */
uint32_t interrupt_count(void);
void interrupt_wait(uint32_t seen);
#endif

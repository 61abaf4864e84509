/* The 16550 at COM1. */
#pragma once
#include <stddef.h>

#define SERIAL_IRQ 4

void serial_start(void);

void serial_write(const char *bytes, size_t length);

/* Enables an interrupt for received bytes. */
void serial_enable_interrupt(void);

/* The next received byte, or -1. */
int serial_read(void);

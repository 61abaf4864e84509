/* One line, one event, on every console. */
#pragma once
#include <stddef.h>

/*
 * Prints to all consoles; the output of two CPUs is never mixed. Supports %s %c %u %x with an optional zero-padded
 * width and `l`. Interrupt handlers must not call it, because they must not wait for its lock.
 */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints to one console only. */
void print_only(void (*write)(const char *bytes, size_t length), const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints to one more console from now on, beginning with the earlier output. */
void print_also_to(void (*write)(const char *bytes, size_t length));

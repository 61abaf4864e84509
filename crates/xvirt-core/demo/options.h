/* The kernel command line: `mode=a,b key=value`. */
#pragma once
#include <stdint.h>

/* Whether `mode=` lists this word. */
int option_mode(const char *word);

/* The number given for `key` (decimal, or hexadecimal after 0x), or `otherwise`. */
uint64_t option_number(const char *key, uint64_t otherwise);

/* Whether `key` was given exactly this value. */
int option_is(const char *key, const char *value);

/* Reads an address like 10.0.0.2; 0 when the key is not given. */
int option_ipv4(const char *key, uint8_t address[4]);

/* The kernel command line: `mode=a,b key=value`. */
#pragma once
#include <stdint.h>

/* Whether `mode=` lists this word. */
int option_mode(const char *word);

/* The number given for `key` (decimal, or hexadecimal after 0x), or `otherwise`. */
uint64_t option_number(const char *key, uint64_t otherwise);

/* Whether `key` was given exactly this value. */
int option_is(const char *key, const char *value);

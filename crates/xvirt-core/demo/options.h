/* The kernel command line: `mode=a,b key=value`. */
#pragma once
#include <stdint.h>

enum mode {
    MODE_HELLO,
    MODE_RNG,
    MODE_GENERATION,
    MODE_BLK,
    MODE_BLKVERIFY,
    MODE_BLKLOAD,
    MODE_BLKBENCH,
    MODE_SOAK,
    MODE_HOSTILE,
    MODE_NET,
    MODE_VSOCK,
    MODE_BALLOON,
    MODE_WATCHDOG,
    MODE_COUNTER,
    MODE_SMP,
    MODE_TIMER,
    MODE_ECHO,
    MODE_AGENT,
    MODE_HOTPLUG,
    MODE_HALT,
    MODE_POWEROFF,
    MODE_REBOOT,
    MODE_CRASH,
    MODE_PANIC,
    MODES
};

/* Reads `mode=`, only once because the CPU may be slow. */
void options_read(void);

/* Whether this mode was requested. */
int option_mode(enum mode mode);

/* The number given for `key` (decimal, or hexadecimal after 0x), or `otherwise`. */
uint64_t option_number(const char *key, uint64_t otherwise);

/* Whether `key` was given exactly this value. */
int option_is(const char *key, const char *value);

/* Reads an address like 10.0.0.2; 0 when the key is not given. */
int option_ipv4(const char *key, uint8_t address[4]);

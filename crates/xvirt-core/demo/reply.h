/* Just enough ARP and ICMP for a host to ping the guest. */
#pragma once
#include <stdint.h>

/* Reads the address given as `ip=`. */
void reply_start(void);

/*
 * Makes the answer out of an ARP request for, or a ping to, that address. The Ethernet addresses are the
 * answer's already; other frames stay as they are.
 */
void reply_rewrite(uint8_t *frame, uint32_t length, const uint8_t *mac);

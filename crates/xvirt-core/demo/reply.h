/* Just enough ARP and ICMP that a host can ping the guest. */
#pragma once
#include <stdint.h>

/*
 * Makes the answer out of an ARP request for, or a ping to, the address given as `ip=`. The Ethernet addresses are the
 * answer's already; other frames stay as they are.
 */
void reply_rewrite(uint8_t *frame, uint32_t length, const uint8_t *mac);

#include "reply.h"
#include "memory.h"
#include "options.h"

#define TYPE                12
#define TYPE_IPV4           0x0800
#define TYPE_ARP            0x0806

/* ARP for IPv4 over Ethernet. */
#define ARP_OPERATION       20
#define ARP_SENDER_MAC      22
#define ARP_SENDER_IP       28
#define ARP_TARGET_MAC      32
#define ARP_TARGET_IP       38
#define ARP_SIZE            42
#define ARP_REQUEST         1
#define ARP_REPLY           2

/* IPv4 without options, followed by ICMP. */
#define IP_VERSION          14
#define IP_PROTOCOL         23
#define IP_SOURCE           26
#define IP_DESTINATION      30
#define IP_PLAIN            0x45
#define PROTOCOL_ICMP       1
#define ICMP_TYPE           34
#define ICMP_CHECKSUM       36
#define ICMP_SIZE           42
#define ICMP_ECHO           8
#define ICMP_ECHO_REPLY     0

static int has_ip;
static uint8_t ip[4];

void reply_start(void)
{
    has_ip = option_ipv4("ip", ip);
}

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void answer_arp(uint8_t *frame, const uint8_t *mac)
{
    put16(frame + ARP_OPERATION, ARP_REPLY);
    memcpy(frame + ARP_TARGET_MAC, frame + ARP_SENDER_MAC, 10);
    memcpy(frame + ARP_SENDER_MAC, mac, 6);
    memcpy(frame + ARP_SENDER_IP, ip, 4);
}

/* Swapped addresses leave both checksums as they are; the changed type is added to ICMP's (RFC 1624). */
static void answer_ping(uint8_t *frame)
{
    uint32_t sum = get16(frame + ICMP_CHECKSUM) + (ICMP_ECHO << 8);

    memcpy(frame + IP_DESTINATION, frame + IP_SOURCE, 4);
    memcpy(frame + IP_SOURCE, ip, 4);
    frame[ICMP_TYPE] = ICMP_ECHO_REPLY;
    put16(frame + ICMP_CHECKSUM, (sum & 0xffff) + (sum >> 16));
}

void reply_rewrite(uint8_t *frame, uint32_t length, const uint8_t *mac)
{
    if (!has_ip || length < ARP_SIZE)
        return;
    uint32_t type = get16(frame + TYPE);
    if (type == TYPE_ARP && get16(frame + ARP_OPERATION) == ARP_REQUEST && !memcmp(frame + ARP_TARGET_IP, ip, 4))
        answer_arp(frame, mac);
    else if (type == TYPE_IPV4 && length >= ICMP_SIZE && frame[IP_VERSION] == IP_PLAIN
             && frame[IP_PROTOCOL] == PROTOCOL_ICMP && frame[ICMP_TYPE] == ICMP_ECHO
             && !memcmp(frame + IP_DESTINATION, ip, 4))
        answer_ping(frame);
}

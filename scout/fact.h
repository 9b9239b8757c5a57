/* fact - what the rooms of the scout tell each other: plain data, no code. scout.c carries it between them.
 */
#ifndef CMM_FACT_H
#define CMM_FACT_H

#include "private/wire.h"
#include <stdbool.h>
#include <stdint.h>

enum { FACT_ADDRESSES = 16, FACT_IFACE = 16, FACT_SSID = 33, FACT_FULL_NAME = 2 * WIRE_NAME };

enum fact_type {
    FACT_UNKNOWN = 0,
    FACT_WIRED,
    FACT_WIFI,
    FACT_CELLULAR,
    FACT_TUNNEL,
    FACT_BRIDGE,
    FACT_LOOPBACK,
};

struct fact_address {
    uint8_t family;    /* AF_INET, AF_INET6; 0: none */
    uint8_t prefix;    /* bits */
    bool preferred;    /* neither tentative nor deprecated: new connections may use it */
    uint8_t bytes[16]; /* network byte order */
    uint8_t peer[4];   /* IPv4's other end, where monitor read it */
};

/* One interface as the kernel has it. */
struct fact_link {
    uint32_t ifindex;
    enum fact_type type;
    char name[FACT_IFACE];
    char ssid[FACT_SSID];    /* empty: unknown */
    bool running;            /* up, with carrier */
    bool enslaved;           /* a port of a bridge, bond or team */
    bool route4, route6;     /* some unicast route leaves by it */
    bool way_out4, way_out6; /* a default route does */
    bool strict;             /* rp_filter, for IPv4 */
    uint32_t metric;         /* of its default route; 0 if it has none */
    unsigned address_count;
    struct fact_address addresses[FACT_ADDRESSES]; /* no link-local ones */
};

enum fact_check { FACT_CHECK_NONE = 0, FACT_CHECK_PENDING, FACT_CHECK_GOOD, FACT_CHECK_FAILED };

/* One network as kernel and configuration together say, before script and cmm-ctl have their say. */
struct fact_network {
    char name[WIRE_NAME];
    char iface[FACT_IFACE]; /* empty: a host address only */
    char ssid[FACT_SSID];   /* empty: unknown */
    uint32_t ifindex;
    uint32_t order; /* of its section */
    uint64_t labels;
    uint32_t metric;
    uint8_t flags;       /* WIRE_HAS4 ... */
    uint8_t ways;        /* WIRE_HAS4, WIRE_HAS6: those with a default route */
    bool works;          /* the kernel could carry a connection now */
    enum wire_lack lack; /* why not, or what it does without */
    enum fact_check check;
    struct fact_address address; /* for the wire */
    unsigned address_count;
    const struct fact_address *addresses; /* all it has, deprecated ones too; valid during the call */
};

#endif

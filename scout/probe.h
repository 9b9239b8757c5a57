/* probe - whether a TCP connection through a network works ("check ="). */
#ifndef CMM_PROBE_H
#define CMM_PROBE_H

#include "fact.h"

enum {
    PROBE_MAX = 64,
    PROBE_LIMIT_MS = 5000,
    PROBE_AGAIN_MS = 30000,
    PROBE_SOON_MS = 1000,
    PROBE_LATE_MS = 60000
};

struct probe {
    char name[WIRE_NAME], iface[FACT_IFACE];
    uint32_t ifindex;
    struct fact_address target, source; /* source: family 0 if the device is bound instead */
    struct fact_address own;            /* the network's: with another one it is another network */
    char ssid[FACT_SSID];
    uint8_t families, ways; /* the network's, when it was last seen */
    uint16_t port;
    int sock;   /* -1: none under way */
    int64_t at; /* when it is given up, or the next one begins; -1: never */
    uint32_t pause_ms;
    enum fact_check result;
    bool seen;
};

struct probe_table {
    int epoll;
    unsigned count;
    struct probe probes[PROBE_MAX];
};

/* 0 or -errno. */
int probe_init(struct probe_table *t);
void probe_finish(struct probe_table *t);

/* begin, see each network that has a check, end: as in network. see: what is known of it now. */
void probe_begin(struct probe_table *t);
enum fact_check probe_see(struct probe_table *t, const struct fact_network *n,
                          const struct fact_address *target, uint16_t port, int64_t now);
void probe_end(struct probe_table *t);

/* Readable when a connection is decided: then, and at the deadline (-1: none), call probe_step. True: a
 * result changed. */
int probe_fd(const struct probe_table *t);
int64_t probe_deadline(const struct probe_table *t);
bool probe_step(struct probe_table *t, int64_t now);

#endif

/* network - the table of networks: each a state machine of its own. Pure: time is passed in (milliseconds of
 * CLOCK_MONOTONIC), nothing is read from outside. */
#ifndef CMM_NETWORK_H
#define CMM_NETWORK_H

#include "network_rule.h"

enum { NETWORK_MAX = 1024, NETWORK_SPENT = 1024 };

enum network_presence {
    NETWORK_GONE = 0, /* and given up */
    NETWORK_HELD,     /* there, but not yet for long enough */
    NETWORK_THERE,
    NETWORK_GRACE, /* gone, not yet given up */
};

struct network {
    struct fact_network fact; /* its addresses pointer is not kept */
    enum network_presence presence;
    int64_t until; /* of NETWORK_HELD and NETWORK_GRACE */
    bool seen, unlisted;
    bool anchored;                        /* id rests on these addresses: */
    struct fact_address anchor4, anchor6; /* family 0: none; IPv6 counts by its /64 */
    char anchor_ssid[FACT_SSID];          /* empty: none */
    uint64_t id, plain_id;                /* plain: what it would be had nothing been lost */
    uint8_t six;                          /* never 0: which one it is by IPv6, see WIRE_ID_SIX */
    bool six_alone;                       /* with NETWORK_GRACE: IPv6 alone is gone */
    enum wire_state state;
    uint32_t since_ms;
};

/* To the next scout of this name. */
struct network_known {
    uint64_t plain, id; /* id: as others are told it; 0: what had it is lost */
};
enum { NETWORK_KNOWN = 128 };

struct network_table {
    uint32_t hold_ms, grace_ms;
    bool scripted;         /* what the script has not called up is down */
    uint64_t seed, random; /* seed: the same for every scout of this machine and boot */
    uint64_t losses;
    struct network_rules rules;
    unsigned known_count;
    struct network_known known[NETWORK_KNOWN]; /* from the scout before, until the first look is over */
    unsigned count, spent_count, next;         /* next: where the one after that just seen is expected */
    struct network networks[NETWORK_MAX];      /* in the order of sections, then of interfaces */
    uint64_t spent[NETWORK_SPENT];             /* plain ids that were lost: never to be used again */
};

void network_init(struct network_table *t, bool scripted, uint64_t seed, uint64_t random);

/* What the next scout cannot know by itself: ids that are not plain, and what was lost latest. How many. */
unsigned network_remember(const struct network_table *t, struct network_known ret[NETWORK_KNOWN]);

/* The same from the one before, before the first look. */
void network_recall(struct network_table *t, const struct network_known *known, unsigned count);

/* One look at the world: begin, see each network that is listed and present, end. at_once: not the kernel
 * brought the news (start, reload), so nothing that works is held down. see: 0, or -ENOSPC. */
void network_begin(struct network_table *t);
int network_see(struct network_table *t, const struct fact_network *fact, bool at_once, int64_t now);
/* present(arg, ifindex): that interface is still there, though maybe no listed network any more. */
void network_end(struct network_table *t, bool (*present)(void *arg, uint32_t ifindex), void *arg,
                 int64_t now);

/* Lets time pass; network_end does too. network_deadline: when to look at the world again, or -1. */
void network_tick(struct network_table *t, int64_t now);
int64_t network_deadline(const struct network_table *t);

/* What script or cmm-ctl have changed in t->rules (wishes) counts now. */
void network_rejudge(struct network_table *t, int64_t now);

/* A network of that NAME or NAME@IFACE is there. */
bool network_known(const struct network_table *t, const char *name);

/* What cmm-ctl and script say also holds for those that joined the snapshot from that place on. */
void network_amend(const struct network_table *t, struct wire_snapshot *snapshot, uint32_t from);

/* Its id with what it is by IPv6, as others are told it. */
uint64_t network_told_id(const struct network *n);

/* Fills networks and count of snapshot, in the table's order; where there are too many, those that are down
 * are left out first, then those without a default route. ifaces[i] is the interface of networks[i].
 * Everything unused is zeroed. */
void network_fill(const struct network_table *t, struct wire_snapshot *snapshot, char (*ifaces)[FACT_IFACE]);

/* How many were left out; from that place among them on as many as fit are put into snapshot. */
unsigned network_untold(const struct network_table *t, unsigned from, struct wire_snapshot *snapshot);

#endif

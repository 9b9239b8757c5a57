/* net - the networks as the scout last told them, and which one to pick. Pure; the caller holds the shim's
 * lock. */
#ifndef CMM_NET_H
#define CMM_NET_H

#include "private/wire.h"
#include <stdbool.h>

struct net_table {
    bool spoken;              /* a scout has ever spoken */
    struct wire_snapshot now; /* count 0 until then */
    uint32_t ruled;           /* by index: found out since then to carry only what has its address */
};

enum { NET_SETTLE_MS = 2000 };

/* Takes a checked snapshot over. */
void net_apply(struct net_table *t, const struct wire_snapshot *s);

/* What it is to connections by that family (AF_INET, AF_INET6). */
uint64_t net_id(const struct wire_network *n, int family);
bool net_is(const struct wire_network *n, uint64_t id);

/* By what net_id says, whatever its state; NULL: not listed any more, or id 0. */
const struct wire_network *net_find(const struct net_table *t, uint64_t id);
const struct wire_network *net_find_in(const struct wire_snapshot *s, uint64_t id);

/* By interface, whatever its state; NULL: none is listed there. */
const struct wire_network *net_find_ifindex(const struct net_table *t, uint32_t ifindex);

/* How long it had been there at that instant (CLOCK_MONOTONIC, low 32 bits); 0 if it has come since, which
 * may be another CPU's clock, or an attempt that outlasted a blip. */
uint32_t net_age(const struct wire_network *n, uint32_t at_ms);

/* It offers every label in labels (labels 0: any). Says nothing of its state. */
bool net_matches(const struct wire_network *n, uint64_t labels);

/* Connections by it go on: it is offered, or only just gone. False for NULL. */
bool net_works(const struct wire_network *n);

/* It is offered and has an address of that family (AF_INET, AF_INET6; AF_UNSPEC: of either). */
bool net_usable(const struct wire_network *n, int family);

/* The best usable network for labels: by the preference of the lowest labeled bit that has one, then by
 * metric, then by position. NULL: none. */
const struct wire_network *net_pick(const struct net_table *t, uint64_t labels, int family);

/* A route of its was found that rules open to its own address only. Known until the next snapshot. */
void net_found_ruled(struct net_table *t, uint64_t id);
bool net_ruled(const struct net_table *t, uint64_t id);

/* What it has of that family is of no use. */
void net_lacks(struct net_table *t, uint64_t id, int family);

/* It has been away by a loss that the scout is yet to tell of: as good as come now. */
void net_comes_anew(struct net_table *t, uint64_t id, uint32_t now_ms);

/* No listed network can ever have that family, though some are listed. */
bool net_never(const struct net_table *t, int family);

/* It matches and is offered but lacks the family, for longer than it may still be settling (now_ms:
 * CLOCK_MONOTONIC, low 32 bits). With *ret_settling: the ms after which asking again makes sense, 0 if none.
 * True only if a matching network is up, none of those has the family and none is settling. */
bool net_unreachable(const struct net_table *t, uint64_t labels, int family, uint32_t now_ms,
                     uint32_t *ret_settling);

#endif

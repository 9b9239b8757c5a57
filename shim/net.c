/* net - the networks as the scout last told them, and which one to pick.
 *
 * Pure: reads one table and decides. The snapshot has passed wire_check, so indices in it are good. The
 * caller holds the shim's lock, and keeps no pointer into the table beyond it. Clocks are the caller's.
 */
#include "net.h"

#include <sys/socket.h>

enum { UNORDERED = WIRE_PREF_ORDER, LATER_MS = 3600000 /* for 49 days, less this, an age is one */ };

static uint8_t family_flags(int family, uint8_t flag4, uint8_t flag6) {
    return family == AF_INET ? flag4 : family == AF_INET6 ? flag6 : (uint8_t)(flag4 | flag6);
}

/* The preference that speaks for labels; NULL: none does. */
static const struct wire_pref *find_pref(const struct net_table *t, uint64_t labels) {
    const struct wire_pref *found = NULL;
    for (uint32_t i = 0; i < t->now.pref_count; i++) {
        const struct wire_pref *p = &t->now.prefs[i];
        if ((labels >> p->bit & 1) && (!found || p->bit < found->bit))
            found = p;
    }
    return found;
}

static int place_in(const struct wire_pref *p, uint32_t index) {
    for (int k = 0; p && k < p->count; k++)
        if (p->order[k] == index)
            return k;
    return UNORDERED;
}

uint32_t net_age(const struct wire_network *n, uint32_t at_ms) {
    const uint32_t age = at_ms - n->since_ms;
    return age > UINT32_MAX - LATER_MS ? 0 : age;
}

/* How long a network may still be settling. */
static uint32_t settling_ms(const struct wire_network *n, uint32_t now_ms) {
    const uint32_t age = net_age(n, now_ms);
    return age < NET_SETTLE_MS ? NET_SETTLE_MS - age : 0;
}

void net_apply(struct net_table *t, const struct wire_snapshot *s) {
    memcpy(&t->now, s, wire_snapshot_size(s->count));
    t->spoken = true;
    t->ruled = 0;
}

uint64_t net_id(const struct wire_network *n, int family) {
    return family == AF_INET6 ? n->id : n->id & ~WIRE_ID_SIX;
}

bool net_is(const struct wire_network *n, uint64_t id) {
    return id && (id == n->id || id == net_id(n, AF_INET));
}

_Static_assert(WIRE_NETWORKS <= 32, "a bit each");

/* Its bit; 0: not listed. */
static uint32_t bit_of(const struct net_table *t, uint64_t id) {
    for (uint32_t i = 0; i < t->now.count; i++)
        if (net_is(&t->now.networks[i], id))
            return 1u << i;
    return 0;
}

void net_found_ruled(struct net_table *t, uint64_t id) {
    t->ruled |= bit_of(t, id);
}

bool net_ruled(const struct net_table *t, uint64_t id) {
    return t->ruled & bit_of(t, id);
}

const struct wire_network *net_find_in(const struct wire_snapshot *s, uint64_t id) {
    for (uint32_t i = 0; id && i < s->count; i++)
        if (net_is(&s->networks[i], id))
            return &s->networks[i];
    return NULL;
}

const struct wire_network *net_find(const struct net_table *t, uint64_t id) {
    return net_find_in(&t->now, id);
}

const struct wire_network *net_find_ifindex(const struct net_table *t, uint32_t ifindex) {
    for (uint32_t i = 0; ifindex && i < t->now.count; i++)
        if (t->now.networks[i].ifindex == ifindex)
            return &t->now.networks[i];
    return NULL;
}

bool net_matches(const struct wire_network *n, uint64_t labels) {
    return (n->labels & labels) == labels;
}

bool net_works(const struct wire_network *n) {
    return n && (n->state == WIRE_NET_UP || n->state == WIRE_NET_GRACE);
}

bool net_usable(const struct wire_network *n, int family) {
    return n->state == WIRE_NET_UP && (n->flags & family_flags(family, WIRE_HAS4, WIRE_HAS6));
}

const struct wire_network *net_pick(const struct net_table *t, uint64_t labels, int family) {
    const struct wire_pref *pref = find_pref(t, labels);
    const struct wire_network *best = NULL;
    int best_place = 0;
    for (uint32_t i = 0; i < t->now.count; i++) {
        const struct wire_network *n = &t->now.networks[i];
        if (!net_matches(n, labels) || !net_usable(n, family))
            continue;
        int place = place_in(pref, i);
        if (!best || place < best_place || (place == best_place && n->metric < best->metric)) {
            best = n;
            best_place = place;
        }
    }
    return best;
}

void net_lacks(struct net_table *t, uint64_t id, int family) {
    for (uint32_t i = 0; i < t->now.count; i++)
        if (t->now.networks[i].id == id)
            t->now.networks[i].flags &= (uint8_t)~family_flags(family, WIRE_HAS4, WIRE_HAS6);
}

void net_comes_anew(struct net_table *t, uint64_t id, uint32_t now_ms) {
    for (uint32_t i = 0; i < t->now.count; i++)
        if (t->now.networks[i].id == id)
            t->now.networks[i].since_ms = now_ms;
}

bool net_never(const struct net_table *t, int family) {
    uint8_t want = family_flags(family, WIRE_EVER4 | WIRE_HAS4, WIRE_EVER6 | WIRE_HAS6);
    for (uint32_t i = 0; i < t->now.count; i++)
        if (t->now.networks[i].flags & want)
            return false;
    return t->now.count > 0;
}

bool net_unreachable(const struct net_table *t, uint64_t labels, int family, uint32_t now_ms,
                     uint32_t *ret_settling) {
    bool any = false;
    *ret_settling = 0;
    for (uint32_t i = 0; i < t->now.count; i++) {
        const struct wire_network *n = &t->now.networks[i];
        if (!net_matches(n, labels) || n->state != WIRE_NET_UP)
            continue;
        if (net_usable(n, family)) {
            *ret_settling = 0;
            return false;
        }
        any = true;
        uint32_t left = settling_ms(n, now_ms);
        if (left > *ret_settling)
            *ret_settling = left;
    }
    return any && *ret_settling == 0;
}

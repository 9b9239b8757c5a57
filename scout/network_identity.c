/* network_identity - which network it is: what an id rests on, and when it is another one.
 *
 * network comes in with each look at the world. An id is a hash of what the network rests on, so that a scout
 * that comes back finds the same; what was lost once never gets that hash again. What a scout cannot find
 * again by itself the one before remembers for it. Pure.
 */
#include "network_identity.h"

#include <sys/socket.h>

static uint64_t stir(uint64_t h, const void *data, size_t len) {
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 31;
    h *= UINT64_C(0x7fb5d329728ea185);
    return h ^ (h >> 27);
}

static bool is_spent(const struct network_table *t, uint64_t id) {
    unsigned count = t->spent_count < NETWORK_SPENT ? t->spent_count : NETWORK_SPENT;
    for (unsigned i = 0; i < count; i++)
        if (t->spent[i] == id)
            return true;
    return false;
}

static uint64_t plain_id(const struct network_table *t, const struct network *n) {
    const struct fact_address *a = n->anchor4.family ? &n->anchor4 : &n->anchor6;
    uint64_t h = stir(t->seed, n->fact.name, sizeof n->fact.name);
    h = stir(h, n->fact.iface, sizeof n->fact.iface);
    if (n->fact.iface[0])
        h = stir(h, &n->fact.ifindex, sizeof n->fact.ifindex);
    if (n->anchor_ssid[0])
        h = stir(h, n->anchor_ssid, sizeof n->anchor_ssid);
    h = stir(h, &a->family, 1);
    h = stir(h, a->bytes, a->family == AF_INET6 && n->fact.iface[0] ? 8 : sizeof a->bytes);
    h &= ~WIRE_ID_SIX;
    return h ? h : 1;
}

static bool id_in_use(const struct network_table *t, const struct network *self, uint64_t id) {
    for (unsigned i = 0; i < t->count; i++)
        if (&t->networks[i] != self && t->networks[i].id == id)
            return true;
    return false;
}

uint64_t network_told_id(const struct network *n) {
    return n->id | (uint64_t)n->six << 56;
}

/* The scout before knew it. */
static bool is_known(struct network_table *t, struct network *n) {
    for (unsigned i = 0; i < t->known_count; i++) {
        const uint64_t id = t->known[i].id & ~WIRE_ID_SIX;
        if (t->known[i].plain != n->plain_id || !id || id_in_use(t, n, id))
            continue;
        n->id = id;
        n->six = t->known[i].id >> 56 ? (uint8_t)(t->known[i].id >> 56) : 1;
        t->known[i].id = 0;
        return true;
    }
    return false;
}

void network_identify(struct network_table *t, struct network *n) {
    n->plain_id = n->id = plain_id(t, n);
    if (is_known(t, n))
        return;
    while (n->id == 0 || is_spent(t, n->id) || id_in_use(t, n, n->id)) {
        uint64_t salt[2] = {t->random, ++t->losses};
        n->id = stir(n->plain_id, salt, sizeof salt) & ~WIRE_ID_SIX;
    }
}

static void spend(struct network_table *t, uint64_t plain) {
    if (!is_spent(t, plain))
        t->spent[t->spent_count++ % NETWORK_SPENT] = plain;
}

void network_lose(struct network_table *t, struct network *n) {
    spend(t, n->plain_id);
    network_identify(t, n);
    n->anchored = n->six_alone = false;
}

static bool same_network(const struct fact_address *a, const struct fact_address *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == AF_INET6 ? 8 : 4) == 0;
}

static bool has(const struct fact_network *f, const struct fact_address *anchor) {
    for (unsigned i = 0; i < f->address_count; i++)
        if (same_network(&f->addresses[i], anchor))
            return true;
    return anchor->family == 0;
}

static bool has_family(const struct fact_network *f, int family) {
    for (unsigned i = 0; i < f->address_count; i++)
        if (f->addresses[i].family == family && f->addresses[i].preferred)
            return true;
    return false;
}

/* The same interface and perhaps the same address, but another access point's network. */
static bool has_another_name(const struct network *n, const struct fact_network *f) {
    return n->anchor_ssid[0] && f->ssid[0] && strcmp(n->anchor_ssid, f->ssid) != 0;
}

static bool is_gone(const struct network *n, const struct fact_network *f, int family) {
    return n->anchored && !has(f, family == AF_INET ? &n->anchor4 : &n->anchor6);
}

/* The address went and another one of its family is there instead: not a blip but another one. */
static bool is_replaced(const struct network *n, const struct fact_network *f, int family) {
    return is_gone(n, f, family) && has_family(f, family);
}

bool network_goes_on_by_four(const struct network *n, const struct fact_network *f) {
    return n->anchored && n->anchor4.family && f->works && f->flags & WIRE_HAS4 && has(f, &n->anchor4) &&
           !has_another_name(n, f);
}

void network_lose_six(struct network *n) {
    n->anchor6 = (struct fact_address){0};
    n->six = n->six == UINT8_MAX ? 1 : n->six + 1;
    n->six_alone = false;
}

static void anchor(struct fact_address *anchor, const struct fact_network *f, int family, uint8_t flag) {
    for (unsigned i = 0; anchor->family == 0 && (f->flags & flag) && i < f->address_count; i++)
        if (f->addresses[i].family == family && f->addresses[i].preferred)
            *anchor = f->addresses[i];
}

static void clear_anchors(struct network *n) {
    n->anchor4 = n->anchor6 = (struct fact_address){0};
    memset(n->anchor_ssid, 0, sizeof n->anchor_ssid);
}

void network_settle(struct network_table *t, struct network *n, const struct fact_network *f) {
    if (!n->anchored)
        clear_anchors(n);
    anchor(&n->anchor4, f, AF_INET, WIRE_HAS4);
    anchor(&n->anchor6, f, AF_INET6, WIRE_HAS6);
    if (!n->anchor_ssid[0])
        memcpy(n->anchor_ssid, f->ssid, sizeof n->anchor_ssid);
    if (!n->anchored)
        network_identify(t, n);
    n->anchored = true;
}

bool network_rests(const struct network *n, const struct fact_network *f) {
    return !is_gone(n, f, AF_INET) && !is_gone(n, f, AF_INET6);
}

bool network_review(struct network_table *t, struct network *n, const struct fact_network *f) {
    if (network_goes_on_by_four(n, f) && is_replaced(n, f, AF_INET6)) {
        network_lose_six(n);
        return true;
    }
    if (!(n->anchored && has_another_name(n, f)) && !is_replaced(n, f, AF_INET) &&
        !is_replaced(n, f, AF_INET6))
        return true;
    network_lose(t, n);
    return false;
}

static bool holds(const struct network_known *known, unsigned count, uint64_t plain) {
    while (count && known[count - 1].plain != plain)
        count--;
    return count;
}

unsigned network_remember(const struct network_table *t, struct network_known ret[NETWORK_KNOWN]) {
    unsigned count = 0;
    for (unsigned i = 0; i < t->count && count < NETWORK_KNOWN; i++) {
        const struct network *n = &t->networks[i];
        if (n->anchored && (n->id != n->plain_id || n->six != 1))
            ret[count++] = (struct network_known){n->plain_id, network_told_id(n)};
    }
    const unsigned here = count;
    for (unsigned i = 0; i < t->spent_count && i < NETWORK_SPENT && count < NETWORK_KNOWN; i++) {
        const uint64_t plain = t->spent[(t->spent_count - 1 - i) % NETWORK_SPENT];
        if (!holds(ret, here, plain))
            ret[count++] = (struct network_known){plain, 0};
    }
    return count;
}

void network_recall(struct network_table *t, const struct network_known *known, unsigned count) {
    for (unsigned i = count; i-- > 0;) {
        t->known[i] = known[i];
        if ((known[i].id & ~WIRE_ID_SIX) != known[i].plain)
            spend(t, known[i].plain);
    }
    t->known_count = count;
}

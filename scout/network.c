/* network - the table of networks: each a state machine of its own.
 *
 * scout.c comes in with what policy made of the kernel's word, with the wishes of script and cmm-ctl, and
 * with the time. Pure. Two things are kept apart: presence (what the kernel says, with hold-down and grace;
 * identity hangs on it) and state (what is offered, after script, checks and cmm-ctl). An id is a hash of
 * what the network rests on, so that a scout that comes back finds the same; what was lost once never gets
 * that hash again.
 */
#include "network.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

enum { UNLISTED_MS = 3000 }; /* what is not listed any more is withdrawn this long: sockets drain for 2 s */

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

static void identify(struct network_table *t, struct network *n) {
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

/* It was offered under its id: that id is over. */
static void lose(struct network_table *t, struct network *n) {
    spend(t, n->plain_id);
    identify(t, n);
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

/* What it is by IPv4 it still is. */
static bool goes_on_by_four(const struct network *n, const struct fact_network *f) {
    return n->anchored && n->anchor4.family && f->works && f->flags & WIRE_HAS4 && has(f, &n->anchor4) &&
           !has_another_name(n, f);
}

/* By IPv6 it is another one from now on. */
static void lose_six(struct network *n) {
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

/* A family that comes later joins the identity and does not change it. */
static void settle(struct network_table *t, struct network *n, const struct fact_network *f) {
    if (!n->anchored)
        clear_anchors(n);
    anchor(&n->anchor4, f, AF_INET, WIRE_HAS4);
    anchor(&n->anchor6, f, AF_INET6, WIRE_HAS6);
    if (!n->anchor_ssid[0])
        memcpy(n->anchor_ssid, f->ssid, sizeof n->anchor_ssid);
    if (!n->anchored)
        identify(t, n);
    n->anchored = true;
}

static void arrive(struct network_table *t, struct network *n, bool at_once, int64_t now) {
    if (n->presence == NETWORK_GRACE) {
        n->presence = NETWORK_THERE;
    } else if (n->presence == NETWORK_GONE) {
        n->presence = at_once ? NETWORK_THERE : NETWORK_HELD;
        n->until = now + t->hold_ms;
    }
}

/* What goes after IPv6 has a grace of its own. */
static void depart(struct network_table *t, struct network *n, bool six_alone, int64_t now) {
    if (n->presence == NETWORK_THERE || (n->presence == NETWORK_GRACE && n->six_alone && !six_alone)) {
        n->presence = NETWORK_GRACE;
        n->until = now + t->grace_ms;
        n->six_alone = six_alone;
    } else if (n->presence == NETWORK_HELD) {
        n->presence = NETWORK_GONE; /* never offered: nothing to be given up */
        n->anchored = false;
    }
}

static void expire(struct network_table *t, struct network *n, int64_t now) {
    if (n->presence == NETWORK_HELD && now >= n->until) {
        n->presence = NETWORK_THERE;
    } else if (n->presence == NETWORK_GRACE && now >= n->until && n->six_alone) {
        n->presence = NETWORK_THERE;
        lose_six(n);
    } else if (n->presence == NETWORK_GRACE && now >= n->until) {
        n->presence = NETWORK_GONE;
        lose(t, n);
    }
}

static enum wire_state state_by_itself(const struct network *n) {
    switch (n->presence) {
    case NETWORK_GONE:
    case NETWORK_HELD:
        return WIRE_NET_DOWN;
    case NETWORK_GRACE:
        return WIRE_NET_GRACE;
    case NETWORK_THERE:
        break;
    }
    return n->fact.check == FACT_CHECK_FAILED    ? WIRE_NET_WITHDRAWN
           : n->fact.check == FACT_CHECK_PENDING ? WIRE_NET_DOWN
                                                 : WIRE_NET_UP;
}

static enum wire_state judge(const struct network_table *t, const struct network *n) {
    enum network_wish wish = network_rule_wish_of(&t->rules, NETWORK_CTL, &n->fact);
    if (wish == NETWORK_AUTO && t->scripted)
        wish = network_rule_wish_of(&t->rules, NETWORK_SCRIPT, &n->fact) == NETWORK_UP ? NETWORK_UP
                                                                                       : NETWORK_DOWN;
    if (n->unlisted)
        wish = NETWORK_DOWN;
    switch (wish) {
    case NETWORK_UP:
        return WIRE_NET_UP;
    case NETWORK_DOWN:
        return n->presence == NETWORK_THERE ? WIRE_NET_WITHDRAWN : WIRE_NET_DOWN;
    case NETWORK_AUTO:
        break;
    }
    return state_by_itself(n);
}

static void update(struct network_table *t, struct network *n, int64_t now) {
    enum wire_state state = judge(t, n);
    if (state == WIRE_NET_UP && n->state != WIRE_NET_UP)
        n->since_ms = (uint32_t)now;
    n->state = state;
}

static bool is_it(const struct fact_network *have, const struct fact_network *f) {
    bool same_link = f->iface[0] ? have->ifindex == f->ifindex && have->iface[0] : !have->iface[0];
    return same_link && strncmp(have->name, f->name, sizeof f->name) == 0;
}

/* They mostly come in the order of the table. */
static struct network *find(struct network_table *t, const struct fact_network *f) {
    for (unsigned i = 0; i < t->count; i++) {
        unsigned at = (t->next + i) % t->count;
        if (is_it(&t->networks[at].fact, f)) {
            t->next = at + 1;
            return &t->networks[at];
        }
    }
    return NULL;
}

/* The order of sections, then of interfaces: the same for every scout of this machine. */
static bool comes_after(const struct fact_network *a, const struct fact_network *b) {
    return a->order != b->order ? a->order > b->order : a->ifindex > b->ifindex;
}

/* Its place in the order it finds at the end. */
static struct network *add(struct network_table *t, const struct fact_network *f) {
    if (t->count == NETWORK_MAX)
        return NULL;
    struct network *n = &t->networks[t->count++];
    *n = (struct network){.fact = *f, .six = 1};
    identify(t, n);
    return n;
}

/* New ones come, and another configuration has other sections. */
static void sort(struct network_table *t) {
    for (unsigned i = 1; i < t->count; i++) {
        struct network n = t->networks[i];
        unsigned at = i;
        for (; at > 0 && comes_after(&t->networks[at - 1].fact, &n.fact); at--)
            t->networks[at] = t->networks[at - 1];
        if (at < i)
            t->networks[at] = n;
    }
}

static void drop(struct network_table *t, unsigned at) {
    t->count--;
    memmove(&t->networks[at], &t->networks[at + 1], (t->count - at) * sizeof t->networks[0]);
}

void network_init(struct network_table *t, bool scripted, uint64_t seed, uint64_t random) {
    memset(t, 0, offsetof(struct network_table, networks)); /* the rest is not touched before it is used */
    t->scripted = scripted;
    t->seed = seed;
    t->random = random;
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

void network_begin(struct network_table *t) {
    t->next = 0;
    for (unsigned i = 0; i < t->count; i++)
        t->networks[i].seen = false;
}

int network_see(struct network_table *t, const struct fact_network *fact, bool at_once, int64_t now) {
    struct network *n = find(t, fact);
    if (!n)
        n = add(t, fact);
    if (!n)
        return -ENOSPC;
    n->fact = *fact;
    n->fact.addresses = NULL;
    n->seen = true;
    n->unlisted = false;
    expire(t, n, now);
    const bool by_four = goes_on_by_four(n, fact);
    if (by_four && is_replaced(n, fact, AF_INET6)) {
        lose_six(n);
    } else if ((n->anchored && has_another_name(n, fact)) || is_replaced(n, fact, AF_INET) ||
               is_replaced(n, fact, AF_INET6)) {
        n->presence = NETWORK_GONE;
        lose(t, n);
    }
    if (fact->works && !is_gone(n, fact, AF_INET) && !is_gone(n, fact, AF_INET6)) {
        settle(t, n, fact);
        arrive(t, n, at_once, now);
    } else {
        depart(t, n, by_four, now);
    }
    return 0;
}

static void miss(struct network_table *t, struct network *n, bool present, int64_t now) {
    if (present && !n->unlisted && n->presence == NETWORK_THERE) {
        n->unlisted = true;
        n->until = now + UNLISTED_MS;
    } else if (!present || n->presence != NETWORK_THERE) {
        n->unlisted = false;
        n->fact.lack = WIRE_LACK_LINK;
        n->fact.flags &= (uint8_t) ~(WIRE_HAS4 | WIRE_HAS6);
        depart(t, n, false, now);
    }
}

void network_end(struct network_table *t, bool (*present)(void *arg, uint32_t ifindex), void *arg,
                 int64_t now) {
    for (unsigned i = 0; i < t->count; i++)
        if (!t->networks[i].seen)
            miss(t, &t->networks[i], present(arg, t->networks[i].fact.ifindex), now);
    network_tick(t, now);
    sort(t);
    t->known_count = 0;
}

static bool is_over(const struct network *n, int64_t now) {
    return !n->seen && (n->presence == NETWORK_GONE || (n->unlisted && now >= n->until));
}

void network_tick(struct network_table *t, int64_t now) {
    for (unsigned i = t->count; i-- > 0;) {
        struct network *n = &t->networks[i];
        expire(t, n, now);
        if (is_over(n, now)) {
            if (n->unlisted)
                lose(t, n);
            drop(t, i);
        } else {
            update(t, n, now);
        }
    }
}

int64_t network_deadline(const struct network_table *t) {
    int64_t first = -1;
    for (unsigned i = 0; i < t->count; i++) {
        const struct network *n = &t->networks[i];
        bool waits = n->presence == NETWORK_HELD || n->presence == NETWORK_GRACE || n->unlisted;
        if (waits && (first < 0 || n->until < first))
            first = n->until;
    }
    return first;
}

void network_rejudge(struct network_table *t, int64_t now) {
    for (unsigned i = 0; i < t->count; i++)
        update(t, &t->networks[i], now);
}

bool network_known(const struct network_table *t, const char *name) {
    size_t len = strcspn(name, "@");
    for (unsigned i = 0; i < t->count; i++) {
        const struct fact_network *f = &t->networks[i].fact;
        if (strncmp(f->name, name, len) == 0 && !f->name[len] &&
            (!name[len] || strcmp(name + len + 1, f->iface) == 0))
            return true;
    }
    return false;
}

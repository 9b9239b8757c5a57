/* network - the table of networks: each a state machine of its own.
 *
 * scout.c comes in with what policy made of the kernel's word, with the wishes of script and cmm-ctl, and
 * with the time. Pure. Two things are kept apart: presence (what the kernel says, with hold-down and grace;
 * identity hangs on it) and state (what is offered, after script, checks and cmm-ctl). Deliberately absent:
 * which network it is (network_identity), and what is told of it (network_told).
 */
#include "network.h"
#include "network_identity.h"

#include <errno.h>
#include <stddef.h>

enum { UNLISTED_MS = 3000 }; /* what is not listed any more is withdrawn this long: sockets drain for 2 s */

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
        network_lose_six(n);
    } else if (n->presence == NETWORK_GRACE && now >= n->until) {
        n->presence = NETWORK_GONE;
        network_lose(t, n);
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
    network_identify(t, n);
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
    if (!network_review(t, n, fact))
        n->presence = NETWORK_GONE;
    if (fact->works && network_rests(n, fact)) {
        network_settle(t, n, fact);
        arrive(t, n, at_once, now);
    } else {
        depart(t, n, network_goes_on_by_four(n, fact), now);
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
                network_lose(t, n);
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

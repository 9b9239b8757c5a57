/* network_told - the table as others are told of it: what each network lacks, and which they are where there
 * is no room for all.
 *
 * scout.c comes in for each snapshot. Pure. A snapshot holds WIRE_NETWORKS; the rest is for those who ask.
 */
#include "network.h"

enum { RANKS = 3 };

/* Where several stand in the way, the one that is to be asked first. */
static enum wire_lack lack_of(const struct network_table *t, const struct network *n) {
    if (n->state != WIRE_NET_UP) {
        if (network_rule_wish_of(&t->rules, NETWORK_CTL, &n->fact) == NETWORK_DOWN)
            return WIRE_LACK_CTL;
        if (n->unlisted)
            return WIRE_LACK_LISTING;
        if (t->scripted)
            return WIRE_LACK_SCRIPT;
        if (n->presence == NETWORK_HELD)
            return WIRE_LACK_TIME;
        if (n->presence == NETWORK_THERE)
            return WIRE_LACK_CHECK;
    }
    return n->fact.lack;
}

static void put(const struct network_table *t, const struct network *n, struct wire_network *ret) {
    const struct fact_network *f = &n->fact;
    memcpy(ret->name, f->name, sizeof ret->name);
    ret->id = network_told_id(n);
    ret->labels = network_rule_labels_of(&t->rules, f);
    ret->since_ms = n->since_ms;
    ret->ifindex = f->ifindex;
    ret->metric = f->metric;
    ret->state = (uint8_t)n->state;
    ret->lack = (uint8_t)lack_of(t, n);
    ret->flags = network_rule_flags_of(&t->rules, f);
    ret->family = f->address.family;
    memcpy(ret->address, f->address.bytes, sizeof ret->address);
}

/* What is down comes last. Of the others those with a way out into the world come first; what is in its grace
 * is not asked for one, since its connections would be lost. */
static unsigned rank_of(const struct network *n) {
    return n->state == WIRE_NET_DOWN ? 2 : n->fact.lack == WIRE_LACK_DEFAULT;
}

/* How many of each rank programs are told of. */
static void share_out(const struct network_table *t, unsigned ret_places[RANKS]) {
    unsigned room = WIRE_NETWORKS;
    memset(ret_places, 0, RANKS * sizeof *ret_places);
    for (unsigned i = 0; i < t->count; i++)
        ret_places[rank_of(&t->networks[i])]++;
    for (unsigned rank = 0; rank < RANKS; rank++) {
        ret_places[rank] = ret_places[rank] < room ? ret_places[rank] : room;
        room -= ret_places[rank];
    }
}

static bool takes_place(unsigned places[RANKS], const struct network *n) {
    unsigned *left = &places[rank_of(n)];
    bool takes = *left > 0;
    *left -= takes;
    return takes;
}

void network_fill(const struct network_table *t, struct wire_snapshot *snapshot, char (*ifaces)[FACT_IFACE]) {
    unsigned places[RANKS];
    share_out(t, places);
    memset(snapshot->networks, 0, sizeof snapshot->networks);
    snapshot->count = 0;
    for (unsigned i = 0; i < t->count; i++)
        if (takes_place(places, &t->networks[i])) {
            memcpy(ifaces[snapshot->count], t->networks[i].fact.iface, FACT_IFACE);
            put(t, &t->networks[i], &snapshot->networks[snapshot->count++]);
        }
}

unsigned network_untold(const struct network_table *t, unsigned from, struct wire_snapshot *snapshot) {
    unsigned places[RANKS], untold = 0;
    share_out(t, places);
    snapshot->count = 0;
    for (unsigned i = 0; i < t->count; i++)
        if (!takes_place(places, &t->networks[i]) && untold++ >= from && snapshot->count < WIRE_NETWORKS)
            put(t, &t->networks[i], &snapshot->networks[snapshot->count++]);
    return untold;
}

void network_amend(const struct network_table *t, struct wire_snapshot *snapshot, uint32_t from) {
    for (uint32_t i = from; i < snapshot->count; i++) {
        struct wire_network *n = &snapshot->networks[i];
        struct fact_network fact = {.labels = n->labels, .flags = n->flags};
        memcpy(fact.name, n->name, sizeof fact.name);
        n->labels = network_rule_labels_of(&t->rules, &fact);
        n->flags = network_rule_flags_of(&t->rules, &fact);
    }
}

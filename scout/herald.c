/* herald - what has changed between two snapshots, in words.
 *
 * Pure. scout.c comes in after each change and sends the lines to the log and to those who watch.
 */
#include "herald.h"

#include <stdio.h>

static int find(const struct herald_view *v, const struct wire_network *n, const char *iface) {
    for (uint32_t i = 0; i < v->snapshot.count; i++)
        if (strncmp(v->snapshot.networks[i].name, n->name, WIRE_NAME) == 0 &&
            strncmp(v->ifaces[i], iface, FACT_IFACE) == 0)
            return (int)i;
    return -1;
}

static unsigned count_of(const struct herald_view *v, const char *name) {
    unsigned n = 0;
    for (uint32_t i = 0; i < v->snapshot.count; i++)
        n += strncmp(v->snapshot.networks[i].name, name, WIRE_NAME) == 0;
    return n;
}

static void name_of(const struct herald_view *v, uint32_t i, char *ret, size_t len) {
    const char *name = v->snapshot.networks[i].name;
    bool several = count_of(v, name) > 1 && v->ifaces[i][0];
    snprintf(ret, len, "network %.*s%s%.*s", WIRE_NAME, name, several ? "@" : "", several ? FACT_IFACE : 0,
             v->ifaces[i]);
}

/* Listed, but of no interface: the place of one that is to come. */
static bool is_nowhere(const struct herald_view *v, uint32_t i) {
    const struct wire_network *n = &v->snapshot.networks[i];
    return !v->ifaces[i][0] && !(n->flags & WIRE_ADDRESS) && n->state == WIRE_NET_DOWN;
}

static void compare(const struct wire_network *old, const struct wire_network *new, const char *name,
                    const struct label_names *names, herald_say say, void *arg) {
    char text[3 * WIRE_TEXT], labels[WIRE_TEXT];
    enum wire_state before = old ? (enum wire_state)old->state : WIRE_NET_DOWN;
    if (!old || before != new->state) {
        snprintf(text, sizeof text, "%s %s", name, wire_state_word(new->state));
        say(arg, text);
    }
    bool was_there = before == WIRE_NET_UP || before == WIRE_NET_GRACE;
    if (old && was_there && new->state == WIRE_NET_UP && old->id != new->id) {
        const bool by_six = (old->id & ~WIRE_ID_SIX) == (new->id & ~WIRE_ID_SIX);
        snprintf(text, sizeof text, "%s is another one%s now", name, by_six ? " by IPv6" : "");
        say(arg, text);
    }
    if (new->state == WIRE_NET_UP &&new->flags & WIRE_STRICT &&
        !(before == WIRE_NET_UP && old->flags & WIRE_STRICT)) {
        snprintf(text, sizeof text,
                 "%s has a strict rp_filter: unless it has the best route, it gets no answers", name);
        say(arg, text);
    }
    if (old && old->labels != new->labels) {
        label_format(new->labels, names, labels, sizeof labels);
        snprintf(text, sizeof text, "%s offers %s", name, labels);
        say(arg, text);
    }
}

void herald_compare(const struct herald_view *before, const struct herald_view *now,
                    const struct label_names *names, herald_say say, void *arg) {
    char name[2 * WIRE_NAME + 16], text[3 * WIRE_TEXT];
    for (uint32_t i = 0; i < before->snapshot.count; i++)
        if (find(now, &before->snapshot.networks[i], before->ifaces[i]) < 0 &&
            !(is_nowhere(before, i) && count_of(now, before->snapshot.networks[i].name))) {
            name_of(before, i, name, sizeof name);
            snprintf(text, sizeof text, "%s gone", name);
            say(arg, text);
        }
    for (uint32_t i = 0; i < now->snapshot.count; i++) {
        int old = find(before, &now->snapshot.networks[i], now->ifaces[i]);
        if (old < 0 && is_nowhere(now, i) && count_of(before, now->snapshot.networks[i].name))
            continue;
        name_of(now, i, name, sizeof name);
        compare(old < 0 ? NULL : &before->snapshot.networks[old], &now->snapshot.networks[i], name, names,
                say, arg);
    }
}

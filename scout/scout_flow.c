/* scout_flow - the way of the news: kernel -> monitor -> policy -> network -> snapshot -> subscribers.
 *
 * scout.c comes in when facts or time have changed, scout_control when wishes have. Whatever happens ends in
 * scout_publish(), which is silent when nothing has changed.
 */
#include "scout_context.h"

#include "log.h"
#include "machine.h"
#include "network_ledger.h"
#include "policy.h"
#include <sys/socket.h>

enum { YOUNG_MS = 2000 }; /* a network's routes come in steps */

static void say_change(void *arg, const char *text) {
    struct scout *s = arg;
    log_often(LOG_INFORM, "%s", text);
    if (s->subscribers)
        subscribers_event(s->subscribers, text);
}

/* Everything but the generation, and what is lacking: only people ask that. */
static bool same(const struct herald_view *a, const struct herald_view *b) {
    bool equal = a->snapshot.count == b->snapshot.count && a->snapshot.pref_count == b->snapshot.pref_count &&
                 a->snapshot.joins == b->snapshot.joins &&
                 memcmp(a->snapshot.prefs, b->snapshot.prefs, sizeof a->snapshot.prefs) == 0 &&
                 memcmp(a->ifaces, b->ifaces, sizeof a->ifaces) == 0;
    for (uint32_t i = 0; equal && i < b->snapshot.count; i++) {
        struct wire_network n = a->snapshot.networks[i];
        n.lack = b->snapshot.networks[i].lack;
        equal = memcmp(&n, &b->snapshot.networks[i], sizeof n) == 0;
    }
    return equal;
}

static const struct fact_link *link_of(const struct scout *s, uint32_t ifindex) {
    const struct fact_link *l = NULL;
    for (unsigned i = 0; s->monitor && (l = monitor_link(s->monitor, i)); i++)
        if (l->ifindex == ifindex)
            break;
    return l;
}

/* The address that new connections of a family would have there. */
static void add_path(const struct wire_network *n, const struct fact_link *l, uint8_t family, int64_t now,
                     struct multipath_path *paths, unsigned *count) {
    struct multipath_path p = {.ifindex = n->ifindex,
                               .backup = n->flags & WIRE_METERED,
                               .withdrawn = n->state == WIRE_NET_WITHDRAWN,
                               .young = (uint32_t)now - n->since_ms < YOUNG_MS};
    for (unsigned i = 0; l && i < l->address_count && !p.address.family; i++)
        if (l->addresses[i].family == family && l->addresses[i].preferred)
            p.address = l->addresses[i];
    p.way = l && (family == AF_INET ? l->way_out4 : l->way_out6);
    if (!l && n->family == family) {
        p.way = true;
        p.address.family = n->family;
        memcpy(p.address.bytes, n->address, sizeof p.address.bytes);
    }
    if (p.address.family && *count < 2 * WIRE_NETWORKS)
        paths[(*count)++] = p;
}

/* Connections that the kernel carries over by Multipath TCP go by what is offered, and by nothing that is
 * withdrawn. IPv4 comes first where the kernel has no room for all. */
static void open_paths(struct scout *s, const struct wire_snapshot *now) {
    struct multipath_path paths[2 * WIRE_NETWORKS];
    const int64_t at = machine_now_ms();
    unsigned count = 0;
    for (int turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < now->count; i++) {
            const struct wire_network *n = &now->networks[i];
            const uint8_t need = turn == 0 ? WIRE_HAS4 : WIRE_HAS6;
            if ((n->state == WIRE_NET_UP && n->flags & need) || n->state == WIRE_NET_WITHDRAWN)
                add_path(n, n->flags & WIRE_ADDRESS ? NULL : link_of(s, n->ifindex),
                         turn == 0 ? AF_INET : AF_INET6, at, paths, &count);
        }
    multipath_hand_settle(&s->multipath, s->settings.mptcp, paths, count);
    s->paths_due = -1;
    for (unsigned i = 0; i < count; i++)
        if (paths[i].young && !paths[i].way && !paths[i].withdrawn)
            s->paths_due = at + YOUNG_MS;
}

static void mark_joins(const struct scout *s, struct wire_snapshot *now) {
    for (uint32_t i = 0; i < now->count; i++) {
        struct fact_address a = {.family = now->networks[i].family};
        memcpy(a.bytes, now->networks[i].address, sizeof a.bytes);
        if (multipath_reaches(&s->multipath.eyes, &a))
            now->joins |= UINT64_C(1) << i;
    }
}

static void mention_crowd(struct scout *s) {
    struct wire_snapshot rest = {0};
    if (s->crowded || network_untold(&s->networks, UINT32_MAX, &rest) == 0)
        return;
    s->crowded = true;
    log_say(LOG_WARNING,
            "more than %d networks: programs are told of those that are up, with a default route first",
            WIRE_NETWORKS);
}

static void fill(struct scout *s, struct herald_view *now) {
    now->snapshot.generation = s->told.snapshot.generation + 1;
    network_fill(&s->networks, &now->snapshot, now->ifaces);
    uint32_t there = now->snapshot.count;
    policy_listed(&s->settings, &now->snapshot);
    network_amend(&s->networks, &now->snapshot, there);
    mention_crowd(s);
    mark_joins(s, &now->snapshot);
    policy_prefs(&s->settings, (const char(*)[FACT_IFACE])now->ifaces, &now->snapshot);
    now->snapshot.header =
        (struct wire_header){WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(now->snapshot.count)};
}

static void tell(struct scout *s) {
    struct herald_view now = {0};
    fill(s, &now);
    if (s->told.snapshot.generation && same(&s->told, &now)) {
        now.snapshot.generation--;
        s->told = now;
        if (s->subscribers)
            subscribers_keep(s->subscribers, &now.snapshot);
        return;
    }
    network_ledger_write(s->listener.lock, &s->networks);
    /* Before any talk: this is what somebody waits for. */
    if (s->subscribers)
        subscribers_publish(s->subscribers, &now.snapshot);
    herald_compare(&s->told, &now, &s->settings.names, say_change, s);
    s->told = now;
}

void scout_publish(struct scout *s) {
    const uint64_t before = s->told.snapshot.generation;
    tell(s);
    open_paths(s, &s->told.snapshot);
    if (s->told.snapshot.generation != before && multipath_look(&s->multipath.eyes))
        tell(s);
}

static void see(struct scout *s, struct fact_network *fact, bool at_once, int64_t now) {
    const struct settings_network *n = &s->settings.networks[fact->order];
    if (fact->check != FACT_CHECK_NONE)
        fact->check = probe_see(&s->probes, fact, &n->check, n->check_port, now);
    if (network_see(&s->networks, fact, at_once, now) < 0)
        log_often(LOG_WARNING, "too many networks: %s is left out", fact->name);
}

static bool is_present(void *arg, uint32_t ifindex) {
    return monitor_has(((struct scout *)arg)->monitor, ifindex);
}

/* The whole way from facts to the table. at_once: not the kernel brought the news. */
void scout_look(struct scout *s, bool at_once) {
    int64_t now = machine_now_ms();
    const struct fact_link *l;
    struct fact_network fact;
    network_begin(&s->networks);
    probe_begin(&s->probes);
    for (unsigned i = 0; (l = monitor_link(s->monitor, i)); i++)
        if (policy_link(&s->settings, l, &fact))
            see(s, &fact, at_once, now);
    for (unsigned i = 0; i < s->settings.network_count; i++) {
        uint32_t ifindex = 0;
        bool works = s->settings.networks[i].address_only &&
                     monitor_can_bind(s->monitor, &s->settings.networks[i].address, &ifindex);
        if (policy_address(&s->settings, i, works, ifindex, &fact))
            see(s, &fact, at_once, now);
    }
    probe_end(&s->probes);
    network_end(&s->networks, is_present, s, now);
}

static void act(struct scout *s, const struct script_action *a) {
    switch (a->verb) {
    case SCRIPT_UP:
    case SCRIPT_DOWN:
        network_rule_wish(&s->networks.rules, NETWORK_SCRIPT, a->network,
                          a->verb == SCRIPT_UP ? NETWORK_UP : NETWORK_DOWN);
        network_rejudge(&s->networks, machine_now_ms());
        return;
    case SCRIPT_LABELS:
        network_rule_labels(&s->networks.rules, NETWORK_SCRIPT, a->network, &a->labels);
        return;
    case SCRIPT_EXIT:
        log_say(LOG_INFORM, "the script ends here");
        s->ending = true;
        return;
    case SCRIPT_LOOP: /* a round is like the first */
        network_rule_forget_labels(&s->networks.rules, NETWORK_SCRIPT);
        return;
    case SCRIPT_END:
        return;
    }
}

/* One snapshot for each moment of the timetable: actions of one time are one change. And one moment a turn:
 * who has something to ask is served also where a hasty timetable is more than this machine can do.
 */
void scout_play(struct scout *s) {
    const int64_t due = s->script ? script_deadline(s->script) : -1;
    struct script_action a;
    while (due >= 0 && !s->ending && script_deadline(s->script) == due &&
           script_take(s->script, machine_now_ms() - s->script_start, &a) != 0)
        act(s, &a);
    scout_publish(s);
}

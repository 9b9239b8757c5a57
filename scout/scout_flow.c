/* scout_flow - the way of the news: kernel -> monitor -> policy -> network -> snapshot -> subscribers.
 *
 * scout.c comes in when facts or time have changed, scout_control when wishes have. Whatever happens ends in
 * scout_publish(), which is silent when nothing has changed.
 */
#include "scout_context.h"

#include "log.h"
#include "machine.h"
#include "policy.h"

static void say_change(void *arg, const char *text) {
    struct scout *s = arg;
    log_often(LOG_INFORM, "%s", text);
    if (s->subscribers)
        subscribers_event(s->subscribers, text);
}

/* Everything but the generation, and what is lacking: only people ask that. */
static bool same(const struct herald_view *a, const struct herald_view *b) {
    bool equal = a->snapshot.count == b->snapshot.count && a->snapshot.pref_count == b->snapshot.pref_count &&
                 memcmp(a->snapshot.prefs, b->snapshot.prefs, sizeof a->snapshot.prefs) == 0 &&
                 memcmp(a->ifaces, b->ifaces, sizeof a->ifaces) == 0;
    for (uint32_t i = 0; equal && i < b->snapshot.count; i++) {
        struct wire_network n = a->snapshot.networks[i];
        n.lack = b->snapshot.networks[i].lack;
        equal = memcmp(&n, &b->snapshot.networks[i], sizeof n) == 0;
    }
    return equal;
}

void scout_publish(struct scout *s) {
    struct herald_view now = {.snapshot.generation = s->told.snapshot.generation + 1};
    network_fill(&s->networks, &now.snapshot, now.ifaces);
    uint32_t there = now.snapshot.count;
    policy_listed(&s->settings, &now.snapshot);
    network_amend(&s->networks, &now.snapshot, there);
    policy_prefs(&s->settings, (const char(*)[FACT_IFACE])now.ifaces, &now.snapshot);
    now.snapshot.header =
        (struct wire_header){WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(now.snapshot.count)};
    if (s->told.snapshot.generation && same(&s->told, &now)) {
        now.snapshot.generation--;
        s->told = now;
        if (s->subscribers)
            subscribers_keep(s->subscribers, &now.snapshot);
        return;
    }
    /* Before any talk: this is what somebody waits for. */
    if (s->subscribers)
        subscribers_publish(s->subscribers, &now.snapshot);
    herald_compare(&s->told, &now, &s->settings.names, say_change, s);
    s->told = now;
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
    case SCRIPT_LOOP:
    case SCRIPT_END:
        return;
    }
}

/* One snapshot for each moment of the timetable: actions of one time are one change. */
void scout_play(struct scout *s) {
    struct script_action a;
    while (s->script && !s->ending) {
        int64_t due = script_deadline(s->script);
        if (script_take(s->script, machine_now_ms() - s->script_start, &a) == 0)
            break;
        act(s, &a);
        if (script_deadline(s->script) != due)
            scout_publish(s);
    }
    scout_publish(s);
}

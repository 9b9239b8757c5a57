/* policy - what configuration and kind of interface make of a link: which network it is and what it offers.
 *
 * Pure: settings and facts in, a network out. scout.c comes in whenever either changes. What script, checks
 * and cmm-ctl say comes later, in network.
 */
#include "policy.h"

#include <fnmatch.h>
#include <sys/socket.h>

#define BIT(name) (UINT64_C(1) << (name))
enum { BACKGROUND = 3, LARGE = 5, UNMETERED = 8, WIRED = 9, WIFI = 10, CELLULAR = 11 };

static bool is_pattern(const char *match) {
    return strpbrk(match, "*?[") != NULL;
}

static bool is_real(const struct fact_link *l) {
    return (l->type == FACT_WIRED || l->type == FACT_WIFI || l->type == FACT_CELLULAR) && !l->enslaved;
}

/* A bare "*" means every ordinary interface; tunnels and bridges have to be meant. Nobody means lo by a
 * pattern. */
static bool name_matches(const struct settings_network *n, const struct fact_link *l) {
    const char *match = n->match[0] ? n->match : "*";
    bool literal = match[strspn(match, "*?")] != 0;
    if (!is_pattern(match))
        return strcmp(match, l->name) == 0;
    return l->type != FACT_LOOPBACK && (literal || n->any_type || is_real(l)) &&
           fnmatch(match, l->name, 0) == 0;
}

static bool within(const struct fact_address *net, const struct fact_address *a) {
    unsigned whole = net->prefix / 8, rest = net->prefix % 8;
    if (net->family != a->family || memcmp(net->bytes, a->bytes, whole) != 0)
        return false;
    return rest == 0 || ((net->bytes[whole] ^ a->bytes[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

static bool address_matches(const struct settings_network *n, const struct fact_link *l) {
    for (unsigned i = 0; i < l->address_count; i++)
        if (within(&n->address, &l->addresses[i]))
            return true;
    return n->address.family == 0;
}

static bool matches(const struct settings_network *n, const struct fact_link *l) {
    return !n->address_only && name_matches(n, l) && (!n->type || n->type == l->type) &&
           (!n->ssid[0] || strcmp(n->ssid, l->ssid) == 0) && address_matches(n, l);
}

static const struct fact_address *first_of(const struct fact_link *l, int family) {
    for (unsigned i = 0; i < l->address_count; i++)
        if (l->addresses[i].family == family && l->addresses[i].preferred)
            return &l->addresses[i];
    return NULL;
}

static uint64_t default_labels(enum fact_type type) {
    return type == FACT_CELLULAR ? LABEL_INTENTS & ~(BIT(BACKGROUND) | BIT(LARGE)) : LABEL_INTENTS;
}

static uint64_t derived_labels(enum fact_type type, bool metered) {
    uint64_t kind = type == FACT_WIRED      ? BIT(WIRED)
                    : type == FACT_WIFI     ? BIT(WIFI)
                    : type == FACT_CELLULAR ? BIT(CELLULAR)
                                            : 0;
    return kind | (metered ? 0 : BIT(UNMETERED));
}

/* n NULL: without configuration. */
static void offer(const struct settings_network *n, enum fact_type type, struct fact_network *ret) {
    enum settings_metered said = n ? n->metered : SETTINGS_METERED_AUTO;
    bool metered = said == SETTINGS_METERED_AUTO ? type == FACT_CELLULAR : said == SETTINGS_METERED_YES;
    uint64_t granted = n && n->has_labels ? n->labels : default_labels(type);
    ret->labels = (granted & ~BIT(UNMETERED)) | derived_labels(type, metered);
    if (metered)
        ret->flags |= WIRE_METERED;
    if (n && n->has_metric)
        ret->metric = n->metric;
    if (n && n->check.family)
        ret->check = FACT_CHECK_PENDING;
}

static const struct settings_network *section_of(const struct settings *s, const struct fact_link *l) {
    for (unsigned i = 0; i < s->network_count; i++)
        if (matches(&s->networks[i], l))
            return &s->networks[i];
    return NULL;
}

static enum wire_lack lack_of(const struct fact_link *l, bool address, bool works) {
    return !l->running                  ? WIRE_LACK_LINK
           : !address                   ? WIRE_LACK_ADDRESS
           : !works                     ? WIRE_LACK_ROUTE
           : l->way_out4 || l->way_out6 ? WIRE_LACK_NOTHING
                                        : WIRE_LACK_DEFAULT;
}

bool policy_link(const struct settings *s, const struct fact_link *l, struct fact_network *ret) {
    const struct settings_network *n = section_of(s, l);
    if (!n && (s->network_count || !is_real(l)))
        return false;
    const struct fact_address *a4 = first_of(l, AF_INET), *a6 = first_of(l, AF_INET6);
    *ret = (struct fact_network){.ifindex = l->ifindex,
                                 .order = n ? (uint32_t)(n - s->networks) : 0,
                                 .metric = l->metric,
                                 .ways =
                                     (uint8_t)((l->way_out4 ? WIRE_HAS4 : 0) | (l->way_out6 ? WIRE_HAS6 : 0)),
                                 .flags = WIRE_EVER4 | WIRE_EVER6,
                                 .address_count = l->address_count,
                                 .addresses = l->addresses};
    memcpy(ret->name, n ? n->name : l->name, n ? sizeof n->name : sizeof l->name);
    memcpy(ret->iface, l->name, sizeof ret->iface);
    memcpy(ret->ssid, l->ssid, sizeof ret->ssid);
    if (l->running && a4 && l->route4)
        ret->flags |= WIRE_HAS4;
    if (l->running && a6 && l->route6)
        ret->flags |= WIRE_HAS6;
    if (l->strict)
        ret->flags |= WIRE_STRICT;
    ret->works = (ret->flags & (WIRE_HAS4 | WIRE_HAS6)) != 0;
    ret->lack = lack_of(l, a4 || a6, ret->works);
    if (a4 || a6)
        ret->address = a4 ? *a4 : *a6;
    offer(n, l->type, ret);
    return true;
}

bool policy_address(const struct settings *s, unsigned index, bool works, uint32_t ifindex,
                    struct fact_network *ret) {
    const struct settings_network *n = &s->networks[index];
    if (!n->address_only)
        return false;
    bool four = n->address.family == AF_INET;
    *ret = (struct fact_network){.ifindex = ifindex,
                                 .order = index,
                                 .works = works,
                                 .lack = works ? WIRE_LACK_NOTHING : WIRE_LACK_ADDRESS,
                                 .flags = (uint8_t)(WIRE_ADDRESS | (four ? WIRE_EVER4 : WIRE_EVER6)),
                                 .address = n->address,
                                 .address_count = 1,
                                 .addresses = &n->address};
    memcpy(ret->name, n->name, sizeof ret->name);
    if (works)
        ret->flags |= four ? WIRE_HAS4 : WIRE_HAS6;
    offer(n, n->type, ret);
    return true;
}

static bool is_shown(const struct wire_snapshot *snapshot, const char *name) {
    for (uint32_t i = 0; i < snapshot->count; i++)
        if (strncmp(snapshot->networks[i].name, name, WIRE_NAME) == 0)
            return true;
    return false;
}

/* Nothing is ever attached to the id of what was never offered: a number that no hash begins with will do. */
void policy_listed(const struct settings *s, struct wire_snapshot *snapshot) {
    struct fact_network fact;
    for (unsigned i = 0; i < s->network_count && snapshot->count < WIRE_NETWORKS; i++) {
        const struct settings_network *n = &s->networks[i];
        if (n->address_only || is_shown(snapshot, n->name))
            continue;
        fact = (struct fact_network){.flags = WIRE_EVER4 | WIRE_EVER6};
        offer(n, n->type, &fact);
        struct wire_network *w = &snapshot->networks[snapshot->count++];
        *w = (struct wire_network){.id = i + 1,
                                   .labels = fact.labels,
                                   .metric = fact.metric,
                                   .flags = fact.flags,
                                   .lack = WIRE_LACK_LINK};
        memcpy(w->name, n->name, sizeof w->name);
    }
}

bool policy_knows(const struct settings *s, const char *name) {
    size_t len = strcspn(name, "@");
    for (unsigned i = 0; i < s->network_count; i++)
        if (strncmp(s->networks[i].name, name, len) == 0 && !s->networks[i].name[len])
            return true;
    return false;
}

static bool is_called(const struct wire_network *n, const char *iface, const char *name) {
    size_t len = strcspn(name, "@");
    return strncmp(n->name, name, len) == 0 && !n->name[len] &&
           (!name[len] || strcmp(name + len + 1, iface) == 0);
}

static bool holds(const struct wire_pref *p, uint32_t index) {
    for (unsigned i = 0; i < p->count; i++)
        if (p->order[i] == index)
            return true;
    return false;
}

void policy_prefs(const struct settings *s, const char (*ifaces)[FACT_IFACE],
                  struct wire_snapshot *snapshot) {
    memset(snapshot->prefs, 0, sizeof snapshot->prefs);
    snapshot->pref_count = s->pref_count;
    for (unsigned i = 0; i < s->pref_count; i++) {
        struct wire_pref *p = &snapshot->prefs[i];
        p->bit = (uint8_t)s->prefs[i].bit;
        for (unsigned k = 0; k < s->prefs[i].count; k++)
            for (uint32_t w = 0; w < snapshot->count; w++)
                if (p->count < WIRE_PREF_ORDER && !holds(p, w) &&
                    is_called(&snapshot->networks[w], ifaces[w], s->prefs[i].order[k]))
                    p->order[p->count++] = (uint8_t)w;
    }
}

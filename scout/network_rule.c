/* network_rule - what people say of a network, beside the kernel: script and cmm-ctl.
 *
 * network comes in. Rules go by name, so that they also hold for networks that appear later; of two that fit
 * the more particular one counts. What a network is like (wired, wifi, cellular) stays true whatever anybody
 * grants; unmetered follows metered.
 */
#include "network_rule.h"

#include <errno.h>

enum { UNMETERED = 8 };
static const uint64_t kinds = UINT64_C(0xe00); /* wired, wifi, cellular */

static bool is_part_of(const char *name, const char *whole) {
    size_t len = strlen(whole);
    return strncmp(name, whole, len) == 0 && name[len] == '@';
}

static struct network_rule *make(struct network_rules *t, const char *name) {
    for (unsigned i = 0; i < t->count; i++)
        if (strcmp(t->rules[i].name, name) == 0)
            return &t->rules[i];
    if (t->count == NETWORK_RULES || strlen(name) >= FACT_FULL_NAME)
        return NULL;
    struct network_rule *r = &t->rules[t->count++];
    *r = (struct network_rule){0};
    strcpy(r->name, name);
    return r;
}

int network_rule_wish(struct network_rules *t, enum network_voice voice, const char *name,
                      enum network_wish wish) {
    struct network_rule *r = make(t, name);
    if (!r)
        return -ENOSPC;
    for (unsigned i = 0; i < t->count; i++)
        if (is_part_of(t->rules[i].name, name))
            t->rules[i].wish[voice] = NETWORK_AUTO;
    r->wish[voice] = wish;
    return 0;
}

int network_rule_labels(struct network_rules *t, enum network_voice voice, const char *name,
                        const uint64_t *labels) {
    struct network_rule *r = make(t, name);
    if (!r)
        return -ENOSPC;
    for (unsigned i = 0; i < t->count; i++)
        if (is_part_of(t->rules[i].name, name))
            t->rules[i].has_labels[voice] = false;
    r->has_labels[voice] = labels != NULL;
    r->labels[voice] = labels ? *labels : 0;
    return 0;
}

void network_rule_forget_labels(struct network_rules *t, enum network_voice voice) {
    for (unsigned i = 0; i < t->count; i++)
        t->rules[i].has_labels[voice] = false;
}

int network_rule_metered(struct network_rules *t, const char *name, enum wire_metered metered) {
    struct network_rule *r = make(t, name);
    if (!r)
        return -ENOSPC;
    for (unsigned i = 0; i < t->count; i++)
        if (is_part_of(t->rules[i].name, name))
            t->rules[i].metered = WIRE_METERED_AUTO;
    r->metered = metered;
    return 0;
}

static bool is_called(const struct network_rule *r, const struct fact_network *f, bool with_iface) {
    size_t len = strnlen(f->name, sizeof f->name);
    if (strncmp(r->name, f->name, len) != 0)
        return false;
    if (!with_iface)
        return !r->name[len];
    return r->name[len] == '@' && strncmp(r->name + len + 1, f->iface, sizeof f->iface) == 0;
}

static const struct network_rule *rule_for(const struct network_rules *t, const struct fact_network *f,
                                           bool with_iface) {
    for (unsigned i = 0; i < t->count; i++)
        if (is_called(&t->rules[i], f, with_iface))
            return &t->rules[i];
    return NULL;
}

enum network_wish network_rule_wish_of(const struct network_rules *t, enum network_voice voice,
                                       const struct fact_network *f) {
    const struct network_rule *one = rule_for(t, f, true), *all = rule_for(t, f, false);
    if (one && one->wish[voice] != NETWORK_AUTO)
        return one->wish[voice];
    return all ? all->wish[voice] : NETWORK_AUTO;
}

static enum wire_metered metered_of(const struct network_rules *t, const struct fact_network *f) {
    const struct network_rule *one = rule_for(t, f, true), *all = rule_for(t, f, false);
    if (one && one->metered != WIRE_METERED_AUTO)
        return one->metered;
    return all ? all->metered : WIRE_METERED_AUTO;
}

static const uint64_t *granted(const struct network_rules *t, const struct fact_network *f,
                               enum network_voice voice) {
    const struct network_rule *one = rule_for(t, f, true), *all = rule_for(t, f, false);
    return one && one->has_labels[voice]   ? &one->labels[voice]
           : all && all->has_labels[voice] ? &all->labels[voice]
                                           : NULL;
}

uint64_t network_rule_labels_of(const struct network_rules *t, const struct fact_network *f) {
    const uint64_t unmetered = UINT64_C(1) << UNMETERED;
    const uint64_t *said = granted(t, f, NETWORK_CTL);
    if (!said)
        said = granted(t, f, NETWORK_SCRIPT);
    uint64_t labels = said ? (*said & ~unmetered) | (f->labels & (kinds | unmetered)) : f->labels;
    if (metered_of(t, f) != WIRE_METERED_AUTO)
        labels &= ~unmetered;
    return metered_of(t, f) == WIRE_METERED_NO ? labels | unmetered : labels;
}

uint8_t network_rule_flags_of(const struct network_rules *t, const struct fact_network *f) {
    enum wire_metered metered = metered_of(t, f);
    uint8_t flags = f->flags & (uint8_t)~WIRE_OVERRIDE;
    if (metered != WIRE_METERED_AUTO)
        flags &= (uint8_t)~WIRE_METERED;
    if (metered == WIRE_METERED_YES)
        flags |= WIRE_METERED;
    if (metered != WIRE_METERED_AUTO || granted(t, f, NETWORK_CTL) ||
        network_rule_wish_of(t, NETWORK_CTL, f) != NETWORK_AUTO)
        flags |= WIRE_OVERRIDE;
    return flags;
}

/* tell - in words, for those who asked for them (-v): what waits, and why; and what was left alone.
 * Pure. talk comes in with its report and the lock, and says the words without it. What does not fit is cut:
 * cmm-ctl why has it all. Bytes of names that are no print are shown as '?'. */
#include "tell.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *at;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...) {
    va_list list;
    if (t->used >= TELL_TEXT)
        return;
    va_start(list, format);
    int n = vsnprintf(t->at + t->used, TELL_TEXT - t->used, format, list);
    va_end(list);
    t->used += n > 0 ? (size_t)n : 0;
}

static const char *state_of(const struct wire_network *n) {
    switch ((enum wire_state)n->state) {
    case WIRE_NET_UP:
        return "up, and being tried";
    case WIRE_NET_GRACE:
        return "just gone";
    case WIRE_NET_WITHDRAWN:
        return "withdrawn";
    case WIRE_NET_DOWN:
        break;
    }
    return n->ifindex || n->flags & WIRE_ADDRESS ? "down" : "not there";
}

static void add_reasons(struct text *text, const struct net_table *t, uint64_t labels) {
    const char *between = ": ";
    for (uint32_t i = 0; i < t->now.count; i++) {
        const struct wire_network *n = &t->now.networks[i];
        if (!net_matches(n, labels))
            continue;
        add(text, "%s%s is %s", between, n->name, state_of(n));
        between = ", ";
    }
    if (*between == ':')
        add(text, ": no network offers that");
}

void tell_waiting(const struct wire_report *r, const struct net_table *t, bool heard,
                  const struct label_names *names, char ret[TELL_TEXT]) {
    struct text text = {ret, 0};
    char labels[TELL_TEXT / 2];
    for (uint32_t i = 0; i < r->count && i < WIRE_WANTS; i++) {
        label_format(r->wants[i].labels, names, labels, sizeof labels);
        add(&text, "%swaiting for %s", i ? "; " : "", r->wants[i].labels ? labels : "any network");
        if (r->wants[i].count > 1)
            add(&text, " (%u)", (unsigned)r->wants[i].count);
        if (heard)
            add_reasons(&text, t, r->wants[i].labels);
        else
            add(&text, ": no scout answers");
    }
    if (!text.used)
        add(&text, TELL_NOTHING);
    for (char *p = ret; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

bool tell_left(char left[WIRE_LEFT][WIRE_IFACE], const char *iface) {
    for (unsigned i = 0; i < WIRE_LEFT; i++) {
        if (strncmp(left[i], iface, WIRE_IFACE - 1) == 0)
            return false;
        if (!left[i][0]) {
            strncpy(left[i], iface, WIRE_IFACE - 1);
            return true;
        }
    }
    return false;
}

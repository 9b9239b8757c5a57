/* ctl_json - what the scout said, for programs: one object, its keys fixed by cmm-ctl(1).
 *
 * The commands of cmm-ctl come in here. Strings are always valid JSON: what is not UTF-8 in a name (an SSID
 * may hold any bytes) becomes U+FFFD. Times are seconds since 1970, with three decimals.
 */
#include "ctl_print.h"
#include <inttypes.h>
#include <string.h>

/* The length of the valid UTF-8 sequence at p, 0 if there is none. */
static int utf8(const unsigned char *p) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    if (n < 2)
        return n;
    uint32_t code = *p & (0x7fu >> n);
    for (int i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    return code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? n : 0;
}

static void string(const char *text) {
    putchar('"');
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        int n = utf8(p);
        if (!n)
            fputs("\\ufffd", stdout);
        else if (*p == '"' || *p == '\\')
            printf("\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f || (n == 2 && *p == 0xc2 && p[1] < 0xa0)) /* controls, C1 too */
            printf("\\u%04x", n == 1 ? *p : p[1]);
        else
            fwrite(p, 1, (size_t)n, stdout);
        p += n ? n : 1;
    }
    putchar('"');
}

static void key(bool *first, const char *name) {
    printf("%s\"%s\":", *first ? "" : ",", name);
    *first = false;
}

static void member(bool *first, const char *name, const char *value) {
    key(first, name);
    string(value);
}

static void number(bool *first, const char *name, uint64_t value) {
    key(first, name);
    printf("%" PRIu64, value);
}

static void truth(bool *first, const char *name, bool value) {
    key(first, name);
    fputs(value ? "true" : "false", stdout);
}

static void seconds(bool *first, const char *name, uint64_t ms) {
    key(first, name);
    printf("%" PRIu64 ".%03u", ms / 1000, (unsigned)(ms % 1000));
}

static void label_list(bool *first, const char *name, uint64_t labels, const struct label_names *names) {
    bool none = true;
    key(first, name);
    putchar('[');
    for (unsigned bit = 0; bit < 64; bit++)
        if (labels & (UINT64_C(1) << bit)) {
            char one[LABEL_NAME];
            label_format(UINT64_C(1) << bit, names, one, sizeof one);
            fputs(none ? "" : ",", stdout);
            string(one);
            none = false;
        }
    putchar(']');
}

static const char *multipath(const struct wire_status *s) {
    switch ((enum wire_multipath)s->multipath) {
    case WIRE_MULTIPATH_NONE:
        return "none";
    case WIRE_MULTIPATH_OFF:
        return "off";
    case WIRE_MULTIPATH_KERNEL:
        return "kernel";
    case WIRE_MULTIPATH_SCOUT:
        return "scout";
    }
    return "none";
}

static void scout(const struct wire_status *s) {
    bool first = true;
    putchar('{');
    member(&first, "name", s->name);
    member(&first, "version", s->release);
    number(&first, "pid", s->pid);
    seconds(&first, "since", s->started_ms);
    member(&first, "config", s->config);
    truth(&first, "scripted", s->scripted);
    number(&first, "queues", s->queues);
    number(&first, "dropped", s->dropped);
    member(&first, "multipath", multipath(s));
    number(&first, "endpoints", s->endpoints);
    putchar('}');
}

static void labels(const struct label_names *names) {
    bool none = true;
    putchar('[');
    for (unsigned bit = 0; bit < 64; bit++) {
        char name[LABEL_NAME];
        bool first = true;
        uint64_t one = UINT64_C(1) << bit;
        if (!(one & LABEL_KNOWN) || (bit >= LABEL_USER_FIRST && !names->name[bit - LABEL_USER_FIRST][0]))
            continue;
        fputs(none ? "{" : ",{", stdout);
        label_format(one, names, name, sizeof name);
        member(&first, "name", name);
        number(&first, "bit", bit);
        putchar('}');
        none = false;
    }
    putchar(']');
}

static void networks(const struct ctl_view *v) {
    putchar('[');
    for (uint32_t i = 0; i < v->networks.count; i++) {
        const struct wire_network *n = &v->networks.networks[i];
        bool first = true;
        fputs(i ? ",{" : "{", stdout);
        member(&first, "name", n->name);
        number(&first, "ifindex", n->flags & WIRE_ADDRESS ? 0 : n->ifindex);
        label_list(&first, "labels", n->labels, &v->names);
        truth(&first, "up", n->state == WIRE_NET_UP);
        truth(&first, "metered", n->flags & WIRE_METERED);
        number(&first, "metric", n->metric);
        putchar('}');
    }
    putchar(']');
}

/* What was left alone went by these. */
static void interfaces(bool *first, const char *name, const char left[WIRE_LEFT][WIRE_IFACE]) {
    key(first, name);
    putchar('[');
    for (unsigned i = 0; i < WIRE_LEFT && left[i][0]; i++) {
        fputs(i ? "," : "", stdout);
        string(left[i]);
    }
    putchar(']');
}

static void subscribers(const struct ctl_view *v) {
    putchar('[');
    for (size_t i = 0; i < v->subscriber_count; i++) {
        const struct wire_subscriber *s = &v->subscribers[i];
        bool first = true;
        uint64_t since, wants = ctl_wants(s, &since);
        fputs(i ? ",{" : "{", stdout);
        number(&first, "pid", s->pid);
        member(&first, "program", s->program);
        label_list(&first, "waiting", wants, &v->names);
        if (since)
            seconds(&first, "since", since);
        else {
            key(&first, "since");
            fputs("null", stdout);
        }
        number(&first, "sockets", s->report.sockets);
        number(&first, "thunks", s->report.thunks);
        if (s->report.header.size && s->report.left[0][0])
            interfaces(&first, "left_alone", s->report.left);
        putchar('}');
    }
    putchar(']');
}

void ctl_json(const struct ctl_view *v, unsigned parts) {
    bool first = true;
    putchar('{');
    number(&first, "version", 1);
    if (parts & CTL_STATUS) {
        key(&first, "scout");
        scout(&v->status);
    }
    if (parts & CTL_LABELS) {
        key(&first, "labels");
        labels(&v->names);
    }
    if (parts & CTL_NETWORKS) {
        key(&first, "networks");
        networks(v);
    }
    if (parts & CTL_SUBSCRIBERS) {
        key(&first, "subscribers");
        subscribers(v);
    }
    puts("}");
}

void ctl_json_event(const struct wire_event *e) {
    bool first = true;
    putchar('{');
    number(&first, "version", 1);
    seconds(&first, "at", e->at_ms);
    member(&first, "event", e->text);
    puts("}");
}

/* ctl_print - tables for people, at most 80 columns wide.
 *
 * The commands of cmm-ctl come in here with what the scout said; JSON is next door in ctl_json. Names come
 * from interfaces, access points and other users' programs, so nothing reaches the terminal unescaped. A cell
 * too wide for its column pushes the rest of its row to the next line rather than being cut.
 */
#include "ctl_print.h"
#include <inttypes.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 80, CELL = 640 };

void ctl_escape(const char *text, char *buf, size_t len) {
    size_t used = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = *p >= 0x20 && *p < 0x7f && *p != '\\';
        if (used + (plain ? 1 : 4) >= len)
            break;
        used += (size_t)snprintf(buf + used, len - used, plain ? "%c" : "\\x%02x", *p);
    }
    buf[used] = 0;
}

uint64_t ctl_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void ctl_age(uint64_t since_ms, uint64_t now_ms, char *buf, size_t len) {
    uint64_t s = now_ms > since_ms ? (now_ms - since_ms) / 1000 : 0;
    if (s < 120)
        snprintf(buf, len, "%" PRIu64 " s", s);
    else if (s < 120 * 60)
        snprintf(buf, len, "%" PRIu64 " min", s / 60);
    else if (s < 48 * 3600)
        snprintf(buf, len, "%" PRIu64 " h", s / 3600);
    else
        snprintf(buf, len, "%" PRIu64 " d", s / 86400);
}

uint64_t ctl_wants(const struct wire_subscriber *s, uint64_t *ret_since_ms) {
    uint64_t labels = 0, since = 0;
    uint32_t count = s->report.header.size ? s->report.count : 0;
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++) {
        const struct wire_want *w = &s->report.wants[i];
        labels |= w->labels;
        if (!since || w->since_ms < since)
            since = w->since_ms;
    }
    *ret_since_ms = since;
    return labels;
}

/* "all" stands for the six intents, as in a configuration. */
static void labels_text(uint64_t labels, const struct label_names *names, char *buf, size_t len) {
    char plain[CELL];
    bool all = (labels & LABEL_INTENTS) == LABEL_INTENTS;
    if (all && labels == LABEL_INTENTS)
        snprintf(plain, sizeof plain, "all");
    else {
        size_t used = all ? (size_t)snprintf(plain, sizeof plain, "all,") : 0;
        label_format(all ? labels & ~LABEL_INTENTS : labels, names, plain + used, sizeof plain - used);
    }
    ctl_escape(plain, buf, len);
}

/* The last column: a list that goes on below itself, broken after commas. */
static void wrapped(const char *text, int column) {
    int at = column;
    while (*text) {
        int word = (int)strcspn(text, ",");
        word += text[word] == ',';
        if (at + word > WIDTH && at > column) {
            printf("\n%*s", column, "");
            at = column;
        }
        printf("%.*s", word, text);
        at += word;
        text += word;
    }
    putchar('\n');
}

static void row(const int *widths, int columns, const char *const *cells) {
    int at = 0, start = 0;
    for (int i = 0; i < columns - 1; i++) {
        at += printf("%s", cells[i]);
        start += widths[i];
        if (at >= start) {
            putchar('\n');
            at = 0;
        }
        at += printf("%*s", start - at, "");
    }
    wrapped(cells[columns - 1], start);
}

void ctl_print_labels(const struct ctl_view *v) {
    static const int widths[] = {34, 0};
    row(widths, 2, (const char *const[]){"LABEL", "BIT"});
    for (unsigned bit = 0; bit < 64; bit++) {
        char name[LABEL_NAME], shown[CELL], number[32];
        uint64_t one = UINT64_C(1) << bit;
        if (!(one & LABEL_KNOWN) || (bit >= LABEL_USER_FIRST && !v->names.name[bit - LABEL_USER_FIRST][0]))
            continue;
        label_format(one, &v->names, name, sizeof name);
        ctl_escape(name, shown, sizeof shown);
        snprintf(number, sizeof number, "%u (0x%" PRIx64 ")", bit, one);
        row(widths, 2, (const char *const[]){shown, number});
    }
}

void ctl_name(const struct ctl_networks *all, uint32_t at, char *buf, size_t len) {
    const struct wire_network *n = &all->networks[at];
    char full[2 * WIRE_NAME], interface[IF_NAMESIZE];
    uint32_t count = 0;
    for (uint32_t i = 0; i < all->count; i++)
        count += !strcmp(all->networks[i].name, n->name);
    bool one = count < 2 || !n->ifindex || !if_indextoname(n->ifindex, interface);
    snprintf(full, sizeof full, "%s%s%s", n->name, one ? "" : "@", one ? "" : interface);
    ctl_escape(full, buf, len);
}

void ctl_print_networks(const struct ctl_view *v) {
    static const int widths[] = {17, 11, 6, 8, 9, 0};
    if (!v->networks.count) {
        puts("No networks: none is configured and no interface has an address and a route.");
        return;
    }
    row(widths, 6, (const char *const[]){"NETWORK", "STATE", "IF", "METRIC", "METERED", "LABELS"});
    for (uint32_t i = 0; i < v->networks.count; i++) {
        const struct wire_network *n = &v->networks.networks[i];
        char name[CELL], state[32], ifindex[16] = "-", metric[16], labels[CELL];
        ctl_name(&v->networks, i, name, sizeof name);
        snprintf(state, sizeof state, "%s%s", wire_state_word(n->state), n->flags & WIRE_OVERRIDE ? "!" : "");
        if (n->ifindex && !(n->flags & WIRE_ADDRESS))
            snprintf(ifindex, sizeof ifindex, "%" PRIu32, n->ifindex);
        snprintf(metric, sizeof metric, "%" PRIu32, n->metric);
        labels_text(n->labels, &v->names, labels, sizeof labels);
        row(widths, 6,
            (const char *const[]){name, state, ifindex, metric, n->flags & WIRE_METERED ? "yes" : "no",
                                  labels});
    }
    if (v->networks.count > WIRE_NETWORKS)
        printf("(programs are told of the first %d)\n", WIRE_NETWORKS);
    for (uint32_t i = 0; i < v->networks.count; i++)
        if (v->networks.networks[i].flags & WIRE_OVERRIDE) {
            puts("! set by cmm-ctl, until cmm-ctl auto");
            return;
        }
}

void ctl_print_left(const struct wire_subscriber *s, int indent) {
    char shown[CELL];
    for (unsigned i = 0; s->report.header.size && i < WIRE_LEFT && s->report.left[i][0]; i++) {
        ctl_escape(s->report.left[i], shown, sizeof shown);
        printf("%*sleft alone: route by %s\n", indent, "", shown);
    }
}

void ctl_print_subscribers(const struct ctl_view *v) {
    static const int widths[] = {9, 18, 9, 9, 9, 0};
    if (!v->subscriber_count) {
        puts("No subscribers.");
        return;
    }
    row(widths, 6, (const char *const[]){"PID", "PROGRAM", "SOCKETS", "THUNKS", "FOR", "WAITING FOR"});
    for (size_t i = 0; i < v->subscriber_count; i++) {
        const struct wire_subscriber *s = &v->subscribers[i];
        char pid[16], program[CELL], sockets[16], thunks[16], age[32] = "-", labels[CELL] = "-";
        uint64_t since, wants = ctl_wants(s, &since);
        snprintf(pid, sizeof pid, "%" PRIu32, s->pid);
        ctl_escape(s->program, program, sizeof program);
        snprintf(sockets, sizeof sockets, "%" PRIu32, s->report.sockets);
        snprintf(thunks, sizeof thunks, "%" PRIu32, s->report.thunks);
        if (since) {
            ctl_age(since, ctl_now(), age, sizeof age);
            labels_text(wants, &v->names, labels, sizeof labels);
        }
        row(widths, 6, (const char *const[]){pid, program, sockets, thunks, age, labels});
        ctl_print_left(s, widths[0]);
    }
}

static void print_multipath(const struct wire_status *s) {
    switch ((enum wire_multipath)s->multipath) {
    case WIRE_MULTIPATH_NONE:
        puts("Multipath TCP: not in this kernel");
        break;
    case WIRE_MULTIPATH_OFF:
        puts("Multipath TCP: switched off in this kernel (net.mptcp.enabled)");
        break;
    case WIRE_MULTIPATH_KERNEL:
        printf("Multipath TCP: endpoints by the kernel: %" PRIu32 "; the scout makes none\n", s->endpoints);
        break;
    case WIRE_MULTIPATH_SCOUT:
        printf("Multipath TCP: endpoints by the scout: %" PRIu32 "\n", s->endpoints);
        break;
    }
}

void ctl_print_status(const struct ctl_view *v) {
    const struct wire_status *s = &v->status;
    char name[CELL], release[CELL], config[CELL], age[32];
    ctl_escape(s->name, name, sizeof name);
    ctl_escape(s->release, release, sizeof release);
    ctl_escape(s->config, config, sizeof config);
    ctl_age(s->started_ms, ctl_now(), age, sizeof age);
    printf("scout '%s' (cmm-scout %s, pid %" PRIu32 "), up for %s\n", name, release, s->pid, age);
    printf("configuration: %s\n", config[0] ? config : "none");
    if (s->scripted)
        puts("networks are driven by a script");
    if (s->dropped)
        printf("%" PRIu64 " messages of a wrong version, size or content were dropped\n", s->dropped);
    print_multipath(s);
    putchar('\n');
    ctl_print_networks(v);
    putchar('\n');
    ctl_print_subscribers(v);
}

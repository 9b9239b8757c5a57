/* ctl_why - what processes wait for, and what would release it.
 *
 * cmm-ctl's `why` comes in here with a view of everything. Which network offers what, and what it lacks, is
 * the scout's word. Each network is one line: people look for theirs.
 */
#include "ctl_why.h"
#include "ctl_print.h"
#include <inttypes.h>

enum { TEXT = 640 };

static bool offers_any(const struct wire_network *n, const struct wire_subscriber *s) {
    uint32_t count = s->report.header.size ? s->report.count : 0;
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++)
        if ((n->labels & s->report.wants[i].labels) == s->report.wants[i].labels)
            return true;
    return false;
}

void ctl_why_select_networks(struct ctl_view *v) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < v->networks.count; i++)
        for (size_t k = 0; k < v->subscriber_count; k++)
            if (offers_any(&v->networks.networks[i], &v->subscribers[k])) {
                v->networks.networks[kept++] = v->networks.networks[i];
                break;
            }
    v->networks.count = kept;
}

static bool waits_for(const struct wire_subscriber *s, uint64_t wanted) {
    uint32_t count = s->report.header.size ? s->report.count : 0;
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++)
        if ((s->report.wants[i].labels & wanted) == wanted)
            return true;
    return false;
}

void ctl_why_select_labels(struct ctl_view *v, uint64_t wanted) {
    size_t found = 0;
    uint32_t kept = 0;
    for (size_t i = 0; i < v->subscriber_count; i++)
        if (waits_for(&v->subscribers[i], wanted))
            v->subscribers[found++] = v->subscribers[i];
    v->subscriber_count = found;
    for (uint32_t i = 0; i < v->networks.count; i++)
        if ((v->networks.networks[i].labels & wanted) == wanted)
            v->networks.networks[kept++] = v->networks.networks[i];
    v->networks.count = kept;
}

static void text_of(uint64_t labels, const struct label_names *names, char *buf, size_t len) {
    char plain[TEXT];
    label_format(labels, names, plain, sizeof plain);
    ctl_escape(plain, buf, len);
}

/* Where another one has the better route. */
static bool filtered(const struct ctl_view *v, const struct wire_network *n) {
    for (uint32_t i = 0; i < v->networks.count; i++) {
        const struct wire_network *other = &v->networks.networks[i];
        if (other != n && other->state == WIRE_NET_UP && other->flags & WIRE_HAS4 &&
            other->metric <= n->metric)
            return n->flags & WIRE_STRICT && n->state == WIRE_NET_UP;
    }
    return false;
}

static const char *lack_of(const struct wire_network *n) {
    switch ((enum wire_lack)n->lack) {
    case WIRE_LACK_LINK:
        return n->ifindex ? "its link is down or has no carrier" : "no interface of it is there";
    case WIRE_LACK_ADDRESS:
        return n->flags & WIRE_ADDRESS ? "its address is not there" : "it has no usable address";
    case WIRE_LACK_ROUTE:
        return "it has an address, but no route";
    case WIRE_LACK_DEFAULT:
        return "without a default route";
    case WIRE_LACK_TIME:
        return "it is there, but for less than hold-down";
    case WIRE_LACK_CHECK:
        return "its check does not succeed";
    case WIRE_LACK_SCRIPT:
        return "by the script";
    case WIRE_LACK_CTL:
        return "by cmm-ctl down; cmm-ctl auto gives it back";
    case WIRE_LACK_LISTING:
        return "no section lists it any more";
    case WIRE_LACK_NOTHING:
        break;
    }
    return n->flags & WIRE_OVERRIDE ? "it is to be changed back by cmm-ctl auto" : "it is about to change";
}

static const char *families(const struct wire_network *n) {
    bool four = n->flags & WIRE_HAS4, six = n->flags & WIRE_HAS6;
    return four && six ? ", for IPv4 and IPv6"
           : four      ? ", for IPv4"
           : six       ? ", for IPv6"
                       : ", without address";
}

static void print_network(const struct ctl_view *v, uint32_t at, uint64_t wanted, const char *verb) {
    const struct wire_network *n = &v->networks.networks[at];
    char name[TEXT], lacking[TEXT];
    ctl_name(&v->networks, at, name, sizeof name);
    if ((n->labels & wanted) != wanted) {
        text_of(wanted & ~n->labels, &v->names, lacking, sizeof lacking);
        printf("    %s would not: it does not offer %s\n", name, lacking);
        return;
    }
    if (n->state == WIRE_NET_UP)
        printf("    %s %s: it is up%s%s%s\n", name, verb, families(n), n->lack ? ", " : "",
               n->lack ? lack_of(n) : "");
    else
        printf("    %s %s: %s, %s\n", name, verb, wire_state_word(n->state), lack_of(n));
    if (filtered(v, n))
        puts("      its rp_filter is strict and another network has the better route:\n"
             "      the kernel drops its answers (net.ipv4.conf.*.rp_filter=2 cures it)");
}

/* Those that could first. */
static void print_releasing(const struct ctl_view *v, uint64_t wanted, const char *verb) {
    bool none = true;
    for (int could = 1; could >= 0; could--) {
        for (uint32_t i = 0; i < v->networks.count; i++)
            if (((v->networks.networks[i].labels & wanted) == wanted) == could) {
                print_network(v, i, wanted, verb);
                none &= !could;
            }
        if (could && none)
            puts("    no network that the scout knows offers that");
    }
}

static void print_want(const struct ctl_view *v, const struct wire_want *w) {
    char labels[TEXT], age[32];
    text_of(w->labels, &v->names, labels, sizeof labels);
    ctl_age(w->since_ms, ctl_now(), age, sizeof age);
    printf("%s, for %s: %" PRIu32 " operation%s\n", labels, age, w->count, w->count == 1 ? "" : "s");
}

static void print_subscriber(const struct ctl_view *v, const struct wire_subscriber *s) {
    char program[TEXT];
    uint32_t count = s->report.header.size ? s->report.count : 0;
    ctl_escape(s->program, program, sizeof program);
    printf("%s (pid %" PRIu32 ") waits for%s\n", program, s->pid, count ? ":" : " nothing");
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++) {
        fputs("  ", stdout);
        print_want(v, &s->report.wants[i]);
        print_releasing(v, s->report.wants[i].labels, "would release it");
    }
    ctl_print_left(s, 2);
}

void ctl_why_print(const struct ctl_view *v) {
    for (size_t k = 0; k < v->subscriber_count; k++)
        print_subscriber(v, &v->subscribers[k]);
}

static void print_waiting(const struct ctl_view *v, const struct wire_subscriber *s, uint64_t wanted) {
    char program[TEXT];
    uint32_t count = s->report.header.size ? s->report.count : 0;
    ctl_escape(s->program, program, sizeof program);
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++)
        if ((s->report.wants[i].labels & wanted) == wanted) {
            printf("  %s (pid %" PRIu32 ") waits for ", program, s->pid);
            print_want(v, &s->report.wants[i]);
        }
}

void ctl_why_print_labels(const struct ctl_view *v, uint64_t wanted) {
    char labels[TEXT];
    text_of(wanted, &v->names, labels, sizeof labels);
    printf("%s:\n", labels);
    print_releasing(v, wanted, "would carry it");
    for (size_t k = 0; k < v->subscriber_count; k++)
        print_waiting(v, &v->subscribers[k], wanted);
}

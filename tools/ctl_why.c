/* ctl_why - what one process waits for, and what would release it.
 *
 * cmm-ctl's `why` comes in here with a view of everything. Which network offers what is the scout's word;
 * only the kernel's reverse-path filter is looked up here, because it is the usual reason why a network that
 * is up carries nothing.
 */
#include "ctl_why.h"
#include "ctl_print.h"
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 640 };

static bool offers_any(const struct wire_network *n, const struct wire_subscriber *s) {
    uint32_t count = s->report.header.size ? s->report.count : 0;
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++)
        if ((n->labels & s->report.wants[i].labels) == s->report.wants[i].labels)
            return true;
    return false;
}

bool ctl_why_knows(const struct ctl_view *v, uint32_t pid) {
    for (size_t i = 0; i < v->subscriber_count; i++)
        if (v->subscribers[i].pid == pid)
            return true;
    return false;
}

void ctl_why_select(struct ctl_view *v, uint32_t pid) {
    size_t found = 0;
    uint32_t kept = 0;
    for (size_t i = 0; i < v->subscriber_count; i++)
        if (v->subscribers[i].pid == pid)
            v->subscribers[found++] = v->subscribers[i];
    v->subscriber_count = found;
    for (uint32_t i = 0; i < v->networks.count; i++)
        for (size_t k = 0; k < found; k++)
            if (offers_any(&v->networks.networks[i], &v->subscribers[k])) {
                v->networks.networks[kept++] = v->networks.networks[i];
                break;
            }
    v->networks.count = kept;
}

static bool waits_for(const struct wire_subscriber *s, uint64_t wanted) {
    uint32_t count = s->report.header.size ? s->report.count : 0;
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++)
        if (s->report.wants[i].labels == wanted)
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

static int filter_of(const char *interface) {
    char path[96];
    int value = 0;
    FILE *f;
    snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/rp_filter", interface);
    if (!(f = fopen(path, "re")))
        return 0;
    if (fscanf(f, "%d", &value) != 1)
        value = 0;
    fclose(f);
    return value;
}

/* The kernel takes the larger of the two; 1 is strict, 2 is loose. */
static bool filtered(const struct wire_network *n) {
    char interface[IF_NAMESIZE];
    if (!n->ifindex || !if_indextoname(n->ifindex, interface))
        return false;
    int all = filter_of("all"), own = filter_of(interface);
    return (all > own ? all : own) == 1;
}

static const char *what_is_missing(const struct wire_network *n) {
    switch ((enum wire_state)n->state) {
    case WIRE_NET_UP:
        return "it is up";
    case WIRE_NET_DOWN:
        return n->ifindex || n->flags & WIRE_ADDRESS ? "it is down" : "no interface of it is there";
    case WIRE_NET_GRACE:
        return "it has just gone, and may be back";
    case WIRE_NET_WITHDRAWN:
        return n->flags & WIRE_OVERRIDE ? "withdrawn by cmm-ctl down; cmm-ctl auto gives it back"
                                        : "withdrawn by script, policy or a failed check";
    }
    return "";
}

static const char *families(const struct wire_network *n) {
    bool four = n->flags & WIRE_HAS4, six = n->flags & WIRE_HAS6;
    return four && six ? ", for IPv4 and IPv6"
           : four      ? ", for IPv4"
           : six       ? ", for IPv6"
                       : ", without address";
}

static void print_network(const struct ctl_view *v, const struct wire_network *n, uint64_t wanted,
                          const char *verb) {
    char name[TEXT], lacking[TEXT];
    ctl_escape(n->name, name, sizeof name);
    if ((n->labels & wanted) != wanted) {
        text_of(wanted & ~n->labels, &v->names, lacking, sizeof lacking);
        printf("    %s would not: it does not offer %s\n", name, lacking);
        return;
    }
    printf("    %s %s: %s%s\n", name, verb, what_is_missing(n), n->state == WIRE_NET_UP ? families(n) : "");
    if (filtered(n))
        puts("      its rp_filter is strict: unless it holds the best route, the kernel drops its answers");
}

/* Those that could first. */
static void print_releasing(const struct ctl_view *v, uint64_t wanted, const char *verb) {
    bool none = true;
    for (int could = 1; could >= 0; could--) {
        for (uint32_t i = 0; i < v->networks.count; i++)
            if (((v->networks.networks[i].labels & wanted) == wanted) == could) {
                print_network(v, &v->networks.networks[i], wanted, verb);
                none &= !could;
            }
        if (could && none)
            puts("    no network that the scout knows offers that");
    }
}

static void print_subscriber(const struct ctl_view *v, const struct wire_subscriber *s) {
    char program[TEXT];
    uint32_t count = s->report.header.size ? s->report.count : 0;
    ctl_escape(s->program, program, sizeof program);
    printf("%s (pid %" PRIu32 ") waits for%s\n", program, s->pid, count ? ":" : " nothing");
    for (uint32_t i = 0; i < count && i < WIRE_WANTS; i++) {
        const struct wire_want *w = &s->report.wants[i];
        char labels[TEXT], age[32];
        text_of(w->labels, &v->names, labels, sizeof labels);
        ctl_age(w->since_ms, ctl_now(), age, sizeof age);
        printf("  %s, for %s: %" PRIu32 " operation%s\n", labels, age, w->count, w->count == 1 ? "" : "s");
        print_releasing(v, w->labels, "would release it");
    }
    ctl_print_left(s, 2);
}

void ctl_why_print(const struct ctl_view *v, uint32_t pid) {
    for (size_t k = 0; k < v->subscriber_count; k++)
        if (v->subscribers[k].pid == pid)
            print_subscriber(v, &v->subscribers[k]);
}

void ctl_why_print_labels(const struct ctl_view *v, uint64_t wanted) {
    char labels[TEXT];
    text_of(wanted, &v->names, labels, sizeof labels);
    printf("%s:\n", labels);
    print_releasing(v, wanted, "would carry it");
    for (size_t k = 0; k < v->subscriber_count; k++)
        if (waits_for(&v->subscribers[k], wanted)) {
            char program[TEXT];
            ctl_escape(v->subscribers[k].program, program, sizeof program);
            printf("  %s (pid %" PRIu32 ") waits for it\n", program, v->subscribers[k].pid);
        }
}

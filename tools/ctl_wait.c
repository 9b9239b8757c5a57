/* ctl_wait - until a network is there for some labels.
 *
 * cmm-ctl's `wait` comes in here with an open connection. It subscribes like any program, so that it is seen
 * in `subscribers` and `why`. `wait LABELS && command` must survive an upgrade of the scout: one that goes
 * away is looked for again, for a while that a service manager's restart fits in.
 */
#include "ctl_wait.h"
#include "ctl_print.h"
#include <errno.h>
#include <string.h>

struct waiting {
    struct ctl_client *client;
    uint64_t wanted, since;    /* since: for others to see */
    int64_t end;               /* -1: never */
    struct wire_snapshot told; /* its networks */
    struct ctl_networks *found;
};

/* The offered networks that match, first in the snapshot; how many. */
static uint32_t matching_first(struct wire_snapshot *s, uint64_t wanted) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->networks[i].state == WIRE_NET_UP && (s->networks[i].labels & wanted) == wanted) {
            struct wire_network one = s->networks[i];
            s->networks[i] = s->networks[count];
            s->networks[count++] = one;
        }
    return count;
}

static int report(const struct waiting *w) {
    struct wire_report report = {.count = 1,
                                 .wants = {{.labels = w->wanted, .since_ms = w->since, .count = 1}}};
    return ctl_client_send(w->client, &report.header, WIRE_REPORT, sizeof report);
}

/* The next message, until the end; the first snapshot is an answer and is waited for even with no time at
 * all. Its type, 0, or -errno. */
static int next_message(const struct waiting *w, bool answered, union wire_message *ret) {
    if (!answered)
        return ctl_client_answer(w->client, ret);
    int64_t left = w->end < 0 ? -1 : w->end > ctl_client_now() ? w->end - ctl_client_now() : 0;
    return ctl_client_receive(w->client, left > INT32_MAX ? INT32_MAX : (int)left, ret);
}

/* Keeps those that match. CTL_WAIT_CAME, CTL_WAIT_LATE if there are none, or -errno and why. */
static int take_matching(struct waiting *w, uint64_t wanted) {
    uint32_t count = matching_first(&w->told, wanted);
    if (!count)
        return CTL_WAIT_LATE;
    w->told.count = count;
    if (ctl_networks_add(w->found, &w->told) == 0)
        return CTL_WAIT_CAME;
    snprintf(w->client->why, sizeof w->client->why, "out of memory");
    return -ENOMEM;
}

/* What one scout says. */
static int listen_to(struct waiting *w) {
    struct wire_subscribe subscribe = {.program = "cmm-ctl"};
    union wire_message m;
    bool answered = false;
    int r = ctl_client_send(w->client, &subscribe.header, WIRE_SUBSCRIBE, sizeof subscribe);
    while (r >= 0) {
        r = next_message(w, answered, &m);
        if (r == 0 && w->end >= 0 && ctl_client_now() >= w->end)
            return CTL_WAIT_LATE;
        if (r == WIRE_DONE && m.done.error)
            return ctl_client_refused(w->client, &m.done), CTL_WAIT_REFUSED;
        if (r == WIRE_SNAPSHOT)
            memcpy(&w->told, &m.snapshot, m.header.size);
        else if (r != WIRE_RELEASE)
            continue;
        r = take_matching(w, r == WIRE_RELEASE ? 0 : w->wanted); /* who is released takes any */
        if (r != CTL_WAIT_LATE)
            return r;
        r = answered ? 0 : report(w);
        answered = true;
    }
    return r;
}

int ctl_wait(struct ctl_client *c, const char *scout, uint64_t wanted, int64_t limit_ms,
             struct ctl_networks *ret) {
    struct waiting w = {.client = c,
                        .wanted = wanted,
                        .since = ctl_now(),
                        .end = limit_ms < 0 ? -1 : ctl_client_now() + limit_ms,
                        .found = ret};
    int r;
    do {
        r = listen_to(&w);
    } while (ctl_client_ended(r) && ctl_client_again(c, scout, w.end) == 0);
    return r;
}

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
#include <time.h>

enum { ABSENCE_MS = 5000, AGAIN_MS = 50 };

struct waiting {
    struct ctl_client *client;
    uint64_t wanted, since; /* since: for others to see */
    int64_t end;            /* -1: never */
    struct ctl_networks *networks;
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The offered networks that match, alone in the snapshot. */
static bool keep_matching(struct wire_snapshot *s, uint64_t wanted) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->networks[i].state == WIRE_NET_UP && (s->networks[i].labels & wanted) == wanted)
            s->networks[kept++] = s->networks[i];
    s->count = kept;
    return kept > 0;
}

static int report(const struct waiting *w) {
    struct wire_report report = {.count = 1,
                                 .wants = {{.labels = w->wanted, .since_ms = w->since, .count = 1}}};
    return ctl_client_send(w->client, &report.header, WIRE_REPORT, sizeof report);
}

/* The next message, until the end; the first snapshot is an answer and is waited for even with no time at
 * all. Its type, 0, or -errno. */
static int next_message(const struct waiting *w, bool answered, union ctl_message *ret) {
    if (!answered)
        return ctl_client_answer(w->client, ret);
    int64_t left = w->end < 0 ? -1 : w->end > now_ms() ? w->end - now_ms() : 0;
    return ctl_client_receive(w->client, left > INT32_MAX ? INT32_MAX : (int)left, ret);
}

static int out_of_memory(struct ctl_client *c) {
    snprintf(c->why, sizeof c->why, "out of memory");
    return -ENOMEM;
}

/* What one scout says. */
static int listen_to(const struct waiting *w) {
    struct wire_subscribe subscribe = {.program = "cmm-ctl"};
    union ctl_message m;
    bool answered = false;
    int r = ctl_client_send(w->client, &subscribe.header, WIRE_SUBSCRIBE, sizeof subscribe);
    while (r >= 0) {
        r = next_message(w, answered, &m);
        if (r == 0 && w->end >= 0 && now_ms() >= w->end)
            return CTL_WAIT_LATE;
        if (r == WIRE_DONE && m.done.error)
            return ctl_client_refused(w->client, &m.done), CTL_WAIT_REFUSED;
        if (r != WIRE_SNAPSHOT)
            continue;
        if (keep_matching(&m.snapshot, w->wanted))
            return ctl_networks_add(w->networks, &m.snapshot) < 0 ? out_of_memory(w->client) : CTL_WAIT_CAME;
        r = answered ? 0 : report(w);
        answered = true;
    }
    return r;
}

/* False: it stays away, and why says where it was looked for. */
static bool is_back(const struct waiting *w, const char *scout) {
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};
    int64_t end = now_ms() + ABSENCE_MS;
    if (w->end >= 0 && w->end < end)
        end = w->end;
    do {
        ctl_client_close(w->client);
        if (ctl_client_open(w->client, scout) >= 0)
            return true;
        nanosleep(&pause, NULL);
    } while (now_ms() < end);
    return false;
}

int ctl_wait(struct ctl_client *c, const char *scout, uint64_t wanted, int64_t limit_ms,
             struct ctl_networks *ret) {
    struct waiting w = {c, wanted, ctl_now(), limit_ms < 0 ? -1 : now_ms() + limit_ms, ret};
    int r;
    do {
        r = listen_to(&w);
    } while ((r == -EPIPE || r == -ECONNRESET) && is_back(&w, scout));
    return r;
}

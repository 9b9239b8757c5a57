/* probe - whether a TCP connection through a network works ("check =").
 *
 * scout.c comes in. Connections are made without waiting, bound to the network's device or source address;
 * nothing is sent on them. What works is tried again every half minute, what fails after a second, then ever
 * later up to a minute, and both at once when the network has another way. A network the kernel says is down
 * is not tried, and keeps its last result.
 */
#include "probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

union any_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static socklen_t fill(const struct fact_address *a, uint16_t port, union any_address *ret) {
    memset(ret, 0, sizeof *ret);
    ret->any.sa_family = a->family;
    if (a->family == AF_INET) {
        ret->four.sin_port = htons(port);
        memcpy(&ret->four.sin_addr, a->bytes, 4);
        return sizeof ret->four;
    }
    ret->six.sin6_port = htons(port);
    memcpy(&ret->six.sin6_addr, a->bytes, 16);
    return sizeof ret->six;
}

static void stop(struct probe *p) {
    if (p->sock >= 0)
        close(p->sock);
    p->sock = -1;
    p->at = -1;
}

/* True: the result is another one. */
static bool decide(struct probe *p, bool good, int64_t now) {
    enum fact_check before = p->result;
    stop(p);
    if (good)
        p->result = FACT_CHECK_GOOD;
    else if (p->result == FACT_CHECK_GOOD)
        p->result = FACT_CHECK_FAILED; /* one that never worked stays pending */
    p->pause_ms = good ? PROBE_SOON_MS : p->pause_ms;
    p->at = now + (good ? PROBE_AGAIN_MS : p->pause_ms);
    if (!good && (p->pause_ms *= 2) > PROBE_LATE_MS)
        p->pause_ms = PROBE_LATE_MS;
    return p->result != before;
}

static int bind_to_network(int sock, const struct probe *p) {
    union any_address from;
    if (p->source.family) {
        socklen_t len = fill(&p->source, 0, &from);
        return bind(sock, &from.any, len);
    }
    return setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, p->iface,
                      (socklen_t)strnlen(p->iface, sizeof p->iface));
}

static bool begin(struct probe_table *t, struct probe *p, int64_t now) {
    union any_address to;
    socklen_t len = fill(&p->target, p->port, &to);
    struct epoll_event e = {.events = EPOLLOUT};
    p->sock = socket(p->target.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->sock < 0 || bind_to_network(p->sock, p) < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, p->sock, &e) < 0)
        return decide(p, false, now);
    p->at = now + PROBE_LIMIT_MS;
    if (connect(p->sock, &to.any, len) < 0 && errno != EINPROGRESS)
        return decide(p, false, now);
    return false;
}

/* 1: connected, 0: not decided yet, -1: it does not work. */
static int outcome(const struct probe *p) {
    union any_address peer;
    socklen_t len = sizeof peer;
    int error = 0;
    socklen_t error_len = sizeof error;
    if (getsockopt(p->sock, SOL_SOCKET, SO_ERROR, &error, &error_len) < 0 || error)
        return -1;
    return getpeername(p->sock, &peer.any, &len) == 0;
}

bool probe_step(struct probe_table *t, int64_t now) {
    bool changed = false;
    for (unsigned i = 0; i < t->count; i++) {
        struct probe *p = &t->probes[i];
        int so_far = p->sock >= 0 ? outcome(p) : 0;
        if (so_far != 0)
            changed |= decide(p, so_far > 0, now);
        else if (p->at >= 0 && now >= p->at)
            changed |= p->sock >= 0 ? decide(p, false, now) : begin(t, p, now);
    }
    return changed;
}

int64_t probe_deadline(const struct probe_table *t) {
    int64_t first = -1;
    for (unsigned i = 0; i < t->count; i++)
        if (t->probes[i].at >= 0 && (first < 0 || t->probes[i].at < first))
            first = t->probes[i].at;
    return first;
}

static bool is_same(const struct fact_address *a, const struct fact_address *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static struct probe *find(struct probe_table *t, const struct fact_network *n) {
    for (unsigned i = 0; i < t->count; i++)
        if (t->probes[i].ifindex == n->ifindex && strcmp(t->probes[i].name, n->name) == 0)
            return &t->probes[i];
    if (t->count == PROBE_MAX)
        return NULL;
    struct probe *p = &t->probes[t->count++];
    *p = (struct probe){.sock = -1, .at = -1, .ifindex = n->ifindex, .result = FACT_CHECK_PENDING};
    memcpy(p->name, n->name, sizeof p->name);
    return p;
}

/* What was found out of the network before says nothing of this one. IPv6 counts by its /64. */
static bool is_another(const struct probe *p, const struct fact_network *n) {
    const struct fact_address *a = &p->own, *b = &n->address;
    if (!n->works || !a->family)
        return false;
    return a->family != b->family || memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 8) != 0 ||
           (p->ssid[0] && n->ssid[0] && strcmp(p->ssid, n->ssid) != 0);
}

/* It has another way now, by which what failed may work, and what worked may fail. */
static bool goes_another_way(struct probe *p, const struct fact_network *n) {
    uint8_t families = n->flags & (WIRE_HAS4 | WIRE_HAS6);
    bool another = p->families != families || p->ways != n->ways;
    p->families = families;
    p->ways = n->ways;
    return another;
}

static void renew(struct probe *p) {
    stop(p);
    p->result = FACT_CHECK_PENDING;
    p->pause_ms = PROBE_SOON_MS;
}

enum fact_check probe_see(struct probe_table *t, const struct fact_network *n,
                          const struct fact_address *target, uint16_t port, int64_t now) {
    struct fact_address source = n->iface[0] ? (struct fact_address){0} : n->address;
    struct probe *p = find(t, n);
    if (!p)
        return FACT_CHECK_NONE; /* too many to try: better offered untried than never */
    p->seen = true;
    memcpy(p->iface, n->iface, sizeof p->iface);
    if (!is_same(&p->target, target) || p->port != port || !is_same(&p->source, &source) || is_another(p, n))
        renew(p);
    if (n->works) {
        p->own = n->address;
        memcpy(p->ssid, n->ssid, sizeof p->ssid);
    }
    p->target = *target;
    p->source = source;
    p->port = port;
    if (!n->works || goes_another_way(p, n)) {
        stop(p);
        p->pause_ms = PROBE_SOON_MS;
    }
    if (n->works && p->sock < 0 && p->at < 0)
        begin(t, p, now);
    return p->result;
}

void probe_begin(struct probe_table *t) {
    for (unsigned i = 0; i < t->count; i++)
        t->probes[i].seen = false;
}

void probe_end(struct probe_table *t) {
    for (unsigned i = t->count; i-- > 0;)
        if (!t->probes[i].seen) {
            stop(&t->probes[i]);
            t->probes[i] = t->probes[--t->count];
        }
}

int probe_fd(const struct probe_table *t) {
    return t->epoll;
}

int probe_init(struct probe_table *t) {
    t->count = 0;
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    return t->epoll < 0 ? -errno : 0;
}

void probe_finish(struct probe_table *t) {
    for (unsigned i = 0; i < t->count; i++)
        stop(&t->probes[i]);
    t->count = 0;
    if (t->epoll >= 0)
        close(t->epoll);
    t->epoll = -1;
}

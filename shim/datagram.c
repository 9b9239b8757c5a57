/* datagram - the plain datagram sockets of a preloaded program.
 * Such a socket stays the program's own description, steered by its interface: so its port, options and
 * copies stay. While no network matches, a silent placeholder stands under its numbers and the description
 * waits aside, where receives and options go on acting on it. Runs with the lock held, on the calling thread
 * or the listening one. Deliberately absent: whose business a destination is (capture). */
#include "datagram.h"
#include "beckon.h"
#include "call.h"
#include "choose.h"
#include "fresh.h"
#include "lift.h"
#include "link.h"
#include "route.h"
#include "swap.h"
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>

enum { RETRY_MS = 100, REST_MS = 1000, YOUNG_MS = 10000 };

/* ---- aside, and back ---- */

/* What has arrived is to be read first: such a socket cannot be silent. */
static bool has_unread(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return real.poll(&p, 1, 0) > 0 && (p.revents & (POLLIN | POLLERR));
}

/* 0 or -errno, -EAGAIN: it is to be read first. */
static int put_aside(struct sock *s) {
    if (s->aside || !s->nfds)
        return 0;
    if (has_unread(s->fds[0]))
        return -EAGAIN;
    int old = swap_out(s);
    if (old < 0)
        return old;
    if (s->own >= 0)
        lift_close(old);
    else
        s->own = old;
    s->aside = true;
    return 0;
}

static void look_again(struct sock *s, unsigned ms) {
    link_due(s, wait_now_ms() + ms);
}

static void try_again(struct sock *s) {
    look_again(s, RETRY_MS);
}

/* `own' stays open: a call may be inside it. Where no descriptor can be had sends go by it, too, for now. */
static void put_back(struct sock *s) {
    if (!s->aside)
        return;
    const int fd = swap_may(s) ? lift_copy(s->own) : -1;
    if (fd < 0) {
        try_again(s);
        return;
    }
    s->aside = false;
    swap_in(s, fd);
    beckon(s, BECKON_ANOTHER);
    wait_wake(&s->waiters);
}

/* ---- its way ---- */

static void set_interface(const struct sock *s, int fd, uint32_t ifindex) {
    const uint32_t index = htonl(ifindex);
    if (s->family == AF_INET6)
        real.setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, &index, sizeof index);
    /* Also for IPv4 in an IPv6 socket. */
    real.setsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &index, sizeof index);
}

static void bind_port(int fd, struct sockaddr_storage *at, socklen_t len) {
    struct sockaddr_in *in = (struct sockaddr_in *)at;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)at;
    if (at->ss_family == AF_INET)
        in->sin_addr.s_addr = INADDR_ANY;
    else
        in6->sin6_addr = in6addr_any;
    real.bind(fd, (struct sockaddr *)at, len);
}

/* The source address is chosen anew; the port, which a peer may know, stays. */
static int connect_anew(const struct sock *s, int fd) {
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    real.getsockname(fd, (struct sockaddr *)&at, &len);
    real.connect(fd, &none, sizeof none);
    if (((struct sockaddr_in *)&at)->sin_port)
        bind_port(fd, &at, len);
    return real.connect(fd, (const struct sockaddr *)&s->to, s->tolen) < 0 ? -errno : 0;
}

/* A peer may know the port: the next description has it, too, if it is free there. */
static int fresh_with_port(struct sock *s, const struct wire_network *n) {
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    const in_port_t bound = s->port;
    if (real.getsockname(datagram_number(s, s->fds[0]), (struct sockaddr *)&at, &len) == 0)
        s->port = ((struct sockaddr_in *)&at)->sin_port;
    int fd = fresh_socket(s, n);
    if (fd == -EADDRINUSE) {
        s->port = bound;
        fd = fresh_socket(s, n);
    }
    s->port = bound;
    return fd;
}

/* What had arrived comes before what the new one hears; who is inside a receive on the old one looks again.
 * One that others hold is theirs, too. */
static void retire(struct sock *s, int old) {
    if (!s->shared) {
        swap_take(s, old);
        real.shutdown(old, SHUT_RD);
    }
    lift_close(old);
    swap_review(s);
}

static int steer_fresh(struct sock *s, const struct wire_network *n) {
    const int fd = swap_may(s) ? fresh_with_port(s, n) : -EMFILE;
    if (fd < 0)
        return fd;
    const int old = lift_copy(datagram_number(s, s->fds[0]));
    if (old < 0 || (s->tolen && real.connect(fd, (struct sockaddr *)&s->to, s->tolen) < 0)) {
        const int r = -errno;
        if (old >= 0)
            lift_close(old);
        lift_close(fd);
        return r;
    }
    if (s->own >= 0 && real.dup3(fd, s->own, O_CLOEXEC) < 0)
        lift_drop(&s->own);
    s->aside = false;
    s->fresh = n != NULL;
    swap_in(s, fd);
    retire(s, old);
    beckon(s, BECKON_ANOTHER);
    wait_wake(&s->waiters);
    return 0;
}

/* n NULL: the kernel's choice. */
static int steer(struct sock *s, const struct wire_network *n) {
    const int fd = datagram_number(s, s->nfds ? s->fds[0] : -1);
    int r = 0;
    if (fd < 0)
        return -EBADF;
    if ((n && choose_by_address(s, n)) || s->fresh)
        r = steer_fresh(s, n);
    else {
        set_interface(s, fd, n ? n->ifindex : 0);
        if (s->tolen)
            r = connect_anew(s, fd);
        if (r == 0)
            put_back(s);
    }
    s->net = n && r == 0 ? net_id(n, choose_family(s)) : 0;
    return r;
}

/* Without a wish it is the kernel's word that there is no route at all: any other is somebody's decision. */
static bool not_yet(const struct sock *s, int error) {
    if (!atomic_load(&s->labels))
        return error == ENETUNREACH;
    return error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN || error == EADDRNOTAVAIL ||
           error == ENODEV;
}

/* A way that works is kept, though a better one may be there. */
static bool goes_well(const struct sock *s, uint64_t labels) {
    const struct wire_network *n = net_find(&shim.nets, s->net);
    return n && n->state == WIRE_NET_UP && choose_suits(s, n, labels) && !s->aside;
}

/* n NULL: the kernel's choice. 1, 0: not yet, or -errno. */
static int go_by(struct sock *s, const struct wire_network *n) {
    const int r = steer(s, n);
    if (r == 0)
        return 1;
    if (!not_yet(s, -r))
        return r;
    try_again(s);
    return 0;
}

/* No wish: it goes as the kernel routes it, and waits only where that has no way. A route may come by what is
 * no network of ours, of which no scout tells. */
static int find_any_way(struct sock *s) {
    const struct wire_network *none;
    struct route way;
    if (route_get((struct sockaddr *)&s->to, 0, &way) != -ENETUNREACH) {
        s->backoff_ms = 0;
        return s->aside || s->net ? go_by(s, NULL) : 1;
    }
    s->backoff_ms = RETRY_MS;
    s->navoid = 0;
    look_again(s, choose_settling(s, 0) ? RETRY_MS : REST_MS);
    const int r = choose_network(s, 0, &none);
    s->due = r < 0 ? 0 : s->due;
    return r;
}

/* 1: steered, 0: no way now, or -errno. */
static int find_way(struct sock *s, uint64_t labels) {
    const struct wire_network *n;
    if (!labels)
        return find_any_way(s);
    if (goes_well(s, labels))
        return 1;
    int r = choose_network(s, labels, &n);
    if (r == 0 && choose_settling(s, labels))
        try_again(s);
    return r > 0 ? go_by(s, n) : r;
}

static int wait_here(struct sock *s) {
    if (!s->aside)
        s->waiting_since = wait_wall_ms();
    const int r = put_aside(s);
    talk_seek();
    talk_report();
    return r;
}

/* Who is told to wait must find a socket that is silent meanwhile, or would never sleep. Where it cannot be
 * had, the send is told what the kernel tells of an error that has come, or of a way that is lacking. */
static int tell_later(const struct sock *s, int silent) {
    int error = 0;
    socklen_t len = sizeof error;
    if (silent == -EAGAIN)
        real.getsockopt(s->fds[0], SOL_SOCKET, SO_ERROR, &error, &len);
    return error ? -error : silent == 0 || silent == -EAGAIN ? -EAGAIN : -ENETUNREACH;
}

int datagram_steer(struct sock *s, const struct sockaddr *to, socklen_t len, uint64_t labels, bool blocking) {
    const uint64_t limit = call_limit(s, SO_SNDTIMEO, 0);
    uint64_t deadline = 0;
    if (!s->tolen)
        memcpy(&s->to, to, len);
    for (;;) {
        atomic_store(&s->labels, labels);
        int r = find_way(s, labels);
        if (r > 0)
            break;
        if (r < 0) {
            put_back(s);
            return r;
        }
        r = wait_here(s);
        s->full = true;
        r = blocking ? call_wait(s, labels, true, &deadline, limit) : tell_later(s, r);
        if (r < 0)
            return r;
    }
    atomic_store(&s->clear, s->aside ? WAY_SHUT : WAY_OPEN);
    return 0;
}

void datagram_leave_alone(struct sock *s) {
    atomic_store(&s->clear, WAY_SHUT);
    if (s->net)
        steer(s, NULL);
    put_back(s);
}

/* What was connected before still is. */
static int keep_peer(struct sock *s, const struct sockaddr_storage *to, socklen_t len, int error) {
    memcpy(&s->to, to, sizeof s->to);
    s->tolen = len;
    if (len)
        real.connect(datagram_number(s, s->fds[0]), (const struct sockaddr *)to, len);
    else
        datagram_leave_alone(s);
    return error;
}

/* The kernel is told the peer even where it has no way there yet: that is found out when there is one. */
int datagram_connect(struct sock *s, const struct sockaddr *to, socklen_t len, uint64_t labels) {
    const struct sockaddr_storage before = s->to;
    const socklen_t beforelen = s->tolen;
    memcpy(&s->to, to, len);
    s->tolen = s->tolen ? len : 0;
    atomic_store(&s->labels, labels);
    atomic_store(&s->clear, WAY_SHUT);
    int r = find_way(s, labels);
    if (r < 0)
        return keep_peer(s, &before, beforelen, r);
    s->tolen = len;
    if (real.connect(datagram_number(s, s->fds[0]), to, len) < 0) {
        if (!not_yet(s, errno))
            return keep_peer(s, &before, beforelen, -errno);
        try_again(s);
        r = 0;
    }
    if (r == 0) {
        wait_here(s);
        return 0;
    }
    atomic_store(&s->clear, s->aside ? WAY_SHUT : WAY_OPEN);
    return 0;
}

bool datagram_parted(const struct sock *s, int error) {
    return error == EDESTADDRREQ && s->shared && s->tolen &&
           real.connect(datagram_number(s, s->fds[0]), (const struct sockaddr *)&s->to, s->tolen) == 0;
}

bool datagram_unreachable(struct sock *s, int error) {
    const struct wire_network *n = net_find(&shim.nets, s->net);
    if (!s->net || !not_yet(s, error))
        return false;
    if (n && n->state == WIRE_NET_UP && net_age(n, (uint32_t)wait_now_ms()) >= YOUNG_MS && !choose_misses(n))
        return false;
    s->avoid[0] = s->net;
    s->navoid = 1;
    s->net = 0;
    s->backoff_ms = RETRY_MS;
    atomic_store(&s->clear, WAY_SHUT);
    try_again(s);
    return true;
}

/* Unconnected sockets find their way when they send. */
void datagram_review(struct sock *s) {
    const uint64_t labels = atomic_load(&s->labels);
    if (!s->aside && !s->tolen)
        return;
    int r = find_way(s, labels);
    if (r < 0)
        put_back(s); /* the next send is told */
    else if (r == 0)
        put_aside(s);
    wait_wake(&s->waiters);
}

void datagram_forked(struct sock *s) {
    if (s->aside && !swap_may(s))
        return;
    if (s->aside)
        swap_know(s, s->own);
    if (s->aside)
        for (unsigned i = 0; i < s->nfds; i++)
            swap_put(s->own, s->fds[i]);
    lift_drop(&s->own);
    s->aside = false;
}

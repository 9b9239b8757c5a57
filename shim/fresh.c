/* fresh - the sockets that the library makes, to be put under a program's numbers (swap).
 * One as the program made its own, on the way that was chosen; one that is silent, while there is none; one
 * that tells of a reset. Runs with the lock held, on any thread. Deliberately absent: connecting it. */
#include "fresh.h"
#include "carry.h"
#include "choose.h"
#include "lift.h"
#include "route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

static int bind_address(int fd, int family, const struct wire_network *n, in_port_t port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
    const int one = 1;
    /* The port is chosen at connect(), so that many sockets can share one. */
    real.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (family == AF_INET && n->family == AF_INET) {
        memcpy(&in.sin_addr, n->address, 4);
        return real.bind(fd, (struct sockaddr *)&in, sizeof in) < 0 ? -errno : 0;
    }
    if (family != AF_INET6 || !n->family)
        return -EADDRNOTAVAIL;
    if (n->family == AF_INET) {
        in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(&in6.sin6_addr.s6_addr[12], n->address, 4);
    } else {
        memcpy(&in6.sin6_addr, n->address, 16);
    }
    return real.bind(fd, (struct sockaddr *)&in6, sizeof in6) < 0 ? -errno : 0;
}

/* A plain stream's: as if the program had chosen that interface for what it sends, which says nothing new to
 * the kernel, but whose doing it was to the process that gets the connection next. */
static void sign(const struct sock *s, int fd, uint32_t ifindex) {
    const uint32_t index = htonl(ifindex);
    if (s->kind == SOCK_CAPTURED && sock_stream(s))
        real.setsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &index, sizeof index);
}

bool fresh_signed(int fd, uint32_t *ret_ifindex) {
    uint32_t index = 0;
    socklen_t len = sizeof *ret_ifindex, size = sizeof index;
    return real.getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ret_ifindex, &len) == 0 && *ret_ifindex &&
           real.getsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &index, &size) == 0 && index == htonl(*ret_ifindex);
}

/* A device overrides routing: what never leaves the machine must not be bound to one. Kernels before 5.7 let
 * only root bind to a device: the source address is the next best. */
static int steer(const struct sock *s, int fd, const struct wire_network *n) {
    const int index = (int)n->ifindex;
    if (n->flags & WIRE_ADDRESS)
        return bind_address(fd, s->family, n, s->port);
    if (!index || s->home || route_special((const struct sockaddr *)&s->to))
        return 0;
    sign(s, fd, n->ifindex); /* of a bound one it is refused */
    if (real.setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index) == 0)
        return choose_by_address(s, n) ? bind_address(fd, s->family, n, s->port) : 0;
    if (errno == ENODEV)
        return -ENODEV;
    return bind_address(fd, s->family, n, s->port);
}

/* A peer may know the port; an address would name another network. */
static int keep_port(const struct sock *s, int fd) {
    const struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = s->port};
    const struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = s->port};
    struct sockaddr_in6 at = {0};
    socklen_t len = sizeof at;
    if (!s->port || (real.getsockname(fd, (struct sockaddr *)&at, &len) == 0 && at.sin6_port == s->port))
        return 0;
    const int r = s->family == AF_INET ? real.bind(fd, (const struct sockaddr *)&in, sizeof in)
                                       : real.bind(fd, (const struct sockaddr *)&in6, sizeof in6);
    return r < 0 && s->bound && sock_stream(s) ? -errno : 0;
}

/* Where the kernel has no Multipath TCP, or has it switched off, plain TCP will do. */
static int make(const struct sock *s) {
    const int type = s->type | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = carry_wanted(s) ? real.socket(s->family, type, IPPROTO_MPTCP) : -1;
    return fd < 0 ? real.socket(s->family, type, s->protocol) : fd;
}

int fresh_reserve(struct sock *s) {
    s->spare = lift(make(s));
    return s->spare < 0 ? -errno : 0;
}

void fresh_give_back(struct sock *s) {
    lift_drop(&s->spare);
}

/* A handshake that waits for the first bytes is none that could be waited for: it tells nothing of the way,
 * and never comes to who only receives. */
static void dial_at_once(const struct sock *s, int fd) {
    const int off = 0;
    if (options_find(&s->options, IPPROTO_TCP, TCP_FASTOPEN_CONNECT))
        real.setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &off, sizeof off);
}

int fresh_socket(struct sock *s, const struct wire_network *n) {
    int r = s->spare < 0 ? fresh_reserve(s) : 0;
    const int fd = s->spare;
    s->spare = -1;
    if (r < 0)
        return r;
    options_replay(&s->options, fd);
    dial_at_once(s, fd);
    if (n)
        r = steer(s, fd, n);
    if (r == 0)
        r = keep_port(s, fd);
    if (r < 0) {
        lift_close(fd);
        return r;
    }
    return fd;
}

/* A listener at the wildcard would take its port from the whole machine, and a call to one that nobody serves
 * any more would not be refused but swallowed by the filter. So it listens where nobody looks: at an address
 * of loopback's many, another one each time. An IPv6-only socket finds none: it has the wildcard. */
static void keep_out_of_the_way(int fd, int family) {
    static unsigned turn;
    const uint32_t where = 0x7f400000u | (((uint32_t)shim.owner * 1021u + turn++) & 0x3fffffu);
    const struct wire_network n = {
        .family = AF_INET,
        .address = {(uint8_t)(where >> 24), (uint8_t)(where >> 16), (uint8_t)(where >> 8), (uint8_t)where}};
    bind_address(fd, family, &n, 0);
}

/* A listening socket without connections polls silent, and every TCP option on it is real; the filter keeps
 * strangers out. */
int fresh_placeholder(const struct sock *s) {
    struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &drop};
    int fd = real.socket(s->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    fd = lift(fd);
    real.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    if (sock_stream(s))
        options_replay(&s->options, fd);
    keep_out_of_the_way(fd, s->family);
    if (real.listen(fd, 0) == 0)
        return fd;
    int r = -errno;
    lift_close(fd);
    return r;
}

/* Of a TCP socket that is aborted the kernel tells an error once, then EPIPE and its signal. This one tells a
 * reset once, for a message that its peer has let go unread; then EPIPE without a signal to who writes, and
 * to who reads that there is nothing, soon. */
int fresh_tombstone(void) {
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    const struct timeval soon = {0, 1};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    const int fd = lift(pair[0]);
    real.send(fd, "", 1, MSG_DONTWAIT);
    real.shutdown(fd, SHUT_WR);
    real.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    real.connect(pair[1], &none, sizeof none);
    real.close(pair[1]);
    return fd;
}

/* carry - streams that the kernel's Multipath TCP carries from one network to the next.
 * The kernel does it all: what is left to us is to keep out of its way, to know by which network a connection
 * goes now, and to end in time what it can carry no further. reconnect comes in here before it counts a
 * connection as lost. Labels choose the first network only: the kernel joins any that has an endpoint.
 */
#include "carry.h"
#include "choose.h"
#include "lift.h"
#include "link.h"
#include "stream.h"
#include "subflow.h"
#include "talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum {
    JOIN_MS = 10000, /* so long may a handshake by another network take */
    LOOK_MS = 100,
    EXPIRE_MS = 5000, /* a keepalive's whole second, and what comes before and after */
};

bool carry_wanted(const struct sock *s) {
    return s->kind == SOCK_CAPTURED && s->policy == RULES_POLICY_MPTCP && sock_stream(s) &&
           (!s->protocol || s->protocol == IPPROTO_TCP);
}

static bool is_multipath_socket(int fd) {
    int protocol = 0;
    socklen_t len = sizeof protocol;
    return real.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 && protocol == IPPROTO_MPTCP;
}

/* A program may have asked for Multipath TCP by itself. What has fallen back to plain TCP knows the options,
 * too, that were refused before. */
void carry_begin(struct sock *s, int fd) {
    s->adrift = false;
    s->join_until = 0;
    s->carried = (carry_wanted(s) || s->protocol == IPPROTO_MPTCP) && s->policy != RULES_POLICY_RECONNECT &&
                 subflow_multipath(fd);
    if (!s->carried && carry_wanted(s) && is_multipath_socket(fd))
        options_replay(&s->options, fd);
}

static bool is_way_of(const struct wire_network *n, const struct subflow *way) {
    if (!(n->flags & WIRE_ADDRESS))
        return n->ifindex == way->ifindex;
    return n->family == way->family && memcmp(n->address, way->address, n->family == AF_INET ? 4 : 16) == 0;
}

static const struct wire_network *network_of(const struct subflow *way) {
    for (uint32_t i = 0; i < shim.nets.now.count; i++)
        if (is_way_of(&shim.nets.now.networks[i], way))
            return &shim.nets.now.networks[i];
    return NULL;
}

/* A network that it goes by and that works, better one that is not just gone. False: none. What is no network
 * of ours is the kernel's affair: id 0. */
static bool find_way(const struct sock *s, uint64_t *ret_id) {
    struct subflow ways[SUBFLOW_MAX];
    const int count = subflow_list(s->fds[0], ways);
    bool found = false;
    for (int i = 0; i < count; i++) {
        const struct wire_network *n = network_of(&ways[i]);
        if (n && !net_works(n))
            continue;
        if (!found || (n && n->state == WIRE_NET_UP))
            *ret_id = n ? net_id(n, ways[i].family) : 0;
        found = true;
    }
    return found;
}

/* Some network could take it: *ret_now, one that is there; else when one comes. */
static bool hope(const struct sock *s, bool *ret_now) {
    bool any = false;
    *ret_now = false;
    for (uint32_t i = 0; i < shim.nets.now.count; i++) {
        if (!(shim.nets.now.joins >> i & 1))
            continue;
        any = true;
        *ret_now |= net_usable(&shim.nets.now.networks[i], choose_family(s));
    }
    return any;
}

static void set_adrift(struct sock *s) {
    if (s->adrift)
        return;
    s->adrift = true;
    s->join_until = 0;
    s->waiting_since = wait_wall_ms();
    link_give_up(s, s->patient ? 0 : wait_end(&s->patience));
    talk_report();
}

/* No way is left. As long as one may come the connection is as one that waits for its network; but a peer
 * that has forgotten it, or that the new network does not reach, is not waited for. */
static bool drift(struct sock *s) {
    const uint64_t now = wait_now_ms();
    bool there;
    if (!hope(s, &there))
        return false;
    set_adrift(s);
    if (s->give_up_at && s->give_up_at <= now)
        return false;
    link_due(s, s->give_up_at);
    if (!there) {
        s->join_until = 0;
    } else {
        s->join_until = s->join_until ? s->join_until : now + JOIN_MS;
        if (s->join_until <= now)
            return false;
        link_due(s, now + LOOK_MS);
    }
    return true;
}

bool carry_on(struct sock *s) {
    const struct wire_network *n = net_find(&shim.nets, s->net);
    const bool sound = !s->net || net_works(n);
    if (sound && !s->adrift && (!n || choose_suits(s, n, s->on_labels)))
        return true;
    s->carried = subflow_multipath(s->fds[0]) && !stream_closed(s->fds[0]);
    if (s->carried && sound && !s->adrift)
        return true; /* labels chose the first network only */
    if (s->carried && find_way(s, &s->net)) {
        s->adrift = false;
        return true;
    }
    s->carried = s->carried && drift(s);
    return s->carried;
}

/* ---- what a program can see ---- */

/* The kernel would take it for a common byte, or never tell when the buffer is free (Linux 6.18). */
bool carry_refuses(const struct sock *s, int fd, int flags) {
    return flags & (MSG_OOB | MSG_ZEROCOPY) && carry_wanted(s) && is_multipath_socket(fd);
}

static void expire_soon(int fd) {
    const int one = 1;
    real.setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &one, sizeof one);
    real.setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &one, sizeof one);
    real.setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof one);
    real.setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &one, sizeof one);
    real.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

/* An abort is an end of file to who is blocked in a receive on such a socket (Linux 6.18): better the kernel
 * finds out by itself, which it tells as an error. It can where the stream has fallen back to plain TCP. */
bool carry_expires(struct sock *s, uint64_t now_ms) {
    const int fd = s->fds[0];
    if (!is_multipath_socket(fd) || subflow_multipath(fd) || stream_closed(fd))
        return false;
    if (!s->join_until) {
        s->join_until = now_ms + EXPIRE_MS;
        expire_soon(fd);
    }
    return now_ms < s->join_until;
}

/* Nothing hangs on it that a program could not do without: timings, sizes, marks of packets. */
static bool is_hint(int level, int name) {
    if (level == IPPROTO_IP || level == IPPROTO_IPV6)
        return true;
    if (level == SOL_SOCKET)
        return name == SO_OOBINLINE;
    return level == IPPROTO_TCP && (name == TCP_USER_TIMEOUT || name == TCP_QUICKACK || name == TCP_SYNCNT ||
                                    name == TCP_LINGER2 || name == TCP_WINDOW_CLAMP);
}

int carry_stand_in(const struct sock *s, int level, int name, int error) {
    if ((error != -EOPNOTSUPP && error != -ENOPROTOOPT) || !carry_wanted(s) || !is_hint(level, name))
        return -1;
    int fd = real.socket(s->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    fd = lift(fd);
    options_replay(&s->options, fd);
    return fd;
}

int carry_state(const struct sock *s, int first) {
    if (!s->carried)
        return first;
    if (stream_closed(s->fds[0]))
        return TCP_CLOSE;
    if (stream_finished(s->fds[0]))
        return TCP_CLOSE_WAIT;
    return s->sealed ? TCP_FIN_WAIT2 : TCP_ESTABLISHED;
}

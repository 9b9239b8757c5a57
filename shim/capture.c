/* capture - the plain sockets of a preloaded program.
 * A socket is watched from socket() on, so that its options can be replayed, and let go as soon as it turns
 * out to be none of our business: bound, listening, or connected where no label applies. Its connect() is the
 * labeled one without handlers; what differs is that the program knows nothing of it. Deliberately absent:
 * the connection itself (reconnect). */
#include "capture.h"
#include "call.h"
#include "datagram.h"
#include "fresh.h"
#include "judge.h"
#include "lift.h"
#include "link.h"
#include "log.h"
#include "reconnect.h"
#include "socket_calls.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

void capture_socket(int fd, int family, int type, int protocol) {
    const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (kind != SOCK_STREAM && kind != SOCK_DGRAM)
        return;
    self_prepare();
    lock_take();
    struct sock *s = sock_new(fd, SOCK_CAPTURED, family, kind, protocol);
    if (s) {
        s->patient = shim.patient;
        s->patience = shim.patience;
        s->policy = (int)shim.on_loss;
        swap_know(s, fd);
    }
    lock_drop();
}

void capture_release(int fd) {
    const struct sock *s = sock_find(fd);
    if (s && s->kind == SOCK_CAPTURED)
        socket_let_alone(fd);
}

/* The program has chosen a way itself. Without a rule that could overrule it, it is none of our business. */
void capture_chosen(int fd) {
    if (!shim.rules.count) {
        capture_release(fd);
        return;
    }
    lock_take();
    struct sock *s = sock_find(fd);
    if (s)
        s->bound = true;
    lock_drop();
}

/* Afterwards it is too late: the connection is ours. */
bool capture_may_choose(int fd) {
    const struct sock *s = sock_find(fd);
    return s && s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH && !s->aside;
}

/* The wildcard and port 0 is no bind. */
static bool is_no_bind(const struct sockaddr *to, socklen_t len) {
    static const struct in6_addr any = IN6ADDR_ANY_INIT;
    const struct sockaddr_in *in = (const struct sockaddr_in *)to;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)to;
    if (to->sa_family == AF_INET && len >= sizeof *in)
        return in->sin_addr.s_addr == INADDR_ANY && !in->sin_port;
    return to->sa_family == AF_INET6 && len >= sizeof *in6 && !memcmp(&in6->sin6_addr, &any, sizeof any) &&
           !in6->sin6_port;
}

void capture_bound(int fd, const struct sockaddr *to, socklen_t len) {
    struct sockaddr_in6 at = {0};
    socklen_t size = sizeof at;
    lock_take();
    struct sock *s = sock_find(fd);
    const bool ours = s && s->kind == SOCK_CAPTURED;
    if (ours && real.getsockname(fd, (struct sockaddr *)&at, &size) == 0)
        s->port = at.sin6_port; /* where IPv4 has it, too */
    lock_drop();
    if (ours && !is_no_bind(to, len))
        capture_chosen(fd);
}

/* ---- streams ---- */

/* With the command that starts the one that was asked for. */
void capture_say_no_scout(void) {
    static bool said;
    const char *name = shim.scout ? shim.scout : "";
    lock_take();
    const bool silent = shim.nets.spoken || said;
    said = true;
    lock_drop();
    if (!silent)
        log_say(LOG_ERROR,
                "labels are asked for, but no scout answers: waiting for one (start it: cmm-scout%s%.100s &)",
                *name ? " --name " : "", name);
}

/* deaf: nobody would ever tell it of a network. What only lacks a way then lacks it as without us. */
static int admit(struct verdict *v, int deaf) {
    if (v->ours && !v->labels)
        v->ours = deaf == 0;
    if (!v->ours || !v->labels)
        return 0;
    if (shim.labels_bad || deaf < 0)
        return shim.labels_bad ? -EINVAL : deaf;
    capture_say_no_scout();
    return 0;
}

static int outcome(struct sock *s) {
    int error = s->error;
    if (s->state == LIFE_LIVE)
        return 0;
    return s->state == LIFE_DEAD ? -error : s->state == LIFE_FRESH ? -ECONNRESET : -EINPROGRESS;
}

/* Patience is for networks: a handshake takes as long as the kernel lets it. The program's own SO_SNDTIMEO is
 * for both, and ends only the call. */
static int await(struct sock *s) {
    const uint64_t limit = call_limit(s, SO_SNDTIMEO, 0);
    while (s->state != LIFE_LIVE && s->state != LIFE_DEAD && s->state != LIFE_FRESH) {
        uint64_t deadline = s->give_up_at;
        int r = call_wait(s, atomic_load(&s->labels), s->state == LIFE_WAITING, &deadline, limit);
        if (r == -ETIMEDOUT)
            reconnect_give_up(s, ETIMEDOUT);
        if (r < 0)
            return r == -EAGAIN ? -EINPROGRESS : r;
    }
    return outcome(s);
}

/* Lock held. The original description goes: a connection is made on a fresh one with the same options. */
static int begin(struct sock *s, const struct sockaddr *to, socklen_t len, const struct verdict *v) {
    int old = swap_out(s);
    if (old < 0)
        return old;
    lift_close(old);
    swap_unbury(s);
    if (s->state == LIFE_DEAD)
        sock_turn(s, LIFE_RESET);
    sock_turn(s, LIFE_CONNECT);
    s->error = s->untold = 0;
    s->full = true;
    s->sealed = s->deaf = s->lived = s->shared = s->cut = s->carried = s->adrift = false;
    stash_finish(&s->unread);
    memcpy(&s->to, to, len);
    s->tolen = len;
    s->policy = v->policy;
    s->home = v->home;
    atomic_store(&s->labels, v->labels);
    link_give_up(s, s->patient ? 0 : wait_end(&s->patience));
    reconnect_consider(s);
    return 0;
}

/* What was begun or failed is over; the number is a fresh socket's, which has chosen no device. 0 or -errno.
 */
static int start_over(struct sock *s) {
    if (s->state == LIFE_MOVING)
        return 0;
    const int fd = swap_may(s) ? fresh_socket(s, NULL) : -EMFILE;
    if (fd < 0)
        return fd;
    if (s->state == LIFE_WAITING || life_attempting(s->state))
        reconnect_give_up(s, ECONNRESET);
    else if (s->state == LIFE_LIVE)
        swap_wake(s->fds[0]); /* the peer hears of it as the kernel tells it */
    swap_unbury(s);
    swap_in(s, fd);
    s->untold = 0;
    s->net = 0;
    sock_turn(s, LIFE_RESET);
    wait_wake(&s->waiters);
    return 0;
}

/* The connect that tells of a failure, the first one or a later one, leaves a socket that was never
 * connected. Who has asked for the error by itself is told what the kernel makes of that. */
static int tell_failure(struct sock *s) {
    const int error = s->untold ? s->untold : ECONNABORTED;
    start_over(s);
    s->untold = 0;
    return -error;
}

/* One that its peer has reset tells so, and may connect again. */
static int connect_live(struct sock *s, int fd, const struct sockaddr *to, socklen_t len) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    const int r = real.connect(fd, to, len) < 0 ? -errno : 0;
    if (r < 0 && r != -EISCONN && real.getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
        start_over(s);
    return r;
}

static int connect_again(struct sock *s, int fd, const struct sockaddr *to, socklen_t len, bool blocking) {
    if (s->state == LIFE_LIVE)
        return connect_live(s, fd, to, len);
    if (s->lived)
        return -EISCONN;
    const int r = blocking ? await(s) : -EALREADY;
    if (s->state == LIFE_DEAD)
        return tell_failure(s);
    return r == -EINPROGRESS ? -EALREADY : r; /* the time its program allows it was over */
}

static int connect_stream(struct sock *s, int fd, const struct sockaddr *to, socklen_t len,
                          const struct verdict *v) {
    const bool blocking = !(real.fcntl(fd, F_GETFL, NULL) & O_NONBLOCK);
    if (s->state == LIFE_DEAD && !s->lived)
        return tell_failure(s);
    if (s->state != LIFE_FRESH && s->state != LIFE_DEAD)
        return connect_again(s, fd, to, len, blocking);
    int r = begin(s, to, len, v);
    if (r < 0)
        return r;
    r = blocking ? await(s) : outcome(s);
    if (s->state == LIFE_DEAD)
        return tell_failure(s);
    if (r == 0 && blocking)
        real.connect(fd, to, len); /* the kernel, too, is told that the program has heard of it */
    return r;
}

/* ---- datagrams ---- */

/* Memberships and broadcasts belong to an interface. */
static bool to_many(const struct sock *s) {
    return options_find(&s->options, SOL_SOCKET, SO_BROADCAST) ||
           options_find(&s->options, IPPROTO_IP, IP_ADD_MEMBERSHIP) ||
           options_find(&s->options, IPPROTO_IP, MCAST_JOIN_GROUP) ||
           options_find(&s->options, IPPROTO_IPV6, IPV6_JOIN_GROUP) ||
           options_find(&s->options, IPPROTO_IPV6, MCAST_JOIN_GROUP);
}

/* Linux asks for no scope. */
static bool well_formed(const struct sock *s, const struct sockaddr *to, socklen_t len) {
    return len >= (to->sa_family == AF_INET6 ? offsetof(struct sockaddr_in6, sin6_scope_id)
                                             : sizeof(struct sockaddr_in)) &&
           len <= sizeof s->to;
}

/* Lock held: the way found for it before still stands. */
static bool same_way(const struct sock *s, const struct sockaddr *to, socklen_t len) {
    return atomic_load(&s->clear) && (!to || (!s->tolen && memcmp(&s->to, to, len) == 0));
}

/* Memberships and broadcasts are left alone, unless a rule with labels takes them in. */
static bool steers(const struct sock *s, const struct verdict *v) {
    return v->ours && (v->ruled || !to_many(s));
}

/* Lock held, dropped to judge. */
static int send_datagram(struct sock *s, int fd, const struct sockaddr *to, socklen_t len, int flags) {
    const bool blocking = !(flags & MSG_DONTWAIT) && !(real.fcntl(fd, F_GETFL, NULL) & O_NONBLOCK);
    struct sockaddr_storage peer = s->to;
    const socklen_t peerlen = s->tolen;
    const bool bound = s->bound;
    if ((!to && !peerlen) || (to && !well_formed(s, to, len)) || same_way(s, to, len))
        return 0;
    lock_drop();
    const int deaf = link_need();
    self_register();
    struct verdict v = judge(IPPROTO_UDP, to ? to : (struct sockaddr *)&peer, bound);
    const int r = admit(&v, deaf);
    lock_take();
    if (r < 0)
        return r;
    if (steers(s, &v))
        return datagram_steer(s, to ? to : (struct sockaddr *)&peer, to ? len : peerlen, v.labels, blocking);
    datagram_leave_alone(s);
    return 0;
}

/* What no label steers has no way for as long as the kernel has none. */
static bool is_nowhere(struct sock *s, const struct sockaddr *to) {
    struct sockaddr_storage peer = s->to;
    const bool bound = s->bound, known = to || s->tolen;
    atomic_store(&s->clear, false);
    lock_drop();
    to = to ? to : (struct sockaddr *)&peer;
    struct verdict v = {.ours = false};
    if (known)
        v = judge(IPPROTO_UDP, to, bound);
    const bool nowhere = v.ours && !v.labels && judge_nowhere(to);
    lock_take();
    return nowhere && steers(s, &v);
}

bool capture_unsent(int fd, const struct sockaddr *to, int error) {
    lock_take();
    struct sock *s = sock_find(fd);
    bool again = false;
    if (s && s->state == LIFE_FRESH) {
        sock_get(s);
        again = datagram_unreachable(s, error) || (!to && datagram_parted(s, error)) ||
                (error == ENETUNREACH && !s->net && is_nowhere(s, to));
        sock_put(s);
    }
    lock_drop();
    return again;
}

int capture_datagram(int fd, const struct sockaddr *to, socklen_t len, int flags) {
    lock_take();
    struct sock *s = sock_find(fd);
    int r = 0;
    if (s && s->state == LIFE_FRESH) {
        sock_get(s);
        r = send_datagram(s, fd, to, len, flags);
        sock_put(s);
    }
    lock_drop();
    return r;
}

/* It never waits: what cannot go now waits when it is sent. */
static int connect_datagram(struct sock *s, const struct sockaddr *to, socklen_t len,
                            const struct verdict *v) {
    if (steers(s, v) && to->sa_family != AF_UNSPEC && well_formed(s, to, len))
        return datagram_connect(s, to, len, v->labels);
    s->tolen = 0;
    datagram_leave_alone(s);
    return CAPTURE_PASS;
}

/* It is asked about what was begun before, wherever it leads. */
static bool begun(const struct sock *s) {
    return sock_stream(s) && s->state != LIFE_FRESH && (s->state != LIFE_DEAD || !s->lived);
}

/* The kernel refuses it without a network, too. */
static bool kernel_refuses(const struct sock *s, const struct sockaddr *to, socklen_t len) {
    return len < sizeof(sa_family_t) || len > sizeof s->to ||
           (sock_stream(s) && !begun(s) && to->sa_family != AF_UNSPEC &&
            (to->sa_family != s->family || !well_formed(s, to, len)));
}

static int let_go(struct sock *s, int fd, bool for_good) {
    lock_take();
    const bool there = sock_find(fd) == s;
    const int r = there && s->state != LIFE_FRESH ? start_over(s) : 0;
    lock_drop();
    if (there && r == 0 && for_good)
        socket_let_alone(fd);
    return r < 0 ? r : CAPTURE_PASS;
}

/* Whether it is ours: 0, CAPTURE_PASS or -errno. It may be closed meanwhile, and the number used again. */
static int judge_connect(struct sock *s, int fd, const struct sockaddr *to, socklen_t len,
                         struct verdict *ret) {
    const bool stream = sock_stream(s);
    if (kernel_refuses(s, to, len))
        return CAPTURE_PASS;
    if (to->sa_family == AF_UNSPEC && stream)
        return let_go(s, fd, false);
    int r = link_need();
    *ret = (struct verdict){.ours = true};
    if (!begun(s)) {
        *ret = judge(stream ? IPPROTO_TCP : IPPROTO_UDP, to, s->bound);
        r = admit(ret, r);
    }
    return !ret->ours && stream ? let_go(s, fd, true) : r;
}

static struct sock *hold(int fd) {
    lock_take();
    struct sock *s = sock_find(fd);
    if (s)
        sock_get(s);
    lock_drop();
    return s;
}

int capture_connect(int fd, const struct sockaddr *to, socklen_t len) {
    struct verdict v;
    struct sock *s = hold(fd);
    if (!s)
        return CAPTURE_PASS;
    int r;
    pthread_cleanup_push(call_let_go, s);
    r = judge_connect(s, fd, to, len, &v);
    pthread_cleanup_pop(0);
    lock_take();
    if (r == 0 && s->state == LIFE_CLOSED)
        r = -EBADF;
    if (r == 0)
        r = sock_stream(s) ? connect_stream(s, fd, to, len, &v) : connect_datagram(s, to, len, &v);
    sock_put(s);
    lock_drop();
    return r;
}

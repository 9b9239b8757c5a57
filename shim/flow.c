/* flow - one I/O call on a managed socket.
 * Each call is a loop: look at the socket with the lock held, do the one thing its state allows, and look
 * again when that was overtaken. Real calls are made without the lock, marked in self.in_call so that a swap
 * can wait for them. Whoever waits here runs the reconnect handlers that fall due. Deliberately absent: the
 * direct way of the hot path, which is inline in flow.h. */
#include "flow.h"
#include "leave.h"
#include "link.h"
#include "reconnect.h"
#include "run.h"
#include "stream.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { AGAIN = -6000 }; /* overtaken: look again */

/* ---- waiting ---- */

static void given_up(void *context) {
    struct sock *s = context;
    lock_take();
    run_schedule(s);
    sock_put(s);
    lock_drop();
}

static uint64_t patience_ends(const struct sock *s) {
    if (s->patient)
        return 0;
    return wait_now_ms() + (uint64_t)s->patience.tv_sec * 1000 +
           ((uint64_t)s->patience.tv_nsec + 999999) / 1000000;
}

/* When the program's own SO_RCVTIMEO or SO_SNDTIMEO ends a wait that begins now: ms, or 0. */
static uint64_t limit_of(const struct sock *s, int name) {
    const struct option *o = options_find(&s->options, SOL_SOCKET, name);
    struct timeval t;
    if (!o || o->len != sizeof t)
        return 0;
    memcpy(&t, o->value, sizeof t);
    const uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)(t.tv_usec + 999) / 1000;
    return ms ? wait_now_ms() + ms : 0;
}

static int wait_limited(struct sock *s, uint64_t labels, bool network, uint64_t *deadline, uint64_t limit) {
    if (run_handler(s))
        return s->state == LIFE_CLOSED ? -ECANCELED : 0;
    if (network && !*deadline)
        *deadline = patience_ends(s);
    const bool limited = limit && (!network || !*deadline || limit < *deadline);
    struct waiter w = {.deadline_ms = limited   ? limit
                                      : network ? *deadline
                                                : 0,
                       .labels = labels,
                       .since_ms = wait_wall_ms(),
                       .network = network,
                       .helps = true,
                       .abandon = given_up,
                       .context = s};
    if (w.deadline_ms)
        link_kick();
    link_report();
    int r = wait_on(&s->waiters, &w);
    if (s->state == LIFE_CLOSED)
        return -ECANCELED;
    if (r < 0)
        run_schedule(s); /* a handler that was left to this waiter falls to somebody else */
    return r == -ETIMEDOUT && limited ? -EAGAIN : r;
}

int flow_wait(struct sock *s, uint64_t labels, bool network, uint64_t *deadline) {
    return wait_limited(s, labels, network, deadline, 0);
}

static bool nonblocking(int fd, int flags) {
    return (flags & MSG_DONTWAIT) || (real.fcntl(fd, F_GETFL, NULL) & O_NONBLOCK);
}

/* ---- a real call, without the lock ---- */

struct real_call {
    struct sock *s;
    const void *before;
};

static void call_over(void *arg) {
    struct real_call *c = arg;
    flow_leave(c->before);
    lock_take();
}

static void call_cancelled(void *arg) {
    struct real_call *c = arg;
    call_over(c);
    sock_put(c->s);
    lock_drop();
}

/* A description that another process shares can be neither shut down nor aborted to wake us: wait by poll,
 * which a swap wakes. */
static int wait_ready(int fd, short events, uint64_t limit) {
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = self_wake_fd(), .events = POLLIN}};
    const uint64_t now = limit ? wait_now_ms() : 0;
    int r = real.poll(fds, 2, !limit ? -1 : limit <= now ? 0 : (int)(limit - now));
    if (r > 0 && fds[1].revents)
        self_wake_drain();
    return r < 0 ? -errno : r == 0 ? -EAGAIN : 0;
}

typedef ssize_t real_msg(int fd, void *msg, int flags);

static ssize_t real_send(int fd, void *msg, int flags) {
    return real.sendmsg(fd, msg, flags | MSG_NOSIGNAL);
}

static ssize_t real_recv(int fd, void *msg, int flags) {
    return real.recvmsg(fd, msg, flags);
}

/* Lock held, dropped meanwhile. A count, -errno or AGAIN. limit: when the program's own timeout ends it. */
static ssize_t issue(struct sock *s, int fd, real_msg *call, void *msg, int flags, bool blocking,
                     uint64_t limit) {
    const uint32_t swaps = atomic_load(&s->swaps);
    const bool by_poll = s->shared && blocking;
    struct real_call c = {.s = s};
    volatile ssize_t r = AGAIN;
    self_register();
    lock_drop();
    pthread_cleanup_push(call_cancelled, &c);
    c.before = flow_enter(s);
    if (atomic_load(&s->swaps) == swaps) {
        r = call(fd, msg, flags | (by_poll ? MSG_DONTWAIT : 0));
        r = r < 0 ? -errno : r;
    }
    if (by_poll && r == -EAGAIN) {
        r = wait_ready(fd, call == real_send ? POLLOUT : POLLIN, limit);
        r = r < 0 ? r : AGAIN;
    }
    pthread_cleanup_pop(0);
    call_over(&c);
    if (s->state == LIFE_CLOSED && r < 0)
        return -ECANCELED;
    const bool overtaken = atomic_load(&s->swaps) != swaps;
    if (overtaken && (r < 0 || (r == 0 && call == real_recv)) && r != -EINTR && r != -EFAULT)
        return AGAIN;
    return r;
}

static bool ends_connection(int error) {
    return error == EPIPE || error == ECONNRESET || error == ECONNABORTED || error == ETIMEDOUT ||
           error == ECONNREFUSED || error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN ||
           error == ENOTCONN;
}

/* What the real call's error means for the socket. -errno to return, or AGAIN. */
static ssize_t judge(struct sock *s, int error) {
    if (s->state != LIFE_LIVE || !ends_connection(error))
        return -error;
    if (s->kind == SOCK_CAPTURED && sock_stream(s) && stream_aborted(s->fds[0])) {
        s->cut = true;
        reconnect_dead(s, ECONNRESET);
        return -ECONNRESET;
    }
    if (error == EPIPE && s->sealed)
        return -error;
    if (reconnect_unreachable(s, error))
        return AGAIN;
    if (sock_stream(s) && s->kind == SOCK_LABELED)
        reconnect_dead(s, error); /* of a captured one the kernel tells the rest itself */
    return -error;
}

/* A captured socket that failed by itself: the kernel goes on telling. */
static bool kernels_own(const struct sock *s) {
    return s->kind == SOCK_CAPTURED && s->state == LIFE_DEAD && !s->cut;
}

/* ---- send ---- */

static ssize_t real_wait_out(int fd, void *msg, int flags) {
    (void)msg;
    (void)flags;
    int r = wait_ready(fd, POLLOUT, 0);
    errno = r < 0 ? -r : 0;
    return r < 0 ? -1 : 0;
}

/* The last kept send ends where the kernel stopped taking it. */
static ssize_t cut_short(struct sock *s, size_t total, int error) {
    const size_t taken = total - s->unsent;
    stash_cut(&s->sent, s->unsent);
    s->unsent = 0;
    wait_wake(&s->waiters);
    return taken ? (ssize_t)taken : -error;
}

/* With replay on the library keeps what the peer has not acknowledged: sends are made one at a time, in the
 * order they are kept. One that the network's loss cuts short goes out again whole: for its caller it is
 * done. */
static ssize_t send_kept(struct sock *s, int fd, const struct flow_send *c, bool blocking) {
    const uint32_t swaps = atomic_load(&s->swaps);
    uint64_t none = 0;
    if (s->unsent) {
        ssize_t turn = blocking ? wait_limited(s, 0, false, &none, c->limit) : -EAGAIN;
        return turn < 0 ? turn : AGAIN;
    }
    stash_trim(&s->sent, stream_unacked(fd, false));
    ssize_t total = stash_push_iov(&s->sent, c->msg->msg_iov, (int)c->msg->msg_iovlen);
    if (total <= 0)
        return total;
    for (s->unsent = (size_t)total; s->unsent;) {
        const unsigned char *rest = s->sent.last->bytes + (size_t)total - s->unsent;
        ssize_t n = real.send(fd, rest, s->unsent, (c->flags & ~MSG_WAITALL) | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            s->unsent -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN || !blocking)
            return cut_short(s, (size_t)total, errno);
        n = issue(s, fd, real_wait_out, NULL, 0, false, 0);
        if (atomic_load(&s->swaps) != swaps)
            return s->state == LIFE_CLOSED ? -ECANCELED : total;
        if (n < 0 && n != AGAIN)
            return cut_short(s, (size_t)total, (int)-n);
    }
    wait_wake(&s->waiters);
    return total;
}

static ssize_t send_now(struct sock *s, int fd, const struct flow_send *c, uint64_t labels) {
    const bool blocking = (s->replay || s->shared) && !nonblocking(fd, c->flags);
    ssize_t r;
    if (s->replay && sock_stream(s))
        r = send_kept(s, fd, c, blocking);
    else
        r = issue(s, fd, real_send, (void *)c->msg, c->flags, blocking, c->limit);
    if (r < 0)
        return r == AGAIN ? AGAIN : judge(s, (int)-r);
    atomic_store(&s->labels, labels);
    if (s->state == LIFE_LIVE && !s->replay && !s->shared && !s->sealed && !s->thunks.count &&
        !s->user_depth && reconnect_here(s, labels))
        atomic_store(&s->clear, atomic_load(&shim.generation));
    return r;
}

static int defer(struct sock *s, const struct flow_send *c, uint64_t labels) {
    struct frame *f = run_inside(s) ? self_frame(s) : NULL;
    struct thunk_front front = {f ? f->front : 0};
    int r = f ? thunk_push_front(&s->thunks, &front, labels, c->handler, c->arg)
              : thunk_push(&s->thunks, labels, c->handler, c->arg);
    if (r < 0)
        return r;
    if (f)
        f->front = front.turn;
    if (s->thunks.count == 1)
        s->waiting_since = wait_wall_ms();
    atomic_store(&s->clear, 0);
    run_schedule(s);
    link_report();
    return FLOW_DEFERRED;
}

/* A connection for labels is being made. */
static bool under_way(const struct sock *s, uint64_t labels) {
    if (s->state == LIFE_MOVING)
        return s->want == labels;
    if (!life_attempting(s->state))
        return false;
    const struct wire_network *n = s->net ? net_find(&shim.nets, s->net) : NULL;
    return !labels || s->on_labels == labels || (n && reconnect_suits(s, n, labels));
}

/* Thunks of another label set can run where the socket is: they come before it moves. */
static bool busy_here(struct sock *s) {
    const struct thunk_set *set = s->state == LIFE_LIVE ? reconnect_next_set(s) : NULL;
    return set && reconnect_here(s, set->labels);
}

/* Not connected on a matching network. A count or outcome, -errno, or AGAIN; *moved: this call began the
 * reconnect. */
static ssize_t elsewhere(struct sock *s, int fd, const struct flow_send *c, uint64_t labels, bool *moved,
                         uint64_t *deadline) {
    const struct wire_network *n;
    const bool coming = under_way(s, labels);
    const bool inside = run_inside(s);
    const bool others = s->user_depth && !pthread_equal(s->user, pthread_self());
    int pick = reconnect_pick(s, labels, &n);
    if (pick < 0)
        return pick;
    if (c->handler && ((!pick && !coming) || inside || others))
        return defer(s, c, labels);
    const bool blocking = !nonblocking(fd, c->flags);
    if (!blocking && c->handler) {
        ssize_t r = defer(s, c, labels);
        reconnect_consider(s);
        return r;
    }
    if (!blocking) {
        if (pick && !others && !inside)
            reconnect_for(s, labels);
        return reconnect_here(s, labels) ? AGAIN : -EAGAIN;
    }
    const bool busy = !inside && busy_here(s);
    if (busy && shim.manual && run_thunk(s))
        return AGAIN;
    if (pick && !coming && !others && !busy && (s->state == LIFE_LIVE || s->state == LIFE_WAITING)) {
        *moved = true;
        self.helping = s;
        reconnect_for(s, labels);
        self.helping = NULL;
        return AGAIN;
    }
    int r = wait_limited(s, labels, !pick && !coming, deadline, c->limit);
    return r < 0 ? r : AGAIN;
}

static ssize_t wait_turn(struct sock *s, int fd, const struct flow_send *c, uint64_t labels,
                         uint64_t *deadline) {
    const struct wire_network *n;
    if (c->handler)
        return defer(s, c, labels);
    if (nonblocking(fd, c->flags))
        return -EAGAIN;
    if (shim.manual && run_thunk(s))
        return AGAIN;
    int r = wait_limited(s, labels, reconnect_pick(s, labels, &n) == 0, deadline, c->limit);
    return r < 0 ? r : AGAIN;
}

static size_t length(const struct msghdr *msg) {
    size_t len = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        len += msg->msg_iov[i].iov_len;
    return len;
}

/* A blocking call that the network's loss cut short is made again as a whole, or by its thunk; one that a
 * leaving cut short has done what it told: the rest is the caller's. */
static bool cut_by_loss(const struct sock *s, int fd, const struct flow_send *c, size_t taken,
                        uint32_t swaps) {
    return s->kind == SOCK_LABELED && (int32_t)(s->lost_at - swaps) > 0 && taken < length(c->msg) &&
           !nonblocking(fd, c->flags);
}

static ssize_t send_dead(int fd, const struct flow_send *c) {
    ssize_t r = real.sendmsg(fd, c->msg, c->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    return r < 0 ? -errno : r;
}

static ssize_t send_loop(struct sock *s, int fd, const struct flow_send *c, bool moved) {
    const uint64_t labels = c->labeled ? c->labels : atomic_load(&s->labels);
    uint64_t deadline = 0;
    for (ssize_t r = AGAIN;;) {
        const uint32_t swaps = atomic_load(&s->swaps);
        const int number = flow_number(s, fd);
        if (number != fd)
            return issue(s, number, real_send, (void *)c->msg, c->flags, false, 0);
        if (s->state == LIFE_FRESH)
            return -ENOTCONN;
        if (run_must_queue(s, labels))
            r = wait_turn(s, fd, c, labels, &deadline);
        else if (s->state == LIFE_DEAD)
            return kernels_own(s) ? send_dead(fd, c) : -s->error;
        else if (!reconnect_here(s, labels))
            r = elsewhere(s, fd, c, labels, &moved, &deadline);
        else if (moved && c->handler && s->user_depth && !pthread_equal(s->user, pthread_self()))
            return defer(s, c, labels); /* in between another thread began a thunk here: one at a time */
        else if (moved && c->handler) {
            run_now(s, labels, c->handler, c->arg);
            return FLOW_EXECUTED;
        } else
            r = send_now(s, fd, c, labels);
        if ((r == AGAIN || r > 0) && cut_by_loss(s, fd, c, r > 0 ? (size_t)r : 0, swaps)) {
            moved = true;
            r = AGAIN;
        }
        if (r != AGAIN)
            return r;
        if (s->state == LIFE_CLOSED)
            return -ECANCELED;
    }
}

/* The program asked for the whole, and the connection was replaced under it: as on one that is slow, it sees
 * time pass. */
static bool goes_on(const struct sock *s, int fd, const struct flow_send *c, ssize_t sent, uint32_t swaps) {
    return s->kind == SOCK_CAPTURED && sock_stream(s) && sent > 0 && (size_t)sent < length(c->msg) &&
           atomic_load(&s->swaps) != swaps && s->state != LIFE_DEAD && s->state != LIFE_CLOSED &&
           !nonblocking(fd, c->flags);
}

/* What the connections so far have not taken, piece by piece. What was sent, if nothing more can be. */
static ssize_t send_rest(struct sock *s, int fd, const struct flow_send *c, size_t sent) {
    size_t skip = sent;
    for (size_t i = 0; i < c->msg->msg_iovlen; i++) {
        struct iovec piece = c->msg->msg_iov[i];
        const size_t before = skip < piece.iov_len ? skip : piece.iov_len;
        piece.iov_base = (char *)piece.iov_base + before;
        piece.iov_len -= before;
        skip -= before;
        while (piece.iov_len) {
            const struct msghdr msg = {.msg_iov = &piece, .msg_iovlen = 1};
            const struct flow_send rest = {.msg = &msg, .flags = c->flags, .limit = c->limit};
            const uint32_t swaps = atomic_load(&s->swaps);
            ssize_t n = send_loop(s, fd, &rest, false);
            sent += n > 0 ? (size_t)n : 0;
            if (n <= 0 || ((size_t)n < piece.iov_len && !goes_on(s, fd, &rest, n, swaps)))
                return (ssize_t)sent;
            piece.iov_base = (char *)piece.iov_base + n;
            piece.iov_len -= (size_t)n;
        }
    }
    return (ssize_t)sent;
}

/* Lock held. */
static ssize_t send_locked(struct sock *s, int fd, const struct flow_send *c) {
    const bool cut = cut_by_loss(s, fd, c, c->taken, c->swaps);
    const uint32_t swaps = c->taken ? c->swaps : atomic_load(&s->swaps);
    ssize_t r = AGAIN;
    if (s->kind == SOCK_LABELED && (c->flags & (MSG_OOB | MSG_ZEROCOPY)))
        return -EOPNOTSUPP;
    if (c->failed && atomic_load(&s->swaps) == c->swaps)
        r = judge(s, c->failed);
    else if (c->taken && !cut)
        r = (ssize_t)c->taken;
    if (r == AGAIN)
        r = send_loop(s, fd, c, cut && (c->failed || c->taken));
    return goes_on(s, fd, c, r, swaps) ? send_rest(s, fd, c, (size_t)r) : r;
}

ssize_t flow_send(int fd, const struct flow_send *call) {
    struct flow_send c = *call;
    link_resume();
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s) {
        lock_drop();
        return -EBADF;
    }
    sock_get(s);
    c.limit = limit_of(s, SO_SNDTIMEO);
    ssize_t r = send_locked(s, fd, &c);
    sock_put(s);
    lock_drop();
    return r;
}

/* ---- receive ---- */

static ssize_t take_kept(struct sock *s, struct msghdr *msg, int flags) {
    size_t full;
    size_t n =
        stash_take(&s->unread, msg->msg_iov, (int)msg->msg_iovlen, sock_stream(s), flags & MSG_PEEK, &full);
    msg->msg_flags = full > n && !sock_stream(s) ? MSG_TRUNC : 0;
    msg->msg_controllen = 0;
    if (msg->msg_name && !sock_stream(s)) {
        socklen_t room = msg->msg_namelen;
        memcpy(msg->msg_name, &s->to, room < s->tolen ? room : s->tolen);
        msg->msg_namelen = s->tolen;
    } else {
        msg->msg_namelen = 0;
    }
    swap_review(s);
    return (ssize_t)(flags & MSG_TRUNC ? full : n);
}

/* What is left of a connection that failed is still read; then its error stands, but for an end of file that
 * is the peer's. */
static ssize_t recv_dead(struct sock *s, int fd, struct msghdr *msg, int flags) {
    ssize_t r = real.recvmsg(fd, msg, flags | MSG_DONTWAIT);
    if (kernels_own(s))
        return r < 0 ? -errno : r;
    if (s->due)
        leave_cut_off(s, wait_now_ms());
    if (r > 0 || (r == 0 && (!sock_stream(s) || stream_finished(fd))))
        return r;
    s->untold = 0;
    return s->error == EPIPE ? -ECONNRESET : -s->error;
}

static ssize_t recv_loop(struct sock *s, int fd, struct msghdr *msg, int flags) {
    const struct msghdr asked = *msg;
    const uint64_t limit = limit_of(s, SO_RCVTIMEO);
    uint64_t deadline = 0;
    for (;;) {
        const int number = flow_number(s, fd);
        ssize_t r = AGAIN;
        *msg = asked;
        if (number != fd)
            return issue(s, number, real_recv, msg, flags, false, 0);
        const bool blocking = !nonblocking(fd, flags), waited = s->state != LIFE_LIVE;
        if (s->state == LIFE_FRESH)
            return -ENOTCONN;
        if (s->unread.first && !(flags & (MSG_OOB | MSG_ERRQUEUE)))
            return take_kept(s, msg, flags);
        if (s->state == LIFE_DEAD)
            return recv_dead(s, fd, msg, flags);
        if (s->state == LIFE_LIVE) {
            r = issue(s, fd, real_recv, msg, flags, blocking, limit);
            r = r < 0 && r != AGAIN ? judge(s, (int)-r) : r;
        } else
            r = blocking
                    ? wait_limited(s, atomic_load(&s->labels), s->state == LIFE_WAITING, &deadline, limit)
                    : -EAGAIN;
        if (s->state == LIFE_CLOSED && r <= 0)
            return -ECANCELED;
        if (r != AGAIN && !(r == 0 && waited))
            return r;
    }
}

ssize_t flow_recv(int fd, struct msghdr *msg, int flags, int failed, uint32_t swaps) {
    ssize_t r = AGAIN;
    link_resume();
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s) {
        lock_drop();
        return -EBADF;
    }
    sock_get(s);
    if (failed && atomic_load(&s->swaps) == swaps)
        r = judge(s, failed);
    if (r == AGAIN)
        r = recv_loop(s, fd, msg, flags);
    sock_put(s);
    lock_drop();
    return r;
}

/* ---- connect ---- */

/* The network went while the handshake was waited for: that is no failure, the connection is made when one
 * comes. */
static int await_connection(struct sock *s, uint64_t labels) {
    uint64_t deadline = 0;
    while (life_attempting(s->state)) {
        int r = flow_wait(s, labels, false, &deadline);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check_address(const struct sock *s, const struct sockaddr *to, socklen_t len) {
    const size_t whole = s->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (len < sizeof to->sa_family || len > sizeof s->to)
        return -EINVAL;
    if (to->sa_family != s->family)
        return -EAFNOSUPPORT;
    return len < whole ? -EINVAL : 0;
}

static int connect_locked(struct sock *s, int fd, const struct sockaddr *to, socklen_t tolen) {
    const struct wire_network *n;
    const uint64_t labels = atomic_load(&s->labels);
    sock_turn(s, LIFE_CONNECT);
    memcpy(&s->to, to, tolen);
    s->tolen = tolen;
    int r = reconnect_pick(s, labels, &n);
    if (r < 0) {
        sock_turn(s, LIFE_RESET);
        s->tolen = 0;
        return r;
    }
    const bool blocking = !nonblocking(fd, 0);
    self.helping = blocking ? s : NULL;
    reconnect_consider(s);
    self.helping = NULL;
    if (blocking)
        r = await_connection(s, labels);
    if (r < 0)
        return r;
    if (s->state == LIFE_DEAD)
        return -s->error;
    return s->state == LIFE_LIVE ? 0 : FLOW_DEFERRED;
}

int flow_connect(int fd, const struct sockaddr *to, socklen_t tolen, uint64_t labels, sock_handler pre,
                 sock_handler post, void *arg) {
    int r;
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s || s->kind != SOCK_LABELED) {
        lock_drop();
        return -EBADF;
    }
    sock_get(s);
    r = check_address(s, to, tolen);
    if (s->state != LIFE_FRESH) {
        r = -EISCONN;
    } else if (r == 0) {
        s->pre = pre;
        s->post = post;
        s->arg = arg;
        atomic_store(&s->labels, labels);
        r = connect_locked(s, fd, to, tolen);
    }
    sock_put(s);
    lock_drop();
    return r;
}

int flow_check(int fd, uint64_t labels, void (*handler)(void *), void *arg) {
    const struct wire_network *n;
    const struct flow_send c = {.handler = handler, .arg = arg};
    int r = 0;
    link_resume();
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s || s->kind != SOCK_LABELED) {
        r = -EBADF;
    } else if (s->state == LIFE_FRESH) {
        r = -ENOTCONN;
    } else if (run_must_queue(s, labels) || !reconnect_here(s, labels)) {
        int pick = reconnect_pick(s, labels, &n);
        if (pick < 0)
            r = pick;
        else if (pick == 0 || run_must_queue(s, labels))
            r = handler ? defer(s, &c, labels) : FLOW_DEFERRED;
    }
    lock_drop();
    return r;
}

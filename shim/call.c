/* call - what the calls on managed sockets have in common.
 * A real call is made without the lock, marked in self.in_call so that a swap can wait for it, and what it
 * says is judged with the lock held again. Whoever waits here runs the reconnect handlers that fall due.
 * Deliberately absent: which call to make, and when. */
#include "call.h"
#include "link.h"
#include "reconnect.h"
#include "run.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

static void given_up(void *context) {
    struct sock *s = context;
    lock_take();
    run_schedule(s);
    sock_put(s);
    lock_drop();
}

static uint64_t patience_ends(const struct sock *s) {
    return s->patient ? 0 : wait_end(&s->patience);
}

/* When the program's own SO_RCVTIMEO or SO_SNDTIMEO ends a wait that begins now: ms, or 0. */
uint64_t call_limit(const struct sock *s, int name) {
    const struct option *o = options_find(&s->options, SOL_SOCKET, name);
    struct timeval t;
    if (!o || o->len != sizeof t)
        return 0;
    memcpy(&t, o->value, sizeof t);
    return t.tv_sec || t.tv_usec ? wait_end(&(struct timespec){t.tv_sec, t.tv_usec * 1000}) : 0;
}

int call_wait(struct sock *s, uint64_t labels, bool network, uint64_t *deadline, uint64_t limit) {
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
    const uint64_t began = !network && *deadline ? wait_now_ms() : 0;
    if (w.deadline_ms)
        link_kick();
    link_report();
    int r = wait_on(&s->waiters, &w);
    if (began)
        *deadline += wait_now_ms() - began; /* patience is for networks */
    if (s->state == LIFE_CLOSED)
        return -ECANCELED;
    if (r < 0)
        run_schedule(s); /* a handler that was left to this waiter falls to somebody else */
    else if (run_handler(s) && s->state == LIFE_CLOSED) /* ... is run, whatever else this waiter finds */
        return -ECANCELED;
    return r == -ETIMEDOUT && limited ? -EAGAIN : r;
}

int flow_wait(struct sock *s, uint64_t labels, bool network, uint64_t *deadline) {
    return call_wait(s, labels, network, deadline, 0);
}

bool call_is_nonblocking(int fd, int flags) {
    return (flags & MSG_DONTWAIT) || (real.fcntl(fd, F_GETFL, NULL) & O_NONBLOCK);
}

/* ---- a real call, without the lock ---- */

struct real_call {
    struct sock *s;
    const void *before;
};

/* As flow_enter, also inside a signal handler that has interrupted such a call. */
static void call_begins(struct real_call *c) {
    c->before = self.in_call;
    __atomic_store_n(&self.in_call, c->s, __ATOMIC_SEQ_CST);
}

static void call_over(void *arg) {
    struct real_call *c = arg;
    __atomic_store_n(&self.in_call, c->before, __ATOMIC_RELEASE);
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
int call_wait_ready(int fd, short events, uint64_t limit) {
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = self_wake_fd(), .events = POLLIN}};
    const uint64_t now = limit ? wait_now_ms() : 0;
    const int timeout = !limit ? -1 : limit <= now ? 0 : (int)(limit - now);
    int r = real.poll(fds, 2, timeout);
    if (r < 0 && errno == EINVAL)
        r = real.poll(fds, 1, timeout); /* no more descriptors are allowed */
    if (r > 0 && fds[1].revents)
        self_wake_drain();
    return r < 0 ? -errno : r == 0 ? -EAGAIN : 0;
}

ssize_t call_send(int fd, void *msg, int flags) {
    return real.sendmsg(fd, msg, flags | MSG_NOSIGNAL);
}

ssize_t call_recv(int fd, void *msg, int flags) {
    return real.recvmsg(fd, msg, flags);
}

ssize_t call_closed(const struct sock *s, ssize_t r) {
    return r > 0 || (s->kind == SOCK_CAPTURED && r != CALL_AGAIN) ? r : -ECANCELED;
}

/* Lock held, dropped meanwhile. A count, -errno or CALL_AGAIN. limit: when the program's own timeout ends it.
 */
ssize_t call_issue(struct sock *s, int fd, call_function *call, void *msg, int flags, bool blocking,
                   uint64_t limit) {
    const uint32_t swaps = atomic_load(&s->swaps);
    const bool by_poll = s->shared && blocking;
    struct real_call c = {.s = s};
    volatile ssize_t r = CALL_AGAIN;
    self_register();
    lock_drop();
    pthread_cleanup_push(call_cancelled, &c);
    call_begins(&c);
    if (atomic_load(&s->swaps) == swaps) {
        r = call(fd, msg, flags | (by_poll ? MSG_DONTWAIT : 0));
        r = r < 0 ? -errno : r;
    }
    if (by_poll && r == -EAGAIN) {
        r = call_wait_ready(fd, call == call_send ? POLLOUT : POLLIN, limit);
        r = r < 0 ? r : CALL_AGAIN;
    }
    pthread_cleanup_pop(0);
    call_over(&c);
    if (s->state == LIFE_CLOSED)
        return call_closed(s, r);
    const bool overtaken = atomic_load(&s->swaps) != swaps;
    if (overtaken && (r < 0 || (r == 0 && call == call_recv)) && r != -EINTR && r != -EFAULT)
        return CALL_AGAIN;
    return r;
}

static bool ends_connection(int error) {
    return error == EPIPE || error == ECONNRESET || error == ECONNABORTED || error == ETIMEDOUT ||
           error == ECONNREFUSED || error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN ||
           error == ENOTCONN;
}

/* What the real call's error means for the socket. -errno to return, or CALL_AGAIN. */
ssize_t call_judge(struct sock *s, int error) {
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
        return CALL_AGAIN;
    if (sock_stream(s) && s->kind == SOCK_LABELED)
        reconnect_dead(s, error); /* of a captured one the kernel tells the rest itself */
    return -error;
}

int call_told(struct sock *s) {
    const int error = s->untold;
    s->untold = 0;
    return -error;
}

/* A captured socket that failed by itself: the kernel goes on telling. */
bool call_kernels_own(const struct sock *s) {
    return s->kind == SOCK_CAPTURED && s->state == LIFE_DEAD && !s->cut;
}

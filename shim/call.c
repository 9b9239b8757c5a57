/* call - what the calls on managed sockets have in common.
 * A real call is made without the lock, marked in self.in_call so that a swap can wait for it, and what it
 * says is judged with the lock held again. Whoever waits here runs the reconnect handlers that fall due.
 * Deliberately absent: which call to make, and when. */
#include "call.h"
#include "link.h"
#include "reconnect.h"
#include "run.h"
#include "stream.h"
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>

struct sock *call_enter(int fd) {
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s)
        lock_drop();
    return s;
}

struct sock *call_enter_labeled(int fd) {
    struct sock *s = call_enter(fd);
    if (!s || s->kind == SOCK_LABELED)
        return s;
    lock_drop();
    return NULL;
}

void call_let_go(void *record) {
    lock_take();
    sock_put(record);
    lock_drop();
}

static void given_up(void *context) {
    struct sock *s = context;
    run_schedule(s);
    sock_put(s);
}

static uint64_t patience_ends(const struct sock *s) {
    return s->patient ? 0 : wait_end(&s->patience);
}

uint64_t call_limit(const struct sock *s, int name, uint64_t began) {
    const uint64_t timeout = options_timeout(&s->options, name);
    return timeout ? timeout + (began ? began : wait_now_ms() + 1) : 0;
}

int call_wait(struct sock *s, uint64_t labels, bool network, uint64_t *deadline, uint64_t limit) {
    if (s->state == LIFE_CLOSED)
        return -ECANCELED; /* while the lock was dropped: nobody would wake it any more */
    if (run_handler(s))
        return s->state == LIFE_CLOSED ? -ECANCELED : 0;
    if (network && !*deadline)
        *deadline = patience_ends(s);
    const bool limited = limit && (!network || !*deadline || limit < *deadline);
    const struct wait w = {.deadline_ms = limited   ? limit
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
    talk_report();
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

bool call_is_nonblocking(int fd, int flags) {
    return (flags & MSG_DONTWAIT) || (real.fcntl(fd, F_GETFL, NULL) & O_NONBLOCK);
}

/* ---- a real call, without the lock ---- */

struct real_call {
    struct sock *s;
    const void *before;
    bool polled;
};

/* As flow_enter, also inside a signal handler that has interrupted such a call. */
static void call_begins(struct real_call *c, bool by_poll) {
    c->before = self.in_call;
    c->polled = atomic_exchange(&self.in_poll, by_poll);
    self.roused = false;
    __atomic_store_n(&self.in_call, c->s, __ATOMIC_SEQ_CST);
}

static void call_over(void *arg) {
    struct real_call *c = arg;
    __atomic_store_n(&self.in_call, c->before, __ATOMIC_RELEASE);
    atomic_store(&self.in_poll, c->polled);
    lock_take();
}

static void call_cancelled(void *arg) {
    struct real_call *c = arg;
    call_over(c);
    sock_put(c->s);
    lock_drop();
}

/* A swap wakes it. */
int call_wait_ready(int fd, short events, uint64_t limit) {
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = self_wake_fd(), .events = POLLIN}};
    const uint64_t now = limit ? wait_now_ms() : 0;
    const int timeout = !limit ? -1 : limit <= now ? 0 : limit - now > INT_MAX ? INT_MAX : (int)(limit - now);
    int r = real.poll(fds, 2, timeout);
    if (r < 0 && errno == EINVAL)
        r = real.poll(fds, 1, timeout); /* no more descriptors are allowed */
    if (r > 0 && fds[1].revents)
        self_wake_drain();
    return r < 0 ? -errno : r == 0 ? -EAGAIN : fds[0].revents;
}

ssize_t call_send(int fd, void *msg, int flags) {
    return real.sendmsg(fd, msg, flags | MSG_NOSIGNAL);
}

ssize_t call_recv(int fd, void *msg, int flags) {
    return real.recvmsg(fd, msg, flags);
}

size_t call_length(const struct msghdr *msg) {
    size_t len = 0;
    for (size_t i = 0; i < msg->msg_iovlen; i++)
        len += msg->msg_iov[i].iov_len;
    return len;
}

struct iovec call_rest(const struct msghdr *msg, size_t done) {
    for (size_t i = 0; i < msg->msg_iovlen; i++) {
        const struct iovec piece = msg->msg_iov[i];
        if (done < piece.iov_len)
            return (struct iovec){(char *)piece.iov_base + done, piece.iov_len - done};
        done -= piece.iov_len;
    }
    return (struct iovec){0};
}

/* A blocking call, made of some that do not block and of polls in between. */
struct pieces {
    const struct sock *s;
    uint32_t swaps;
    int fd;
    call_function *call;
    struct msghdr *msg;
    int flags;
    uint64_t limit;
    bool low; /* there is an SO_RCVLOWAT, which only a poll waits for */
};

/* How much has to be done before it is back. */
static size_t wanted(const struct pieces *p) {
    if (!sock_stream(p->s) || p->flags & MSG_PEEK || (p->call == call_recv && !(p->flags & MSG_WAITALL)))
        return 0;
    return call_length(p->msg);
}

static ssize_t one_piece(const struct pieces *p, size_t done) {
    struct iovec piece;
    struct msghdr rest = {.msg_iov = &piece, .msg_iovlen = 1};
    if (done)
        piece = call_rest(p->msg, done);
    const ssize_t r = p->call(p->fd, done ? &rest : p->msg, p->flags | MSG_DONTWAIT);
    return r < 0 ? -errno : r;
}

/* Any handler ends a poll, but a receive or a send, unless it has a time, only one without SA_RESTART. Which
 * it was nobody tells. */
static bool all_restart(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    for (int i = 1; i <= SIGRTMAX; i++) {
        struct sigaction now;
        bool fault = false;
        for (size_t j = 0; j < sizeof faults / sizeof *faults; j++)
            fault |= i == faults[j];
        if (!fault && sigaction(i, NULL, &now) == 0 && now.sa_handler != SIG_DFL &&
            now.sa_handler != SIG_IGN && !(now.sa_flags & SA_RESTART))
            return false;
    }
    return true;
}

static int wait_for(const struct pieces *p) {
    int r;
    do
        r = call_wait_ready(p->fd, p->call == call_send ? POLLOUT : POLLIN, p->limit);
    while (r == -EINTR && !p->limit && all_restart());
    return r;
}

static ssize_t by_pieces(const struct pieces *p) {
    const size_t all = wanted(p);
    size_t done = 0;
    ssize_t r = p->low ? wait_for(p) : 0;
    while (r >= 0 && atomic_load(&p->s->swaps) == p->swaps) {
        r = one_piece(p, done);
        done += r > 0 ? (size_t)r : 0;
        if (r >= 0 && (!r || done >= all))
            return (ssize_t)done;
        if (r > 0 || r == -EAGAIN)
            r = wait_for(p);
        if (done && r > 0 && r & POLLERR)
            break; /* the kernel tells it once: it is the next call's */
    }
    return done ? (ssize_t)done : r < 0 ? r : CALL_AGAIN;
}

ssize_t call_closed(const struct sock *s, ssize_t r) {
    return r > 0 || (s->kind == SOCK_CAPTURED && r != CALL_AGAIN) ? r : -ECANCELED;
}

/* A description that another process shares can be neither shut down nor aborted to wake who is blocked on
 * it. A cmm socket's thread is roused. A captured socket stays under its number and is cut off for all: who
 * were blocked in a real call then would take the error from a holder that no door sees. */
static bool hangs_on_others(const struct sock *s) {
    return s->shared && (s->kind == SOCK_CAPTURED || !self_rouses());
}

/* Lock held, dropped meanwhile. The kernel would begin the program's own timeout anew: so with one the wait
 * is by poll. */
ssize_t call_issue(struct sock *s, int fd, call_function *call, void *msg, int flags, bool blocking,
                   uint64_t limit) {
    const uint32_t swaps = atomic_load(&s->swaps);
    const bool by_poll = blocking && (limit || hangs_on_others(s));
    struct real_call c = {.s = s};
    struct pieces p = {.s = s,
                       .swaps = swaps,
                       .fd = fd,
                       .call = call,
                       .msg = msg,
                       .flags = flags,
                       .limit = limit,
                       .low = by_poll && call == call_recv &&
                              options_find(&s->options, SOL_SOCKET, SO_RCVLOWAT)};
    volatile ssize_t r = CALL_AGAIN;
    const int before = errno;
    self_register();
    lock_drop();
    pthread_cleanup_push(call_cancelled, &c);
    call_begins(&c, by_poll);
    if (by_poll)
        r = by_pieces(&p);
    else if (atomic_load(&s->swaps) == swaps) {
        r = call(fd, msg, flags);
        r = r < 0 ? -errno : r;
    }
    pthread_cleanup_pop(0);
    call_over(&c);
    errno = before; /* a piece of it may have failed */
    if (s->state == LIFE_CLOSED)
        return call_closed(s, r);
    const bool overtaken = atomic_load(&s->swaps) != swaps;
    if (overtaken && (r < 0 || (r == 0 && call == call_recv)) && (r != -EINTR || self.roused) && r != -EFAULT)
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
        sock_cut(s);
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

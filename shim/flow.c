/* flow - one send on a managed socket: now, after a reconnect, wait, or deferred.
 * Each send is a loop: look at the socket with the lock held, do the one thing its state allows, and look
 * again when that was overtaken. The decision of the three scenarios is elsewhere(). Deliberately absent: the
 * direct way of the hot path, which is inline in flow.h; what is kept for replay, receiving and connecting
 * have rooms of their own. */
#include "flow.h"
#include "call.h"
#include "carry.h"
#include "link.h"
#include "reconnect.h"
#include "run.h"
#include "talk.h"

#include <errno.h>
#include <unistd.h>

static ssize_t send_now(struct sock *s, int fd, const struct flow_send *c, uint64_t labels) {
    const bool blocking = (s->replay || s->shared || c->limit) && !call_is_nonblocking(fd, c->flags);
    ssize_t r;
    if (s->replay && sock_stream(s))
        r = flow_send_kept(s, fd, c, blocking);
    else
        r = call_issue(s, fd, call_send, (void *)c->msg, c->flags, blocking, c->limit);
    if (r < 0)
        return r == CALL_AGAIN ? CALL_AGAIN : call_judge(s, (int)-r);
    atomic_store(&s->labels, labels);
    if (s->state == LIFE_LIVE && !s->replay && !s->shared && !s->sealed && !s->thunks.count &&
        !s->user_depth && choose_stays(s, labels))
        atomic_store(&s->clear, options_timeout(&s->options, SO_SNDTIMEO) ? WAY_TIMED : WAY_OPEN);
    return r;
}

static int defer(struct sock *s, const struct flow_send *c, uint64_t labels) {
    struct frame *f = run_inside(s) ? self_frame(s) : NULL;
    const bool behind = thunk_find(&s->thunks, labels); /* then nothing becomes ready by it */
    struct thunk_front front = {f ? f->front : 0};
    int r = f ? thunk_push_front(&s->thunks, &front, labels, c->handler, c->arg)
              : thunk_push(&s->thunks, labels, c->handler, c->arg);
    if (r < 0)
        return r;
    if (f)
        f->front = front.turn;
    if (s->thunks.count == 1)
        s->waiting_since = wait_wall_ms();
    talk_report();
    if (behind)
        return FLOW_DEFERRED;
    atomic_store(&s->clear, WAY_SHUT);
    run_schedule(s);
    return FLOW_DEFERRED;
}

/* A connection for labels is being made. */
static bool under_way(const struct sock *s, uint64_t labels) {
    if (s->state == LIFE_MOVING)
        return s->want == labels;
    if (!life_attempting(s->state))
        return false;
    const struct wire_network *n = net_find(&shim.nets, s->net);
    return !labels || s->on_labels == labels || (n && choose_suits(s, n, labels));
}

/* Thunks of another label set can run where the socket is: they come before it moves. */
static bool busy_here(struct sock *s) {
    const struct thunk_set *set = s->state == LIFE_LIVE ? choose_thunks(s) : NULL;
    return set && choose_stays(s, set->labels);
}

/* Not connected on a matching network. A count or outcome, -errno, or CALL_AGAIN; *moved: this call began the
 * reconnect. */
static ssize_t elsewhere(struct sock *s, int fd, const struct flow_send *c, uint64_t labels, bool *moved,
                         uint64_t *deadline) {
    const struct wire_network *n;
    const bool coming = under_way(s, labels);
    const bool inside = run_inside(s);
    const bool others = s->user_depth && !pthread_equal(s->user, pthread_self());
    int pick = choose_network(s, labels, &n);
    if (pick < 0)
        return pick;
    if (c->handler && ((!pick && !coming) || inside || others))
        return defer(s, c, labels);
    const bool blocking = !call_is_nonblocking(fd, c->flags);
    if (!blocking && c->handler) {
        ssize_t r = defer(s, c, labels);
        reconnect_consider(s);
        return r;
    }
    if (!blocking) {
        s->full = true;
        if (pick && !others && !inside)
            reconnect_for(s, labels);
        return choose_stays(s, labels) ? CALL_AGAIN : -EAGAIN;
    }
    const bool busy = !inside && busy_here(s);
    int r;
    if (busy && shim.manual && run_thunk(s))
        return CALL_AGAIN;
    if (pick && !coming && !others && !busy && (s->state == LIFE_LIVE || s->state == LIFE_WAITING)) {
        *moved = true;
        self.helping = s;
        r = reconnect_for(s, labels);
        self.helping = NULL;
        if (r == 0 || s->kind == SOCK_LABELED)
            return r < 0 ? r : CALL_AGAIN;
    }
    /* A captured one that lacks a descriptor to go on with is looked at again soon: it sees time pass. */
    r = call_wait(s, labels, !pick && !coming, deadline, c->limit);
    return r < 0 ? r : CALL_AGAIN;
}

static ssize_t wait_turn(struct sock *s, int fd, const struct flow_send *c, uint64_t labels,
                         uint64_t *deadline) {
    const struct wire_network *n;
    if (c->handler)
        return defer(s, c, labels);
    s->full = true;
    if (call_is_nonblocking(fd, c->flags))
        return -EAGAIN;
    if (shim.manual && run_thunk(s))
        return CALL_AGAIN;
    int r = call_wait(s, labels, choose_network(s, labels, &n) == 0, deadline, c->limit);
    return r < 0 ? r : CALL_AGAIN;
}

/* A blocking call that the network's loss cut short is made again as a whole, or by its thunk; one that a
 * leaving cut short has done what it told: the rest is the caller's. */
static bool cut_by_loss(const struct sock *s, int fd, const struct flow_send *c, size_t taken,
                        uint32_t swaps) {
    return s->kind == SOCK_LABELED && (int32_t)(s->lost_at - swaps) > 0 && taken < call_length(c->msg) &&
           !call_is_nonblocking(fd, c->flags);
}

static ssize_t send_dead(int fd, const struct flow_send *c) {
    ssize_t r = real.sendmsg(fd, c->msg, c->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    return r < 0 ? -errno : r;
}

static ssize_t send_loop(struct sock *s, int fd, const struct flow_send *c, bool moved) {
    const uint64_t labels = c->labeled ? c->labels : atomic_load(&s->labels);
    uint64_t deadline = 0;
    for (ssize_t r = CALL_AGAIN;;) {
        const uint32_t swaps = atomic_load(&s->swaps);
        const int number = flow_number(s, fd);
        if (number != fd)
            return call_issue(s, number, call_send, (void *)c->msg, c->flags, false, 0);
        if (s->state == LIFE_FRESH)
            return -ENOTCONN;
        const bool gap = s->kind == SOCK_CAPTURED && s->state != LIFE_LIVE && s->state != LIFE_DEAD;
        if (gap && s->sealed)
            return -EPIPE;
        if (gap && s->lived && !call_length(c->msg))
            return 0; /* there is always room for nothing */
        if (run_must_queue(s, labels))
            r = wait_turn(s, fd, c, labels, &deadline);
        else if (s->state == LIFE_DEAD)
            return !call_kernels_own(s) ? -s->error : s->untold ? call_told(s) : send_dead(fd, c);
        else if (!choose_stays(s, labels))
            r = elsewhere(s, fd, c, labels, &moved, &deadline);
        else if (moved && c->handler && s->user_depth && !pthread_equal(s->user, pthread_self()))
            return defer(s, c, labels); /* in between another thread began a thunk here: one at a time */
        else if (moved && c->handler) {
            atomic_store(&s->labels, labels); /* it is not deferred: what its handler sends plainly goes so */
            run_now(s, labels, c->handler, c->arg);
            return FLOW_EXECUTED;
        } else
            r = send_now(s, fd, c, labels);
        if ((r == CALL_AGAIN || r > 0) && cut_by_loss(s, fd, c, r > 0 ? (size_t)r : 0, swaps)) {
            moved = true;
            r = CALL_AGAIN;
        }
        if (r != CALL_AGAIN)
            return r;
        if (s->state == LIFE_CLOSED)
            return -ECANCELED;
    }
}

/* The program asked for the whole, and the connection was replaced under it: as on one that is slow, it sees
 * time pass. */
static bool goes_on(const struct sock *s, int fd, const struct flow_send *c, ssize_t sent, uint32_t swaps) {
    return s->kind == SOCK_CAPTURED && sock_stream(s) && sent > 0 && (size_t)sent < call_length(c->msg) &&
           atomic_load(&s->swaps) != swaps && s->state != LIFE_DEAD && s->state != LIFE_CLOSED &&
           !call_is_nonblocking(fd, c->flags);
}

/* What the connections so far have not taken, piece by piece. What was sent, if nothing more can be. */
static ssize_t send_rest(struct sock *s, int fd, const struct flow_send *c, size_t sent) {
    for (struct iovec piece; (piece = call_rest(c->msg, sent)).iov_len;) {
        const struct msghdr msg = {.msg_iov = &piece, .msg_iovlen = 1};
        const struct flow_send rest = {.msg = &msg, .flags = c->flags, .limit = c->limit};
        const uint32_t swaps = atomic_load(&s->swaps);
        const ssize_t n = send_loop(s, fd, &rest, false);
        sent += n > 0 ? (size_t)n : 0;
        if (n <= 0 || ((size_t)n < piece.iov_len && !goes_on(s, fd, &rest, n, swaps)))
            break;
    }
    return (ssize_t)sent;
}

/* Lock held. */
static ssize_t send_locked(struct sock *s, int fd, const struct flow_send *c) {
    const bool cut = cut_by_loss(s, fd, c, c->tried.taken, c->tried.swaps);
    const uint32_t swaps = c->tried.taken ? c->tried.swaps : atomic_load(&s->swaps);
    ssize_t r = CALL_AGAIN;
    if ((s->kind == SOCK_LABELED && (c->flags & (MSG_OOB | MSG_ZEROCOPY))) || carry_refuses(s, fd, c->flags))
        return -EOPNOTSUPP;
    if (c->tried.failed && atomic_load(&s->swaps) == c->tried.swaps)
        r = call_judge(s, c->tried.failed);
    else if (c->tried.taken && !cut)
        r = (ssize_t)c->tried.taken;
    if (r == CALL_AGAIN)
        r = send_loop(s, fd, c, cut && (c->tried.failed || c->tried.taken));
    return goes_on(s, fd, c, r, swaps) ? send_rest(s, fd, c, (size_t)r) : r;
}

/* The number was closed in the middle of the call: what has it now is none of this call's. */
static bool closed_meanwhile(const struct flow_call *c) {
    if (self.holding || atomic_load(&c->s->swaps) == c->swaps || getpid() != shim.owner)
        return false;
    lock_take();
    const bool closed = sock_find(c->fd) != c->s || (int32_t)(c->s->born - c->swaps) > 0;
    lock_drop();
    return closed;
}

static bool answer_closed(struct flow_call *c, int failed) {
    const ssize_t r = call_closed(c->s, failed ? -failed : c->count);
    c->count = r < 0 ? -1 : r;
    errno = r < 0 ? (int)-r : errno;
    return true;
}

/* Rounded up: no call ends early. */
static void note_beginning(struct flow_call *c) {
    c->began = c->count == FLOW_UNTRIED ? wait_now_ms() + 1 : 0;
}

bool flow_timed_send(struct flow_call *c, bool may) {
    ssize_t n;
    note_beginning(c);
    if (!c->began || !may || atomic_load(&c->s->clear) != WAY_TIMED ||
        !flow_direct_send(c, c->s, WAY_TIMED, c->fd, c->buf, c->len, c->flags, &n))
        return false;
    c->count = n;
    return true;
}

bool flow_timed_recv(struct flow_call *c, struct sockaddr *from, socklen_t *fromlen) {
    ssize_t n;
    note_beginning(c);
    if (!c->began || atomic_load(&c->s->direct) != WAY_TIMED ||
        !flow_direct_recv(c, c->s, WAY_TIMED, c->fd, c->buf, c->len, c->flags, from, fromlen, &n))
        return false;
    c->count = n;
    return true;
}

bool flow_answered(struct flow_call *c, struct flow_tried *ret) {
    *ret = (struct flow_tried){.began = c->began};
    if (c->count == FLOW_UNTRIED) {
        pthread_testcancel(); /* the answer may need no call that is a cancellation point */
        return false;
    }
    ret->failed = c->count < 0 ? errno : 0;
    ret->taken = c->count > 0 ? (size_t)c->count : 0;
    ret->swaps = c->swaps;
    if (closed_meanwhile(c))
        return answer_closed(c, ret->failed);
    return c->count >= 0 && atomic_load(&c->s->swaps) == c->swaps;
}

ssize_t flow_send(int fd, struct flow_send *c) {
    link_resume();
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    sock_get(s);
    c->limit = call_limit(s, SO_SNDTIMEO, c->tried.began);
    ssize_t r = send_locked(s, fd, c);
    sock_put(s);
    lock_drop();
    return r;
}

bool flow_defer_behind(int fd, uint64_t labels, void (*handler)(void *), void *arg) {
    bool stored = false;
    if (self.frames || self.holding)
        return false;
    lock_take_shortly();
    struct sock *s = sock_find(fd);
    if (s && s->kind == SOCK_LABELED && s->state != LIFE_FRESH && talk_reports() &&
        thunk_find(&s->thunks, labels))
        stored = thunk_push(&s->thunks, labels, handler, arg) == 0;
    lock_drop_shortly();
    return stored;
}

/* ---- would it go out? ---- */

int flow_check(int fd, uint64_t labels, void (*handler)(void *), void *arg) {
    const struct wire_network *n;
    const struct flow_send c = {.handler = handler, .arg = arg};
    int r = 0;
    link_resume();
    struct sock *s = call_enter_labeled(fd);
    if (!s)
        return -EBADF;
    if (s->state == LIFE_FRESH || s->state == LIFE_DEAD) {
        r = s->state == LIFE_FRESH ? -ENOTCONN : -s->error;
    } else if (run_must_queue(s, labels) || !choose_stays(s, labels)) {
        int pick = choose_network(s, labels, &n);
        if (pick < 0)
            r = pick;
        else if (pick == 0 || run_must_queue(s, labels))
            r = handler ? defer(s, &c, labels) : FLOW_DEFERRED;
    }
    lock_drop();
    return r;
}

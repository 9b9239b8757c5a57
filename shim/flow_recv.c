/* flow_recv - one receive on a managed socket: what is kept first, then what comes, else wait.
 * The loop of flow, for the other direction. Bytes that had arrived on connections that are gone are the
 * record's (unread); a peer's end of file or reset is told as the kernel tells it. */
#include "call.h"
#include "datagram.h"
#include "flow.h"
#include "leave.h"
#include "link.h"
#include "mark.h"
#include "stream.h"
#include "swap.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Of a labeled socket's datagrams all come from its peer. */
static socklen_t take_sender(const struct sock *s, void *name, socklen_t room) {
    const struct stash_chunk *c = s->unread.first;
    const void *from = c->from_len ? (const void *)(c->bytes + c->len) : &s->to;
    const socklen_t len = c->from_len ? (socklen_t)c->from_len : s->tolen;
    memcpy(name, from, room < len ? room : len);
    return len;
}

static ssize_t take_kept(struct sock *s, struct msghdr *msg, int flags) {
    size_t full;
    msg->msg_namelen = msg->msg_name && !sock_stream(s) ? take_sender(s, msg->msg_name, msg->msg_namelen) : 0;
    size_t n =
        stash_take(&s->unread, msg->msg_iov, (int)msg->msg_iovlen, sock_stream(s), flags & MSG_PEEK, &full);
    msg->msg_flags = full > n && !sock_stream(s) ? MSG_TRUNC : 0;
    msg->msg_controllen = 0;
    swap_review(s);
    return (ssize_t)(flags & MSG_TRUNC ? full : n);
}

/* What is left of a connection that failed is still read; then its error stands, but for an end of file that
 * is the peer's. */
static ssize_t recv_dead(struct sock *s, int fd, struct msghdr *msg, int flags) {
    /* The kernel tells its error once: that is left to holders that no door sees. */
    const int number = swap_number(s, fd);
    const bool empty = s->cut && !s->deaf && stream_closed(number);
    ssize_t r = empty ? -1 : real.recvmsg(number, msg, flags | MSG_DONTWAIT);
    if (call_kernels_own(s))
        return r > 0 || !s->untold || flags & (MSG_OOB | MSG_ERRQUEUE) ? (r < 0 ? -errno : r) : call_told(s);
    if (s->due)
        leave_cut_off(s, wait_now_ms());
    if (r > 0 || (r == 0 && (!sock_stream(s) || stream_finished(number))))
        return r;
    if (s->deaf)
        return 0;
    s->untold = 0;
    return s->error == EPIPE ? -ECONNRESET : -s->error;
}

ssize_t flow_recv_kept(int fd, struct msghdr *msg, int flags) {
    ssize_t r = FLOW_NOTHING;
    lock_take();
    struct sock *s = sock_find(fd);
    if (s && s->unread.first && !(flags & (MSG_OOB | MSG_ERRQUEUE)))
        r = take_kept(s, msg, flags);
    lock_drop();
    return r;
}

/* With less than it asked for a program may take it that nothing more is there, and wait for what is to come;
 * one that knows of connections is told of each by itself. And who only looks would never see more than what
 * is kept. */
static void look_further(struct sock *s, int fd, const struct msghdr *msg, int flags) {
    const bool one = s->kind == SOCK_CAPTURED || flags & MSG_PEEK || !mark_reached(s);
    if (one && s->state == LIFE_LIVE && sock_stream(s) && call_length(msg) > s->unread.bytes)
        swap_take_arrived(s, fd);
}

/* As the kernel: a receive that may wait does until there is so much, or there comes no more. */
static bool is_enough(const struct sock *s, int fd, const struct msghdr *msg, int flags) {
    const size_t asked = call_length(msg), mark = mark_of(s);
    const bool all = flags & MSG_PEEK && flags & MSG_WAITALL; /* else it is asked for again */
    const size_t least = all || asked < mark ? asked : mark, there = s->unread.bytes;
    return there >= least || !sock_stream(s) || there >= SWAP_MOST || s->state == LIFE_DEAD || s->deaf ||
           (s->state == LIFE_LIVE && stream_ended(fd));
}

static ssize_t real_wait_in(int fd, void *limit, int flags) {
    (void)flags;
    const int r = call_wait_ready(fd, POLLIN, *(const uint64_t *)limit);
    errno = r < 0 ? -r : 0;
    return r < 0 ? -1 : 0;
}

/* As the kernel: for what is urgent, and for what is told of sends, nobody waits. */
static bool waits(int fd, int flags) {
    return !(flags & (MSG_OOB | MSG_ERRQUEUE)) && !call_is_nonblocking(fd, flags);
}

static ssize_t wait_for_more(struct sock *s, int fd, uint64_t limit, uint64_t *deadline) {
    swap_review(s); /* the kernel is to tell of what is lacking */
    return s->state == LIFE_LIVE
               ? call_issue(s, fd, real_wait_in, &limit, 0, false, 0)
               : call_wait(s, atomic_load(&s->labels), s->state == LIFE_WAITING, deadline, limit);
}

static ssize_t recv_loop(struct sock *s, int fd, struct msghdr *msg, int flags, uint64_t began) {
    const struct msghdr asked = *msg;
    const uint64_t limit = call_limit(s, SO_RCVTIMEO, began);
    uint64_t deadline = 0;
    for (;;) {
        const int number = flow_number(s, fd);
        ssize_t r = CALL_AGAIN;
        *msg = asked;
        if (number != fd)
            return call_issue(s, number, call_recv, msg, flags, false, 0);
        const bool blocking = waits(fd, flags), waited = s->state != LIFE_LIVE;
        if (s->state == LIFE_FRESH)
            return -ENOTCONN;
        if (s->unread.first && !(flags & (MSG_OOB | MSG_ERRQUEUE))) {
            look_further(s, fd, msg, flags);
            if (!blocking || is_enough(s, fd, msg, flags))
                return take_kept(s, msg, flags);
            r = wait_for_more(s, fd, limit, &deadline);
            if (s->state == LIFE_CLOSED)
                return call_closed(s, r);
            if (r < 0 && r != CALL_AGAIN)
                return take_kept(s, msg, flags);
            continue;
        }
        if (s->state == LIFE_DEAD)
            return recv_dead(s, fd, msg, flags);
        if (s->deaf && s->state != LIFE_LIVE)
            return 0;
        if (flags & MSG_OOB && s->state != LIFE_LIVE)
            return -EINVAL; /* nothing urgent has come */
        if (s->state == LIFE_LIVE) {
            r = call_issue(s, fd, call_recv, msg, flags, blocking, limit);
            r = r < 0 && r != CALL_AGAIN ? call_judge(s, (int)-r) : r;
        } else
            r = blocking ? call_wait(s, atomic_load(&s->labels), s->state == LIFE_WAITING, &deadline, limit)
                         : -EAGAIN;
        if (s->state == LIFE_CLOSED)
            return call_closed(s, r);
        if (r != CALL_AGAIN && !(r == 0 && waited))
            return r;
    }
}

ssize_t flow_recv(int fd, struct msghdr *msg, int flags, struct flow_tried tried) {
    ssize_t r = CALL_AGAIN;
    link_resume();
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    sock_get(s);
    if (s->kind == SOCK_LABELED && (flags & (MSG_OOB | MSG_ZEROCOPY)))
        r = -EOPNOTSUPP;
    else if (tried.failed && atomic_load(&s->swaps) == tried.swaps)
        r = call_judge(s, tried.failed);
    if (r == CALL_AGAIN)
        r = recv_loop(s, fd, msg, flags, tried.began);
    sock_put(s);
    lock_drop();
    return r;
}

/* Who waits for all of it gets what one connection still brought and the rest from the next. */
ssize_t flow_recv_all(struct flow_call *c, flow_recv_function *once, struct sockaddr *from,
                      socklen_t *fromlen) {
    ssize_t got = 0;
    for (;;) {
        const bool tried = c->count != FLOW_UNTRIED, kept = !tried && c->s->unread.first;
        const uint32_t swaps = tried ? c->swaps : atomic_load(&c->s->swaps);
        const ssize_t n = once(c, got ? NULL : from, fromlen);
        if (n <= 0)
            return got ? got : n;
        got += n;
        if (!(c->flags & MSG_WAITALL) || c->flags & MSG_PEEK || (size_t)n >= c->len || !sock_stream(c->s) ||
            (!kept && atomic_load(&c->s->swaps) == swaps))
            return got;
        c->buf = (char *)c->buf + n;
        c->len -= (size_t)n;
        c->count = FLOW_UNTRIED;
    }
}

static uint64_t datagram_limit(const struct sock *s, int number, int flags, uint64_t began) {
    lock_take();
    const uint64_t limit = call_limit(s, SO_RCVTIMEO, began);
    lock_drop();
    return limit && !call_is_nonblocking(number, flags) ? limit : 0;
}

/* Its description may be replaced meanwhile; the end that wakes us then is none. */
ssize_t flow_recv_datagram(const struct sock *s, int fd, struct msghdr *msg, int flags, uint64_t began) {
    const struct msghdr asked = *msg;
    for (uint64_t limit = 0;;) {
        const uint32_t swaps = atomic_load(&s->swaps);
        ssize_t n = s->unread.first ? flow_recv_kept(fd, msg, flags) : FLOW_NOTHING;
        if (n != FLOW_NOTHING)
            return n;
        const int number = datagram_number(s, fd);
        if (limit && (n = call_wait_ready(number, POLLIN, limit)) < 0)
            return n;
        n = real.recvmsg(number, msg, flags | (limit ? MSG_DONTWAIT : 0));
        if (n > 0 || (n == 0 && atomic_load(&s->swaps) == swaps))
            return n;
        if (n < 0 && !(limit && errno == EAGAIN))
            return -errno;
        *msg = asked;
        limit = limit ? limit : datagram_limit(s, fd, flags, began);
    }
}

/* flow_kept - one send that is kept for replay.
 * With replay on the library keeps what the peer has not acknowledged: so sends are made one at a time, in
 * the order they are kept, and who comes meanwhile waits its turn. A sender may be cancelled, and others may
 * reset the socket or switch replay off under it: the turn ends with it in any case. Lock held, dropped while
 * it waits. */
#include "call.h"
#include "flow.h"
#include "stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <sys/syscall.h>

static ssize_t real_wait_out(int fd, void *limit, int flags) {
    (void)flags;
    int r = call_wait_ready(fd, POLLOUT, *(const uint64_t *)limit);
    errno = r < 0 ? -r : 0;
    return r < 0 ? -1 : 0;
}

/* A send that is kept, and on its way: others wait for their turn while s->unsent says so. */
struct kept {
    struct sock *s;
    size_t total;
    uint32_t swaps;  /* what s->swaps was when it began: with another connection nothing is on its way */
    unsigned resets; /* ... and after a reset nothing is kept */
};

static void kept_over(struct sock *s) {
    s->unsent = 0;
    if (!s->replay)
        stash_finish(&s->sent); /* switched off meanwhile */
    wait_wake(&s->waiters);
}

/* It ends where the kernel stopped taking it. */
static ssize_t cut_short(const struct kept *k, int error) {
    const size_t taken = k->total - k->s->unsent;
    stash_cut(&k->s->sent, k->s->unsent);
    kept_over(k->s);
    return taken ? (ssize_t)taken : -error;
}

static void kept_cut_off(void *kept) {
    const struct kept *k = kept;
    lock_take();
    if (atomic_load(&k->s->swaps) == k->swaps)
        cut_short(k, ECANCELED);
    sock_put(k->s);
    lock_drop();
}

/* Its connection was replaced in the middle of it. One that goes out again whole is done for its caller. */
static ssize_t kept_overtaken(const struct kept *k, size_t taken) {
    if (k->s->state == LIFE_CLOSED)
        return -ECANCELED;
    if (k->s->replay && k->s->resets == k->resets)
        return (ssize_t)k->total;
    return taken ? (ssize_t)taken : CALL_AGAIN;
}

static ssize_t send_on(const struct kept *k, int fd, const struct flow_send *c, bool blocking) {
    struct sock *s = k->s;
    while (s->unsent) {
        const size_t taken = k->total - s->unsent;
        const unsigned char *rest = s->sent.last->bytes + taken;
        ssize_t n = real.send(fd, rest, s->unsent, (c->flags & ~MSG_WAITALL) | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            s->unsent -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN || !blocking)
            return cut_short(k, errno);
        n = call_issue(s, fd, real_wait_out, (void *)&c->limit, 0, false, 0);
        if (atomic_load(&s->swaps) != k->swaps)
            return kept_overtaken(k, taken);
        if (n < 0 && n != CALL_AGAIN)
            return cut_short(k, (int)-n);
    }
    kept_over(s);
    return (ssize_t)k->total;
}

/* The kernel reads what it is given before it says that it knows no such thing to do: a pointer that leads
 * nowhere is told of, not followed. */
static bool readable(const void *start, size_t len) {
    const uintptr_t end = (uintptr_t)start + len;
    for (uintptr_t at = (uintptr_t)start; at < end; at = (at | 4095) + 1)
        if (real_syscall(SYS_rt_sigprocmask, -1, (long)((at & ~4095UL) + 8), 0, 8, 0, 0) < 0 &&
            errno == EFAULT)
            return false;
    return end >= (uintptr_t)start;
}

/* What the kernel would say of the arguments, where the library reads them first. */
static int check_kept(const struct msghdr *msg) {
    if (!readable(msg, sizeof *msg))
        return -EFAULT;
    if (msg->msg_iovlen > IOV_MAX)
        return -EMSGSIZE;
    if (!readable(msg->msg_iov, msg->msg_iovlen * sizeof *msg->msg_iov))
        return -EFAULT;
    for (size_t i = 0; i < msg->msg_iovlen; i++) {
        if (msg->msg_iov[i].iov_len > SSIZE_MAX / IOV_MAX)
            return -EINVAL;
        if (!readable(msg->msg_iov[i].iov_base, msg->msg_iov[i].iov_len))
            return -EFAULT;
    }
    return 0;
}

ssize_t flow_send_kept(struct sock *s, int fd, const struct flow_send *c, bool blocking) {
    struct kept k = {.s = s, .swaps = atomic_load(&s->swaps), .resets = s->resets};
    uint64_t none = 0;
    if (s->unsent) {
        ssize_t turn = blocking ? call_wait(s, 0, false, &none, c->limit) : -EAGAIN;
        return turn < 0 ? turn : CALL_AGAIN;
    }
    ssize_t r = check_kept(c->msg);
    if (r < 0)
        return r;
    stash_trim(&s->sent, stream_unacked(fd, false));
    r = stash_push_iov(&s->sent, c->msg->msg_iov, (int)c->msg->msg_iovlen);
    if (r <= 0)
        return r;
    s->unsent = k.total = (size_t)r;
    sock_get(s);
    pthread_cleanup_push(kept_cut_off, &k);
    r = send_on(&k, fd, c, blocking);
    pthread_cleanup_pop(0);
    sock_put(s);
    return r;
}

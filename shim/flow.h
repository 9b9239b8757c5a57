/* flow - one I/O call on a managed socket: now, after a reconnect, wait, or deferred. The decision lives
 * here. Without the lock. */
#ifndef CMM_FLOW_H
#define CMM_FLOW_H

#include "shim.h"

#include <errno.h>

/* Outcomes that are neither a count nor -errno. */
enum { FLOW_DEFERRED = -5000, FLOW_EXECUTED = -5001, FLOW_NOTHING = -5002 };

/* What the direct way has tried in vain. */
struct flow_tried {
    size_t taken;   /* a part it sent */
    int failed;     /* its errno, or 0 */
    uint32_t swaps; /* what s->swaps was before */
    uint64_t began; /* CLOCK_MONOTONIC ms, when it is known; 0: now */
};

/* One send; everything is a message here. */
struct flow_send {
    const struct msghdr *msg;
    int flags;
    bool labeled; /* else: the socket's last labels */
    uint64_t labels;
    void (*handler)(void *);
    void *arg;
    struct flow_tried tried;
    uint64_t limit; /* flow's own: when SO_SNDTIMEO ends it */
};

/* A count, FLOW_DEFERRED, FLOW_EXECUTED or -errno. */
ssize_t flow_send(int fd, struct flow_send *call);

/* With the lock held (dropped meanwhile), on a live stream with replay on: a count, -errno or CALL_AGAIN. */
ssize_t flow_send_kept(struct sock *s, int fd, const struct flow_send *c, bool blocking);

/* As flow_send for one that can only go behind stored ones of its labels, which is all that is looked at.
 * False: ask flow_send. */
bool flow_defer_behind(int fd, uint64_t labels, void (*handler)(void *), void *arg);

/* As recvmsg(2): a count or -errno. */
ssize_t flow_recv(int fd, struct msghdr *msg, int flags, struct flow_tried tried);

/* The same of a captured socket's datagrams, which the kernel judges; began: as flow_tried's. */
ssize_t flow_recv_datagram(const struct sock *s, int fd, struct msghdr *msg, int flags, uint64_t began);

/* Only what had arrived on a description that is gone: a count, or FLOW_NOTHING. */
ssize_t flow_recv_kept(int fd, struct msghdr *msg, int flags);

/* 0, FLOW_DEFERRED or -errno. */
int flow_connect(int fd, const struct sockaddr *to, socklen_t tolen, uint64_t labels, sock_handler pre,
                 sock_handler post, void *arg);
/* connect(2) on a cmm socket: as cmm_connect, with its last labels (before any: the default ones) and the
 * handlers it has; it waits for a network as for the peer. 0 or -errno. */
int flow_connect_plainly(int fd, const struct sockaddr *to, socklen_t tolen);

int flow_check(int fd, uint64_t labels, void (*handler)(void *), void *arg);

/* The descriptor this thread's call on s acts on: the new connection inside its reconnect handlers, else fd.
 */
static inline int flow_number(const struct sock *s, int fd) {
    struct frame *f = self.frames ? self_frame(s) : NULL;
    return f && f->hidden >= 0 ? f->hidden : fd;
}

/* The direct way, for the doors: enter, note s->swaps, look, call, leave. No lock, no system call of ours.
 * The note comes before the look: a swap between the two must not be taken for the connection's own error.
 * The mark comes before both: whoever shuts the way first and looks for marks then misses nobody. Not for a
 * thread that nobody looks at, nor in a signal handler that interrupts another such call: there the other way
 * knows how. */
static inline bool flow_enter(const struct sock *s) {
    if (__builtin_expect(self.in_call != SELF_IDLE, 0))
        return false;
    __atomic_store_n(&self.in_call, s, __ATOMIC_RELAXED);
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static inline void flow_leave(void) {
    atomic_signal_fence(memory_order_seq_cst);
    __atomic_store_n(&self.in_call, SELF_IDLE, __ATOMIC_RELAXED);
}

/* A call of the direct way. It lies in memory, so that the common way saves no registers. */
struct flow_call {
    struct sock *s;
    void *buf;
    size_t len;
    ssize_t count;  /* what it said, or FLOW_UNTRIED; not set where flow_direct_* said true */
    uint64_t began; /* as flow_tried's; set by flow_timed_* */
    uint32_t swaps;
    int fd, flags;
};
enum { FLOW_UNTRIED = -7000 };

/* Its frames hold no arrays: a canary would guard nothing. */
#define FLOW_HOT __attribute__((no_stack_protector))

#define FLOW_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

static inline bool flow_untried(struct flow_call *c, struct sock *s) {
    c->s = s;
    c->count = FLOW_UNTRIED;
    return false;
}

/* The mark says which socket it was: nothing else has to keep it during the call. */
static inline bool flow_tried_in_vain(struct flow_call *c, ssize_t n) {
    c->s = (struct sock *)self.in_call;
    flow_leave();
    c->count = n;
    return false;
}

/* True: all of it was sent, the common case. Not to be tried: way is WAY_SHUT. The caller sets c->flags. */
static inline bool flow_direct_send(struct flow_call *c, struct sock *s, enum way way, int fd,
                                    const void *buf, size_t len, int flags, ssize_t *ret) {
    c->fd = fd;
    c->buf = (void *)buf;
    c->len = len;
    if (FLOW_UNLIKELY(!way || flags & (MSG_OOB | MSG_ZEROCOPY)) || !flow_enter(s))
        return flow_untried(c, s);
    c->swaps = atomic_load_explicit(&s->swaps, memory_order_acquire);
    if (FLOW_UNLIKELY(atomic_load_explicit(&s->clear, memory_order_acquire) != way)) {
        flow_leave();
        return flow_untried(c, s);
    }
    const ssize_t n = real.send(fd, buf, len, flags | MSG_NOSIGNAL);
    *ret = n;
    if (FLOW_UNLIKELY(n != (ssize_t)c->len))
        return flow_tried_in_vain(c, n);
    flow_leave();
    return true;
}

/* True: something has come, and not all of it was asked for. The caller sets c->flags. */
static inline bool flow_direct_recv(struct flow_call *c, struct sock *s, enum way way, int fd, void *buf,
                                    size_t len, int flags, struct sockaddr *from, socklen_t *fromlen,
                                    ssize_t *ret) {
    c->fd = fd;
    c->buf = buf;
    c->len = len;
    if (!flow_enter(s))
        return flow_untried(c, s);
    c->swaps = atomic_load_explicit(&s->swaps, memory_order_acquire);
    if (FLOW_UNLIKELY(atomic_load_explicit(&s->direct, memory_order_acquire) != way)) {
        flow_leave();
        return flow_untried(c, s);
    }
    const ssize_t n =
        from || fromlen ? real.recvfrom(fd, buf, len, flags, from, fromlen) : real.recv(fd, buf, len, flags);
    *ret = n;
    if (FLOW_UNLIKELY(n <= 0 || (__builtin_constant_p(flags) ? flags : c->flags) & MSG_WAITALL))
        return flow_tried_in_vain(c, n);
    flow_leave();
    return true;
}

/* Off the hot path, first: the direct way of what the program has given a time. True: c->count is the answer.
 * may: as it was asked before. */
bool flow_timed_send(struct flow_call *c, bool may);
bool flow_timed_recv(struct flow_call *c, struct sockaddr *from, socklen_t *fromlen);

/* One receive of c as its door makes it, or as many as MSG_WAITALL and the changes of connection take. */
typedef ssize_t flow_recv_function(struct flow_call *c, struct sockaddr *from, socklen_t *fromlen);
ssize_t flow_recv_all(struct flow_call *c, flow_recv_function *once, struct sockaddr *from,
                      socklen_t *fromlen);

/* The rest. True: with an unchanged connection a part, or nothing, is the whole answer,
 * too, and with a closed one what c->count is then. False: the other way, which is told what was tried. */
bool flow_answered(struct flow_call *c, struct flow_tried *ret);

#endif

/* flow - one I/O call on a managed socket: now, after a reconnect, wait, or deferred. The decision lives
 * here. Without the lock. */
#ifndef CMM_FLOW_H
#define CMM_FLOW_H

#include "shim.h"

#include <errno.h>

/* Outcomes that are neither a count nor -errno. */
enum { FLOW_DEFERRED = -5000, FLOW_EXECUTED = -5001 };

/* What the direct way has tried in vain. */
struct flow_tried {
    int failed;     /* its errno, or 0 */
    size_t taken;   /* a part it sent */
    uint32_t swaps; /* what s->swaps was before */
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
ssize_t flow_send(int fd, const struct flow_send *call);

/* As recvmsg(2): a count or -errno. */
ssize_t flow_recv(int fd, struct msghdr *msg, int flags, struct flow_tried tried);

/* 0, FLOW_DEFERRED or -errno. */
int flow_connect(int fd, const struct sockaddr *to, socklen_t tolen, uint64_t labels, sock_handler pre,
                 sock_handler post, void *arg);
int flow_check(int fd, uint64_t labels, void (*handler)(void *), void *arg);

/* With the lock held (dropped meanwhile): waits until the socket changes, running its handlers if they fall
 * to this thread. network: patience counts (*deadline, made on first need). 0: look again; else -errno. */
int flow_wait(struct sock *s, uint64_t labels, bool network, uint64_t *deadline);

/* The descriptor this thread's call on s acts on: the new connection inside its reconnect handlers, else fd.
 */
static inline int flow_number(const struct sock *s, int fd) {
    struct frame *f = self.frames ? self_frame(s) : NULL;
    return f && f->hidden >= 0 ? f->hidden : fd;
}

/* The direct way, for the doors: enter, note s->swaps, look, call, leave. No lock, no system call of ours.
 * The note comes before the look: a swap between the two must not be taken for the connection's own error. */
static inline const void *flow_enter(struct sock *s) {
    const void *before = atomic_load_explicit(&self.in_call, memory_order_relaxed);
    atomic_store_explicit(&self.in_call, s, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    return before;
}

static inline void flow_leave(const void *before) {
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&self.in_call, before, memory_order_relaxed);
}

static inline bool flow_clear(const struct sock *s, uint64_t labels) {
    return atomic_load_explicit(&s->clear, memory_order_acquire) ==
               atomic_load_explicit(&shim.generation, memory_order_relaxed) &&
           atomic_load_explicit(&s->labels, memory_order_relaxed) == labels && self.registered;
}

static inline bool flow_direct(const struct sock *s) {
    return atomic_load_explicit(&s->direct, memory_order_acquire) && self.registered;
}

/* True: sent, *ret_count bytes. False: the other way, which is told what was tried. */
static inline bool flow_try_send(struct sock *s, int fd, const void *buf, size_t len, int flags,
                                 uint64_t labels, struct flow_tried *ret, ssize_t *ret_count) {
    ssize_t n = -1;
    const void *before = flow_enter(s);
    *ret = (struct flow_tried){.swaps = atomic_load_explicit(&s->swaps, memory_order_acquire)};
    if (!(flags & (MSG_OOB | MSG_ZEROCOPY)) && flow_clear(s, labels)) {
        n = real.send(fd, buf, len, flags | MSG_NOSIGNAL);
        ret->failed = n < 0 ? errno : 0;
        ret->taken = n > 0 ? (size_t)n : 0;
    }
    flow_leave(before);
    *ret_count = n;
    return n >= 0 && ((size_t)n == len || atomic_load(&s->swaps) == ret->swaps);
}

/* The same for a receive; nothing at all with an unchanged connection is a peer's end. */
static inline bool flow_try_recv(struct sock *s, int fd, void *buf, size_t len, int flags,
                                 struct sockaddr *from, socklen_t *fromlen, struct flow_tried *ret,
                                 ssize_t *ret_count) {
    ssize_t n = -1;
    const void *before = flow_enter(s);
    *ret = (struct flow_tried){.swaps = atomic_load_explicit(&s->swaps, memory_order_acquire)};
    if (flow_direct(s)) {
        n = real.recvfrom(fd, buf, len, flags, from, fromlen);
        ret->failed = n < 0 ? errno : 0;
    }
    flow_leave(before);
    *ret_count = n;
    return n > 0 || (n == 0 && atomic_load(&s->swaps) == ret->swaps);
}

#endif

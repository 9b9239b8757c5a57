/* hooks_io - the doors of data: send, receive and their kin under libc's names.
 * A descriptor that is not ours goes straight to libc; a steady connection too, marked so that a swap can
 * wait for the call. All else is one call of flow. On a captured socket a broken pipe raises SIGPIPE as it
 * would without us; on a cmm socket nothing does. */
#include "adopt.h"
#include "call.h"
#include "capture.h"
#include "datagram.h"
#include "hook.h"

#include <stdlib.h>
#include <string.h>

enum { PIECES = 1024 }; /* the kernel takes no more at once */

/* ---- sending ---- */

static ssize_t broken_pipe(const struct sock *s, int flags, ssize_t r) {
    if (r == -EPIPE && s->kind == SOCK_CAPTURED && sock_stream(s) && !(flags & MSG_NOSIGNAL))
        pthread_kill(pthread_self(), SIGPIPE);
    return hook_told(r);
}

static ssize_t send_flow(struct sock *s, int fd, const struct msghdr *msg, int flags,
                         struct flow_tried tried) {
    struct flow_send c = {.msg = msg, .flags = flags, .tried = tried};
    if (!socket_holds(fd))
        return real.sendmsg(fd, msg, flags);
    return broken_pipe(s, flags, flow_send(fd, &c));
}

/* Steered, a datagram is libc's. failed: it was tried already. */
static ssize_t send_datagram(const struct sock *s, int fd, const struct msghdr *msg, int flags, int failed) {
    const int before = errno;
    for (ssize_t n;;) {
        if (failed && !capture_unsent(fd, msg->msg_name, failed))
            return hook_told(-failed);
        int r = capture_datagram(fd, msg->msg_name, msg->msg_namelen, flags);
        if (r < 0)
            return hook_told(r);
        n = real.sendmsg(datagram_number(s, fd), msg, flags);
        if (n >= 0)
            return hook_done(n, before);
        failed = errno;
    }
}

int hook_connect(int fd, const struct sockaddr *to, socklen_t len) __asm__("connect");

/* MSG_FASTOPEN connects. Where it would have to wait for the peer the kernel, too, sends nothing yet. */
static ssize_t send_first(struct sock *s, int fd, const struct msghdr *msg, int flags) {
    if (hook_connect(fd, msg->msg_name, msg->msg_namelen) < 0)
        return -1;
    const struct msghdr plain = {.msg_iov = msg->msg_iov, .msg_iovlen = msg->msg_iovlen};
    return sock_find(fd) == s ? send_flow(s, fd, &plain, flags & ~MSG_FASTOPEN, (struct flow_tried){0})
                              : real.sendmsg(fd, &plain, flags & ~MSG_FASTOPEN);
}

static ssize_t send_message(struct sock *s, int fd, const struct msghdr *msg, int flags) {
    if (s->kind == SOCK_CAPTURED && !sock_stream(s) && getpid() == shim.owner)
        return send_datagram(s, fd, msg, flags, 0);
    if (__builtin_expect(flags & MSG_FASTOPEN, 0) && s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH &&
        msg->msg_name && socket_holds(fd))
        return send_first(s, fd, msg, flags);
    if (s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH)
        return real.sendmsg(fd, msg, flags);
    return send_flow(s, fd, msg, flags, (struct flow_tried){0});
}

/* Within the lock, in a signal handler, what is not direct is libc's. */
HOOK_SLOW ssize_t send_otherwise(struct flow_call *c) {
    struct flow_tried tried;
    struct iovec iov = {c->buf, c->len};
    const struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (flow_timed_send(c, true) || flow_answered(c, &tried))
        return c->count;
    if (self.holding)
        return c->count == FLOW_UNTRIED ? real.send(c->fd, c->buf, c->len, c->flags) : c->count;
    if (!tried.failed && !tried.taken)
        return send_message(c->s, c->fd, &msg, c->flags);
    return c->s->kind == SOCK_CAPTURED && !sock_stream(c->s)
               ? send_datagram(c->s, c->fd, &msg, c->flags, tried.failed)
               : send_flow(c->s, c->fd, &msg, c->flags, tried);
}

HOOK_SLOW FLOW_HOT ssize_t managed_send(int fd, const void *buf, size_t len, int flags, struct sock *s) {
    struct flow_call c;
    ssize_t n;
    c.flags = flags;
    return flow_direct_send(&c, s, WAY_OPEN, fd, buf, len, flags, &n) ? n : send_otherwise(&c);
}

HOOK(ssize_t, send, (int fd, const void *buf, size_t len, int flags)) {
    struct sock *s = sock_look(fd);
    return HOOK_PLAIN(s) ? real.send(fd, buf, len, flags) : managed_send(fd, buf, len, flags, s);
}

/* The number may have been closed unseen and stand for a file now. */
static bool no_socket(ssize_t n) {
    return n < 0 && errno == ENOTSOCK;
}

HOOK_SLOW ssize_t write_otherwise(struct flow_call *c) {
    c->flags = 0;
    const ssize_t n = send_otherwise(c);
    return no_socket(n) ? real.write(c->fd, c->buf, c->len) : n;
}

HOOK_SLOW FLOW_HOT ssize_t managed_write(int fd, const void *buf, size_t len, struct sock *s) {
    struct flow_call c;
    ssize_t n;
    return flow_direct_send(&c, s, WAY_OPEN, fd, buf, len, 0, &n) ? n : write_otherwise(&c);
}

HOOK(ssize_t, write, (int fd, const void *buf, size_t len)) {
    struct sock *s = sock_look(fd);
    return HOOK_PLAIN(s) ? real.write(fd, buf, len) : managed_write(fd, buf, len, s);
}

HOOK(ssize_t, sendto,
     (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen)) {
    struct sock *s = hook_find(fd);
    if (!s || tolen > sizeof(struct sockaddr_storage) || (to && !tolen && !sock_stream(s)))
        return real.sendto(fd, buf, len, flags, to, tolen);
    if (!to)
        return managed_send(fd, buf, len, flags, s);
    struct iovec iov = {(void *)buf, len};
    const struct msghdr msg = {
        .msg_name = (void *)to, .msg_namelen = tolen, .msg_iov = &iov, .msg_iovlen = 1};
    return send_message(s, fd, &msg, flags);
}

static void each_right(const struct msghdr *msg, void (*act)(int fd)) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
        int fd;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof fd) <= c->cmsg_len; at += sizeof fd) {
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            act(fd);
        }
    }
}

static void give(int fd) {
    if (hook_find(fd))
        socket_given(fd);
}

/* What the kernel has taken it has read: so can we. */
static ssize_t given(const struct msghdr *msg, ssize_t n) {
    if (n >= 0 && msg->msg_controllen && hook_any())
        each_right(msg, give);
    return n;
}

/* What the kernel refuses it is given. */
static bool is_message(const struct msghdr *msg) {
    return msg && msg->msg_iovlen <= PIECES;
}

static ssize_t send_one(struct sock *s, int fd, const struct msghdr *msg, int flags) {
    return s && is_message(msg) ? send_message(s, fd, msg, flags) : given(msg, real.sendmsg(fd, msg, flags));
}

HOOK_SLOW ssize_t managed_sendmsg(int fd, const struct msghdr *msg, int flags) {
    return send_one(hook_find(fd), fd, msg, flags);
}

HOOK(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags)) {
    return HOOK_PLAIN(sock_look(fd)) ? given(msg, real.sendmsg(fd, msg, flags))
                                     : managed_sendmsg(fd, msg, flags);
}

static bool holds_nothing(const struct iovec *iov, int count) {
    while (count > 0 && !iov[count - 1].iov_len)
        count--;
    return count <= 0;
}

HOOK_SLOW ssize_t managed_writev(int fd, const struct iovec *iov, int count, int flags) {
    struct sock *s = hook_find(fd);
    if (!s || !iov || count > PIECES || holds_nothing(iov, count))
        return real.writev(fd, iov, count);
    const struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n = send_message(s, fd, &msg, flags);
    return no_socket(n) ? real.writev(fd, iov, count) : n;
}

HOOK(ssize_t, writev, (int fd, const struct iovec *iov, int count)) {
    return HOOK_PLAIN(sock_look(fd)) ? real.writev(fd, iov, count) : managed_writev(fd, iov, count, 0);
}

/* At the place where it is, which is all that a socket has; at once, or as its flags say. */
static bool is_plain(off64_t at, int flags) {
    return at == -1 && !(flags & ~RWF_NOWAIT);
}

static int told_by(int flags) {
    return flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;
}

HOOK(ssize_t, pwritev2, (int fd, const struct iovec *iov, int count, off64_t at, int flags)) {
    return HOOK_PLAIN(sock_look(fd)) || !is_plain(at, flags) ? real.pwritev2(fd, iov, count, at, flags)
                                                             : managed_writev(fd, iov, count, told_by(flags));
}

HOOK_ALIAS(ssize_t, pwritev64v2, (int fd, const struct iovec *iov, int count, off64_t at, int flags)) {
    return hook_pwritev2(fd, iov, count, at, flags);
}

HOOK(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags)) {
    struct sock *s = hook_find(fd);
    if (!s) {
        const int n = real.sendmmsg(fd, msgs, count, flags);
        for (int i = 0; i < n; i++)
            given(&msgs[i].msg_hdr, 0);
        return n;
    }
    const int before = errno;
    for (unsigned i = 0; i < count; i++) {
        ssize_t n = send_one(s, fd, &msgs[i].msg_hdr, flags);
        if (n < 0)
            return (int)hook_done(i ? (int)i : -1, before);
        msgs[i].msg_len = (unsigned)n;
    }
    return (int)count;
}

/* ---- receiving ---- */

static ssize_t recv_message(struct sock *s, int fd, struct msghdr *msg, int flags, struct flow_tried tried) {
    if (s->kind == SOCK_CAPTURED && (s->state == LIFE_FRESH || !sock_stream(s)))
        return hook_told(flow_recv_datagram(s, fd, msg, flags, tried.began));
    return socket_holds(fd) ? hook_told(flow_recv(fd, msg, flags, tried)) : real.recvmsg(fd, msg, flags);
}

static ssize_t recv_once(struct flow_call *c, struct sockaddr *from, socklen_t *fromlen) {
    struct flow_tried tried;
    struct iovec iov = {c->buf, c->len};
    struct msghdr msg = {
        .msg_name = from, .msg_namelen = from && fromlen ? *fromlen : 0, .msg_iov = &iov, .msg_iovlen = 1};
    if (flow_answered(c, &tried) || c->count > 0)
        return c->count;
    ssize_t n = recv_message(c->s, c->fd, &msg, c->flags, tried);
    if (n >= 0 && from && fromlen)
        *fromlen = msg.msg_namelen;
    return n;
}

/* Within the lock, in a signal handler, what is not direct is libc's. */
HOOK_SLOW ssize_t recv_otherwise(struct flow_call *c, struct sockaddr *from, socklen_t *fromlen) {
    if (flow_timed_recv(c, from, fromlen))
        return c->count;
    if (!self.holding)
        return flow_recv_all(c, recv_once, from, fromlen);
    return c->count == FLOW_UNTRIED ? real.recvfrom(c->fd, c->buf, c->len, c->flags, from, fromlen)
                                    : c->count;
}

HOOK_SLOW FLOW_HOT ssize_t managed_recv(int fd, void *buf, size_t len, int flags, struct sock *s) {
    struct flow_call c;
    ssize_t n;
    c.flags = flags;
    return flow_direct_recv(&c, s, WAY_OPEN, fd, buf, len, flags, NULL, NULL, &n)
               ? n
               : recv_otherwise(&c, NULL, NULL);
}

HOOK(ssize_t, recv, (int fd, void *buf, size_t len, int flags)) {
    struct sock *s = sock_look(fd);
    return HOOK_PLAIN(s) ? real.recv(fd, buf, len, flags) : managed_recv(fd, buf, len, flags, s);
}

HOOK_SLOW ssize_t read_otherwise(struct flow_call *c) {
    c->flags = 0;
    const ssize_t n = recv_otherwise(c, NULL, NULL);
    return no_socket(n) ? real.read(c->fd, c->buf, c->len) : n;
}

/* To read nothing never waits; to receive nothing does. */
HOOK_SLOW FLOW_HOT ssize_t managed_read(int fd, void *buf, size_t len, struct sock *s) {
    struct flow_call c;
    ssize_t n;
    if (FLOW_UNLIKELY(!len))
        return real.read(fd, buf, 0);
    return flow_direct_recv(&c, s, WAY_OPEN, fd, buf, len, 0, NULL, NULL, &n) ? n : read_otherwise(&c);
}

HOOK(ssize_t, read, (int fd, void *buf, size_t len)) {
    struct sock *s = sock_look(fd);
    return HOOK_PLAIN(s) ? real.read(fd, buf, len) : managed_read(fd, buf, len, s);
}

HOOK_SLOW FLOW_HOT ssize_t managed_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
                                            socklen_t *fromlen, struct sock *s) {
    struct flow_call c;
    ssize_t n;
    c.flags = flags;
    return flow_direct_recv(&c, s, WAY_OPEN, fd, buf, len, flags, from, fromlen, &n)
               ? n
               : recv_otherwise(&c, from, fromlen);
}

HOOK(ssize_t, recvfrom,
     (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen)) {
    struct sock *s = sock_look(fd);
    return HOOK_PLAIN(s) ? real.recvfrom(fd, buf, len, flags, from, fromlen)
                         : managed_recvfrom(fd, buf, len, flags, from, fromlen, s);
}

/* The same for a message, piece by piece. */
static ssize_t recv_rest(struct sock *s, int fd, const struct msghdr *msg, int flags, size_t got,
                         uint64_t began) {
    for (struct iovec piece; (piece = call_rest(msg, got)).iov_len;) {
        struct flow_call c = {s,     piece.iov_base, piece.iov_len, FLOW_UNTRIED,
                              began, .fd = fd,       .flags = flags};
        const ssize_t n = flow_recv_all(&c, recv_once, NULL, NULL);
        got += n > 0 ? (size_t)n : 0;
        if (n < (ssize_t)piece.iov_len)
            break;
    }
    return (ssize_t)got;
}

static ssize_t recv_whole(struct sock *s, int fd, struct msghdr *msg, int flags) {
    const bool kept = s->unread.first;
    const uint32_t swaps = atomic_load(&s->swaps);
    const uint64_t began = flags & MSG_WAITALL || !sock_stream(s) ? wait_now_ms() + 1 : 0;
    const ssize_t n = recv_message(s, fd, msg, flags, (struct flow_tried){.began = began});
    if (!(flags & MSG_WAITALL) || flags & MSG_PEEK || n <= 0 || !sock_stream(s) ||
        (!kept && atomic_load(&s->swaps) == swaps))
        return n;
    return recv_rest(s, fd, msg, flags, (size_t)n, began);
}

/* Numbers that come by message were free: a record of one is of something closed unseen. */
static void take_over(int fd) {
    if (hook_find(fd))
        socket_gone(fd);
    adopt_one(fd);
}

HOOK_SLOW ssize_t received(const struct msghdr *msg, ssize_t n) {
    const int error = errno;
    each_right(msg, take_over);
    errno = error;
    return n;
}

static ssize_t plain_recvmsg(int fd, struct msghdr *msg, int flags) {
    const ssize_t n = real.recvmsg(fd, msg, flags);
    return n >= 0 && msg->msg_controllen && (sock_first() || shim_wants()) ? received(msg, n) : n;
}

static ssize_t recv_one(struct sock *s, int fd, struct msghdr *msg, int flags) {
    return s && is_message(msg) ? recv_whole(s, fd, msg, flags) : plain_recvmsg(fd, msg, flags);
}

HOOK_SLOW ssize_t managed_recvmsg(int fd, struct msghdr *msg, int flags) {
    return recv_one(hook_find(fd), fd, msg, flags);
}

HOOK(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags)) {
    return HOOK_PLAIN(sock_look(fd)) ? plain_recvmsg(fd, msg, flags) : managed_recvmsg(fd, msg, flags);
}

HOOK_SLOW ssize_t managed_readv(int fd, const struct iovec *iov, int count, int flags) {
    struct sock *s = hook_find(fd);
    if (!s || !iov || count > PIECES || holds_nothing(iov, count))
        return real.readv(fd, iov, count);
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n = recv_message(s, fd, &msg, flags, (struct flow_tried){0});
    return no_socket(n) ? real.readv(fd, iov, count) : n;
}

HOOK(ssize_t, readv, (int fd, const struct iovec *iov, int count)) {
    return HOOK_PLAIN(sock_look(fd)) ? real.readv(fd, iov, count) : managed_readv(fd, iov, count, 0);
}

/* What a receive changes of a message. */
struct room {
    socklen_t name;
    size_t control;
};
enum { MESSAGES = 1024 }; /* the kernel takes no more at once */

/* All at once, by the kernel. How many of them are true: the end that wakes us for another description has
 * neither bytes nor a sender. -1: they are, or it failed, as *ret says. */
static int recv_plainly(const struct sock *s, int fd, struct mmsghdr *msgs, unsigned count, int flags,
                        struct timespec *timeout, int *ret) {
    const uint32_t swaps = atomic_load(&s->swaps);
    struct room room[MESSAGES];
    for (unsigned i = 0; i < count; i++)
        room[i] = (struct room){msgs[i].msg_hdr.msg_namelen, msgs[i].msg_hdr.msg_controllen};
    int n = *ret = real.recvmmsg(datagram_number(s, fd), msgs, count, flags, timeout);
    if (n <= 0 || atomic_load(&s->swaps) == swaps)
        return -1;
    for (; n > 0 && !msgs[n - 1].msg_len && !msgs[n - 1].msg_hdr.msg_namelen; n--) {
        msgs[n - 1].msg_hdr.msg_namelen = room[n - 1].name;
        msgs[n - 1].msg_hdr.msg_controllen = room[n - 1].control;
    }
    return n;
}

/* As the kernel: the time is looked at between messages only, and what remains of it is left there. */
static bool time_is_up(struct timespec *left, const struct timespec *end) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *left = (struct timespec){end->tv_sec - now.tv_sec, end->tv_nsec - now.tv_nsec};
    if (left->tv_nsec < 0)
        *left = (struct timespec){left->tv_sec - 1, left->tv_nsec + 1000000000L};
    if (left->tv_sec < 0)
        *left = (struct timespec){0, 0};
    return !left->tv_sec && !left->tv_nsec;
}

static int recv_messages(struct sock *s, int fd, struct mmsghdr *msgs, unsigned count, int flags,
                         struct timespec *timeout) {
    struct timespec end = {0, 0};
    const int before = errno;
    int done = 0, n;
    if (timeout) {
        clock_gettime(CLOCK_MONOTONIC, &end);
        end = (struct timespec){end.tv_sec + timeout->tv_sec, end.tv_nsec + timeout->tv_nsec};
    }
    count = count < MESSAGES ? count : MESSAGES;
    if (s->kind == SOCK_CAPTURED && !sock_stream(s) && !s->unread.first &&
        (done = recv_plainly(s, fd, msgs, count, flags, timeout, &n)) < 0)
        return n;
    while (done < (int)count) {
        const int later = done && flags & MSG_WAITFORONE ? MSG_DONTWAIT : 0;
        const ssize_t len = recv_one(s, fd, &msgs[done].msg_hdr, (flags & ~MSG_WAITFORONE) | later);
        if (len < 0)
            break;
        msgs[done++].msg_len = (unsigned)len;
        if (timeout && time_is_up(timeout, &end))
            break;
    }
    return (int)hook_done(done ? done : -1, before);
}

HOOK(ssize_t, preadv2, (int fd, const struct iovec *iov, int count, off64_t at, int flags)) {
    return HOOK_PLAIN(sock_look(fd)) || !is_plain(at, flags) ? real.preadv2(fd, iov, count, at, flags)
                                                             : managed_readv(fd, iov, count, told_by(flags));
}

HOOK_ALIAS(ssize_t, preadv64v2, (int fd, const struct iovec *iov, int count, off64_t at, int flags)) {
    return hook_preadv2(fd, iov, count, at, flags);
}

HOOK(int, recvmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)) {
    struct sock *s = hook_find(fd);
    return s && msgs && count ? recv_messages(s, fd, msgs, count, flags, timeout)
                              : real.recvmmsg(fd, msgs, count, flags, timeout);
}

/* ---- libc's own checks (FORTIFY) and internal names ---- */

__attribute__((noreturn)) extern void __chk_fail(void);

HOOK_ALIAS(ssize_t, __read_chk, (int fd, void *buf, size_t len, size_t room)) {
    if (len > room)
        __chk_fail();
    return hook_read(fd, buf, len);
}

HOOK_ALIAS(ssize_t, __recv_chk, (int fd, void *buf, size_t len, size_t room, int flags)) {
    if (len > room)
        __chk_fail();
    return hook_recv(fd, buf, len, flags);
}

HOOK_ALIAS(ssize_t, __recvfrom_chk,
           (int fd, void *buf, size_t len, size_t room, int flags, struct sockaddr *from,
            socklen_t *fromlen)) {
    if (len > room)
        __chk_fail();
    return hook_recvfrom(fd, buf, len, flags, from, fromlen);
}

HOOK_ALIAS(ssize_t, __send, (int fd, const void *buf, size_t len, int flags)) {
    return hook_send(fd, buf, len, flags);
}

HOOK_ALIAS(ssize_t, __read, (int fd, void *buf, size_t len)) {
    return hook_read(fd, buf, len);
}

HOOK_ALIAS(ssize_t, __write, (int fd, const void *buf, size_t len)) {
    return hook_write(fd, buf, len);
}

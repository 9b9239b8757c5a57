/* hooks_io - the doors of data: send, receive and their kin under libc's names.
 * A descriptor that is not ours goes straight to libc; a steady connection too, marked so that a swap can
 * wait for the call. All else is one call of flow. On a captured socket a broken pipe raises SIGPIPE as it
 * would without us; on a cmm socket nothing does. */
#include "capture.h"
#include "datagram.h"
#include "hook.h"

#include <stdlib.h>
#include <string.h>

/* ---- sending ---- */

static ssize_t broken_pipe(const struct sock *s, int flags, ssize_t r) {
    if (r == -EPIPE && s->kind == SOCK_CAPTURED && sock_stream(s) && !(flags & MSG_NOSIGNAL))
        pthread_kill(pthread_self(), SIGPIPE);
    return hook_told(r);
}

static ssize_t send_flow(struct sock *s, int fd, const struct msghdr *msg, int flags,
                         struct flow_tried tried) {
    const struct flow_send c = {.msg = msg, .flags = flags, .tried = tried};
    if (!socket_holds(fd))
        return real.sendmsg(fd, msg, flags);
    return broken_pipe(s, flags, flow_send(fd, &c));
}

/* Steered, a datagram is libc's. failed: it was tried already. */
static ssize_t send_datagram(int fd, const struct msghdr *msg, int flags, int failed) {
    for (ssize_t n;;) {
        if (failed && !capture_unsent(fd, failed))
            return hook_told(-failed);
        int r = capture_datagram(fd, msg->msg_name, msg->msg_namelen, flags);
        if (r < 0)
            return hook_told(r);
        n = real.sendmsg(fd, msg, flags);
        if (n >= 0)
            return n;
        failed = errno;
    }
}

static ssize_t send_message(struct sock *s, int fd, const struct msghdr *msg, int flags) {
    if (s->kind == SOCK_CAPTURED && !sock_stream(s) && getpid() == shim.owner)
        return send_datagram(fd, msg, flags, 0);
    if (s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH)
        return real.sendmsg(fd, msg, flags);
    return send_flow(s, fd, msg, flags, (struct flow_tried){0});
}

static ssize_t send_bytes(struct sock *s, int fd, const void *buf, size_t len, int flags) {
    struct flow_tried tried;
    ssize_t n;
    const uint64_t labels = atomic_load_explicit(&s->labels, memory_order_relaxed);
    if (flow_try_send(s, fd, buf, len, flags, labels, &tried, &n))
        return n;
    struct iovec iov = {(void *)buf, len};
    const struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (!tried.failed && !tried.taken)
        return send_message(s, fd, &msg, flags);
    return s->kind == SOCK_CAPTURED && !sock_stream(s) ? send_datagram(fd, &msg, flags, tried.failed)
                                                       : send_flow(s, fd, &msg, flags, tried);
}

HOOK_SLOW ssize_t managed_send(int fd, const void *buf, size_t len, int flags) {
    struct sock *s = hook_find(fd);
    return s ? send_bytes(s, fd, buf, len, flags) : real.send(fd, buf, len, flags);
}

HOOK(ssize_t, send, (int fd, const void *buf, size_t len, int flags)) {
    return hook_plain(fd) ? real.send(fd, buf, len, flags) : managed_send(fd, buf, len, flags);
}

/* The number may have been closed unseen and stand for a file now. */
static bool no_socket(ssize_t n) {
    return n < 0 && errno == ENOTSOCK;
}

HOOK_SLOW ssize_t managed_write(int fd, const void *buf, size_t len) {
    struct sock *s = hook_find(fd);
    ssize_t n;
    if (!s)
        return real.write(fd, buf, len);
    n = send_bytes(s, fd, buf, len, 0);
    return no_socket(n) ? real.write(fd, buf, len) : n;
}

HOOK(ssize_t, write, (int fd, const void *buf, size_t len)) {
    return hook_plain(fd) ? real.write(fd, buf, len) : managed_write(fd, buf, len);
}

HOOK(ssize_t, sendto,
     (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen)) {
    struct sock *s = hook_find(fd);
    if (!s)
        return real.sendto(fd, buf, len, flags, to, tolen);
    if (!to)
        return send_bytes(s, fd, buf, len, flags);
    struct iovec iov = {(void *)buf, len};
    const struct msghdr msg = {
        .msg_name = (void *)to, .msg_namelen = tolen, .msg_iov = &iov, .msg_iovlen = 1};
    return send_message(s, fd, &msg, flags);
}

HOOK_SLOW ssize_t managed_sendmsg(int fd, const struct msghdr *msg, int flags) {
    struct sock *s = hook_find(fd);
    return s && msg ? send_message(s, fd, msg, flags) : real.sendmsg(fd, msg, flags);
}

HOOK(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags)) {
    return hook_plain(fd) ? real.sendmsg(fd, msg, flags) : managed_sendmsg(fd, msg, flags);
}

HOOK_SLOW ssize_t managed_writev(int fd, const struct iovec *iov, int count) {
    struct sock *s = hook_find(fd);
    if (!s || count < 0 || count > 1024)
        return real.writev(fd, iov, count);
    const struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n = send_message(s, fd, &msg, 0);
    return no_socket(n) ? real.writev(fd, iov, count) : n;
}

HOOK(ssize_t, writev, (int fd, const struct iovec *iov, int count)) {
    return hook_plain(fd) ? real.writev(fd, iov, count) : managed_writev(fd, iov, count);
}

HOOK(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags)) {
    struct sock *s = hook_find(fd);
    if (!s)
        return real.sendmmsg(fd, msgs, count, flags);
    for (unsigned i = 0; i < count; i++) {
        ssize_t n = send_message(s, fd, &msgs[i].msg_hdr, flags);
        if (n < 0)
            return i ? (int)i : -1;
        msgs[i].msg_len = (unsigned)n;
    }
    return (int)count;
}

/* ---- receiving ---- */

static ssize_t recv_message(struct sock *s, int fd, struct msghdr *msg, int flags, struct flow_tried tried) {
    if (s->kind == SOCK_CAPTURED && (s->state == LIFE_FRESH || !sock_stream(s)))
        return real.recvmsg(datagram_number(s, fd), msg, flags);
    return socket_holds(fd) ? hook_told(flow_recv(fd, msg, flags, tried)) : real.recvmsg(fd, msg, flags);
}

static ssize_t recv_once(struct sock *s, int fd, void *buf, size_t len, int flags, struct sockaddr *from,
                         socklen_t *fromlen) {
    struct flow_tried tried;
    ssize_t n;
    if (flow_try_recv(s, fd, buf, len, flags, from, fromlen, &tried, &n))
        return n;
    struct iovec iov = {buf, len};
    struct msghdr msg = {
        .msg_name = from, .msg_namelen = from && fromlen ? *fromlen : 0, .msg_iov = &iov, .msg_iovlen = 1};
    n = recv_message(s, fd, &msg, flags, tried);
    if (n >= 0 && from && fromlen)
        *fromlen = msg.msg_namelen;
    return n;
}

/* Who waits for all of it gets what one connection still brought and the rest from the next. */
static ssize_t recv_bytes(struct sock *s, int fd, void *buf, size_t len, int flags, struct sockaddr *from,
                          socklen_t *fromlen) {
    const uint32_t swaps = atomic_load_explicit(&s->swaps, memory_order_relaxed);
    const bool kept = !flow_direct(s);
    ssize_t n = recv_once(s, fd, buf, len, flags, from, fromlen);
    if (!(flags & MSG_WAITALL) || flags & MSG_PEEK || n <= 0 || (size_t)n >= len || !sock_stream(s) ||
        (!kept && atomic_load(&s->swaps) == swaps))
        return n;
    ssize_t rest = recv_bytes(s, fd, (char *)buf + n, len - (size_t)n, flags, NULL, NULL);
    return rest > 0 ? n + rest : n;
}

HOOK_SLOW ssize_t managed_recv(int fd, void *buf, size_t len, int flags) {
    struct sock *s = hook_find(fd);
    return s ? recv_bytes(s, fd, buf, len, flags, NULL, NULL) : real.recv(fd, buf, len, flags);
}

HOOK(ssize_t, recv, (int fd, void *buf, size_t len, int flags)) {
    return hook_plain(fd) ? real.recv(fd, buf, len, flags) : managed_recv(fd, buf, len, flags);
}

HOOK_SLOW ssize_t managed_read(int fd, void *buf, size_t len) {
    struct sock *s = hook_find(fd);
    ssize_t n;
    if (!s)
        return real.read(fd, buf, len);
    n = recv_bytes(s, fd, buf, len, 0, NULL, NULL);
    return no_socket(n) ? real.read(fd, buf, len) : n;
}

HOOK(ssize_t, read, (int fd, void *buf, size_t len)) {
    return hook_plain(fd) ? real.read(fd, buf, len) : managed_read(fd, buf, len);
}

HOOK(ssize_t, recvfrom,
     (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen)) {
    struct sock *s = hook_find(fd);
    return s ? recv_bytes(s, fd, buf, len, flags, from, fromlen)
             : real.recvfrom(fd, buf, len, flags, from, fromlen);
}

/* Numbers that come by message were free: a record of one is of something closed unseen. */
static ssize_t received(const struct msghdr *msg, ssize_t n) {
    if (n < 0 || !msg || msg->msg_controllen < sizeof(struct cmsghdr) || !hook_any())
        return n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
        int fd;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof fd) <= c->cmsg_len; at += sizeof fd) {
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            if (hook_find(fd))
                socket_gone(fd);
        }
    }
    return n;
}

HOOK_SLOW ssize_t managed_recvmsg(int fd, struct msghdr *msg, int flags) {
    struct sock *s = hook_find(fd);
    return s && msg ? recv_message(s, fd, msg, flags, (struct flow_tried){0})
                    : received(msg, real.recvmsg(fd, msg, flags));
}

HOOK(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags)) {
    return hook_plain(fd) ? real.recvmsg(fd, msg, flags) : managed_recvmsg(fd, msg, flags);
}

HOOK_SLOW ssize_t managed_readv(int fd, const struct iovec *iov, int count) {
    struct sock *s = hook_find(fd);
    if (!s || count < 0 || count > 1024)
        return real.readv(fd, iov, count);
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t n = recv_message(s, fd, &msg, 0, (struct flow_tried){0});
    return no_socket(n) ? real.readv(fd, iov, count) : n;
}

HOOK(ssize_t, readv, (int fd, const struct iovec *iov, int count)) {
    return hook_plain(fd) ? real.readv(fd, iov, count) : managed_readv(fd, iov, count);
}

HOOK(int, recvmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)) {
    struct sock *s = hook_find(fd);
    if (!s || !count || (s->kind == SOCK_CAPTURED && !sock_stream(s)))
        return real.recvmmsg(s ? datagram_number(s, fd) : fd, msgs, count, flags, timeout);
    ssize_t n = recv_message(s, fd, &msgs[0].msg_hdr, flags & ~MSG_WAITFORONE, (struct flow_tried){0});
    if (n < 0)
        return -1;
    msgs[0].msg_len = (unsigned)n;
    return 1;
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

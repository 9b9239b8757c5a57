/* hooks_more - the doors beside the main ones: syscall, accept, files sent and closed.
 * syscall() is called by allocators before any constructor: whatever is not a socket's number goes to the
 * kernel without libc, a lock or an allocation. A FILE closes its descriptor inside libc, where no door is:
 * its record ends here. */
#include "capture.h"
#include "hook.h"
#include "log.h"
#include "socket_calls.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- what becomes of a number that libc gives out or takes back unseen ---- */

static int fresh(int fd) {
    if (fd >= 0 && hook_own(fd))
        socket_gone(fd);
    return fd;
}

HOOK(int, accept, (int fd, struct sockaddr *from, socklen_t *len)) {
    return hook_calls(fd) ? (int)hook_told(-EINVAL) : fresh(real.accept(fd, from, len));
}

HOOK(int, accept4, (int fd, struct sockaddr *from, socklen_t *len, int flags)) {
    return hook_calls(fd) ? (int)hook_told(-EINVAL) : fresh(real.accept4(fd, from, len, flags));
}

HOOK(FILE *, fdopen, (int fd, const char *mode)) {
    FILE *file = real.fdopen(fd, mode);
    if (file && hook_own(fd))
        socket_is_file(fd, *mode == 'r' || strchr(mode, '+'), *mode != 'r' || strchr(mode, '+'));
    return file;
}

/* What is printed to a number goes by a FILE of libc's own. */
HOOK(int, vdprintf, (int fd, const char *format, va_list args)) {
    if (hook_own(fd))
        socket_is_file(fd, false, true);
    return real.vdprintf(fd, format, args);
}

HOOK(int, dprintf, (int fd, const char *format, ...)) {
    va_list args;
    va_start(args, format);
    const int n = hook_vdprintf(fd, format, args);
    va_end(args);
    return n;
}

HOOK_ALIAS(int, __vdprintf_chk, (int fd, int flag, const char *format, va_list args)) {
    if (hook_own(fd))
        socket_is_file(fd, false, true);
    return real.__vdprintf_chk(fd, flag, format, args);
}

HOOK_ALIAS(int, __dprintf_chk, (int fd, int flag, const char *format, ...)) {
    va_list args;
    va_start(args, format);
    const int n = hook___vdprintf_chk(fd, flag, format, args);
    va_end(args);
    return n;
}

HOOK(int, fclose, (FILE * file)) {
    const int fd = file ? fileno(file) : -1;
    if (fd >= 0 && hook_own(fd)) {
        fflush(file);
        socket_gone(fd);
    }
    return real.fclose(file);
}

/* ---- files sent ---- */

ssize_t hook_send(int fd, const void *buf, size_t len, int flags) __asm__("send");

/* Through the ordinary send: sendfile itself could be told neither to keep SIGPIPE to itself nor where it was
 * overtaken. */
static ssize_t send_file(int out, int in, off64_t *offset, size_t len) {
    char buf[65536];
    size_t sent = 0;
    const int before = errno;
    while (sent < len) {
        const size_t part = len - sent < sizeof buf ? len - sent : sizeof buf;
        ssize_t n =
            offset ? pread64(in, buf, part, *offset) : pread64(in, buf, part, lseek64(in, 0, SEEK_CUR));
        if (n <= 0)
            return sent ? (ssize_t)sent : n;
        n = hook_send(out, buf, (size_t)n, 0);
        if (n <= 0)
            return hook_done(sent ? (ssize_t)sent : n, before);
        sent += (size_t)n;
        if (offset)
            *offset += n;
        else
            lseek64(in, n, SEEK_CUR);
        if ((size_t)n < part)
            break;
    }
    return (ssize_t)sent;
}

HOOK(ssize_t, sendfile64, (int out, int in, off64_t *offset, size_t len)) {
    return hook_own(out) ? send_file(out, in, offset, len) : real.sendfile64(out, in, offset, len);
}

HOOK(ssize_t, sendfile, (int out, int in, off_t *offset, size_t len)) {
    off64_t at = offset ? *offset : 0;
    if (!hook_own(out))
        return real.sendfile(out, in, offset, len);
    ssize_t n = send_file(out, in, offset ? &at : NULL, len);
    if (offset)
        *offset = (off_t)at;
    return n;
}

/* ---- bytes moved by a pipe ---- */

int hook_poll(struct pollfd *fds, nfds_t count, int timeout) __asm__("poll");
ssize_t hook_recv(int fd, void *buf, size_t len, int flags) __asm__("recv");

/* SPLICE_F_NONBLOCK is about pipes: a socket waits or not as its own flags say. */
static bool is_nonblocking(int fd) {
    return real.fcntl(fd, F_GETFL, NULL) & O_NONBLOCK;
}

/* As much as there is room for: where a pipe polls writable a page goes without waiting. */
static ssize_t fill(int pipe, const char *bytes, size_t len, bool now) {
    struct pollfd room = {.fd = pipe, .events = POLLOUT};
    size_t put = 0;
    int n = 1;
    while (put < len && (n = real.poll(&room, 1, put || now ? 0 : -1)) > 0) {
        n = (int)real.write(pipe, bytes + put, len - put < PIPE_BUF ? len - put : PIPE_BUF);
        if (n < 0)
            break;
        put += (size_t)n;
    }
    if (!put && n == 0)
        errno = EAGAIN;
    return put ? (ssize_t)put : -1;
}

/* A socket's bytes may be kept by us, and its errors are ours to tell: so they go by recv. */
static ssize_t splice_from(int in, int out, size_t len, unsigned flags) {
    char buf[65536];
    ssize_t n = hook_recv(in, buf, len < sizeof buf ? len : sizeof buf, MSG_PEEK);
    if (n <= 0)
        return n;
    n = fill(out, buf, (size_t)n, flags & SPLICE_F_NONBLOCK || is_nonblocking(out));
    return n < 0 ? n : hook_recv(in, buf, (size_t)n, 0);
}

/* splice cannot be told to keep SIGPIPE to itself. */
static ssize_t splice_quietly(int in, int out, size_t len, unsigned flags) {
    const struct timespec now = {0};
    sigset_t broken, before, pending;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    ssize_t n = real.splice(in, NULL, out, NULL, len, flags);
    const int error = errno;
    if (!sigismember(&pending, SIGPIPE)) /* which comes with a part that was moved, too */
        sigtimedwait(&broken, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n;
}

/* A pipe's cannot be put back: they stay there until the socket can take them. What breaks the pipe may be
 * the connection before. */
static ssize_t splice_to(struct sock *s, int in, int out, size_t len, unsigned flags) {
    struct pollfd ready = {.fd = out, .events = POLLOUT};
    const bool now = is_nonblocking(out);
    for (;;) {
        const uint32_t swaps = atomic_load(&s->swaps);
        int n = hook_poll(&ready, 1, now ? 0 : -1);
        if (n < 0)
            return n;
        if (n == 0) {
            errno = EAGAIN;
            return -1;
        }
        if (ready.revents & (POLLERR | POLLHUP) && hook_send(out, "", 0, 0) < 0)
            return -1;
        const ssize_t moved = splice_quietly(in, out, len, flags);
        if (moved >= 0 || (errno != EPIPE && errno != ECONNRESET))
            return moved;
        if (atomic_load(&s->swaps) != swaps)
            continue;
        if (errno == EPIPE && sock_stream(s))
            pthread_kill(pthread_self(), SIGPIPE);
        return -1;
    }
}

HOOK(ssize_t, splice, (int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)) {
    if (hook_own(in) && !in_at && !out_at)
        return splice_from(in, out, len, flags);
    struct sock *s = in_at || out_at ? NULL : hook_own(out);
    if (s && (s->kind == SOCK_LABELED || s->state != LIFE_FRESH || !sock_stream(s)))
        return splice_to(s, in, out, len, flags);
    return real.splice(in, in_at, out, out_at, len, flags);
}

/* ---- syscall ---- */

int hook_connect(int fd, const struct sockaddr *to, socklen_t len) __asm__("connect");
int hook_close(int fd) __asm__("close");
ssize_t hook_sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *to,
                    socklen_t tolen) __asm__("sendto");
ssize_t hook_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
                      socklen_t *fromlen) __asm__("recvfrom");
ssize_t hook_sendmsg(int fd, const struct msghdr *msg, int flags) __asm__("sendmsg");
ssize_t hook_recvmsg(int fd, struct msghdr *msg, int flags) __asm__("recvmsg");
int hook_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags) __asm__("sendmmsg");
int hook_shutdown(int fd, int how) __asm__("shutdown");
int hook_close_range(unsigned first, unsigned last, int flags) __asm__("close_range");
int hook_dup(int fd) __asm__("dup");
int hook_dup2(int fd, int to) __asm__("dup2");
int hook_dup3(int fd, int to, int flags) __asm__("dup3");
int hook_fcntl(int fd, int command, ...) __asm__("fcntl");
int hook_unshare(int flags) __asm__("unshare");
int hook_setns(int fd, int kind) __asm__("setns");

/* What changes whose a number is. */
static bool renumbers(long number, const long *a, long *ret) {
    switch (number) {
    case SYS_close:
        *ret = hook_close((int)a[0]);
        break;
    case SYS_close_range:
        *ret = hook_close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
        break;
    case SYS_dup:
        *ret = hook_dup((int)a[0]);
        break;
#ifdef SYS_dup2
    case SYS_dup2:
        *ret = hook_dup2((int)a[0], (int)a[1]);
        break;
#endif
    case SYS_dup3:
        *ret = hook_dup3((int)a[0], (int)a[1], (int)a[2]);
        break;
    case SYS_fcntl:
        *ret = hook_fcntl((int)a[0], (int)a[1], (void *)a[2]);
        break;
    case SYS_unshare:
        *ret = hook_unshare((int)a[0]);
        break;
    case SYS_setns:
        *ret = hook_setns((int)a[0], (int)a[1]);
        break;
    default:
        return false;
    }
    return true;
}

HOOK(long, syscall, (long number, ...)) {
    long a[6], result;
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    switch (number) {
    case SYS_socket:
        /* Another library's socket() may be who asks. */
        return hook_made((int)real_syscall(SYS_socket, a[0], a[1], a[2], 0, 0, 0), (int)a[0], (int)a[1],
                         (int)a[2]);
    case SYS_connect:
        return hook_connect((int)a[0], (const struct sockaddr *)a[1], (socklen_t)a[2]);
    case SYS_sendto:
        return hook_sendto((int)a[0], (const void *)a[1], (size_t)a[2], (int)a[3],
                           (const struct sockaddr *)a[4], (socklen_t)a[5]);
    case SYS_recvfrom:
        return hook_recvfrom((int)a[0], (void *)a[1], (size_t)a[2], (int)a[3], (struct sockaddr *)a[4],
                             (socklen_t *)a[5]);
    case SYS_sendmsg:
        return hook_sendmsg((int)a[0], (const struct msghdr *)a[1], (int)a[2]);
    case SYS_recvmsg:
        return hook_recvmsg((int)a[0], (struct msghdr *)a[1], (int)a[2]);
    case SYS_sendmmsg:
        return hook_sendmmsg((int)a[0], (struct mmsghdr *)a[1], (unsigned)a[2], (int)a[3]);
    case SYS_shutdown:
        return hook_shutdown((int)a[0], (int)a[1]);
    case SYS_io_uring_setup:
        if (shim.preloaded && shim_wants())
            log_say(LOG_WARN,
                    "this program uses io_uring: what it does by that is not seen, and goes by no label");
        return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    default:
        return renumbers(number, a, &result) ? result
                                             : real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
}

/* hooks_fd - the doors of descriptors: socket, connect, close, dup, fcntl, options and names under libc's
 * names. A descriptor that is not ours goes straight to libc. What closes or replaces a number, by whatever
 * name, ends its record first. */
#include "capture.h"
#include "datagram.h"
#include "hook.h"
#include "lift.h"
#include "log.h"
#include "socket_calls.h"
#include "socket_options.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Once, in a process that it matters to. */
static void tell_left(void) {
    const char *to = atomic_exchange(&shim.left_to, NULL);
    if (to)
        log_say(LOG_ERROR,
                "labels are not heeded: connections are left to %s, which takes them, too; preload it first",
                to);
}

int hook_made(int fd, int family, int type, int protocol) {
    if (fd >= 0 && hook_own(fd))
        socket_gone(fd); /* closed unseen before */
    if (fd < 0 || (family != AF_INET && family != AF_INET6) || self.holding)
        return fd;
    if (shim.left_to)
        tell_left();
    if (shim.preloaded && shim_wants() && getpid() == shim.owner)
        capture_socket(fd, family, type, protocol);
    return fd;
}

HOOK(int, socket, (int family, int type, int protocol)) {
    return hook_made(real.socket(family, type, protocol), family, type, protocol);
}

HOOK(int, connect, (int fd, const struct sockaddr *to, socklen_t len)) {
    struct sock *s = hook_own(fd);
    if (!s || !to)
        return real.connect(fd, to, len);
    pthread_testcancel();
    const int before = errno;
    int r = s->kind == SOCK_CAPTURED ? capture_connect(fd, to, len) : flow_connect_plainly(fd, to, len);
    errno = before; /* a success says nothing */
    return r == CAPTURE_PASS ? real.connect(fd, to, len) : (int)hook_told(r);
}

HOOK_ALIAS(int, __connect, (int fd, const struct sockaddr *to, socklen_t len)) {
    return hook_connect(fd, to, len);
}

HOOK(int, bind, (int fd, const struct sockaddr *to, socklen_t len)) {
    int r = real.bind(fd, to, len);
    if (r == 0 && hook_own(fd))
        capture_bound(fd, to, len);
    return r;
}

/* To a port that libc chooses. */
HOOK(int, bindresvport, (int fd, struct sockaddr_in *to)) {
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int r = real.bindresvport(fd, to);
    if (r == 0 && hook_own(fd) && real.getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        capture_bound(fd, (struct sockaddr *)&at, len);
    return r;
}

HOOK(int, listen, (int fd, int backlog)) {
    if (hook_calls(fd))
        return (int)hook_told(-EINVAL);
    const bool own = hook_own(fd);
    const int r = real.listen(fd, backlog);
    if (r == 0 && own)
        capture_release(fd);
    return r;
}

HOOK(int, shutdown, (int fd, int how)) {
    const struct sock *s = hook_own(fd);
    if (!s || (s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH))
        return real.shutdown(s ? datagram_number(s, fd) : fd, how);
    return (int)hook_told(socket_shutdown(fd, how));
}

/* ---- closing ---- */

/* To the program, descriptors of ours are none. */
HOOK(int, close, (int fd)) {
    if (lift_owns(fd))
        return (int)hook_told(-EBADF);
    if (hook_own(fd))
        return (int)hook_told(socket_close(fd));
    return real.close(fd);
}

HOOK_ALIAS(int, __close, (int fd)) {
    return hook_close(fd);
}

static void close_ours(unsigned first, unsigned last) {
    const unsigned end = last == ~0U ? last : last + 1; /* no number is so high */
    for (unsigned fd = sock_next(first, end); fd < end; fd = sock_next(fd + 1, end))
        socket_close((int)fd);
}

/* Between the descriptors of ours. */
static int sweep(unsigned first, unsigned last, int flags) {
    for (unsigned own; (own = lift_next(first)) <= last && own != ~0U; first = own + 1)
        if (own > first && real.close_range(first, own - 1, flags) < 0)
            return -1;
    return first > last ? 0 : real.close_range(first, last, flags);
}

HOOK(int, close_range, (unsigned first, unsigned last, int flags)) {
    if (first > last)
        return real.close_range(first, last, flags);
    if (flags & CLOSE_RANGE_UNSHARE && hook_take_table() < 0)
        return -1;
    flags &= ~CLOSE_RANGE_UNSHARE;
    if (!(flags & CLOSE_RANGE_CLOEXEC) && hook_any())
        close_ours(first, last);
    return sweep(first, last, flags);
}

HOOK(void, closefrom, (int first)) {
    if (hook_any())
        close_ours(first < 0 ? 0 : (unsigned)first, ~0U);
    if (lift_next(0) == ~0U || sweep(first < 0 ? 0 : (unsigned)first, ~0U, 0) < 0)
        real.closefrom(first);
}

/* ---- copies ---- */

static int copied(int fd, int copy) {
    if (copy >= 0 && copy != fd && hook_own(fd))
        socket_copied(fd, copy);
    return copy;
}

HOOK(int, dup, (int fd)) {
    return copied(fd, real.dup(fd));
}

/* Before it is; not by what is no descriptor, or the same. */
static void replaced(int fd, int to) {
    const bool own = lift_owns(to) && !self.holding && getpid() == shim.owner;
    if ((!own && !hook_own(to)) || fd == to || real.fcntl(fd, F_GETFD, NULL) < 0)
        return;
    if (own)
        socket_make_way(to);
    else
        socket_covered(to);
}

HOOK(int, dup2, (int fd, int to)) {
    replaced(fd, to);
    return copied(fd, real.dup2(fd, to));
}

HOOK_ALIAS(int, __dup2, (int fd, int to)) {
    return hook_dup2(fd, to);
}

HOOK(int, dup3, (int fd, int to, int flags)) {
    if (!(flags & ~O_CLOEXEC))
        replaced(fd, to);
    return copied(fd, real.dup3(fd, to, flags));
}

static int control(int (*libc)(int, int, void *), int fd, int command, void *arg) {
    if (command == F_SETFL && hook_own(fd))
        return (int)hook_told(socket_set_flags(fd, (long)arg));
    int r = libc(fd, command, arg);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, r) : r;
}

HOOK(int, fcntl, (int fd, int command, ...)) {
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return control(real.fcntl, fd, command, arg);
}

HOOK_ALIAS(int, __fcntl, (int fd, int command, ...)) {
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return control(real.fcntl, fd, command, arg);
}

HOOK(int, fcntl64, (int fd, int command, ...)) {
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    return control(real.fcntl64, fd, command, arg);
}

HOOK(int, ioctl, (int fd, unsigned long request, ...)) {
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    const bool unsent = request == SIOCOUTQ || request == SIOCOUTQNSD;
    const bool flag = request == FIONBIO || request == FIOASYNC;
    if ((!flag && request != FIONREAD && !unsent) || !arg || !hook_own(fd))
        return real.ioctl(fd, request, arg);
    return (int)hook_told(unsent                ? socket_unsent(fd, request, arg)
                          : request == FIONBIO  ? socket_set_nonblocking(fd, *(int *)arg)
                          : request == FIOASYNC ? socket_set_async(fd, *(int *)arg)
                                                : socket_unread(fd, arg));
}

/* ---- options and names ---- */

HOOK(int, setsockopt, (int fd, int level, int name, const void *val, socklen_t len)) {
    if (!hook_own(fd))
        return real.setsockopt(fd, level, name, val, len);
    if (!socket_chooses(level, name) || !capture_may_choose(fd))
        return (int)hook_told(socket_set_option(fd, level, name, val, len));
    int r = real.setsockopt(fd, level, name, val, len);
    if (r == 0)
        capture_chosen(fd);
    return r;
}

HOOK(int, getsockopt, (int fd, int level, int name, void *val, socklen_t *len)) {
    if (!hook_own(fd) || !val || !len)
        return real.getsockopt(fd, level, name, val, len);
    return (int)hook_told(socket_get_option(fd, level, name, val, len));
}

HOOK(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len)) {
    if (!hook_own(fd) || !addr || !len)
        return real.getsockname(fd, addr, len);
    return (int)hook_told(socket_own_name(fd, addr, len));
}

HOOK(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len)) {
    if (!hook_own(fd) || !addr || !len)
        return real.getpeername(fd, addr, len);
    return (int)hook_told(socket_peer_name(fd, addr, len));
}

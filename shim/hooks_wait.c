/* hooks_wait - the doors of readiness: poll, select and epoll under libc's names.
 * Sets without a managed socket go straight to libc. An epoll set is watched only for what a swap must put
 * back: which sockets are in it, and which of their one-shot registrations have fired. */
#include "hook.h"
#include "interest.h"
#include "link.h"
#include "poll.h"

#include <stdlib.h>

static struct timespec milliseconds(int ms) {
    return (struct timespec){ms / 1000, ms % 1000 * 1000000L};
}

static bool ours(const struct pollfd *fds, nfds_t count) {
    return fds && !self.holding && poll_any(fds, count) && getpid() == shim.owner;
}

HOOK(int, poll, (struct pollfd * fds, nfds_t count, int timeout)) {
    const struct timespec limit = milliseconds(timeout);
    if (!ours(fds, count))
        return real.poll(fds, count, timeout);
    return (int)hook_told(poll_wait(fds, count, timeout < 0 ? NULL : &limit, NULL));
}

HOOK(int, ppoll, (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)) {
    if (!ours(fds, count))
        return real.ppoll(fds, count, timeout, mask);
    return (int)hook_told(poll_wait(fds, count, timeout, mask));
}

HOOK_ALIAS(int, __poll, (struct pollfd * fds, nfds_t count, int timeout)) {
    return hook_poll(fds, count, timeout);
}

__attribute__((noreturn)) extern void __chk_fail(void);

HOOK_ALIAS(int, __poll_chk, (struct pollfd * fds, nfds_t count, int timeout, size_t room)) {
    if (room / sizeof *fds < count)
        __chk_fail();
    return hook_poll(fds, count, timeout);
}

HOOK_ALIAS(int, __ppoll_chk,
           (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask,
            size_t room)) {
    if (room / sizeof *fds < count)
        __chk_fail();
    return hook_ppoll(fds, count, timeout, mask);
}

/* The kernel, too, leaves in timeout what remained of it. */
HOOK(int, select, (int nfds, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout)) {
    struct timespec limit = {0}, left = {0};
    if (self.holding || !poll_any_selected(nfds, rd, wr, ex) || getpid() != shim.owner ||
        (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return real.select(nfds, rd, wr, ex, timeout);
    if (timeout)
        limit = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000,
                                  timeout->tv_usec % 1000000 * 1000L};
    int r = poll_select(nfds, rd, wr, ex, timeout ? &limit : NULL, NULL, &left);
    if (timeout)
        *timeout = (struct timeval){left.tv_sec, left.tv_nsec / 1000};
    return (int)hook_told(r);
}

HOOK_ALIAS(int, __select, (int nfds, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout)) {
    return hook_select(nfds, rd, wr, ex, timeout);
}

HOOK(int, pselect,
     (int nfds, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout, const sigset_t *mask)) {
    if (self.holding || !poll_any_selected(nfds, rd, wr, ex) || getpid() != shim.owner)
        return real.pselect(nfds, rd, wr, ex, timeout, mask);
    return (int)hook_told(poll_select(nfds, rd, wr, ex, timeout, mask, NULL));
}

HOOK(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *event)) {
    if (!hook_own(fd))
        return real.epoll_ctl(epfd, op, fd, event);
    return (int)hook_told(interest_change(epfd, op, fd, event));
}

/* A forked child that only waits for what it has inherited must hear of networks, too. */
static void wait_begins(void) {
    if (!self.holding)
        link_resume();
}

HOOK(int, epoll_wait, (int epfd, struct epoll_event *events, int max, int timeout)) {
    wait_begins();
    return interest_fired(epfd, events, real.epoll_wait(epfd, events, max, timeout));
}

HOOK(int, epoll_pwait, (int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask)) {
    wait_begins();
    return interest_fired(epfd, events, real.epoll_pwait(epfd, events, max, timeout, mask));
}

HOOK(int, epoll_pwait2,
     (int epfd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask)) {
    wait_begins();
    return interest_fired(epfd, events, real.epoll_pwait2(epfd, events, max, timeout, mask));
}

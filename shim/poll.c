/* poll - poll and select over managed sockets.
 * A thread that polls sleeps on descriptions: after a swap it would sleep to its timeout. So a wake-up
 * descriptor of its own is in its set; woken, it looks again with the time that is left. select is turned
 * into poll: one mechanism, and no limit of 1024 for our descriptor. Takes the lock only to look at kept
 * bytes. */
#include "poll.h"
#include "flow.h"
#include "link.h"
#include "mark.h"
#include "swap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool poll_any(const struct pollfd *fds, nfds_t count) {
    for (nfds_t i = 0; i < count; i++)
        if (sock_find(fds[i].fd))
            return true;
    return false;
}

/* nfds is often as large as may be. */
bool poll_any_selected(int nfds, const fd_set *rd, const fd_set *wr, const fd_set *ex) {
    const unsigned end = nfds < 0 ? 0 : (unsigned)nfds;
    for (unsigned fd = sock_next(0, end); fd < end; fd = sock_next(fd + 1, end))
        if ((rd && FD_ISSET(fd, rd)) || (wr && FD_ISSET(fd, wr)) || (ex && FD_ISSET(fd, ex)))
            return true;
    return false;
}

/* The kernel reads no more of the sets than its table of descriptors is long; they may well be no longer. */
static int table_length(int nfds) {
    static const char name[] = "FDSize:";
    char text[2048];
    int length = FD_SETSIZE;
    if (nfds <= FD_SETSIZE)
        return nfds;
    self_read("/proc/thread-self/status", text, sizeof text);
    const char *at = strstr(text, name);
    if (at && atoi(at + sizeof name - 1) > length)
        length = atoi(at + sizeof name - 1);
    return nfds < length ? nfds : length;
}

static short kept_events(const struct pollfd *p) {
    const struct sock *s = sock_find(p->fd);
    if (!s || atomic_load(&s->direct) || !s->unread.first || flow_number(s, p->fd) != p->fd ||
        !mark_reached(s))
        return 0;
    return p->events & (POLLIN | POLLRDNORM);
}

/* Inside a reconnect handler its socket's number means the new connection. */
static int look(struct pollfd *mine, const struct pollfd *fds, nfds_t count) {
    int kept = 0;
    if (count)
        memcpy(mine, fds, count * sizeof *fds);
    lock_take();
    for (nfds_t i = 0; i < count; i++) {
        const struct sock *s = fds[i].fd >= 0 ? sock_find(fds[i].fd) : NULL;
        if (s)
            mine[i].fd = s->buried ? swap_number(s, fds[i].fd) : flow_number(s, fds[i].fd);
        kept += kept_events(&fds[i]) != 0;
    }
    lock_drop();
    return kept;
}

/* The kernel tells an error until it is asked for it, and we had to ask. To a peer's reset belongs an end of
 * the input, which AF_UNSPEC leaves out: a hang-up alone is taken for a clean end. */
static short end_events(const struct pollfd *p) {
    const struct sock *s = p->fd >= 0 ? sock_find(p->fd) : NULL;
    if (!s || s->state != LIFE_DEAD)
        return 0;
    return (short)((s->untold ? POLLERR : 0) | (s->cut ? p->events & (POLLIN | POLLRDNORM | POLLRDHUP) : 0));
}

static int result(struct pollfd *fds, const struct pollfd *mine, nfds_t count) {
    int ready = 0;
    lock_take();
    for (nfds_t i = 0; i < count; i++) {
        struct sock *s = fds[i].fd >= 0 ? sock_find(fds[i].fd) : NULL;
        fds[i].revents = mine[i].revents | kept_events(&fds[i]) | end_events(&fds[i]);
        if (s && s->state != LIFE_LIVE && fds[i].events & POLLOUT && !fds[i].revents)
            s->full = true;
        ready += fds[i].revents != 0;
    }
    lock_drop();
    return ready;
}

static struct timespec clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t;
}

static struct timespec difference(struct timespec a, struct timespec b) {
    struct timespec d = {a.tv_sec - b.tv_sec, a.tv_nsec - b.tv_nsec};
    if (d.tv_nsec < 0) {
        d.tv_sec--;
        d.tv_nsec += 1000000000L;
    }
    return d.tv_sec < 0 ? (struct timespec){0, 0} : d;
}

static struct timespec sum(struct timespec a, struct timespec b) {
    const time_t most = INT32_MAX; /* 68 years: longer waits are no longer */
    struct timespec t = {a.tv_sec + (b.tv_sec < most ? b.tv_sec : most), a.tv_nsec + b.tv_nsec};
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

static bool makes_sense(const struct timespec *timeout) {
    return !timeout || (timeout->tv_sec >= 0 && timeout->tv_nsec >= 0 && timeout->tv_nsec < 1000000000L);
}

/* A program that allows itself no more descriptors than it polls has no room for ours. */
static int poll_woken(struct pollfd *mine, nfds_t count, const struct timespec *timeout,
                      const sigset_t *mask) {
    mine[count] = (struct pollfd){.fd = self.wake_fd, .events = POLLIN};
    const int n = real.ppoll(mine, count + 1, timeout, mask);
    return n < 0 && errno == EINVAL ? real.ppoll(mine, count, timeout, mask) : n;
}

static int poll_with(struct pollfd *mine, struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                     const sigset_t *mask) {
    const struct timespec end = timeout ? sum(clock_now(), *timeout) : (struct timespec){0};
    for (;;) {
        struct timespec left = timeout ? difference(end, clock_now()) : (struct timespec){0};
        self_wake_drain();
        if (look(mine, fds, count) > 0)
            left = (struct timespec){0}, timeout = &left;
        int n = poll_woken(mine, count, timeout ? &left : NULL, mask);
        const int error = n < 0 ? errno : 0;
        if (error && error != EINTR)
            return -error;
        int ready = result(fds, mine, count); /* told to who is interrupted, too */
        if (error || ready || n == 0)
            return error ? -error : ready;
    }
}

/* Asynchronously cancelled is only the kernel's call: not what is allocated or made for it. */
int poll_wait(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct pollfd few[64];
    int type, r;
    if (!makes_sense(timeout))
        return -EINVAL;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    struct pollfd *const many = count < 64 ? NULL : malloc((count + 1) * sizeof *many);
    pthread_cleanup_push(free, many);
    link_resume();
    self_wake_fd();
    r = count >= 64 && !many ? -ENOMEM : poll_with(many ? many : few, fds, count, timeout, mask);
    pthread_cleanup_pop(1);
    pthread_setcanceltype(type, NULL);
    return r;
}

/* What select calls readable, writable and exceptional, as the kernel has it. */
enum {
    SELECT_IN = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
    SELECT_OUT = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
    SELECT_EX = POLLPRI,
};

static nfds_t selected(struct pollfd *fds, int nfds, const fd_set *rd, const fd_set *wr, const fd_set *ex) {
    nfds_t count = 0;
    for (int fd = 0; fd < nfds; fd++) {
        short events = 0;
        if (rd && FD_ISSET(fd, rd))
            events |= POLLIN | POLLRDNORM | POLLRDBAND;
        if (wr && FD_ISSET(fd, wr))
            events |= POLLOUT | POLLWRNORM | POLLWRBAND;
        if (ex && FD_ISSET(fd, ex))
            events |= POLLPRI;
        if (events)
            fds[count++] = (struct pollfd){.fd = fd, .events = events};
    }
    return count;
}

static int tell(const struct pollfd *fds, nfds_t count, fd_set *rd, fd_set *wr, fd_set *ex) {
    int bits = 0;
    for (nfds_t i = 0; i < count; i++) {
        const int fd = fds[i].fd;
        const short asked = fds[i].events, got = fds[i].revents;
        if (asked & POLLIN && !(got & SELECT_IN))
            FD_CLR(fd, rd);
        if (asked & POLLOUT && !(got & SELECT_OUT))
            FD_CLR(fd, wr);
        if (asked & POLLPRI && !(got & SELECT_EX))
            FD_CLR(fd, ex);
        bits += (asked & POLLIN && got & SELECT_IN) + (asked & POLLOUT && got & SELECT_OUT) +
                (asked & POLLPRI && got & SELECT_EX);
    }
    return bits;
}

/* poll tells of ends and errors nobody asked for, as where only urgent bytes were selected: select sleeps on.
 */
static int select_with(struct pollfd *fds, nfds_t count, fd_set *rd, fd_set *wr, fd_set *ex,
                       const struct timespec *timeout, const sigset_t *mask) {
    const struct timespec end = timeout ? sum(clock_now(), *timeout) : (struct timespec){0};
    for (;;) {
        struct timespec left = timeout ? difference(end, clock_now()) : (struct timespec){0};
        int r = poll_wait(fds, count, timeout ? &left : NULL, mask);
        if (r < 0)
            return r;
        bool matters = r == 0;
        for (nfds_t i = 0; i < count; i++) {
            const short asked = fds[i].events, got = fds[i].revents;
            if (got & POLLNVAL)
                return -EBADF;
            if ((asked & POLLIN && got & SELECT_IN) || (asked & POLLOUT && got & SELECT_OUT) ||
                (asked & POLLPRI && got & SELECT_EX))
                matters = true;
            else if (got)
                fds[i].fd = -1 - fds[i].fd; /* says nothing more that was asked for */
        }
        if (matters)
            break;
    }
    for (nfds_t i = 0; i < count; i++)
        if (fds[i].fd < 0) {
            fds[i].fd = -1 - fds[i].fd;
            fds[i].revents = 0;
        }
    return tell(fds, count, rd, wr, ex);
}

int poll_select(int nfds, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout,
                const sigset_t *mask, struct timespec *left) {
    const struct timespec began = clock_now();
    const int length = table_length(nfds);
    int type, r;
    if (!makes_sense(timeout))
        return -EINVAL;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    struct pollfd *fds = malloc(((size_t)length + 1) * sizeof *fds);
    pthread_cleanup_push(free, fds);
    r = fds ? select_with(fds, selected(fds, length, rd, wr, ex), rd, wr, ex, timeout, mask) : -ENOMEM;
    pthread_cleanup_pop(1);
    pthread_setcanceltype(type, NULL);
    if (left && timeout)
        *left = difference(sum(began, *timeout), clock_now());
    return r;
}

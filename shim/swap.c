/* swap - another description under the same descriptor numbers.
 * dup3 is the only way that leaves no moment in which the number is free. An epoll set keeps descriptions,
 * not numbers: so registrations are taken out, and put in again with their user data. Runs with the lock
 * held, on any thread. */
#include "swap.h"
#include "beckon.h"
#include "fresh.h"
#include "lift.h"
#include "mark.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { QUIESCE_MS = 50, QUIESCE_SHARED_MS = 2 };

void swap_know(struct sock *s, int fd) {
    struct stat st;
    s->inode = fstat(fd, &st) < 0 ? 0 : st.st_ino;
}

bool swap_holds(const struct sock *s, int number) {
    struct stat st;
    return fstat(number, &st) == 0 && S_ISSOCK(st.st_mode) && (!s->inode || st.st_ino == s->inode);
}

void swap_purge(struct sock *s) {
    for (unsigned i = s->nfds; i-- > 0;)
        if (!swap_holds(s, s->fds[i])) {
            sock_forget(s, s->fds[i]);
            sock_put(s);
        }
}

struct elsewhere {
    struct sock *s;
    int number;
};

static bool known_there(int epfd, const void *context) {
    const struct elsewhere *e = context;
    return sock_watched(e->s, epfd, e->number);
}

/* The number may be closed, or another set's by now, and the set live on under a copy. */
static bool find_set(struct sock *s, struct watch *w) {
    const struct elsewhere e = {s, w->fd};
    const int epfd = watch_find(w->fd, s->inode, w->event.data.u64, known_there, &e);
    if (epfd < 0 || real.epoll_ctl(epfd, EPOLL_CTL_DEL, w->fd, NULL) < 0)
        return false;
    w->epfd = epfd;
    return true;
}

/* What is not there to be taken out was in a set that is gone. */
static void take_out(struct sock *s, int number) {
    for (unsigned i = s->nwatches; i-- > 0;) {
        struct watch *w = &s->watches[i];
        if (w->fd == number && !w->out && !(w->parents && s->shared) &&
            real.epoll_ctl(w->epfd, EPOLL_CTL_DEL, number, NULL) < 0 && !find_set(s, w))
            s->watches[i] = s->watches[--s->nwatches];
    }
}

static void put_in(struct sock *s, int number) {
    for (unsigned i = 0; i < s->nwatches; i++) {
        struct watch *w = &s->watches[i];
        struct epoll_event event = w->event;
        if (w->fd != number)
            continue;
        /* Disarmed it would still tell of ends: it stays out until it is armed again. */
        if (w->disarmed)
            w->out = true;
        else if (!w->out)
            real.epoll_ctl(w->epfd, EPOLL_CTL_ADD, number, &event);
        w->parents = false;
    }
}

/* Not by its name: to a library that looks on it would be a new connection. */
void swap_wake(int fd) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    real_syscall(SYS_connect, fd, (long)&none, sizeof none, 0, 0, 0);
}

bool swap_may(const struct sock *s) {
    struct rlimit limit;
    bool may = true;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        for (unsigned i = 0; i < s->nfds; i++)
            may &= (rlim_t)s->fds[i] < limit.rlim_cur;
    return may;
}

/* False: the number is gone behind our back, or just now put out of bounds: whose users are told an end. */
static bool replace(struct sock *s, int number, int fd) {
    int flags = real.fcntl(number, F_GETFD, NULL);
    if (flags < 0 || !swap_holds(s, number))
        return false;
    take_out(s, number);
    while (real.dup3(fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0) {
        const bool barred = errno == EBADF;
        if (barred)
            swap_wake(number);
        if (barred || !swap_holds(s, number))
            return false;
    }
    put_in(s, number);
    return true;
}

void swap_turn_away(struct sock *s) {
    atomic_store(&s->clear, WAY_SHUT);
    atomic_store(&s->direct, WAY_SHUT);
    atomic_fetch_add(&s->swaps, 1);
}

void swap_in(struct sock *s, int fd) {
    beckon_carry(s, fd);
    swap_turn_away(s);
    s->standing = false;
    for (unsigned i = s->nfds; i-- > 0;)
        if (!replace(s, s->fds[i], fd)) {
            sock_forget(s, s->fds[i]);
            sock_put(s);
        }
    swap_know(s, fd);
    lift_close(fd);
    beckon_begin(s);
    self_wake_all();
}

int swap_copy(const struct sock *s) {
    const int old = s->nfds ? lift_copy(s->fds[0]) : -1;
    return old >= 0 ? old : s->nfds ? -errno : -EBADF;
}

int swap_out(struct sock *s) {
    int empty = swap_may(s) ? fresh_placeholder(s) : -EMFILE;
    if (empty < 0)
        return empty;
    const int old = swap_copy(s);
    if (old < 0) {
        lift_close(empty);
        return old;
    }
    swap_in(s, empty);
    return old;
}

/* Who polls, or is told by signals, would see the connection end. */
bool swap_stand(struct sock *s) {
    if (s->nwatches || self_others_poll() || !swap_may(s) || beckon_listens(s->fds[0]))
        return false;
    swap_turn_away(s);
    s->standing = true;
    return true;
}

void swap_settle(struct sock *s) {
    fresh_give_back(s);
    const int empty = s->standing && swap_may(s) ? fresh_placeholder(s) : -1;
    if (empty >= 0)
        swap_in(s, empty);
}

bool swap_put(int fd, int number) {
    const int flags = real.fcntl(number, F_GETFD, NULL);
    return real.dup3(fd, number, flags & FD_CLOEXEC ? O_CLOEXEC : 0) >= 0;
}

bool swap_mark(int number) {
    const int fd = fresh_tombstone();
    if (fd < 0)
        return false;
    const bool marked = swap_put(fd, number);
    lift_close(fd);
    return marked;
}

void swap_bury(struct sock *s) {
    const int fd = s->nfds && swap_may(s) ? fresh_tombstone() : -1;
    if (fd < 0)
        return;
    s->own = lift_copy(s->fds[0]);
    s->buried = true;
    swap_in(s, fd);
}

void swap_unbury(struct sock *s) {
    if (s->buried)
        lift_drop(&s->own);
    s->buried = false;
}

/* A datagram each, or a stream's bytes as they come. Of datagrams an error is told first, and once. */
static void read_all(struct sock *s, int fd) {
    struct sockaddr_storage from;
    size_t size = 65536;
    char *buf = malloc(size);
    bool told = sock_stream(s);
    while (buf && s->unread.bytes < SWAP_MOST) {
        socklen_t len = sizeof from;
        ssize_t n = real.recvfrom(fd, buf, size, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (n < 0 && !told) {
            told = true;
            continue;
        }
        if (n < 0 || (n == 0 && (sock_stream(s) || !len)))
            break; /* nothing more: what is shut down for receiving tells of no sender */
        if (stash_push_from(&s->unread, buf, (size_t)n, &from, len) < 0)
            break;
    }
    free(buf);
}

static void copy_all(struct sock *s, int fd, int flags) {
    int waiting = 0;
    char *buf;
    if (!sock_stream(s) || real.ioctl(fd, FIONREAD, &waiting) < 0 || waiting <= 0 ||
        !(buf = malloc((size_t)waiting)))
        return;
    ssize_t n = real.recv(fd, buf, (size_t)waiting, MSG_DONTWAIT | flags);
    if (n > 0)
        stash_push(&s->unread, buf, (size_t)n);
    free(buf);
}

/* What comes while it is left is no news of the connection under the number. */
static void tell_kept(struct sock *s, size_t before) {
    if (s->state == LIFE_MOVING && s->unread.bytes > before)
        beckon(s, BECKON_KEPT);
}

bool swap_collect(struct sock *s, int fd) {
    const size_t before = s->unread.bytes;
    if (!s->shared)
        real.shutdown(fd, SHUT_RD);
    const bool alone = self_quiesce(s, s->shared && !self_rouse(s) ? QUIESCE_SHARED_MS : QUIESCE_MS);
    if (s->shared)
        copy_all(s, fd, MSG_PEEK);
    else
        read_all(s, fd);
    tell_kept(s, before);
    return alone;
}

void swap_take(struct sock *s, int fd) {
    read_all(s, fd);
}

void swap_take_arrived(struct sock *s, int fd) {
    if (s->unread.bytes < SWAP_MOST)
        copy_all(s, fd, 0);
}

void swap_abort(int fd) {
    swap_wake(fd);
    lift_close(fd);
}

static int ready_fd_new(void) {
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -1 : lift(fd);
}

/* It waits for input, and has not been told of it already. */
static bool reads(const struct watch *w) {
    return w->event.events & (EPOLLIN | EPOLLRDNORM) && !w->disarmed;
}

/* Bytes kept here are no event of the new connection: an always readable descriptor with the same user data
 * stands in for them in each epoll set that waits for input. */
static void stand_in(struct sock *s) {
    if (s->ready_fd < 0)
        s->ready_fd = ready_fd_new();
    atomic_store(&sock_noted, true);
    for (unsigned i = 0; s->ready_fd >= 0 && i < s->nwatches; i++)
        if (!reads(&s->watches[i]))
            real.epoll_ctl(s->watches[i].epfd, EPOLL_CTL_DEL, s->ready_fd, NULL);
    for (unsigned i = 0; s->ready_fd >= 0 && i < s->nwatches; i++) {
        struct epoll_event event = s->watches[i].event;
        if (!reads(&s->watches[i]))
            continue;
        event.events = EPOLLIN | (event.events & (EPOLLET | EPOLLONESHOT));
        if (real.epoll_ctl(s->watches[i].epfd, EPOLL_CTL_ADD, s->ready_fd, &event) < 0)
            real.epoll_ctl(s->watches[i].epfd, EPOLL_CTL_MOD, s->ready_fd, &event);
    }
}

/* A child may have it, too: closing it would leave it in the sets. Those made before a fork are the parent's,
 * which may still have bytes to be told of. */
static void stand_down(struct sock *s) {
    for (unsigned i = 0; i < s->nwatches; i++)
        if (!s->watches[i].parents)
            real.epoll_ctl(s->watches[i].epfd, EPOLL_CTL_DEL, s->ready_fd, NULL);
    lift_drop(&s->ready_fd);
}

void swap_review(struct sock *s) {
    bool kept = s->unread.first != NULL;
    mark_review(s);
    atomic_store(&s->direct, s->state != LIFE_LIVE || kept || s->shared  ? WAY_SHUT
                             : options_timeout(&s->options, SO_RCVTIMEO) ? WAY_TIMED
                                                                         : WAY_OPEN);
    kept = kept && mark_reached(s);
    if (kept && s->nwatches)
        stand_in(s);
    else if (!kept && s->ready_fd >= 0)
        stand_down(s);
}

void swap_gather(struct sock *s, int fd) {
    const size_t before = s->unread.bytes;
    int waiting = 0;
    if (s->shared || real.ioctl(fd, FIONREAD, &waiting) < 0 || waiting <= 0 || !self_quiesce(s, QUIESCE_MS))
        return;
    read_all(s, fd);
    swap_review(s);
    tell_kept(s, before);
    wait_wake(&s->waiters);
    self_wake_all();
}

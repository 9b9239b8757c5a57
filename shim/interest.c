/* interest - the epoll sets a managed socket is registered in.
 * A set keeps descriptions, not numbers: so what a swap must put back is known here, which of the one-shot
 * registrations have fired, too. Comes in by the doors of epoll, and takes the lock for its short work.
 * Deliberately absent: the putting back (swap). */
#include "interest.h"
#include "call.h"
#include "link.h"
#include "swap.h"
#include "watch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* By a copy of the set's number it is the same registration. One that was left out only we know of. */
static struct watch *registration(struct sock *s, int epfd, int op, int fd) {
    struct watch *w = sock_watched(s, epfd, fd);
    for (unsigned i = 0; !w && op != EPOLL_CTL_ADD && i < s->nwatches; i++)
        if (s->watches[i].fd == fd &&
            (s->watches[i].out || watch_tells(epfd, fd, s->inode, s->watches[i].event.data.u64)))
            w = &s->watches[i];
    if (w)
        w->epfd = epfd;
    return w;
}

/* A disarmed registration may have been left out of the set; or the set is another one of that number by now.
 * So adding it is right either way: nobody needs the error as much as the other the registration. */
static int watch_now(struct sock *s, int epfd, int op, int fd, struct epoll_event *event) {
    const struct watch *w = registration(s, epfd, op, fd);
    const bool out = w && w->out;
    if (out && op == EPOLL_CTL_DEL)
        return 0;
    return real.epoll_ctl(epfd, out && op == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : op, fd, event) < 0 ? -errno : 0;
}

int interest_change(int epfd, int op, int fd, struct epoll_event *event) {
    link_resume();
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    int r = watch_now(s, epfd, op, fd, event);
    if (r == 0) {
        if (s->ready_fd >= 0 && op == EPOLL_CTL_DEL)
            real.epoll_ctl(epfd, EPOLL_CTL_DEL, s->ready_fd, event);
        sock_watch(s, epfd, op, fd, event);
        swap_review(s);
    }
    lock_drop();
    return r;
}

static bool registers(int epfd) {
    for (const struct sock *s = sock_first(); s; s = s->next)
        for (unsigned i = 0; i < s->nwatches; i++)
            if (s->watches[i].epfd == epfd)
                return true;
    return false;
}

/* As poll has it: to a reset belongs an end of the input, and an error is told until it is asked for. */
static void tell_end(const struct sock *s, const struct watch *w, struct epoll_event *event) {
    if (s->state != LIFE_DEAD || !(event->events & EPOLLHUP))
        return;
    if (s->cut)
        event->events |= w->event.events & (EPOLLIN | EPOLLRDNORM | EPOLLRDHUP);
    if (s->untold)
        event->events |= EPOLLERR;
}

/* What has fired once is silent: the other of the two, the socket or its stand-in, as well. */
static void disarm(const struct sock *s, struct watch *w) {
    w->disarmed = true;
    if (s->ready_fd < 0)
        return;
    real.epoll_ctl(w->epfd, EPOLL_CTL_DEL, s->ready_fd, NULL);
    w->out |= real.epoll_ctl(w->epfd, EPOLL_CTL_DEL, w->fd, NULL) == 0;
}

/* A socket and its stand-in are one to who waits. How many events are left. */
static int unite(const struct watch *w, struct epoll_event *events, int count) {
    struct epoll_event *first = NULL;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 != w->event.data.u64)
            continue;
        if (first) {
            first->events |= events[i].events;
            memmove(&events[i], &events[i + 1], (size_t)(count - i - 1) * sizeof *events);
            return count - 1;
        }
        first = &events[i];
    }
    return count;
}

/* The kernel tells the user data, not the descriptor; a socket's registration and its stand-in have the same.
 * A number nothing was registered by may be a copy of one that was. */
int interest_fired(int epfd, struct epoll_event *events, int count) {
    bool noted = false;
    if (count <= 0 || !atomic_load(&sock_noted) || self.holding || getpid() != shim.owner)
        return count;
    lock_take();
    const bool any = !registers(epfd);
    for (struct sock *s = sock_first(); s; s = s->next)
        for (unsigned i = 0; i < s->nwatches; i++) {
            struct watch *w = &s->watches[i];
            const bool once = w->event.events & EPOLLONESHOT;
            const bool here = any || w->epfd == epfd;
            const bool ends = s->cut || s->untold;
            if (!once && !ends && s->ready_fd < 0)
                continue;
            noted = true;
            if (here && s->ready_fd >= 0)
                count = unite(w, events, count);
            for (int k = 0; here && (once || ends) && k < count; k++)
                if (events[k].data.u64 == w->event.data.u64) {
                    tell_end(s, w, &events[k]);
                    if (once)
                        disarm(s, w);
                }
        }
    atomic_store(&sock_noted, noted);
    lock_drop();
    return count;
}

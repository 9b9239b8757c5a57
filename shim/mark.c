/* mark - SO_RCVLOWAT where some of the bytes are kept here.
 * As long as they are, the mark of the connection under the number is lower by as much: so poll, select,
 * epoll and signals tell of it when the program would be told, and nobody else has to count. Comes in by
 * swap's review of a socket. With the lock held. */
#include "mark.h"

static int kernels(const struct sock *s) {
    int value = 1;
    socklen_t len = sizeof value;
    return s->nfds && real.getsockopt(s->fds[0], SOL_SOCKET, SO_RCVLOWAT, &value, &len) == 0 ? value : 1;
}

static bool has(const struct sock *s) {
    return sock_stream(s) && options_find(&s->options, SOL_SOCKET, SO_RCVLOWAT);
}

size_t mark_of(const struct sock *s) {
    const int mark = s->mark ? s->mark : has(s) ? kernels(s) : 1;
    return mark > 0 ? (size_t)mark : 1;
}

bool mark_reached(const struct sock *s) {
    return s->state == LIFE_DEAD || s->deaf || s->unread.bytes >= mark_of(s) || !sock_stream(s);
}

static void set(const struct sock *s, int value) {
    if (s->nfds)
        real.setsockopt(s->fds[0], SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
}

void mark_review(struct sock *s) {
    const bool lower = s->unread.first && s->state == LIFE_LIVE && has(s);
    const size_t mark = lower ? mark_of(s) : 0;
    if (lower) {
        s->mark = (int)mark;
        set(s, mark > s->unread.bytes ? (int)(mark - s->unread.bytes) : 1);
    } else if (s->mark) {
        set(s, s->mark);
        s->mark = 0;
    }
}

void mark_renewed(struct sock *s) {
    s->mark = 0;
    mark_review(s);
}

/* sock - the managed sockets.
 * A flat table for the low numbers and pages for the high ones; pages and records live as long as the
 * process, so readers need no lock. The caller holds the shim's lock for everything else. Deliberately
 * absent: every decision, which the verbs take. */
#include "sock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Close to real's pointers: each page a call touches costs it some nanoseconds. */
__attribute__((section(".bss.0_hot"))) _Atomic(struct sock *) sock_low[SOCK_LOW];
__attribute__((section(".bss.z_large"))) _Atomic(_Atomic(struct sock *) *) sock_pages[SOCK_PAGES];

_Atomic bool sock_noted;

static _Atomic(struct sock *) all;
static struct sock *unused;

struct sock *sock_find(int fd) {
    return sock_look(fd);
}

/* Whole pages are passed over: a program sweeps as high as numbers may be. */
unsigned sock_next(unsigned from, unsigned end) {
    while (from < end && !sock_look((int)from)) {
        const unsigned page = from / SOCK_PAGE;
        if (from < SOCK_LOW || (page < SOCK_PAGES && atomic_load(&sock_pages[page])))
            from++;
        else
            from = page < SOCK_PAGES && (page + 1) * SOCK_PAGE < end ? (page + 1) * SOCK_PAGE : end;
    }
    return from;
}

static _Atomic(struct sock *) *slot_get(int fd) {
    unsigned page = (unsigned)fd / SOCK_PAGE;
    if (fd < 0 || page >= SOCK_PAGES)
        return NULL;
    if (fd < SOCK_LOW)
        return &sock_low[fd];
    _Atomic(struct sock *) *slots = atomic_load(&sock_pages[page]);
    if (!slots) {
        slots = calloc(SOCK_PAGE, sizeof *slots);
        atomic_store_explicit(&sock_pages[page], slots, memory_order_release);
    }
    return slots ? &slots[fd % SOCK_PAGE] : NULL;
}

int sock_alias(struct sock *s, int fd) {
    _Atomic(struct sock *) *slot = slot_get(fd);
    int *fds = slot ? realloc(s->fds, (s->nfds + 1) * sizeof *fds) : NULL;
    if (!fds)
        return -ENOMEM;
    s->fds = fds;
    s->fds[s->nfds++] = fd;
    sock_get(s);
    atomic_store_explicit(slot, s, memory_order_release);
    return 0;
}

static struct sock *record_new(void) {
    struct sock *s = unused;
    if (!s)
        return calloc(1, sizeof *s);
    unused = s->next;
    uint32_t swaps = s->swaps;
    memset(s, 0, sizeof *s);
    s->swaps = s->born = swaps + 1;
    return s;
}

struct sock *sock_new(int fd, enum sock_kind kind, int family, int type, int protocol) {
    struct sock *s = record_new();
    if (!s)
        return NULL;
    s->kind = kind;
    s->state = LIFE_FRESH;
    s->family = family;
    s->type = type;
    s->protocol = protocol;
    s->hidden = s->spare = s->lent = s->own = s->ready_fd = -1;
    s->patient = true;
    if (sock_alias(s, fd) < 0) {
        s->next = unused;
        unused = s;
        return NULL;
    }
    s->next = all;
    if (all)
        all->prev = s;
    all = s;
    return s;
}

static void unlink_record(struct sock *s) {
    if (s->prev)
        s->prev->next = s->next;
    else
        all = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->next = s->prev = NULL;
}

bool sock_forget(struct sock *s, int fd) {
    _Atomic(struct sock *) *slot = slot_get(fd);
    unsigned kept = 0;
    if (slot && atomic_load(slot) == s)
        atomic_store_explicit(slot, NULL, memory_order_release);
    for (unsigned i = 0; i < s->nfds; i++)
        if (s->fds[i] != fd)
            s->fds[kept++] = s->fds[i];
    bool had = kept < s->nfds;
    s->nfds = kept;
    for (unsigned i = 0; i < s->nwatches;)
        if (s->watches[i].fd == fd)
            s->watches[i] = s->watches[--s->nwatches];
        else
            i++;
    if (had && !kept)
        unlink_record(s);
    return had && !kept;
}

void sock_get(struct sock *s) {
    s->refs++;
}

void sock_put(struct sock *s) {
    if (--s->refs)
        return;
    free(s->fds);
    free(s->watches);
    thunk_finish(&s->thunks);
    options_finish(&s->options);
    stash_finish(&s->unread);
    stash_finish(&s->sent);
    s->fds = NULL;
    s->watches = NULL;
    s->nfds = s->nwatches = 0;
    s->next = unused;
    unused = s;
}

struct sock *sock_first(void) {
    return all;
}

bool sock_turn(struct sock *s, enum life_event event) {
    int next = life_next(s->state, event);
    if (next < 0)
        return false;
    if (next == LIFE_WAITING && !life_attempting(s->state))
        s->waiting_since = wait_wall_ms();
    s->state = (enum life)next;
    return true;
}

void sock_cut(struct sock *s) {
    s->cut = true;
    atomic_store(&sock_noted, true);
}

void sock_failed(struct sock *s, int error) {
    s->untold = error;
    atomic_store(&sock_noted, true);
}

struct watch *sock_watched(struct sock *s, int epfd, int fd) {
    for (unsigned i = 0; i < s->nwatches; i++)
        if (s->watches[i].epfd == epfd && s->watches[i].fd == fd)
            return &s->watches[i];
    return NULL;
}

int sock_watch(struct sock *s, int epfd, int op, int fd, const struct epoll_event *event) {
    struct watch *w = sock_watched(s, epfd, fd);
    if (op == EPOLL_CTL_DEL) {
        if (w)
            *w = s->watches[--s->nwatches];
        return 0;
    }
    if (!w) {
        struct watch *more = realloc(s->watches, (s->nwatches + 1) * sizeof *more);
        if (!more)
            return -ENOMEM;
        s->watches = more;
        w = &more[s->nwatches++];
    }
    *w = (struct watch){.epfd = epfd, .fd = fd, .event = *event};
    if (s->cut || s->untold || event->events & EPOLLONESHOT)
        atomic_store(&sock_noted, true);
    return 0;
}

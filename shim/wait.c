/* wait - threads that wait for a socket to change.
 * The lock is held by the caller and dropped only around the futex. Deadlines are kept by the listening
 * thread (wait_expire), not by the futex: with a timeout the kernel ends a wait with EINTR even under
 * SA_RESTART. Waiters lie on no stack: a signal handler may jump out of a wait, as programs do that give
 * connect() a time by alarm(), and its stack is used again while others still look at the list. */
#include "wait.h"
#include "lock.h"
#include "real.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

enum { SLEEPING, WOKEN, EXPIRED };

static struct waiter *due_list;
static struct waiter *unused; /* by next */

static uint64_t clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t wait_now_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t wait_end(const struct timespec *t) {
    const time_t most = INT32_MAX; /* 68 years: longer waits are no longer */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec + (uint64_t)(t->tv_sec < most ? t->tv_sec : most)) * 1000 +
           ((uint64_t)(now.tv_nsec + t->tv_nsec) + 999999) / 1000000;
}

uint64_t wait_wall_ms(void) {
    return clock_ms(CLOCK_REALTIME_COARSE); /* people read it */
}

static void enter(struct wait_list *list, struct waiter *w) {
    struct waiter **end = &list->first;
    while (*end)
        end = &(*end)->next;
    w->next = NULL;
    w->at = end;
    *end = w;
    w->due_at = NULL;
    if (!w->of.deadline_ms)
        return;
    w->due_next = due_list;
    w->due_at = &due_list;
    if (due_list)
        due_list->due_at = &w->due_next;
    due_list = w;
}

static void depart(struct waiter *w) {
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    if (w->due_at)
        *w->due_at = w->due_next;
    if (w->due_at && w->due_next)
        w->due_next->due_at = w->due_at;
    self.waits = w->within;
    w->next = unused;
    unused = w;
}

static void give_up(struct waiter *w) {
    const struct wait of = w->of;
    depart(w);
    if (of.abandon)
        of.abandon(of.context);
}

/* Those inside it were left by a jump that did not go so far. */
static void come_back_to(struct waiter *w) {
    while (self.waits != w)
        give_up(self.waits);
}

static void cancelled(void *w) {
    lock_take();
    come_back_to(w);
    give_up(w);
    lock_drop();
}

/* ---- waits that a signal handler has jumped out of ---- */

static bool on_handlers_stack(void) {
    stack_t stack;
    return sigaltstack(NULL, &stack) == 0 && stack.ss_flags & SS_ONSTACK;
}

/* Who comes in above a wait's frame, or back on the ordinary stack, is no handler that has interrupted it. */
static bool was_left(const struct waiter *w, const void *frame) {
    const bool aside = on_handlers_stack();
    return w->aside == aside ? (uintptr_t)frame >= (uintptr_t)w->frame : w->aside;
}

static void give_up_those_left(const void *frame) {
    while (self.waits && was_left(self.waits, frame)) {
        self.cancel_type = self.waits->cancel_type; /* what is restored with the lock */
        give_up(self.waits);
    }
}

/* ---- waiting ---- */

static struct waiter *waiter_new(const struct wait *of, const void *frame) {
    struct waiter *w = unused;
    if (w)
        unused = w->next;
    else if (!(w = malloc(sizeof *w)))
        return NULL;
    *w = (struct waiter){.of = *of, .within = self.waits, .frame = frame};
    w->aside = on_handlers_stack();
    w->cancel_type = self.cancel_type;
    self.waits = w;
    return w;
}

/* Asynchronous cancellation for the one system call, as libc's own cancellation points do. */
static int sleep_once(struct waiter *w) {
    int type, saved;
    long r;
    pthread_cleanup_push(cancelled, w);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    r = real_syscall(SYS_futex, (long)&w->word, FUTEX_WAIT_PRIVATE, SLEEPING, 0, 0, 0);
    saved = errno;
    pthread_setcanceltype(type, NULL);
    pthread_cleanup_pop(0);
    return r < 0 ? -saved : 0;
}

int wait_on(struct wait_list *list, const struct wait *what) {
    const void *frame = __builtin_frame_address(0);
    int r = 0;
    give_up_those_left(frame);
    struct waiter *w = waiter_new(what, frame);
    if (!w)
        return -ENOMEM;
    enter(list, w);
    lock_drop();
    while (atomic_load(&w->word) == SLEEPING && r != -EINTR)
        r = sleep_once(w);
    lock_take();
    come_back_to(w);
    const uint32_t word = atomic_load(&w->word);
    depart(w);
    if (word == EXPIRED)
        return -ETIMEDOUT;
    return word == SLEEPING && r == -EINTR ? -EINTR : 0;
}

static void rouse(struct waiter *w, uint32_t word) {
    atomic_store(&w->word, word);
    real_syscall(SYS_futex, (long)&w->word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

void wait_wake(struct wait_list *list) {
    for (struct waiter *w = list->first; w; w = w->next)
        if (atomic_load(&w->word) == SLEEPING)
            rouse(w, WOKEN);
}

uint64_t wait_expire(uint64_t now_ms) {
    uint64_t earliest = 0;
    for (struct waiter *w = due_list; w; w = w->due_next) {
        if (w->of.deadline_ms <= now_ms && atomic_load(&w->word) == SLEEPING)
            rouse(w, EXPIRED);
        else if (w->of.deadline_ms > now_ms && (!earliest || w->of.deadline_ms < earliest))
            earliest = w->of.deadline_ms;
    }
    return earliest;
}

/* ... but for the thread that has forked, in a signal handler: it looks again. */
void wait_forked(void) {
    due_list = NULL;
    for (struct waiter *w = self.waits; w; w = w->within) {
        w->next = NULL;
        w->at = &w->next;
        w->due_at = NULL;
        atomic_store(&w->word, WOKEN);
    }
}

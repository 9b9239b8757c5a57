/* wait - threads that wait for a socket to change.
 * The lock is held by the caller and dropped only around the futex. Deadlines are kept by the listening
 * thread (wait_expire), not by the futex: with a timeout the kernel ends a wait with EINTR even under
 * SA_RESTART. */
#include "wait.h"
#include "lock.h"
#include "real.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

enum { SLEEPING, WOKEN, EXPIRED };

static struct waiter *due_list;

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
    if (!w->deadline_ms)
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
    if (!w->due_at)
        return;
    *w->due_at = w->due_next;
    if (w->due_next)
        w->due_next->due_at = w->due_at;
}

static void cancelled(void *arg) {
    struct waiter *w = arg;
    lock_take();
    depart(w);
    lock_drop();
    if (w->abandon)
        w->abandon(w->context);
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

int wait_on(struct wait_list *list, struct waiter *w) {
    int r = 0;
    atomic_store(&w->word, SLEEPING);
    enter(list, w);
    lock_drop();
    while (atomic_load(&w->word) == SLEEPING && r != -EINTR)
        r = sleep_once(w);
    lock_take();
    depart(w);
    if (atomic_load(&w->word) == EXPIRED)
        return -ETIMEDOUT;
    return atomic_load(&w->word) == SLEEPING && r == -EINTR ? -EINTR : 0;
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
        if (w->deadline_ms <= now_ms && atomic_load(&w->word) == SLEEPING)
            rouse(w, EXPIRED);
        else if (w->deadline_ms > now_ms && (!earliest || w->deadline_ms < earliest))
            earliest = w->deadline_ms;
    }
    return earliest;
}

void wait_forked(void) {
    due_list = NULL;
}

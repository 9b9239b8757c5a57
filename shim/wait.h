/* wait - threads that wait for a socket to change. A futex each, so that a wait needs no descriptor, ends
 * with EINTR exactly where the handler was set without SA_RESTART, and is a cancellation point. */
#ifndef CMM_WAIT_H
#define CMM_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct wait_list {
    struct waiter *first;
};

struct wait {
    uint64_t deadline_ms;           /* CLOCK_MONOTONIC; 0: none */
    uint64_t labels;                /* waited for */
    uint64_t since_ms;              /* CLOCK_REALTIME, for people */
    bool network;                   /* for a network, not for the peer or a turn */
    bool helps;                     /* may run this socket's reconnect handlers */
    void (*abandon)(void *context); /* nobody comes back: give up what the caller holds; with the lock */
    void *context;
};

/* A thread that is in such a wait. */
struct waiter {
    struct wait of;
    struct waiter *next, **at;         /* on the socket's list */
    struct waiter *due_next, **due_at; /* on the list of those with a deadline */
    struct waiter *within;             /* the wait that a signal handler on this thread has interrupted */
    const void *frame;                 /* where on its stack */
    bool aside;                        /* ... which is the signal handlers' own */
    int cancel_type;                   /* the caller's */
    _Atomic uint32_t word;
};

/* Waits, with the lock dropped, until wait_wake. Called and returns with the lock held. 0, -EINTR, -ETIMEDOUT
 * or -ENOMEM. Where it does not return, as the thread is cancelled or a signal handler jumps out of it, the
 * waiter leaves the list, at the latest with the thread's next wait, and abandon is called. */
int wait_on(struct wait_list *list, const struct wait *what);

/* Wakes all. */
void wait_wake(struct wait_list *list);

/* The earliest deadline, or 0. Those past now_ms are woken with -ETIMEDOUT. */
uint64_t wait_expire(uint64_t now_ms);

/* In a forked child: nobody waits. */
void wait_forked(void);

uint64_t wait_now_ms(void);                         /* CLOCK_MONOTONIC */
uint64_t wait_end(const struct timespec *from_now); /* rounded up: never early */
uint64_t wait_wall_ms(void);                        /* CLOCK_REALTIME */

#endif

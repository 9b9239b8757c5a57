/* lock - the one lock of the shim. It guards every noun; the verbs take it.
 *
 * While it is held only calls that cannot block are made (a non-blocking connect, dup3, ioctl: so that a
 * socket changes in one step for everybody); never user code, a wait, a message to the scout or a log line.
 * Cancellation is off meanwhile. A signal handler that interrupts a holder finds self.holding set and goes
 * straight to libc. Order: lock, then the list lock inside self.c. Nothing else nests. */
#ifndef CMM_LOCK_H
#define CMM_LOCK_H

#include "self.h"

#include <time.h>

void lock_take(void);
void lock_drop(void);

/* The same for a moment without any cancellation point. */
void lock_take_shortly(void);
void lock_drop_shortly(void);

/* Waits on cond with the lock given up meanwhile, as pthread_cond_timedwait (CLOCK_REALTIME). 0 or ETIMEDOUT.
 */
int lock_wait(pthread_cond_t *cond, const struct timespec *until);

/* In a forked child: a fresh one, whoever had the parent's. One that the forking thread holds is its own
 * there, too, and needs nothing. */
void lock_forked(void);

#endif

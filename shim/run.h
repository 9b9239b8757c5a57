/* run - runs reconnect handlers and thunks: on working threads, in cmm_dispatch(), or in a thread that waits
 * for the socket. The only place that calls user code; the lock is never held meanwhile. */
#ifndef CMM_RUN_H
#define CMM_RUN_H

#include "shim.h"

/* With the lock: something may be ready on s. Wakes those who wait for s if a handler is due and one of them
 * can run it; else a working thread, or the dispatch descriptor. */
void run_schedule(struct sock *s);

/* With the lock (dropped meanwhile): runs the handler that is due on s, if the calling thread may. True: one
 * was run. */
bool run_handler(struct sock *s);

/* With the lock (dropped meanwhile): runs the next stored thunk of s if it may run now. True: one was run. */
bool run_thunk(struct sock *s);

/* With the lock (dropped meanwhile): runs this handler as a thunk of s with these labels, in the calling
 * thread. */
void run_now(struct sock *s, uint64_t labels, void (*handler)(void *), void *arg);

/* Some other thread is running user code of s, or a thunk of those labels is stored or running: whose turn is
 * it? With the lock. */
bool run_must_queue(struct sock *s, uint64_t labels);

/* The calling thread is running a thunk of s. */
bool run_inside(const struct sock *s);

/* Manual mode. dispatch: the count; nested: 0. fd: -errno if none can be had. */
int run_dispatch(void);
int run_dispatch_fd(void);

/* With the lock: the dispatch descriptor has moved to another number. */
void run_moved(int from, int to);

/* The listening thread's word, with the lock: starts another working thread if work has waited too long. The
 * ms when to ask again; 0: not. */
uint64_t run_overdue(uint64_t now_ms);

/* At the program's end: the working threads that have nothing to do end, and are waited for a moment. Without
 * the lock. */
void run_finish(int limit_ms);

/* How many there are. With the lock. */
unsigned run_idle(void);

/* The same for as long as it takes, in the middle of a program: others are started when there is work. */
void run_rest(void);

void run_forked(void);

#endif

/* link - the listening thread: waits for the scout's word (talk), drives connects and timers, wakes waiters.
 * It runs no user code. */
#ifndef CMM_LINK_H
#define CMM_LINK_H

#include "shim.h"

/* Starts the thread if it is not there. Without the lock. 0 or -errno. */
int link_start(void);

/* The same with the lock, where it is known not to be there. */
int link_begin(void);

/* Starts the thread if it is not there, and waits (about a second at most, in which the thread may be
 * cancelled) until the scout has been asked once. Without the lock. 0, or -errno: no thread can be had. */
int link_need(void);

/* Ends the thread, so that the process has its own only; link_start() begins anew. Without the lock. False:
 * there was none, or it has not ended after so long; 0: there is no limit. */
bool link_rest(int limit_ms);

/* What this process has was made before it was executed: as in a forked child. */
void link_lapse(void);

/* In a forked child, before it uses a socket of its parent's: as link_need, if the parent had the thread. */
void link_resume(void);

/* With the lock: reconnect_tick(s) is to be called then, ms; for s->due, and for s->give_up_at while it
 * waits. */
void link_due(struct sock *s, uint64_t at_ms);
void link_give_up(struct sock *s, uint64_t at_ms);

/* With the lock: the thread looks at every socket. */
void link_look(void);

/* With the lock: tell the thread that waiters or work changed. */
void link_kick(void);

/* With the lock: call attempt_event(s) when s->hidden is writable or failed. */
void link_await(struct sock *s);

/* With the lock: what the thread hears when fd is readable. False: the kernel has no room for it. */
enum link_about { LINK_KICK = 1, LINK_SCOUT, LINK_BELL };
bool link_listen(int fd, enum link_about about);

/* With the lock: one of its descriptors has moved to another number. */
void link_moved(int from, int to);

/* In a forked child: closes what was the parent's; a thread starts again when needed. */
void link_forked(void);

#endif

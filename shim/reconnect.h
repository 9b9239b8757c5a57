/* reconnect - brings a socket from one connection to the next. Every function is called with the lock held,
 * never blocks and never runs user code: where a handler is due it is left to run.h. */
#ifndef CMM_RECONNECT_H
#define CMM_RECONNECT_H

#include "choose.h"

/* What waits for s may go by any network that is up, for one connection. */
void reconnect_release(struct sock *s);

/* Looks at the socket after anything has changed and does what is due: begin an attempt, leave, count as
 * lost, wake, schedule. */
void reconnect_consider(struct sock *s);
/* The same within one step, where its numbers have just been looked at; the caller holds a reference. */
void reconnect_proceed(struct sock *s);

/* A live socket leaves for a network that matches labels; a waiting one begins an attempt for them. 0, or
 * -errno: it cannot leave now. */
int reconnect_for(struct sock *s, uint64_t labels);

/* Everybody who waits for s looks again, and what has become ready is run. */
void reconnect_announce(struct sock *s);

/* The listening thread's word: the socket's due time has come. */
void reconnect_tick(struct sock *s, uint64_t now_ms);

/* The connection is over, said a call: error is positive. */
void reconnect_dead(struct sock *s, int error);

/* A call on it ended with error: is that the network's doing? True: it is, and the socket has left it. */
bool reconnect_unreachable(struct sock *s, int error);

/* Patience is over: the attempt, or the wait for one, ends with error. */
void reconnect_give_up(struct sock *s, int error);

/* reset: back to FRESH. close: the last number goes; hidden descriptors are closed, waiters end. */
void reconnect_reset(struct sock *s);
void reconnect_close(struct sock *s);

#endif

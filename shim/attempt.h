/* attempt - makes one connection for a socket. Every function is called with the lock held, never blocks and
 * never runs user code: where a handler is due it is left to run.h. What follows it is reconnect's to say. */
#ifndef CMM_ATTEMPT_H
#define CMM_ATTEMPT_H

#include "shim.h"

/* A waiting socket sets out for labels, by n (NULL: by whatever way the kernel chooses). */
void attempt_begin(struct sock *s, uint64_t labels, const struct wire_network *n);

/* The listening thread's word: the connecting (or resending) descriptor is ready. */
void attempt_event(struct sock *s);

/* A handler has come back: attempt is what s->attempt was, hidden the connection it was for, rc its word. */
void attempt_handler_done(struct sock *s, unsigned attempt, int hidden, int rc);

/* Its network went before it was there: as if it had not been begun. */
void attempt_absent(struct sock *s);

/* It ends with error (positive), which the socket tells from now on. */
void attempt_failed(struct sock *s, int error);

/* Not by this network, for now: the others are tried, then all rest for a while. */
void attempt_back_off(struct sock *s);

/* The network it goes by may yet bring it there. */
bool attempt_usable(const struct sock *s);

/* error (positive) says that there is no way, and is nobody's answer. */
bool attempt_unreachable(int error);

#endif

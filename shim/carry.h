/* carry - streams that the kernel's Multipath TCP carries from one network to the next, under the same
 * connection. With the lock held; nothing here blocks. */
#ifndef CMM_CARRY_H
#define CMM_CARRY_H

#include "shim.h"

/* Its connections are to be tried by Multipath TCP. */
bool carry_wanted(const struct sock *s);

/* fd is its new connection: s->carried says whether the kernel carries it, which is the peer's word, too. */
void carry_begin(struct sock *s, int fd);

/* A look at a carried one after something has changed. True: the kernel goes on with it, or will once there
 * is a network; s->net is the one it is on, and s->due when to look again. False: it is to be treated as any
 * other, whose network is lost. */
bool carry_on(struct sock *s);

/* s is cut, and others hold its description whose calls no door sees. True: to be looked at again, the kernel
 * is about to tell them. */
bool carry_expires(struct sock *s, uint64_t now_ms);

/* Multipath TCP has refused an option with error (negative): a plain socket as s would be one without it, to
 * set or ask it there, so that the program sees what it knows; to be closed. Or -1: the refusal stands. */
int carry_stand_in(const struct sock *s, int level, int name, int error);

/* With these flags the connection under fd sends nothing. */
bool carry_refuses(const struct sock *s, int fd, int flags);

/* What TCP_INFO is to call the state: that of the first way is not the connection's. */
int carry_state(const struct sock *s, int first);

#endif

/* leave - ends a connection without losing what it held: drained if its network still works, accounted for if
 * it is lost. With the lock held; nothing here blocks. */
#ifndef CMM_LEAVE_H
#define CMM_LEAVE_H

#include "shim.h"

/* The connection's network still works: what the kernel has accepted is delivered first (MOVING, driven by
 * leave_drain). Another connection, for labels, follows when it is done. 0; or -errno where that cannot be
 * had now: the socket stays where it is for a moment. */
int leave_for(struct sock *s, uint64_t labels);

/* One look at a MOVING socket. True: it is left, and WAITING. */
bool leave_drain(struct sock *s, uint64_t now_ms);

/* The connection's network is gone: WAITING, or DEAD where no other may follow. Also gives up a MOVING one. 0
 * or -errno, as above. */
int leave_lost(struct sock *s);

/* One more look at a lost one whose other holders have bytes to read: once they have, they hear of it. */
void leave_cut_off(struct sock *s, uint64_t now_ms);

/* Were its network lost now, what becomes of it would hang on who else holds it (holder). */
bool leave_asks(const struct sock *s);

/* Before s is left, emptied or closed: whether it is shared is looked at again where it matters. */
void leave_recall(struct sock *s);

/* copy is a new number of s. True: s was cut off, and copy, a standard number, is none of it any more: who
 * writes there is told, and by no signal. */
bool leave_copied(const struct sock *s, int copy);

#endif

/* mark - SO_RCVLOWAT where some of the bytes are kept here: together with what the kernel has they reach the
 * mark. With the lock held; nothing here blocks. */
#ifndef CMM_MARK_H
#define CMM_MARK_H

#include "shim.h"

/* So many bytes make it readable. */
size_t mark_of(const struct sock *s);

/* What is kept does so by itself, or is all that ever comes. */
bool mark_reached(const struct sock *s);

/* The kernel waits for what is lacking. */
void mark_review(struct sock *s);

/* The program has set another. */
void mark_renewed(struct sock *s);

#endif

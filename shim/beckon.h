/* beckon - the signals by which a program has asked to be told of its socket: SIGIO (O_ASYNC), SIGURG. With
 * the lock held; nothing here blocks. */
#ifndef CMM_BECKON_H
#define CMM_BECKON_H

#include "shim.h"

/* What may have come past the kernel's own signals: bytes that are kept now; another connection, or its end.
 */
enum { BECKON_KEPT = 1, BECKON_ANOTHER = 2 };

/* The file status flags and who is to be told go from the description under the numbers to fd, but for
 * O_ASYNC, which waits until fd is there: the signal tells the number by which it was asked for. */
void beckon_carry(struct sock *s, int fd);
void beckon_begin(struct sock *s);

/* These flags for a description that is not under a number of the program's. */
void beckon_flags(int fd, long flags);

/* From the description old, which has just been left, nothing is told any more. */
void beckon_leave(struct sock *s, int old);

/* What a description asks for: so it cannot stand for nothing under the numbers. */
bool beckon_listens(int fd);

/* Something has come that the kernel has not told of: the listening thread does, as soon as it may. */
void beckon(struct sock *s, unsigned what);

/* On the listening thread, where no handler of the program's runs. */
void beckon_tell(struct sock *s);

#endif

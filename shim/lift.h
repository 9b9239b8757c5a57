/* lift - descriptors of our own: at high numbers, out of the program's way, close-on-exec, and known, so that
 * the program's sweeping closes pass them by. No lock. */
#ifndef CMM_LIFT_H
#define CMM_LIFT_H

#include <stdbool.h>

/* No higher: the table grows with the highest number, and select() reads so much of sets that end here. */
enum { LIFT_END = 1024 };

/* fd's duplicate at a high number, ours from now on; fd is closed. Where there is no room, fd itself.
 * Negative: given back. */
int lift(int fd);

/* A duplicate of the program's descriptor, ours; or -1. */
int lift_copy(int fd);

/* Closes one of ours. */
void lift_close(int fd);

/* The same for what *fd names, if anything: -1 from before it is closed, as a child forked in between must
 * not close what has the number by then. */
void lift_drop(int *fd);

/* It was closed past every door: the number is no longer ours. */
void lift_forget(int fd);

/* The program takes the number for itself: our descriptor moves to another, which is returned, or -1. */
int lift_away(int fd);

bool lift_owns(int fd);

/* The first of ours at or above from; ~0U: none. */
unsigned lift_next(unsigned from);

#endif

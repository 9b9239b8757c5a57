/* last - the end of a program whose main thread has ended: it ends with its last thread, and ours are none of
 * its. With the lock. */
#ifndef CMM_LAST_H
#define CMM_LAST_H

#include <stdint.h>

/* The program's main thread is about to end, and not by exit(). On that thread. */
void last_leader_left(void);

/* Looks whether any thread of the program is left, and ends it if none is. On the listening thread. When to
 * look again: ms; 0: never. */
uint64_t last_look(uint64_t now_ms);

/* In a forked child: its main thread is there. */
void last_forked(void);

#endif

/* adopt - connections of ours that have come into this process ready made: inherited by exec, or received in
 * a message. Without the lock. */
#ifndef CMM_ADOPT_H
#define CMM_ADOPT_H

#include "shim.h"

/* fd may be one: then it is managed from here on. */
void adopt_one(int fd);

/* In the constructor: what the program before this one in the process, or its parent, has left. */
void adopt_all(void);

/* "CMM_HELD=INODE:NETWORK:LABELS,...": those that a program executed now may go on with, 256 of them at most,
 * and the room that takes; 0: there are none. For children of vfork, too: neither locks nor allocates. */
size_t adopt_size(void);
char *adopt_list(char *ret_text, size_t size);

#endif

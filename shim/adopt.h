/* adopt - connections of ours that have come into this process ready made: inherited by exec, or received in
 * a message. Without the lock. */
#ifndef CMM_ADOPT_H
#define CMM_ADOPT_H

#include "shim.h"

enum { ADOPT_TEXT = 512 };

/* fd may be one: then it is managed from here on. */
void adopt_one(int fd);

/* In the constructor: what the program before this one in the process, or its parent, has left. */
void adopt_all(void);

/* "CMM_HELD=INODE:NETWORK:LABELS,...": those that a program executed now may go on with. For children of
 * vfork, too: neither locks nor allocates. False: there are none. */
bool adopt_list(char ret_text[ADOPT_TEXT]);

#endif

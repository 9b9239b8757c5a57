/* lookup - name lookups wait for a network that matches the default labels. Without the lock. */
#ifndef CMM_LOOKUP_H
#define CMM_LOOKUP_H

#include "shim.h"

struct lookup {
    bool waits;   /* it takes a network to answer it */
    uint64_t net; /* the one it was begun with */
};

/* Numeric names, and those of the machine itself, take none. NULL: no name. */
struct lookup lookup_of_name(const char *name);
struct lookup lookup_of_address(const struct sockaddr *address);

/* Before it is made: 0, or -errno. */
int lookup_begin(struct lookup *l);

/* It has failed for want of an answer: true if that was its network's doing, and it is to be begun again. */
bool lookup_again(const struct lookup *l);

#endif

/* options - the socket options a program has set, to set them again on every new connection. The caller holds
 * the lock. */
#ifndef CMM_OPTIONS_H
#define CMM_OPTIONS_H

#include <sys/socket.h>

struct option {
    struct option *next;
    int level, name;
    socklen_t len;
    unsigned char value[];
};

struct options {
    struct option *first, *last;
};

/* Remembers the last value; order is that of the first time each was set. 0 or -ENOMEM. Options that act once
 * (memberships, errors, filters to be removed) are kept as set. */
int options_put(struct options *o, int level, int name, const void *value, socklen_t len);

/* NULL: never set. */
const struct option *options_find(const struct options *o, int level, int name);

/* Sets all on fd. What the new network's socket refuses is left out: the first such -errno, else 0. */
int options_replay(const struct options *o, int fd);

void options_finish(struct options *o);

#endif

/* options - the socket options a program has set, to set them again on every new connection. The caller holds
 * the lock. */
#ifndef CMM_OPTIONS_H
#define CMM_OPTIONS_H

#include <stdint.h>
#include <sys/socket.h>

struct option {
    struct option *next;
    int level, name;
    socklen_t len;
    unsigned char value[];
};

struct options {
    struct option *first;
};

/* Remembers the last value, in the order of setting, and where an option was first. 0 or -ENOMEM. Those that
 * add up (memberships) are all kept. */
int options_put(struct options *o, int level, int name, const void *value, socklen_t len);

/* The last value. NULL: never set. */
const struct option *options_find(const struct options *o, int level, int name);

/* How long the program lets one call of its take, by SO_RCVTIMEO or SO_SNDTIMEO (name): ms, 0: as long as it
 * takes. */
uint64_t options_timeout(const struct options *o, int name);

/* Sets all on fd. What the new network's socket refuses is left out: the first such -errno, else 0. */
int options_replay(const struct options *o, int fd);

void options_finish(struct options *o);

#endif

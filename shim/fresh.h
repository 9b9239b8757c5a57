/* fresh - the sockets that the library makes. With the lock held; nothing here blocks. A descriptor of ours,
 * or -errno. */
#ifndef CMM_FRESH_H
#define CMM_FRESH_H

#include "shim.h"

/* A non-blocking one as the program made its own: options replayed, bound to the network (NULL: not bound).
 */
int fresh_socket(struct sock *s, const struct wire_network *n);

/* The next fresh_socket before fresh_give_back will not lack a descriptor. 0 or -errno. */
int fresh_reserve(struct sock *s);
void fresh_give_back(struct sock *s);

/* One that polls silent while there is no connection. */
int fresh_placeholder(const struct sock *s);

/* One that tells of a reset, and never by a signal; or -1. */
int fresh_tombstone(void);

/* A plain stream that was steered by the library, here or in another process: by that interface. */
bool fresh_signed(int fd, uint32_t *ret_ifindex);

#endif

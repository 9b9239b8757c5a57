/* poll - poll and select over managed sockets: woken when a description is replaced, aware of kept bytes,
 * silent where there is no connection. Without the lock. */
#ifndef CMM_POLL_H
#define CMM_POLL_H

#include "shim.h"

/* As ppoll(2), but -errno. */
int poll_wait(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);

/* As pselect(2), but -errno; *left gets what remains of the timeout (may be NULL). */
int poll_select(int nfds, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout,
                const sigset_t *mask, struct timespec *left);

/* Any managed socket among them. */
bool poll_any(const struct pollfd *fds, nfds_t count);
bool poll_any_selected(int nfds, const fd_set *rd, const fd_set *wr, const fd_set *ex);

#endif

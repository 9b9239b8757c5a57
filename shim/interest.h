/* interest - the epoll sets a managed socket is registered in. Without the lock. */
#ifndef CMM_INTEREST_H
#define CMM_INTEREST_H

#include "shim.h"

/* epoll_ctl() on a managed socket. 0 or -errno. */
int interest_change(int epfd, int op, int fd, struct epoll_event *event);

/* What epoll_wait() has told: a one-shot registration is disarmed by it, and a socket is told of once.
 * Returns how many events that leaves. */
int interest_fired(int epfd, struct epoll_event *events, int count);

#endif

/* capture - the plain sockets of a preloaded program: which of them are managed, and what connect() and
 * datagrams do then. Without the lock; -errno. */
#ifndef CMM_CAPTURE_H
#define CMM_CAPTURE_H

#include "shim.h"

/* What a call of the program's becomes. */
enum { CAPTURE_PASS = 1 }; /* leave it to libc */

/* A socket was made where labels are asked for: manage it if its traffic may get some. */
void capture_socket(int fd, int family, int type, int protocol);

/* connect() on a captured socket: 0, CAPTURE_PASS or -errno. */
int capture_connect(int fd, const struct sockaddr *to, socklen_t len);

/* Before a datagram goes out to (NULL: the connected peer): 0, or -errno. flags as for send. */
int capture_datagram(int fd, const struct sockaddr *to, socklen_t len, int flags);

/* It did not go out: true if that was its network's doing, or it had none, and it is to be tried again. */
bool capture_unsent(int fd, const struct sockaddr *to, int error);

/* The program bound it, or chose an interface for it by an option: left alone, unless a rule says otherwise.
 */
void capture_bound(int fd, const struct sockaddr *to, socklen_t len);
bool capture_may_choose(int fd); /* it is still the program's own: the option is not kept for later ones */
void capture_chosen(int fd);

/* It listens: leave it alone. */
void capture_release(int fd);

/* Labels are asked for: says once how to start a scout, if none has spoken yet. */
void capture_say_no_scout(void);

#endif

/* socket_calls - the calls on a managed socket that are no I/O: made, named, ended, copied. Without the lock;
 * -errno. A descriptor that is not of the kind asked for: -EBADF. */
#ifndef CMM_SOCKET_CALLS_H
#define CMM_SOCKET_CALLS_H

#include "shim.h"

int socket_new(int family, int type, int protocol); /* labeled */
int socket_peer_name(int fd, struct sockaddr *addr, socklen_t *len);
int socket_own_name(int fd, struct sockaddr *addr, socklen_t *len);
int socket_shutdown(int fd, int how);
int socket_reset(int fd);

/* The number still leads to what we put there. If not (closed past every door, and perhaps used again) the
 * record lets go of it. */
bool socket_holds(int fd);

/* Takes the number away and closes it; with the last one the socket ends. */
int socket_close(int fd);

/* The program is about to put something of its own at this number: if one of ours stands there, it moves. */
void socket_make_way(int fd);

/* Something else is about to be put there by dup2: as socket_close. */
void socket_covered(int fd);

/* fd has been closed or replaced by other means: the record follows. */
void socket_gone(int fd);

/* What fd stands for is none of our business, by whichever of its numbers. */
void socket_let_alone(int fd);

/* copy is another number for fd's description. */
void socket_copied(int fd, int copy);

/* A FILE reads or writes fd from now on; another process may have been given it. */
void socket_is_file(int fd, bool reads, bool writes);
void socket_given(int fd);

int socket_cancel(int fd, void (*handler)(void *), struct thunk **ret_list);
int socket_thunk_count(int fd);
ssize_t socket_unacked(int fd);
int socket_set_replay(int fd, bool on);
int socket_set_patience(int fd, const struct timespec *patience);
int socket_network(int fd, struct wire_network *ret);

#endif

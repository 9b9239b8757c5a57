/* socket_options - what a program sets on a managed socket, and what it asks of it. Without the lock; -errno.
 * A descriptor that is not ours: -EBADF. */
#ifndef CMM_SOCKET_OPTIONS_H
#define CMM_SOCKET_OPTIONS_H

#include <stdbool.h>
#include <sys/socket.h>

/* The option chooses an interface. */
bool socket_chooses(int level, int name);

int socket_set_option(int fd, int level, int name, const void *val, socklen_t len);
int socket_get_option(int fd, int level, int name, void *val, socklen_t *len);

/* fcntl F_SETFL and ioctl FIONBIO reach the connection being made too. */
int socket_set_flags(int fd, long flags);
int socket_set_nonblocking(int fd, int on);
int socket_set_async(int fd, int on);

int socket_unread(int fd, int *ret_bytes);                        /* FIONREAD */
int socket_unsent(int fd, unsigned long request, int *ret_bytes); /* SIOCOUTQ, SIOCOUTQNSD */

#endif

/* watch - where a registration in an epoll set is, asked of the kernel. No lock. */
#ifndef CMM_WATCH_H
#define CMM_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* The set epfd has a registration of the socket inode by this number, with this user data. */
bool watch_tells(int epfd, int number, unsigned long inode, uint64_t data);

/* The lowest number of a set that has, but for those that skip(number, context) is true of; -1: there is
 * none, or the kernel does not tell. */
int watch_find(int number, unsigned long inode, uint64_t data, bool (*skip)(int epfd, const void *context),
               const void *context);

#endif

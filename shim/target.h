/* target - where a program sends to, as route and rules look at it. Pure. */
#ifndef CMM_TARGET_H
#define CMM_TARGET_H

#include <sys/socket.h>

struct target {
    int family; /* AF_INET, AF_INET6: an IPv4-mapped one is IPv4 */
    unsigned len;
    int port;
    unsigned char address[16];
};

/* 0, or -EAFNOSUPPORT. */
int target_read(const struct sockaddr *to, struct target *ret);

#endif

/* subflow - what the kernel's Multipath TCP says of a connection: the ways it goes, and what it has carried
 * as a whole. */
#ifndef CMM_SUBFLOW_H
#define CMM_SUBFLOW_H

#include <stdbool.h>
#include <stdint.h>

enum { SUBFLOW_MAX = 16 };

/* One way: its own address, network byte order, and the interface that has it and runs. */
struct subflow {
    int family; /* of its packets: AF_INET or AF_INET6 */
    unsigned char address[16];
    unsigned ifindex;
};

/* fd is a connection by Multipath TCP, and the peer speaks it. False, too, of one that has fallen back to
 * plain TCP, which then tells everything itself. */
bool subflow_multipath(int fd);

/* Bytes of such a connection, by all its ways together. False: it is none, or the kernel too old to count. */
bool subflow_account(int fd, uint64_t *ret_sent, uint64_t *ret_received);

/* The ways that are connected and have a running interface under them; how many. */
int subflow_list(int fd, struct subflow ret[SUBFLOW_MAX]);

#endif

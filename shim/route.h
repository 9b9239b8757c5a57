/* route - where the kernel's ordinary routing would send a packet, asked over a netlink socket of its own. */
#ifndef CMM_ROUTE_H
#define CMM_ROUTE_H

#include <stdbool.h>
#include <sys/socket.h>

/* Never carried by a chosen network: loopback, link-local, multicast, broadcast, unspecified. IPv4-mapped
 * IPv6 is IPv4. Pure. */
bool route_special(const struct sockaddr *to);

struct route {
    unsigned ifindex; /* it leaves by */
    bool local;       /* one of the machine's own addresses, or broadcast or multicast by the routing table */
};

/* 0, or -ENETUNREACH (and the like) where there is no route, or -errno when it cannot be asked. oif: by a
 * route of this interface, 0: of any. */
int route_get(const struct sockaddr *to, unsigned oif, struct route *ret);

/* ROUTE_FREE: there is a route by that interface. ROUTE_FROM: for what leaves with that address of it only,
 * as rules may have it (ip-rule(8)). Else as route_get. family: the address has, or 0: none. */
enum { ROUTE_FREE = 0, ROUTE_FROM = 1 };
int route_by(const struct sockaddr *to, unsigned oif, int family, const unsigned char *address);

/* Is that interface up, with a carrier? The kernel's word now, where the scout's may be yet to come. What
 * cannot be asked is. */
bool route_carried(unsigned ifindex);

#endif

/* datagram - the plain datagram sockets of a preloaded program: each goes by the network its destination's
 * labels ask for, and moves with it. All with the lock held (dropped where a call waits). */
#ifndef CMM_DATAGRAM_H
#define CMM_DATAGRAM_H

#include "shim.h"

/* The way to `to' for labels, chosen anew where the present one no longer matches. While there is none the
 * descriptor polls silent: a blocking call waits, another gets -EAGAIN. 0 or -errno. */
int datagram_steer(struct sock *s, const struct sockaddr *to, socklen_t len, uint64_t labels, bool blocking);

/* connect(): never waits; what has no way yet is connected when one comes. 0 or -errno. */
int datagram_connect(struct sock *s, const struct sockaddr *to, socklen_t len, uint64_t labels);

/* A send ended with error. True: its network is too young for that to be the peer's answer, or gone; the
 * socket waits for another, or for its time to come. */
bool datagram_unreachable(struct sock *s, int error);

/* A send without an address ended with error. True: another process that holds the socket, too, is giving it
 * another way, and it had no peer for a moment; it has it again. */
bool datagram_parted(const struct sock *s, int error);

/* What goes next is none of our business: the kernel's own routing again. */
void datagram_leave_alone(struct sock *s);

/* The networks have changed, or its time has come. */
void datagram_review(struct sock *s);

/* In a forked child: what waits does so by itself from now on. */
void datagram_forked(struct sock *s);

/* The program's own socket: under the number, or beside it while it waits. */
static inline int datagram_number(const struct sock *s, int fd) {
    return s->aside ? s->own : fd;
}

#endif

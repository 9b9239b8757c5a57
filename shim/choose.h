/* choose - which network a socket's traffic goes by now, and whose thunks are next. With the lock held;
 * changes nothing but what is known of a network: how long it is there, and that rules go by its address. */
#ifndef CMM_CHOOSE_H
#define CMM_CHOOSE_H

#include "shim.h"

/* The family its packets have: an IPv4-mapped destination is IPv4. */
int choose_family(const struct sock *s);

/* Which network a connection for labels would go by. 1 with it (NULL with labels 0: the kernel's choice), 0:
 * none now, or -ENETUNREACH: none can ever. */
int choose_network(const struct sock *s, uint64_t labels, const struct wire_network **ret);

/* It carries s only with its own address for a source: it is no more than an address, or rules send nothing
 * else by its routes. */
bool choose_by_address(const struct sock *s, const struct wire_network *n);

/* With nothing to choose: how long one of them may still be settling, ms. */
uint32_t choose_settling(const struct sock *s, uint64_t labels);

/* Its link has lost its carrier, and no scout has told that yet. When it is back it is young, its routes come
 * in steps: who knows its age by the scout's last word alone would take what it lacks then for what it is. */
bool choose_misses(const struct wire_network *n);

/* That network offers the labels, or the socket was released to it. */
bool choose_suits(const struct sock *s, const struct wire_network *n, uint64_t labels);

/* It is live, and on a network that matches. */
bool choose_stays(const struct sock *s, uint64_t labels);

/* Whose thunks are next: those of the round under way, else the oldest that can run or be moved for. NULL:
 * none. */
struct thunk_set *choose_thunks(struct sock *s);

#endif

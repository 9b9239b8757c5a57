/* monitor - what the kernel says of links, addresses, routes and rp_filter (rtnetlink). */
#ifndef CMM_MONITOR_H
#define CMM_MONITOR_H

#include "fact.h"

struct monitor;

/* Subscribes and asks for everything. 0, or -errno. */
int monitor_new(struct monitor **ret);
void monitor_free(struct monitor *m);

/* Poll it for reading. */
int monitor_fd(const struct monitor *m);

/* Takes what there is. 1: facts changed, 0: not, -errno: it is of no use any more. now: ms, CLOCK_MONOTONIC.
 */
int monitor_read(struct monitor *m, int64_t now);

/* When monitor_tick is due, or -1. */
int64_t monitor_deadline(const struct monitor *m);
void monitor_tick(struct monitor *m, int64_t now);

/* Everything has been heard at least once. */
bool monitor_settled(const struct monitor *m);

/* The links by rising ifindex; NULL past the last one. */
const struct fact_link *monitor_link(const struct monitor *m, unsigned index);
bool monitor_has(const struct monitor *m, uint32_t ifindex);

/* Whether a socket can be bound to that address now, and which interface has it (0: not known). m may be
 * NULL. */
bool monitor_can_bind(const struct monitor *m, const struct fact_address *a, uint32_t *ret_ifindex);

#endif

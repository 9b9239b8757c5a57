/* monitor_table - links, addresses and routes out of netlink messages. Pure but for a look at /sys for a
 * link's kind. */
#ifndef CMM_MONITOR_TABLE_H
#define CMM_MONITOR_TABLE_H

#include "fact.h"
#include <linux/netlink.h>

struct monitor_link {
    struct fact_link fact;
    uint16_t hardware; /* ARPHRD_... */
    int filter;        /* rp_filter */
    bool link_seen;    /* in the dump under way */
    bool crowded;      /* has had more addresses than a fact holds */
    bool address_seen[FACT_ADDRESSES];
    bool route4_new, route6_new;   /* of the dump under way */
    uint64_t rank4_new, rank6_new; /* of its default routes: the main table's first, then by metric */
};

struct monitor_table {
    struct monitor_link *links; /* by rising ifindex */
    unsigned count;
    int filter; /* rp_filter of "all": the larger of the two counts */
};

enum {
    MONITOR_LINK = 1,
    MONITOR_ADDRESS = 2,
    MONITOR_FILTER = 4,
    MONITOR_ROUTE = 8, /* the last: it may be held back for a while */
    MONITOR_ALL = 15,
    MONITOR_CROWDED = 16
};

void monitor_table_finish(struct monitor_table *t);

/* Takes one message; answer: it belongs to the dump under way. Which of MONITOR_... it was about
 * (MONITOR_CROWDED: the addresses must be dumped again), 0 if about nothing of ours, -ENOMEM. *ret_changed is
 * set if a fact changed. */
int monitor_table_take(struct monitor_table *t, const struct nlmsghdr *msg, bool answer, bool *ret_changed);

/* A dump of one kind begins; it is complete: what it did not contain is gone. True if a fact changed. */
void monitor_table_dump(struct monitor_table *t, int kind);
bool monitor_table_done(struct monitor_table *t, int kind);

const struct monitor_link *monitor_table_find(const struct monitor_table *t, uint32_t ifindex);

#endif

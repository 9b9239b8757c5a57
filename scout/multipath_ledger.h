/* multipath_ledger - what this scout has done to the kernel's Multipath TCP, for its successor to take back
 * if it is killed. */
#ifndef CMM_MULTIPATH_LEDGER_H
#define CMM_MULTIPATH_LEDGER_H

#include "multipath.h"

struct multipath_ledger {
    unsigned count;
    struct multipath_endpoint endpoint[MULTIPATH_MAX];
    uint32_t limit_before, limit_set; /* set 0: as it was */
};

/* What the one before has left in this network namespace; empty where there is nothing to be believed. */
void multipath_ledger_read(int fd, struct multipath_ledger *ret);

/* fd negative: there is nowhere to keep it. */
void multipath_ledger_write(int fd, const struct multipath_ledger *ledger);

#endif

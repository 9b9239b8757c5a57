/* ctl_wait - until a network is there for some labels. */
#ifndef CMM_CTL_WAIT_H
#define CMM_CTL_WAIT_H

#include "ctl_client.h"

enum { CTL_WAIT_LATE = 0, CTL_WAIT_CAME, CTL_WAIT_REFUSED };

/* Waits on the open connection, at most limit_ms (-1: for ever). scout: where to look for it again if it goes
 * away. ret gets the networks that match (all that are up, if it was released), none if it is LATE. One of
 * CTL_WAIT_..., or -errno and why: no scout answers. */
int ctl_wait(struct ctl_client *c, const char *scout, uint64_t wanted, int64_t limit_ms,
             struct ctl_networks *ret);

#endif

/* report - what waits in this process, as the scout is told: which labels, how many, since when. The caller
 * holds the lock. */
#ifndef CMM_REPORT_H
#define CMM_REPORT_H

#include "private/wire.h"
#include "wait.h"

/* All sockets, and the name lookups that wait. What was left alone is the caller's to add. */
struct wire_report report_of(const struct wait_list *lookups);

/* There is no socket, nothing waits, and nothing was left alone. */
bool report_is_empty(const struct wire_report *r);

#endif

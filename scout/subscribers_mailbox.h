/* subscribers_mailbox - the message queue that holds one subscriber's newest snapshot, and the signal that
 * announces it. */
#ifndef CMM_SUBSCRIBERS_MAILBOX_H
#define CMM_SUBSCRIBERS_MAILBOX_H

#include "private/wire.h"
#include <mqueue.h>

/* A new nameless queue: ours, and the subscriber's read-only end. 0, or -errno: none can be had. */
int mailbox_open(mqd_t *ret_ours, mqd_t *ret_theirs);

/* Replaces what is in it. 0, or -errno. */
int mailbox_put(mqd_t queue, const struct wire_snapshot *snapshot);

/* SIGHUP to that very thread. It may be gone or out of reach: that means nothing. */
void mailbox_announce(uint32_t pid, uint32_t tid);

#endif

/* scout_link - the shim's wire to the scout: subscription socket, mailbox queue, bell. No threads, no lock:
 * its caller owns it. All descriptors are CLOEXEC, non-blocking in effect, and moved to high numbers out of
 * the program's way. */
#ifndef CMM_SCOUT_LINK_H
#define CMM_SCOUT_LINK_H

#include "label.h"
#include "private/wire.h"
#include <stdbool.h>
#include <sys/types.h>

struct scout_link {
    int sock;              /* -1: not connected */
    int queue;             /* -1: snapshots come over sock */
    unsigned long dropped; /* messages that failed wire_check */
    bool released;         /* heard since the caller last cleared it: what waits may go by any network */
};

#define SCOUT_LINK_NONE ((struct scout_link){-1, -1, 0, false})

/* Subscribes with the first trusted scout that place_candidate(name) finds and waits (at most about a second)
 * for its first snapshot. tid: the listening thread, for the SIGHUP. 0, or -ENOENT/-ECONNREFUSED (nobody
 * there), or -errno. */
int scout_link_open(struct scout_link *l, const char *name, pid_t tid, struct wire_snapshot *ret_first);

/* The next snapshot from queue or socket, never blocking. 1 with it (already checked), 0: no more, -EPIPE:
 * the scout is gone (close, then open again). */
int scout_link_receive(struct scout_link *l, struct wire_snapshot *ret);

/* Sends a report; its header is filled in here. 0, -EAGAIN (try later), -EPIPE. */
int scout_link_report(struct scout_link *l, struct wire_report *report);

void scout_link_close(struct scout_link *l);

/* Opens the bell of the first candidate that has a trusted one, for reading, non-blocking: it polls HUP when
 * a scout starts to listen. A descriptor, or -errno. */
int scout_link_bell(const char *name);

/* One short conversation of its own: the user labels' names. 0 or -errno. */
int scout_link_labels(const char *name, struct label_names *ret);

#endif

/* shim - what all verbs share: one struct, guarded by the lock but for the atomic fields and what is set once
 * at the start. */
#ifndef CMM_SHIM_H
#define CMM_SHIM_H

#include "keep.h"
#include "label.h"
#include "lock.h"
#include "net.h"
#include "real.h"
#include "rules.h"
#include "self.h"
#include "sock.h"

#include <unistd.h>

struct shim {
    _Atomic uint64_t default_labels;
    bool labels_bad; /* CMM_LABELS made no sense: labeled connects fail */
    bool asked;      /* of some streams, whatever the default labels: by a rule, or by the policy */
    bool names_known;
    struct wait_list lookups;      /* name lookups that wait for a network */
    unsigned releases;             /* how often all that waits was released */
    bool name_released;            /* a lookup was, and the connection that it is for goes with it */
    const char *scout;             /* CMM_SCOUT, or NULL */
    _Atomic(const char *) left_to; /* not yet told: the library behind us that takes connections */
    bool patient;                  /* captured sockets wait for ever */
    struct timespec patience;      /* else so long */
    enum rules_policy on_loss;

    bool preloaded; /* the program's plain sockets get the default labels */
    bool manual;    /* CMM_DISPATCH_MANUAL */
    bool used;      /* a cmm socket has been made: the mode is fixed */
    pid_t owner;    /* a vfork child or raw clone is not us; 0: nothing was asked of us yet */

    /* Large. What every start reads and writes is together above: each page it touches costs it some
     * microseconds. */
    struct net_table nets;
    struct rules rules;
    struct label_names names;         /* of user bits, as last asked of the scout */
    char left[WIRE_LEFT][WIRE_IFACE]; /* what was left alone went by these */
    struct keep keep;                 /* for programs that are started from here */
};

extern struct shim shim __attribute__((visibility("hidden")));

/* Labels are asked for, by default or by some rule. */
static inline bool shim_wants(void) {
    return atomic_load_explicit(&shim.default_labels, memory_order_relaxed) || shim.asked || shim.labels_bad;
}

/* What nobody asks anything of does not even know which process it is in. */
static inline void shim_claim(void) {
    if (!shim.owner)
        shim.owner = getpid();
}

#endif

/* multipath_hand - multipath on a thread of its own: the kernel takes its time over an endpoint that is taken
 * back, and the scout has news to tell meanwhile. Its calls, and who may make endpoints at all, are those of
 * multipath.h; none of them but the end waits. */
#ifndef CMM_MULTIPATH_HAND_H
#define CMM_MULTIPATH_HAND_H

#include "multipath.h"
#include <pthread.h>

enum { MULTIPATH_PATHS = 64 };

struct multipath_hand {
    struct multipath work; /* the thread's, while there is one */
    struct multipath eyes; /* the loop's: asks only, by a socket of its own */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of what follows, which the loop leaves there */
    pthread_cond_t left;
    bool news, ending, asked;
    unsigned count;
    struct multipath_path paths[MULTIPATH_PATHS];
};

void multipath_hand_init(struct multipath_hand *h, const char *scout, int ledger);
void multipath_hand_finish(struct multipath_hand *h);

/* Done soon; what is asked before it is done is done instead of it. */
void multipath_hand_settle(struct multipath_hand *h, bool asked, const struct multipath_path *paths,
                           unsigned count);

#endif

/* dialing - a stream of an unmodified program that waits for its network, and a thread of it in one call. On
 * the networks wifi (all) and cell (ondemand, small), with a rule that asks for background. */
#ifndef DIALING_H
#define DIALING_H

#include "stage.h"

#include <pthread.h>
#include <stdatomic.h>

extern const char dialing_config[];

#define DIALING_TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background")
#define DIALING_TEST_IMPATIENT(name)                                                                         \
    STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background CMM_PATIENCE=0.3")

extern _Atomic int dialing_sock;

int dialing_connect(int flags); /* a new socket; what connect() says */
int dialing_again(void);

extern struct dialing_caller {
    pthread_t thread;
    long result;
    int error;
    _Atomic pid_t tid;
    _Atomic bool over;
} dialing_caller;

/* call says its tid, and ends with dialing_done. */
void dialing_begin(void *(*call)(void *), void *arg);
long dialing_done(long result);
void dialing_expect_waiting(void); /* it sleeps, and goes on sleeping */
long dialing_outcome(void);        /* once it is back; with its errno */

void *dialing_blocking(void *unused); /* such a call: dialing_connect(0) */

#endif

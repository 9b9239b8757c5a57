/* moving - calls of an unmodified program whose connection is replaced under them: threads in one call each,
 * one connection and the next. Between the loss of one network and the coming of the other lies a gap, so
 * that nobody is saved by a quick handshake. */
#ifndef MOVING_H
#define MOVING_H

#include "stage.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MOVING_LARGE = 3 << 20 };

extern const char moving_world[];    /* both networks are interfaces of a world */
extern const char moving_loopback[]; /* ... addresses of loopback, which the test withdraws */

/* Preloaded, with the policy for all, or by a rule. */
#define MOVING_TEST(name)                                                                                    \
    STAGE_TEST_WITH(name, STAGE_WORLD | STAGE_PRELOAD, moving_world, "CMM_LABELS=small CMM_ON_LOSS=reconnect")
#define MOVING_TEST_IMPATIENT(name)                                                                          \
    STAGE_TEST_WITH(name, STAGE_WORLD | STAGE_PRELOAD, moving_world,                                         \
                    "CMM_LABELS=small CMM_ON_LOSS=reconnect CMM_PATIENCE=0.4")
#define MOVING_TEST_WITHDRAWN(name)                                                                          \
    STAGE_TEST_WITH(name, STAGE_PRELOAD, moving_loopback, "CMM_RULES=127.0.0.0/8=small+reconnect")

extern int moving_sock;
extern char moving_heard[256];

/* ---- threads in one call each ---- */

struct moving_caller {
    pthread_t thread;
    long (*call)(void);
    long result;
    int error;
    _Atomic pid_t tid;
    _Atomic bool over;
};

extern struct moving_caller moving_callers[];

void moving_begin(long (*call)(void));
void moving_expect_waiting(void); /* all of them sleep, and go on sleeping */
long moving_outcome(void);        /* of the oldest, once it is back; with its errno */

/* ---- one connection and the next ---- */

void moving_live(int flags); /* moving_sock is connected by wifi0 */
void moving_lose(void);      /* both links are down */
void moving_part(void);      /* ... and there is no connection under the number */
void moving_find(void);      /* connection 1, by cell0 */
void moving_move(void);      /* part and find; whoever is in a call sleeps through it */
bool moving_parked(void);

int moving_available(void);      /* FIONREAD */
int moving_unacknowledged(void); /* SIOCOUTQ */
bool moving_stuck(void);         /* the far end's buffers are full: the kernel sends no more of what it has */
int moving_polled(short events);
void moving_expect_talk(int connection); /* it carries both ways */

/* ---- what is moved ---- */

void moving_set_timeout(int name, int ms);
long moving_in_recv(void);

/* MOVING_LARGE bytes that tell their places; to be freed. */
unsigned char moving_at(size_t i);
unsigned char *moving_pattern(void);
size_t moving_place(int connection); /* where in it a connection begins */
long moving_in_send(void);

void moving_expect_part(int connection, size_t from); /* it carried the pattern from there on */
/* Connection 1 goes on with what connection 0's kernel never took: bytes in order to the end, none twice
 * that had arrived. */
void moving_expect_rest(void);

#endif

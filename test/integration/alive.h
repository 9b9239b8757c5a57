/* alive - a preloaded program with a connection, and the proof that the library in it is alive: a connection
 * that waits is made when its network comes. On the networks wifi (all) and cell (ondemand, small), with a
 * rule that asks for background. */
#ifndef ALIVE_H
#define ALIVE_H

#include "stage.h"

extern const char alive_config[];
extern int alive_sock;

/* The rule, as a test's environment. */
#define ALIVE_TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background")
#define ALIVE_MOVING(name)                                                                                   \
    STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background+reconnect")

/* A connection to the far end. flags: SOCK_NONBLOCK, SOCK_CLOEXEC. */
int alive_dial(int flags);

/* wifi is up, and alive_sock is connected by it. */
void alive_begin(void);

/* The far end gets it by that connection. */
void alive_says(int fd, int connection, const char *text);

/* One of the connections from first on has carried this by wifi: others of the process may be made again,
 * too. */
bool alive_carried(int first, const char *text);

void alive_expect(void);

/* A child that does not outlive the test; it has ended with that exit code. */
pid_t alive_fork(void);
void alive_ended(pid_t child, int code);

#endif

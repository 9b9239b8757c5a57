/* hello - labeled streams to the far end of a stage, and a thunk that says hello to it. On the networks wifi
 * (background and the user label backup, bit 40) and cell (ondemand), both down at first. */
#ifndef HELLO_H
#define HELLO_H

#include "stage.h"

#include <libcmm.h>
#include <stdatomic.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

extern const char hello_config[];

/* A new socket; what cmm_connect says. */
int hello_dial(int type, unsigned long labels, int *ret_sock);

/* The same of a stream, which must be deferred, or connected. */
int hello_waiting(unsigned long labels);
int hello_connected(unsigned long labels);

/* A thunk for background: its argument is the socket. It counts how often it ran, and keeps what its send
 * said last. */
void hello_send(void *sock);
void hello_defer(int sock); /* a send that must be deferred with it */
extern _Atomic int hello_runs;
extern ssize_t hello_result;

#endif

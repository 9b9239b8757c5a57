/* far - the other end of the player's sockets: a process in another network namespace that does as it is
 * told. Player and far end keep to one processor, where packets are handled in the order in which they were
 * sent. */
#ifndef DIFFER_FAR_H
#define DIFFER_FAR_H

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define FAR_ADDRESS  "10.9.0.1"
#define FAR_ADDRESS6 "fd00:9::1"
enum { FAR_PORT = 7001, FAR_REFUSED = 7002 };

/* The player's descriptors that are no part of the play. */
enum { FAR_ORDERS = 900, FAR_PING, FAR_SHARED };

struct far_shared {
    _Atomic pid_t caller;       /* whose call may block */
    _Atomic pid_t scout;        /* who may be asked meanwhile; 0: none */
    _Atomic unsigned under_way; /* odd: that call is under way */
};

enum far_verb {
    FAR_SEND,
    FAR_URGENT,
    FAR_FINISH,
    FAR_CLOSE,
    FAR_RESET,
    FAR_CONNECT,
    FAR_DATAGRAM,
    FAR_READ,
    FAR_VERBS,
    FAR_INTERRUPT = FAR_VERBS, /* a signal whose handler does not restart calls */
    FAR_RESTART,               /* one whose handler does */
    FAR_ENDINGS
};

/* About the socket of the player's with these ports. relieve: not now, but as soon as the player's call
 * blocks, and an interruption if that does not end it. */
struct far_order {
    int verb, family, relieve;
    unsigned len;
    uint16_t port, peer;
    unsigned char at[16];
};

struct far_answer {
    int result, end; /* end: 0, or 1: end of file, or an errno */
    unsigned received, sum;
};

enum { FAR_TOLD = SIGUSR1, FAR_TOLD_AGAIN = SIGUSR2 };

/* Never returns. */
_Noreturn void far(int orders, struct far_shared *shared);

/* All threads of a process sleep, but the one that asks; 0: nobody. */
int far_asleep(pid_t pid, long (*raw)(long, ...));

#endif

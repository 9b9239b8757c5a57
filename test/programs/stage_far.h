/* stage_far - the far end of a stage: the process that accepts, records and answers. */
#ifndef STAGE_FAR_H
#define STAGE_FAR_H

#include "stage.h"

#include <stdatomic.h>

struct far_connection {
    char peer[48];
    _Atomic size_t received;
    _Atomic int end; /* enum stage_end */
    unsigned char bytes[STAGE_KEPT];
};

struct far_datagram {
    char peer[48];
    size_t len;
    unsigned char bytes[STAGE_DATAGRAM];
};

/* Shared by keeper, far end and test. */
struct far_record {
    _Atomic int connections, datagrams;
    struct sockaddr_in tcp, udp;
    pid_t far, scout;
    char directory[64];
    char failure[512];
    struct far_connection connection[STAGE_CONNECTIONS];
    struct far_datagram datagram[STAGE_DATAGRAMS];
};

enum far_verb {
    FAR_SAY,
    FAR_FINISH,
    FAR_HANG_UP,
    FAR_HOLD,
    FAR_ECHO,
    FAR_REFUSE,
    FAR_CROWD,
    FAR_BUFFER,
    FAR_CATCH_UP,
    FAR_MULTIPATH
};

enum { FAR_PART = 32768 };

struct far_command {
    int verb, number;
    size_t len;
    unsigned char bytes[FAR_PART];
};

/* Never returns. commands: a SEQPACKET socket; each command is answered by an int, 0 or -errno; the first
 * answer comes unasked, once it listens. */
_Noreturn void stage_far(struct far_record *record, int commands, const char *address);

#endif

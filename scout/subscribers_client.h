/* subscribers_client - one connection: what it has said, what it is owed, and the sending of it without ever
 * waiting. */
#ifndef CMM_SUBSCRIBERS_CLIENT_H
#define CMM_SUBSCRIBERS_CLIENT_H

#include "label.h"
#include "private/wire.h"
#include <mqueue.h>
#include <stdbool.h>
#include <sys/types.h>

enum client_owed {
    OWED_NOTHING = 0,
    OWED_FIRST,
    OWED_STATUS,
    OWED_LABELS,
    OWED_NETWORKS,
    OWED_SUBSCRIBERS,
    OWED_DONE
};

struct client {
    int sock, pidfd; /* pidfd -1: not watched */
    mqd_t queue;     /* ours; -1: snapshots go over sock */
    mqd_t handed;    /* the subscriber's end until it is sent; -1: none */
    uint32_t slot, serial;
    uint32_t pid, uid, tid;
    uint32_t interest; /* epoll's */
    bool subscribed, watching;
    bool dirty;   /* a newer snapshot has to go over sock */
    bool blocked; /* the last send found no room */
    bool release; /* owed a WIRE_RELEASE */
    unsigned events_lost;
    enum client_owed owed; /* nothing more is read while something is owed */
    unsigned cursor;       /* in a list of subscribers or networks */
    int32_t done_error;
    char done_text[WIRE_TEXT];
    char program[WIRE_PROGRAM];
    struct wire_report report; /* header.size 0: none yet */
};

/* What answers are made of. */
struct client_source {
    void *arg;
    const struct wire_snapshot *(*snapshot)(void *arg);
    void (*untold)(void *arg, unsigned from, struct wire_snapshot *ret);
    const struct label_names *(*names)(void *arg);
    void (*status)(void *arg, struct wire_status *ret);
    /* The next subscriber at or after *cursor, which is moved past it; NULL: no more. */
    const struct client *(*subscriber)(void *arg, unsigned *cursor);
};

/* Sends what is owed as far as there is room: c->blocked tells if there was not. 0, or -errno: the client is
 * lost. */
int client_push(struct client *c, const struct client_source *from);

/* Owes it the answer to a topic, or just the end of one. */
void client_owe(struct client *c, enum client_owed what);
void client_owe_done(struct client *c, int error, const char *text);

/* One event, or a mark that it was left out. */
void client_event(struct client *c, const char *text);

#endif

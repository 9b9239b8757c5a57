/* subscribers_table - the table of clients, as subscribers and subscribers_request share it. */
#ifndef CMM_SUBSCRIBERS_TABLE_H
#define CMM_SUBSCRIBERS_TABLE_H

#include "subscribers.h"
#include "subscribers_client.h"

struct subscribers {
    int epoll, listening, spare; /* spare: given up to be able to refuse when there are no descriptors left */
    struct subscribers_hooks hooks;
    struct client **clients; /* by slot; NULL: free */
    uint32_t slots, serial;
    uint32_t connected, subscribed, queues;
    uint64_t dropped;
    struct wire_snapshot snapshot;
    struct label_names names;
    struct client_source source;
};

/* What epoll knows a client by, or its process. */
uint64_t subscribers_key(const struct client *c, bool pidfd);

/* Listens to a client as it has to be: not while it is owed something, and for room where there was none. */
void subscribers_listen(struct subscribers *s, struct client *c);

/* To those who watch, and to the log: "subscriber PID PROGRAM WHAT". */
void subscribers_tell(struct subscribers *s, const struct client *c, const char *what);

/* How many connections, or queues, that user has. */
uint32_t subscribers_count(const struct subscribers *s, uint32_t uid, bool queues);

/* The scout's own user, or root. */
bool subscribers_owner(uint32_t uid);

/* subscribers_request: takes one message of a client. What is malformed is dropped and counted. */
void subscribers_take(struct subscribers *s, struct client *c, const void *msg, size_t len);

#endif

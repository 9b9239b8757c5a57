/* subscribers - everybody who is connected to the scout: the shims of programs, and cmm-ctl. */
#ifndef CMM_SUBSCRIBERS_H
#define CMM_SUBSCRIBERS_H

#include "label.h"
#include "private/wire.h"
#include <stdbool.h>
#include <stddef.h>

/* Quotas. A scout that serves only its own user has no need of those per user. */
enum { SUBSCRIBERS_MAX = 4096, SUBSCRIBERS_PER_USER = 2048, SUBSCRIBERS_QUEUES_PER_USER = 128 };

struct subscribers_hooks {
    void *arg;
    /* Permitted requests. 0, or a positive errno with one clear line. */
    int (*set)(void *arg, const struct wire_set *set, char *ret_text, size_t len);
    int (*policy)(void *arg, const struct wire_policy *policy, char *ret_text, size_t len);
    /* From that place on, the networks that found no room in the snapshot: those that fit into ret. */
    void (*untold)(void *arg, unsigned from, struct wire_snapshot *ret);
    /* Everything but subscribers, queues and dropped. */
    void (*status)(void *arg, struct wire_status *ret);
};

struct subscribers;

/* Takes the listening socket over, also on failure. 0, or -errno. */
int subscribers_new(int listening, const struct subscribers_hooks *hooks, struct subscribers **ret);
void subscribers_free(struct subscribers *s);

/* An epoll descriptor: poll it for reading, then call subscribers_read. Never waits, and does only a bounded
 * amount. */
int subscribers_fd(const struct subscribers *s);
void subscribers_read(struct subscribers *s);

/* The newest state, to all. Copied. */
void subscribers_publish(struct subscribers *s, const struct wire_snapshot *snapshot);

/* As the last one, but for what only those who ask need to know. Copied. */
void subscribers_keep(struct subscribers *s, const struct wire_snapshot *snapshot);

/* Names of user labels, for those who ask. Copied. */
void subscribers_names(struct subscribers *s, const struct label_names *names);

/* A line for those who watch. */
void subscribers_event(struct subscribers *s, const char *text);

#endif

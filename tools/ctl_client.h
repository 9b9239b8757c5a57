/* ctl_client - one conversation of cmm-ctl with a scout. Blocking, with a time limit; one thread. */
#ifndef CMM_CTL_CLIENT_H
#define CMM_CTL_CLIENT_H

#include "label.h"
#include "private/wire.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl_client {
    int sock;
    char why[256]; /* one clear line after a failure; escaped by whoever prints it */
};

enum {
    CTL_STATUS = 1 << WIRE_ASK_STATUS,
    CTL_LABELS = 1 << WIRE_ASK_LABELS,
    CTL_NETWORKS = 1 << WIRE_ASK_NETWORKS,
    CTL_SUBSCRIBERS = 1 << WIRE_ASK_SUBSCRIBERS
};

/* All that are listed, programs are told of the first WIRE_NETWORKS of them. */
struct ctl_networks {
    uint32_t count;
    struct wire_network *networks;
};

/* What the scout said when asked. */
struct ctl_view {
    struct wire_status status;
    struct ctl_networks networks;
    struct label_names names;
    struct wire_subscriber *subscribers;
    size_t subscriber_count;
};

/* The first trusted scout of that name (NULL: the default one) that accepts. 0, or -errno and why. */
int ctl_client_open(struct ctl_client *c, const char *name);

/* Whether it is one of the errors of a scout that ended. */
bool ctl_client_ended(int error);

/* Opens again what went away: for as long as a service manager's restart takes, or until the end (by
 * ctl_client_now(), -1: none). 0, or -errno and why. */
int ctl_client_again(struct ctl_client *c, const char *name, int64_t end);

/* CLOCK_MONOTONIC in ms. */
int64_t ctl_client_now(void);

/* Fills in the header and sends. 0, or -errno and why. */
int ctl_client_send(struct ctl_client *c, struct wire_header *msg, enum wire_type type, size_t size);

/* The next well-formed message; ill-formed ones are passed over. Its type, 0 when timeout_ms (-1: none) is
 * over, or -errno and why. */
int ctl_client_receive(struct ctl_client *c, int timeout_ms, union wire_message *ret);

/* As receive, of an answer that must come: silence is -ETIMEDOUT. */
int ctl_client_answer(struct ctl_client *c, union wire_message *ret);

/* Waits for the scout's WIRE_DONE to a message just sent. 0, or -errno and why: -EPIPE, -EPROTO and
 * -ETIMEDOUT mean that no scout answers, *ret_error is a positive errno when one did and said no. */
int ctl_client_done(struct ctl_client *c, int *ret_error);

/* Asks for the parts (CTL_...). 0, or -errno and why. ctl_view_finish() it in any case. */
int ctl_client_view(struct ctl_client *c, unsigned parts, struct ctl_view *ret);
void ctl_view_finish(struct ctl_view *v);

/* Fills in why from what the scout said no with. -errno. */
int ctl_client_refused(struct ctl_client *c, const struct wire_done *d);

/* Adds those of a snapshot. 0, or -ENOMEM. */
int ctl_networks_add(struct ctl_networks *n, const struct wire_snapshot *more);

int ctl_client_ask(struct ctl_client *c, enum wire_topic topic);

void ctl_client_close(struct ctl_client *c);

#endif

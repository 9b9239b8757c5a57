/* ctl_client - cmm-ctl's end of the scout's socket: find a scout, ask, collect the answer.
 *
 * Only the commands of cmm-ctl come in here. One thread, no signals. A scout that accepts and then says
 * nothing is given up after ANSWER_MS: a hung scout must not hang the scripts that ask it. Printing is
 * deliberately absent: a failure leaves one line in `why`.
 */
#include "ctl_client.h"
#include "place.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 3000, ABSENCE_MS = 5000, AGAIN_MS = 50 };

int64_t ctl_client_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int dial(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (s < 0)
        return -errno;
    struct timeval limit = {.tv_sec = ANSWER_MS / 1000};
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit,
               sizeof limit); /* bounds connect() too: a full backlog waits */
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    int error = connect(s, (struct sockaddr *)&to, sizeof to) < 0 ? -errno : 0;
    if (!error && !place_peer_trusted(s))
        error = -EPERM;
    if (!error)
        return s;
    close(s);
    return error;
}

static const char *dial_said(int error) {
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -ECONNREFUSED:
        return "none there";
    case -EPERM:
        return "neither root's nor yours, so not believed";
    case -EAGAIN:
        return "does not accept";
    default:
        return strerror(-error);
    }
}

static void tried(struct ctl_client *c, const char *path, int error) {
    size_t used = strlen(c->why);
    snprintf(c->why + used, sizeof c->why - used, "%s%s: %s", used ? "; " : "no scout answers (", path,
             dial_said(error));
}

int ctl_client_open(struct ctl_client *c, const char *name) {
    char path[PLACE_MAX];
    int error = -ENOENT, more;
    *c = (struct ctl_client){.sock = -1};
    for (int i = 0; (more = place_candidate(name, i, path, sizeof path)) > 0; i++) {
        int s = dial(path);
        if (s >= 0) {
            c->why[0] = 0;
            c->sock = s;
            return 0;
        }
        error = s;
        tried(c, path, s);
    }
    if (more < 0)
        snprintf(c->why, sizeof c->why, "no scout can be called '%s': %s", name ? name : "", strerror(-more));
    else if (strlen(c->why) + sizeof "); start one: cmm-scout" <= sizeof c->why)
        strcat(c->why, "); start one: cmm-scout");
    return more < 0 ? more : error;
}

bool ctl_client_ended(int error) {
    return error == -EPIPE || error == -ECONNRESET;
}

int ctl_client_again(struct ctl_client *c, const char *name, int64_t end) {
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};
    const int64_t limit = ctl_client_now() + ABSENCE_MS;
    int r;
    do {
        ctl_client_close(c);
        r = ctl_client_open(c, name);
    } while (r < 0 && nanosleep(&pause, NULL) == 0 &&
             ctl_client_now() < (end >= 0 && end < limit ? end : limit));
    return r;
}

static int gone(struct ctl_client *c, int error) {
    if (error == -EPROTO)
        snprintf(c->why, sizeof c->why, "the scout speaks another version of the protocol");
    else if (error == -ETIMEDOUT)
        snprintf(c->why, sizeof c->why, "no scout answers: one accepted the connection but says nothing");
    else
        snprintf(c->why, sizeof c->why, "the scout went away: %s",
                 error == -EPIPE ? "connection closed" : strerror(-error));
    return error;
}

int ctl_client_send(struct ctl_client *c, struct wire_header *msg, enum wire_type type, size_t size) {
    *msg = (struct wire_header){WIRE_VERSION, (uint16_t)type, (uint32_t)size};
    if (send(c->sock, msg, size, MSG_NOSIGNAL) < 0)
        return gone(c, errno == EAGAIN ? -ETIMEDOUT : -errno);
    return 0;
}

/* 1: something to read, 0: time over. */
static int await(struct ctl_client *c, int64_t deadline) {
    for (;;) {
        int64_t left = deadline < 0 ? -1 : deadline - ctl_client_now();
        if (deadline >= 0 && left < 0)
            left = 0;
        struct pollfd p = {.fd = c->sock, .events = POLLIN};
        int n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

int ctl_client_receive(struct ctl_client *c, int timeout_ms, union wire_message *ret) {
    int64_t deadline = timeout_ms < 0 ? -1 : ctl_client_now() + timeout_ms;
    for (;;) {
        int ready = await(c, deadline);
        if (ready == 0)
            return 0;
        ssize_t n = recv(c->sock, ret, sizeof *ret, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return gone(c, n == 0 ? -EPIPE : -errno);
        int type = wire_check(ret, (size_t)n);
        if (type > 0)
            return type;
        if ((size_t)n >= sizeof ret->header && ret->header.version != WIRE_VERSION)
            return gone(c, -EPROTO);
    }
}

int ctl_client_answer(struct ctl_client *c, union wire_message *ret) {
    int type = ctl_client_receive(c, ANSWER_MS, ret);
    return type ? type : gone(c, -ETIMEDOUT);
}

int ctl_client_ask(struct ctl_client *c, enum wire_topic topic) {
    struct wire_ask ask = {.topic = topic};
    return ctl_client_send(c, &ask.header, WIRE_ASK, sizeof ask);
}

static int add_subscriber(struct ctl_view *v, const struct wire_subscriber *s) {
    size_t n = v->subscriber_count;
    if ((n & (n - 1)) == 0) { /* at every power of two */
        void *bigger = reallocarray(v->subscribers, n ? 2 * n : 1, sizeof *s);
        if (!bigger)
            return -ENOMEM;
        v->subscribers = bigger;
    }
    v->subscribers[v->subscriber_count++] = *s;
    return 0;
}

int ctl_networks_add(struct ctl_networks *n, const struct wire_snapshot *more) {
    struct wire_network *all = reallocarray(n->networks, n->count + more->count + 1, sizeof *all);
    if (!all)
        return -ENOMEM;
    memcpy(all + n->count, more->networks, more->count * sizeof *all);
    n->networks = all;
    n->count += more->count;
    return 0;
}

static int learn(struct ctl_view *v, const union wire_message *m) {
    switch (m->header.type) {
    case WIRE_STATUS:
        v->status = m->status;
        return 0;
    case WIRE_SNAPSHOT:
        return ctl_networks_add(&v->networks, &m->snapshot);
    case WIRE_LABELS:
        for (int i = 0; i < LABEL_USER; i++)
            snprintf(v->names.name[i], LABEL_NAME, "%s", m->labels.names[i]);
        return 0;
    case WIRE_SUBSCRIBER:
        return add_subscriber(v, &m->subscriber);
    default:
        return 0; /* a snapshot or event in between is no harm */
    }
}

int ctl_client_refused(struct ctl_client *c, const struct wire_done *d) {
    snprintf(c->why, sizeof c->why, "%s", d->text[0] ? d->text : strerror(d->error));
    return -d->error;
}

static int ask_part(struct ctl_client *c, enum wire_topic topic, struct ctl_view *v) {
    union wire_message m;
    int r = ctl_client_ask(c, topic);
    while (r >= 0 && (r = ctl_client_answer(c, &m)) > 0) {
        if (r == WIRE_DONE)
            return m.done.error ? ctl_client_refused(c, &m.done) : 0;
        r = learn(v, &m);
    }
    if (r == -ENOMEM)
        snprintf(c->why, sizeof c->why, "out of memory");
    return r;
}

int ctl_client_view(struct ctl_client *c, unsigned parts, struct ctl_view *ret) {
    memset(ret, 0, sizeof *ret);
    int r = 0;
    for (int topic = WIRE_ASK_STATUS; topic <= WIRE_ASK_SUBSCRIBERS && r >= 0; topic++)
        if (parts & (1u << topic))
            r = ask_part(c, (enum wire_topic)topic, ret);
    return r;
}

void ctl_view_finish(struct ctl_view *v) {
    free(v->networks.networks);
    free(v->subscribers);
    v->networks = (struct ctl_networks){0};
    v->subscribers = NULL;
    v->subscriber_count = 0;
}

int ctl_client_done(struct ctl_client *c, int *ret_error) {
    union wire_message m;
    int r;
    *ret_error = 0;
    while ((r = ctl_client_answer(c, &m)) > 0)
        if (r == WIRE_DONE) {
            *ret_error = m.done.error ? -ctl_client_refused(c, &m.done) : 0;
            return 0;
        }
    return r;
}

void ctl_client_close(struct ctl_client *c) {
    if (c->sock >= 0)
        close(c->sock);
    c->sock = -1;
}

/* subscribers_client - one connection: what it has said, what it is owed, and the sending of it without ever
 * waiting.
 *
 * Only subscribers comes in. An answer of many messages is a cursor, not a queue: a client that does not read
 * costs nothing but its own answers. Snapshots over the socket are a mark, made anew when there is room.
 */
#include "subscribers_client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

enum { BUDGET = 128 }; /* messages in one go, so that others get their turn */

static uint64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void hand_over(struct msghdr *msg, int fd, void *control, size_t len) {
    msg->msg_control = control;
    msg->msg_controllen = len;
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
}

/* 1: sent, 0: no room, -errno. fd -1: none to hand over. */
static int transmit(struct client *c, const void *data, size_t len, int fd) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0)
        hand_over(&msg, fd, control, sizeof control);
    if (sendmsg(c->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 1;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS ||
        errno == EINTR) {
        c->blocked = true;
        return 0;
    }
    return -errno;
}

static int say(struct client *c, struct wire_header *msg, enum wire_type type, size_t size) {
    *msg = (struct wire_header){WIRE_VERSION, (uint16_t)type, (uint32_t)size};
    return transmit(c, msg, size, -1);
}

static int say_snapshot(struct client *c, const struct client_source *from, int fd) {
    const struct wire_snapshot *s = from->snapshot(from->arg);
    int r = transmit(c, s, s->header.size, fd);
    if (r > 0)
        c->dirty = false;
    return r;
}

/* A snapshot, then more of them while there are networks that found no room. 2: no more. */
static int say_networks(struct client *c, const struct client_source *from) {
    struct wire_snapshot more = {.generation = from->snapshot(from->arg)->generation};
    if (c->cursor > 0)
        from->untold(from->arg, (c->cursor - 1) * WIRE_NETWORKS, &more);
    if (c->cursor > 0 && more.count == 0)
        return 2;
    int r = c->cursor == 0 ? say_snapshot(c, from, -1)
                           : say(c, &more.header, WIRE_SNAPSHOT, wire_snapshot_size(more.count));
    c->cursor += r > 0;
    return r;
}

static int say_first(struct client *c, const struct client_source *from) {
    int r = say_snapshot(c, from, c->handed);
    if (r > 0 && c->handed >= 0) {
        mq_close(c->handed);
        c->handed = -1;
    }
    return r;
}

static int say_status(struct client *c, const struct client_source *from) {
    struct wire_status status = {0};
    from->status(from->arg, &status);
    return say(c, &status.header, WIRE_STATUS, sizeof status);
}

static int say_labels(struct client *c, const struct client_source *from) {
    struct wire_labels labels = {0};
    _Static_assert(sizeof labels.names == sizeof from->names(NULL)->name, "the same table");
    memcpy(labels.names, from->names(from->arg)->name, sizeof labels.names);
    return say(c, &labels.header, WIRE_LABELS, sizeof labels);
}

/* 1: one said, 0: no room, 2: no more. */
static int say_subscriber(struct client *c, const struct client_source *from) {
    unsigned cursor = c->cursor;
    const struct client *who = from->subscriber(from->arg, &cursor);
    if (!who)
        return 2;
    struct wire_subscriber s = {.pid = who->pid, .uid = who->uid, .report = who->report};
    memcpy(s.program, who->program, sizeof s.program);
    int r = say(c, &s.header, WIRE_SUBSCRIBER, sizeof s);
    if (r > 0)
        c->cursor = cursor;
    return r;
}

static int say_done(struct client *c) {
    struct wire_done done = {.error = c->done_error};
    memcpy(done.text, c->done_text, sizeof done.text);
    return say(c, &done.header, WIRE_DONE, sizeof done);
}

static int say_event(struct client *c, const char *text) {
    struct wire_event event = {.at_ms = wall_ms()};
    snprintf(event.text, sizeof event.text, "%s", text);
    return say(c, &event.header, WIRE_EVENT, sizeof event);
}

static int step(struct client *c, const struct client_source *from, enum client_owed *ret_next) {
    *ret_next = OWED_DONE;
    switch (c->owed) {
    case OWED_FIRST:
        *ret_next = OWED_NOTHING;
        return say_first(c, from);
    case OWED_STATUS:
        return say_status(c, from);
    case OWED_LABELS:
        return say_labels(c, from);
    case OWED_NETWORKS: {
        int r = say_networks(c, from);
        *ret_next = r == 2 ? OWED_DONE : OWED_NETWORKS;
        return r;
    }
    case OWED_SUBSCRIBERS: {
        int r = say_subscriber(c, from);
        *ret_next = r == 2 ? OWED_DONE : OWED_SUBSCRIBERS;
        return r;
    }
    case OWED_DONE:
        *ret_next = OWED_NOTHING;
        return say_done(c);
    case OWED_NOTHING:
        break;
    }
    return 0;
}

static int say_lost(struct client *c) {
    char text[WIRE_TEXT];
    snprintf(text, sizeof text, "%u events were left out", c->events_lost);
    int r = say_event(c, text);
    if (r > 0)
        c->events_lost = 0;
    return r;
}

static int say_release(struct client *c) {
    struct wire_release release;
    int r = say(c, &release.header, WIRE_RELEASE, sizeof release);
    if (r > 0)
        c->release = false;
    return r;
}

int client_push(struct client *c, const struct client_source *from) {
    int r = 1;
    c->blocked = false;
    for (int budget = BUDGET; r > 0 && budget > 0; budget--) {
        enum client_owed next;
        if (c->owed) {
            r = step(c, from, &next);
            if (r > 0)
                c->owed = next;
        } else if (c->dirty) {
            r = say_snapshot(c, from, -1);
        } else if (c->release) {
            r = say_release(c);
        } else if (c->events_lost) {
            r = say_lost(c);
        } else {
            return 0;
        }
    }
    c->blocked = true; /* come again when there is room, or at once after the others */
    return r < 0 ? r : 0;
}

void client_owe(struct client *c, enum client_owed what) {
    c->owed = what;
    c->cursor = 0;
    c->done_error = 0;
    memset(c->done_text, 0, sizeof c->done_text);
}

void client_owe_done(struct client *c, int error, const char *text) {
    client_owe(c, OWED_DONE);
    c->done_error = error;
    snprintf(c->done_text, sizeof c->done_text, "%s", text);
}

void client_event(struct client *c, const char *text) {
    if (c->owed || c->blocked || c->events_lost || say_event(c, text) <= 0)
        c->events_lost++;
}

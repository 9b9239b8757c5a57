/* subscribers - everybody who is connected to the scout: the shims of programs, and cmm-ctl.
 *
 * scout.c comes in when the epoll descriptor is readable, and to publish. Nothing here waits for a client; of
 * each only a few messages are taken a turn, and none while it has not taken its last answer. Who a client
 * is, is the kernel's word. What is malformed is dropped and counted.
 */
#include "subscribers_table.h"

#include "log.h"
#include "subscribers_mailbox.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 32, ACCEPTS = 8, READS = 8 }; /* of a turn */
static const uint64_t listening_key = UINT64_MAX;

uint64_t subscribers_key(const struct client *c, bool pidfd) {
    return (uint64_t)c->serial << 32 | (uint64_t)c->slot << 1 | pidfd;
}

void subscribers_listen(struct subscribers *s, struct client *c) {
    uint32_t interest = (c->owed ? 0 : EPOLLIN) | (c->blocked ? EPOLLOUT : 0);
    struct epoll_event e = {.events = interest, .data.u64 = subscribers_key(c, false)};
    if (interest == c->interest)
        return;
    if (epoll_ctl(s->epoll, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->sock, &e) == 0)
        c->interest = interest;
}

void subscribers_tell(struct subscribers *s, const struct client *c, const char *what) {
    char text[WIRE_TEXT];
    snprintf(text, sizeof text, "subscriber %" PRIu32 " %.*s %s", c->pid, WIRE_PROGRAM, c->program, what);
    log_often(LOG_DETAIL, "%s", text);
    subscribers_event(s, text);
}

static void close_queue(struct subscribers *s, struct client *c) {
    if (c->queue < 0)
        return;
    mq_close(c->queue);
    c->queue = -1;
    s->queues--;
}

static void stop_watching_process(struct client *c) {
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->pidfd = -1;
}

static void drop(struct subscribers *s, struct client *c) {
    s->clients[c->slot] = NULL;
    s->connected--;
    s->subscribed -= c->subscribed;
    close_queue(s, c);
    if (c->handed >= 0)
        mq_close(c->handed);
    stop_watching_process(c);
    close(c->sock);
    if (c->subscribed)
        subscribers_tell(s, c, "left");
    free(c);
}

/* False: the client is gone. */
static bool push(struct subscribers *s, struct client *c) {
    if (client_push(c, &s->source) < 0) {
        drop(s, c);
        return false;
    }
    subscribers_listen(s, c);
    return true;
}

uint32_t subscribers_count(const struct subscribers *s, uint32_t uid, bool queues) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->slots; i++)
        n += s->clients[i] && s->clients[i]->uid == uid && (!queues || s->clients[i]->queue >= 0);
    return n;
}

bool subscribers_owner(uint32_t uid) {
    return uid == 0 || uid == geteuid();
}

/* An empty packet reads like an end of file. */
static bool has_hung_up(const struct client *c) {
    struct pollfd p = {.fd = c->sock, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

static void read_client(struct subscribers *s, struct client *c) {
    _Alignas(8) char buffer[WIRE_MAX];
    for (int i = 0; i < READS && !c->owed; i++) {
        ssize_t n = recv(c->sock, buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0 || (n == 0 && has_hung_up(c))) {
            drop(s, c);
            return;
        }
        subscribers_take(s, c, buffer, (size_t)n); /* no message is longer than the buffer */
        if (c->owed && client_push(c, &s->source) < 0) {
            drop(s, c);
            return;
        }
    }
    subscribers_listen(s, c);
}

static struct client *add(struct subscribers *s, int sock) {
    uint32_t slot = 0;
    while (slot < s->slots && s->clients[slot])
        slot++;
    if (slot == s->slots) {
        uint32_t slots = s->slots ? 2 * s->slots : 16;
        struct client **more = reallocarray(s->clients, slots, sizeof *more);
        if (!more)
            return NULL;
        memset(more + s->slots, 0, (slots - s->slots) * sizeof *more);
        s->clients = more;
        s->slots = slots;
    }
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    *c = (struct client){
        .sock = sock, .pidfd = -1, .queue = -1, .handed = -1, .slot = slot, .serial = s->serial++};
    s->clients[slot] = c;
    s->connected++;
    return c;
}

static void welcome(struct subscribers *s, int sock) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    bool full = s->connected >= SUBSCRIBERS_MAX;
    if (full || getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
        (!subscribers_owner(peer.uid) && subscribers_count(s, peer.uid, false) >= SUBSCRIBERS_PER_USER)) {
        close(sock);
        return;
    }
    struct client *c = add(s, sock);
    if (!c) {
        close(sock);
        return;
    }
    c->pid = peer.pid > 0 ? (uint32_t)peer.pid : 0; /* 0: of a pid namespace we cannot see into */
    c->uid = peer.uid;
    subscribers_listen(s, c);
    if (!c->interest)
        drop(s, c);
}

/* Without a free descriptor the socket would stay readable for ever: take the connection and close it. */
static bool refuse_one(struct subscribers *s) {
    if (s->spare < 0)
        return false;
    close(s->spare);
    int sock = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
    if (sock >= 0)
        close(sock);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return sock >= 0;
}

static void accept_some(struct subscribers *s) {
    for (int i = 0; i < ACCEPTS; i++) {
        int sock = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (sock >= 0)
            welcome(s, sock);
        else if (errno == EMFILE || errno == ENFILE ? !refuse_one(s)
                                                    : errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static struct client *client_at(struct subscribers *s, uint64_t key) {
    uint32_t slot = (uint32_t)(key & UINT32_MAX) >> 1;
    struct client *c = slot < s->slots ? s->clients[slot] : NULL;
    return c && c->serial == key >> 32 ? c : NULL; /* an event may outlive its client */
}

static void serve(struct subscribers *s, const struct epoll_event *e) {
    struct client *c = client_at(s, e->data.u64);
    if (!c)
        return;
    if (e->data.u64 & 1) {
        stop_watching_process(c);
        c->tid = 0;
        return;
    }
    if ((e->events & EPOLLOUT || c->owed) && !push(s, c))
        return;
    if (!c->owed)
        read_client(s, c);
}

void subscribers_read(struct subscribers *s) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(s->epoll, events, EVENTS, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == listening_key)
            accept_some(s);
        else
            serve(s, &events[i]);
    }
}

static void deliver(struct subscribers *s, struct client *c) {
    if (c->queue >= 0 && mailbox_put(c->queue, &s->snapshot) == 0) {
        mailbox_announce(c->pid, c->tid);
        return;
    }
    c->dirty = true;
    if (push(s, c) && !c->dirty)
        mailbox_announce(c->pid, c->tid);
}

void subscribers_publish(struct subscribers *s, const struct wire_snapshot *snapshot) {
    s->snapshot = *snapshot;
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->clients[i] && s->clients[i]->subscribed)
            deliver(s, s->clients[i]);
}

void subscribers_keep(struct subscribers *s, const struct wire_snapshot *snapshot) {
    s->snapshot = *snapshot;
}

void subscribers_names(struct subscribers *s, const struct label_names *names) {
    s->names = *names;
}

void subscribers_event(struct subscribers *s, const char *text) {
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->clients[i] && s->clients[i]->watching) {
            client_event(s->clients[i], text);
            subscribers_listen(s, s->clients[i]);
        }
}

static const struct wire_snapshot *give_snapshot(void *arg) {
    return &((struct subscribers *)arg)->snapshot;
}

static void give_untold(void *arg, unsigned from, struct wire_snapshot *ret) {
    struct subscribers *s = arg;
    s->hooks.untold(s->hooks.arg, from, ret);
}

static const struct label_names *give_names(void *arg) {
    return &((struct subscribers *)arg)->names;
}

static void give_status(void *arg, struct wire_status *ret) {
    struct subscribers *s = arg;
    s->hooks.status(s->hooks.arg, ret);
    ret->subscribers = s->subscribed;
    ret->queues = s->queues;
    ret->dropped = s->dropped;
}

static const struct client *give_subscriber(void *arg, unsigned *cursor) {
    struct subscribers *s = arg;
    for (; *cursor < s->slots; ++*cursor)
        if (s->clients[*cursor] && s->clients[*cursor]->subscribed)
            return s->clients[(*cursor)++];
    return NULL;
}

int subscribers_fd(const struct subscribers *s) {
    return s->epoll;
}

int subscribers_new(int listening, const struct subscribers_hooks *hooks, struct subscribers **ret) {
    struct subscribers *s = calloc(1, sizeof *s);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = listening_key};
    if (!s) {
        close(listening);
        return -ENOMEM;
    }
    s->listening = listening;
    s->hooks = *hooks;
    s->snapshot.header = (struct wire_header){WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(0)};
    s->source =
        (struct client_source){s, give_snapshot, give_untold, give_names, give_status, give_subscriber};
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, listening, &e) < 0) {
        int error = -errno;
        subscribers_free(s);
        return error;
    }
    *ret = s;
    return 0;
}

void subscribers_free(struct subscribers *s) {
    if (!s)
        return;
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->clients[i]) {
            s->clients[i]->subscribed = false;
            drop(s, s->clients[i]);
        }
    free(s->clients);
    close(s->listening);
    if (s->spare >= 0)
        close(s->spare);
    if (s->epoll >= 0)
        close(s->epoll);
    free(s);
}

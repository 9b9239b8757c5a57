/* subscribers_request - what one client says: that it subscribes, what it waits for, what it asks or wants
 * changed.
 *
 * subscribers comes in with one message at a time, and sends what is owed afterwards. Who may do what is
 * decided here, by the kernel's word of who the client is.
 */
#include "subscribers_table.h"

#include "subscribers_mailbox.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static const char not_owner[] = "only the owner of the scout may do that";

/* A reused pid must not get a signal meant for a process that is gone. Only a scout of root could do harm by
 * it. */
static void watch_process(struct subscribers *s, struct client *c) {
    socklen_t len = sizeof c->pidfd;
    if (geteuid() != 0 || c->uid == 0 || c->pidfd >= 0)
        return;
    if (getsockopt(c->sock, SOL_SOCKET, SO_PEERPIDFD, &c->pidfd, &len) < 0)
        c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = subscribers_key(c, true)};
    if (c->pidfd < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->pidfd, &e) < 0) {
        if (c->pidfd >= 0)
            close(c->pidfd);
        c->pidfd = -1;
        c->tid = 0; /* the queue alone wakes it too */
    }
}

static void give_queue(struct subscribers *s, struct client *c) {
    if (c->queue >= 0 ||
        (!subscribers_owner(c->uid) && subscribers_count(s, c->uid, true) >= SUBSCRIBERS_QUEUES_PER_USER))
        return;
    if (mailbox_open(&c->queue, &c->handed) < 0)
        c->queue = c->handed = -1;
    s->queues += c->queue >= 0;
}

/* Old snapshots must not pile up on the way to somebody slow. */
static void narrow(struct client *c) {
    int least = 1;
    setsockopt(c->sock, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
}

static void subscribe(struct subscribers *s, struct client *c, const struct wire_subscribe *m) {
    bool again = c->subscribed;
    c->tid = m->tid;
    memcpy(c->program, m->program, sizeof c->program);
    for (char *p = c->program; *p; p++) /* a word in what is told, of any script */
        if ((unsigned char)*p <= ' ' || *p == '\177')
            *p = '?';
    if (m->flags & WIRE_WANT_QUEUE)
        give_queue(s, c);
    if (c->queue < 0)
        narrow(c);
    watch_process(s, c);
    c->subscribed = true;
    s->subscribed += !again;
    client_owe(c, OWED_FIRST);
    if (!again)
        subscribers_tell(s, c, "came");
}

static void report(struct subscribers *s, struct client *c, const struct wire_report *m) {
    char what[WIRE_TEXT] = "waits no more", labels[WIRE_TEXT - 16];
    uint64_t before = 0, now = 0;
    for (uint32_t i = 0; i < c->report.count; i++)
        before |= c->report.wants[i].labels;
    for (uint32_t i = 0; i < m->count; i++)
        now |= m->wants[i].labels;
    bool changed = before != now || (c->report.count == 0) != (m->count == 0);
    c->report = *m;
    if (m->count) {
        label_format(now, &s->names, labels, sizeof labels);
        snprintf(what, sizeof what, "waiting %s", labels);
    }
    if (changed)
        subscribers_tell(s, c, what);
}

static void ask(struct subscribers *s, struct client *c, const struct wire_ask *m) {
    switch (m->topic) {
    case WIRE_ASK_STATUS:
        client_owe(c, OWED_STATUS);
        return;
    case WIRE_ASK_LABELS:
        client_owe(c, OWED_LABELS);
        return;
    case WIRE_ASK_NETWORKS:
        client_owe(c, OWED_NETWORKS);
        return;
    case WIRE_ASK_SUBSCRIBERS:
        client_owe(c, OWED_SUBSCRIBERS);
        return;
    case WIRE_ASK_WATCH:
        c->watching = true;
        return;
    default:
        s->dropped++;
        client_owe_done(c, EINVAL, "this scout does not know that topic");
    }
}

static bool anything_is_up(const struct subscribers *s) {
    for (uint32_t i = 0; i < s->snapshot.count; i++)
        if (s->snapshot.networks[i].state == WIRE_NET_UP)
            return true;
    return false;
}

static bool may_release(const struct client *by, const struct client *who) {
    return subscribers_owner(by->uid) || by->uid == who->uid;
}

/* 0, or a positive errno with one clear line. Who is lost on the way is dropped when it is read next. */
static int release(struct subscribers *s, const struct client *by, uint32_t pid, char *ret_text, size_t len) {
    int error = ESRCH;
    if (!anything_is_up(s)) {
        snprintf(ret_text, len, "no network is up: there is nothing to go by");
        return ENETDOWN;
    }
    for (uint32_t i = 0; i < s->slots; i++) {
        struct client *c = s->clients[i];
        if (!c || !c->subscribed || c->pid != pid)
            continue;
        if (!may_release(by, c)) {
            snprintf(ret_text, len, "process %" PRIu32 " is somebody else's", pid);
            return EPERM;
        }
        error = 0;
        c->release = true;
        client_push(c, &s->source);
        subscribers_listen(s, c);
        subscribers_tell(s, c, "released");
    }
    if (error)
        snprintf(ret_text, len, "process %" PRIu32 " is not known to the scout", pid);
    return error;
}

/* Who may is asked for each: a release is also for the process's own user. */
static void set(struct subscribers *s, struct client *c, const struct wire_set *m) {
    char text[WIRE_TEXT] = "";
    int error = EPERM;
    if (m->action == WIRE_SET_RELEASE)
        error = release(s, c, m->pid, text, sizeof text);
    else if (subscribers_owner(c->uid))
        error = s->hooks.set(s->hooks.arg, m, text, sizeof text);
    client_owe_done(c, error, text[0] || error != EPERM ? text : not_owner);
}

static void policy(struct subscribers *s, struct client *c, const struct wire_policy *m) {
    char text[WIRE_TEXT] = "";
    bool may = subscribers_owner(c->uid);
    int error = may ? s->hooks.policy(s->hooks.arg, m, text, sizeof text) : EPERM;
    client_owe_done(c, error, may ? text : not_owner);
}

void subscribers_take(struct subscribers *s, struct client *c, const void *msg, size_t len) {
    switch (wire_check(msg, len)) {
    case WIRE_SUBSCRIBE:
        subscribe(s, c, msg);
        return;
    case WIRE_REPORT:
        report(s, c, msg);
        return;
    case WIRE_ASK:
        ask(s, c, msg);
        return;
    case WIRE_SET:
        set(s, c, msg);
        return;
    case WIRE_POLICY:
        policy(s, c, msg);
        return;
    default: /* malformed, or what only a scout says */
        s->dropped++;
    }
}

/* subscriber - clients of the part of the scout that serves them, and what they say and hear; for its tests.
 */
#ifndef SUBSCRIBER_H
#define SUBSCRIBER_H

#include "subscribers.h"

#include <check.h>
#include <errno.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static struct subscribers *s;
static struct sockaddr_un at;
static union wire_message m;
static int set_calls, set_answer;
static unsigned untold;

static inline int on_set(void *arg, const struct wire_set *set, char *ret_text, size_t len) {
    set_calls++;
    snprintf(ret_text, len, "%s", set->network);
    return set_answer;
}

static inline int on_policy(void *arg, const struct wire_policy *policy, char *ret_text, size_t len) {
    return policy->labels == 8 && policy->fields == WIRE_SET_LABELS ? 0 : EINVAL;
}

static inline void on_untold(void *arg, unsigned from, struct wire_snapshot *ret) {
    for (ret->count = 0; from < untold && ret->count < WIRE_NETWORKS; from++)
        ret->networks[ret->count++] = (struct wire_network){.id = from + 1};
}

static inline void on_status(void *arg, struct wire_status *ret) {
    ret->generation = 77;
}

static inline void start(void) {
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hup, NULL);
    struct subscribers_hooks hooks = {NULL, on_set, on_policy, on_untold, on_status};
    at = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/tmp/cmm-subscribers-%d.sock", getpid());
    int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listening, 100), 0);
    ck_assert_int_eq(subscribers_new(listening, &hooks, &s), 0);
    set_calls = set_answer = 0;
    untold = 0;
}

static inline void finish(void) {
    subscribers_free(s);
    unlink(at.sun_path);
}

/* Lets the scout's side work until it has nothing more to do. */
static inline void turn(void) {
    struct pollfd p = {.fd = subscribers_fd(s), .events = POLLIN};
    for (int i = 0; i < 10000 && poll(&p, 1, 0) > 0; i++)
        subscribers_read(s);
}

static inline int dial(void) {
    int c = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(c, (struct sockaddr *)&at, sizeof at), 0);
    return c;
}

static inline void say(int c, void *msg, enum wire_type type, size_t size) {
    *(struct wire_header *)msg = (struct wire_header){WIRE_VERSION, (uint16_t)type, (uint32_t)size};
    ck_assert_int_eq(send(c, msg, size, MSG_NOSIGNAL), (int)size);
}

static inline void subscribe(int c, unsigned flags) {
    struct wire_subscribe msg = {.tid = (uint32_t)syscall(SYS_gettid), .flags = flags, .program = "tester"};
    say(c, &msg, WIRE_SUBSCRIBE, sizeof msg);
}

static inline void ask(int c, enum wire_topic topic) {
    struct wire_ask msg = {.topic = topic};
    say(c, &msg, WIRE_ASK, sizeof msg);
}

static inline void report(int c, uint64_t labels) {
    struct wire_report msg = {
        .sockets = 3, .thunks = 4, .count = 1, .wants = {{.labels = labels, .count = 1}}};
    say(c, &msg, WIRE_REPORT, sizeof msg);
}

/* The type of what comes next, 0: nothing; a descriptor that came with it. */
static inline int hear_with(int c, int *ret_fd) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {&m, sizeof m};
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    turn();
    ssize_t n = recvmsg(c, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *ret_fd = -1;
    if (n <= 0)
        return 0;
    if (CMSG_FIRSTHDR(&msg))
        memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof *ret_fd);
    int type = wire_check(&m, (size_t)n);
    ck_assert_int_ne(type, 0);
    return type;
}

static inline int hear(int c) {
    int fd;
    int type = hear_with(c, &fd);
    ck_assert_int_eq(fd, -1);
    return type;
}

static inline void publish(uint64_t generation) {
    struct wire_snapshot snapshot = {
        .header = {WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(1)},
        .generation = generation,
        .count = 1,
        .networks = {{.name = "lab", .id = 5, .state = WIRE_NET_UP}},
    };
    subscribers_publish(s, &snapshot);
}

/* The generation in the mailbox, 0: empty. */
static inline uint64_t look_into(mqd_t queue) {
    static const struct timespec long_ago;
    ssize_t n = mq_timedreceive(queue, (char *)&m, sizeof m, NULL, &long_ago);
    if (n < 0)
        return 0;
    ck_assert_int_eq(wire_check(&m, (size_t)n), WIRE_SNAPSHOT);
    return m.snapshot.generation;
}

static inline int hangups(void) {
    static const struct timespec no_time;
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    int n = 0;
    while (sigtimedwait(&hup, NULL, &no_time) == SIGHUP)
        n++;
    return n;
}

static inline uint64_t dropped(int c) {
    ask(c, WIRE_ASK_STATUS);
    ck_assert_int_eq(hear(c), WIRE_STATUS);
    uint64_t n = m.status.dropped;
    ck_assert_int_eq(hear(c), WIRE_DONE);
    return n;
}

#endif

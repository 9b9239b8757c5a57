/* fake_scout - a scout for tests: accepts, reads one message, answers by its reply function, as often as
 * asked.
 *
 * A real SEQPACKET socket and a real message queue in a directory of their own, served by one thread; every
 * reply a test needs, the wrong ones above all. One per process: Check runs each test in its own. Once the
 * thread is joined the test speaks for the scout itself.
 */
#ifndef CMM_FAKE_SCOUT_H
#define CMM_FAKE_SCOUT_H

#include "private/wire.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct {
    char dir[64];
    char path[96];
    int listener;
    int client;
    mqd_t mailbox; /* its own end, for writing */
    pthread_t thread;
    void (*reply)(void);
    int conversations;
    struct wire_subscribe got[2];
    int got_count;
    rlim_t limit;
} fake;

/* ---- the fake scout's hands ---- */

static inline struct wire_snapshot snapshot(uint64_t generation) {
    struct wire_snapshot s = {
        .header = {WIRE_VERSION, WIRE_SNAPSHOT, 0}, .generation = generation, .count = 1};
    s.header.size = (uint32_t)wire_snapshot_size(s.count);
    strcpy(s.networks[0].name, "home");
    s.networks[0].id = generation * 10;
    return s;
}

static inline void say(const void *msg, size_t len) {
    ck_assert_int_eq(send(fake.client, msg, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void say_snapshot(uint64_t generation) {
    struct wire_snapshot s = snapshot(generation);
    say(&s, s.header.size);
}

static inline void say_with_fds(const void *msg, size_t len, const int *fds, size_t count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)msg, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
    m.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    ck_assert_int_eq(sendmsg(fake.client, &m, MSG_NOSIGNAL), (ssize_t)len);
}

static inline mqd_t make_queue(const char *name, long messages, long msgsize) {
    struct mq_attr attr = {.mq_maxmsg = messages, .mq_msgsize = msgsize};
    return mq_open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600, &attr);
}

/* As the scout makes one: random name, read-only end handed over, unlinked. The read-only end. */
static inline int new_mailbox(long msgsize) {
    char name[64];
    snprintf(name, sizeof name, "/cmm-unit-%d", (int)getpid());
    fake.mailbox = make_queue(name, 1, msgsize);
    ck_assert_msg(fake.mailbox >= 0, "mq_open: %s", strerror(errno));
    int reader = mq_open(name, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(reader, 0);
    ck_assert_int_eq(mq_unlink(name), 0);
    return reader;
}

/* There are 256 queues for all users, and 800 KiB for all programs of one. Root has its own, as much as it
 * likes; for others there is what other programs leave, which is waited for here, where nobody's patience
 * counts. */
static inline void await_room_for_mailboxes(void) {
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    char name[64];
    mqd_t roomy;
    (void)!unshare(CLONE_NEWIPC);
    (void)!setrlimit(RLIMIT_MSGQUEUE, &all);
    snprintf(name, sizeof name, "/cmm-unit-room-%d", (int)getpid());
    while ((roomy = make_queue(name, 3, sizeof(struct wire_snapshot))) < 0 &&
           (errno == EMFILE || errno == ENOSPC))
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    ck_assert_msg(roomy >= 0, "mq_open: %s", strerror(errno));
    mq_close(roomy);
    mq_unlink(name);
}

static inline void put(const void *msg, size_t len) {
    const struct timespec past = {0, 0};
    ck_assert_int_eq(mq_timedsend(fake.mailbox, msg, len, 0, &past), 0);
}

static inline void put_snapshot(uint64_t generation) {
    struct wire_snapshot s = snapshot(generation);
    put(&s, s.header.size);
}

/* ---- replies ---- */

static inline void with_mailbox(void) {
    struct wire_snapshot s = snapshot(1);
    int reader = new_mailbox(sizeof s);
    say_with_fds(&s, s.header.size, &reader, 1);
    close(reader);
}

static inline void without_mailbox(void) {
    say_snapshot(1);
}

/* What each test of wrong messages says: version, size, content, type, too short, too long. */
static inline int say_nonsense(void (*out)(const void *, size_t)) {
    struct wire_snapshot s = snapshot(66);
    struct wire_snapshot wrong = s;
    size_t len = s.header.size;
    wrong.header.version++;
    out(&wrong, len);
    wrong = s;
    wrong.header.size += 8;
    out(&wrong, len);
    wrong = s;
    wrong.count = 33;
    out(&wrong, len);
    wrong = s;
    wrong.networks[0].state = 99;
    out(&wrong, len);
    wrong = s;
    memset(wrong.networks[0].name, 'x', WIRE_NAME);
    out(&wrong, len);
    wrong = s;
    wrong.pref_count = 1;
    wrong.prefs[0] = (struct wire_pref){0, 1, {1}};
    out(&wrong, len);
    wrong = s;
    wrong.header.type = WIRE_LABELS;
    out(&wrong, len);
    out(&s, len - 80);
    out(&s, 3);
    return 9;
}

static inline void say_overlong(void) {
    char big[WIRE_MAX + 100] = {0};
    struct wire_snapshot s = snapshot(66);
    s.header.size = sizeof big;
    memcpy(big, &s, sizeof s);
    say(big, sizeof big);
}

static inline void nonsense_then_mailbox(void) {
    int reader = new_mailbox(sizeof(struct wire_snapshot));
    say_nonsense(say);
    say_overlong();
    struct wire_snapshot wrong = snapshot(1);
    wrong.header.version = 0;
    say_with_fds(&wrong, wrong.header.size, &reader, 1);
    close(reader);
    mq_close(fake.mailbox);
    with_mailbox();
}

static inline void refusal(void) {
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, EDQUOT, 0, "too many"};
    say(&d, sizeof d);
}

static inline void hang_up(void) {
    close(fake.client);
    fake.client = -1;
}

static inline void silence(void) {}

static inline int wanted_queue(void) {
    return (fake.got[fake.got_count - 1].flags & WIRE_WANT_QUEUE) != 0;
}

static inline void two_mailboxes(void) {
    struct wire_snapshot s = snapshot(1);
    if (!wanted_queue()) {
        say_snapshot(2);
        return;
    }
    int reader = new_mailbox(sizeof s);
    int both[2] = {reader, reader};
    say_with_fds(&s, s.header.size, both, 2);
    close(reader);
    mq_close(fake.mailbox);
}

static inline void a_crowd_of_descriptors(void) {
    struct wire_snapshot s = snapshot(1);
    int crowd[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (wanted_queue())
        say_with_fds(&s, s.header.size, crowd, 8);
    else
        say_snapshot(2);
}

static inline void a_pipe_for_a_mailbox(void) {
    struct wire_snapshot s = snapshot(1);
    int pipes[2];
    if (!wanted_queue()) {
        say_snapshot(2);
        return;
    }
    ck_assert_int_eq(pipe(pipes), 0);
    say_with_fds(&s, s.header.size, pipes, 1);
    close(pipes[0]);
    close(pipes[1]);
}

static inline void a_mailbox_of_another_size(void) {
    struct wire_snapshot s = snapshot(1);
    if (!wanted_queue()) {
        say_snapshot(2);
        return;
    }
    int reader = new_mailbox(sizeof s + 80);
    say_with_fds(&s, s.header.size, &reader, 1);
    close(reader);
    mq_close(fake.mailbox);
}

enum { FEW = 256 }; /* descriptors, where they are to be had no more */

static inline void set_limit(rlim_t soft) {
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = soft;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Both ends are this process: no number is free while the message is on its way, and one for each end when
 * the other has given up. */
static inline void a_mailbox_without_room(void) {
    struct wire_snapshot s = snapshot(1);
    int filler[FEW], count = 0;
    char end;
    if (!wanted_queue()) {
        say_snapshot(2);
        return;
    }
    int reader = new_mailbox(sizeof s);
    while ((filler[count] = dup(0)) >= 0)
        count++;
    say_with_fds(&s, s.header.size, &reader, 1);
    ck_assert_int_eq(recv(fake.client, &end, 1, 0), 0);
    close(fake.client);
    fake.client = -1;
    while (count)
        close(filler[--count]);
}

static inline void labels_with_noise(void) {
    struct wire_labels l = {.header = {WIRE_VERSION, WIRE_LABELS, sizeof l}};
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, 0, 0, ""};
    strcpy(l.names[3], "backup");
    say_nonsense(say);
    say_overlong();
    say_snapshot(1);
    say(&l, sizeof l);
    say(&d, sizeof d);
}

static inline void done_only(void) {
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, 0, 0, ""};
    say(&d, sizeof d);
}

static inline void an_error_out_of_range(void) {
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, -7, 0, ""};
    say(&d, sizeof d);
}

/* ---- its life ---- */

static void *serve(void *unused) {
    for (int i = 0; i < fake.conversations; i++) {
        if (fake.client >= 0)
            close(fake.client);
        fake.client = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC);
        ck_assert_msg(fake.client >= 0, "accept: %s", strerror(errno));
        ssize_t n = recv(fake.client, &fake.got[i], sizeof fake.got[i], 0);
        ck_assert_int_gt(n, 0);
        fake.got_count = i + 1;
        fake.reply();
    }
    return unused;
}

static inline int listen_at(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (bind(sock, (struct sockaddr *)&to, sizeof to) != 0 || listen(sock, 8) != 0)
        return -1;
    return sock;
}

static inline void start_scout(void (*reply)(void), int conversations) {
    fake.reply = reply;
    fake.conversations = conversations;
    fake.listener = listen_at(fake.path);
    ck_assert_int_ge(fake.listener, 0);
    ck_assert_int_eq(pthread_create(&fake.thread, NULL, serve, NULL), 0);
}

static inline void join_scout(void) {
    ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
}

static inline void setup(void) {
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    fake.limit = limit.rlim_cur;
    fake.client = -1;
    await_room_for_mailboxes();
    strcpy(fake.dir, "/tmp/cmm-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fake.dir));
    snprintf(fake.path, sizeof fake.path, "%s/scout.sock", fake.dir);
}

static inline void teardown(void) {
    char bell[96];
    snprintf(bell, sizeof bell, "%s/scout.bell", fake.dir);
    unlink(bell);
    unlink(fake.path);
    rmdir(fake.dir);
    /* A leak checker opens files at the end. */
    set_limit(fake.limit);
}

#endif

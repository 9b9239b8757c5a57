/* unit_scout_link - the wire to a scout, against a fake one in a thread of the test: a real SEQPACKET socket,
 * a real message queue, and every wrong thing a scout could send. */
#include "scout_link.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, TID = 4242 };

/* The fake scout: accepts, reads one message, answers by its reply function; `again' times over. */
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
} fake;

static struct scout_link link_ = SCOUT_LINK_NONE;
static struct wire_snapshot first;
static struct wire_snapshot next;

/* ---- the fake scout's hands ---- */

static struct wire_snapshot snapshot(uint64_t generation) {
    struct wire_snapshot s = {
        .header = {WIRE_VERSION, WIRE_SNAPSHOT, 0}, .generation = generation, .count = 1};
    s.header.size = (uint32_t)wire_snapshot_size(s.count);
    strcpy(s.networks[0].name, "home");
    s.networks[0].id = generation * 10;
    return s;
}

static void say(const void *msg, size_t len) {
    ck_assert_int_eq(send(fake.client, msg, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void say_snapshot(uint64_t generation) {
    struct wire_snapshot s = snapshot(generation);
    say(&s, s.header.size);
}

static void say_with_fds(const void *msg, size_t len, const int *fds, size_t count) {
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

/* As the scout makes one: random name, read-only end handed over, unlinked. The read-only end. */
static int new_mailbox(long msgsize) {
    char name[64];
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = msgsize};
    snprintf(name, sizeof name, "/cmm-unit-%d", (int)getpid());
    fake.mailbox = mq_open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600, &attr);
    ck_assert_msg(fake.mailbox >= 0, "mq_open: %s", strerror(errno));
    int reader = mq_open(name, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(reader, 0);
    ck_assert_int_eq(mq_unlink(name), 0);
    return reader;
}

static void put(const void *msg, size_t len) {
    const struct timespec past = {0, 0};
    ck_assert_int_eq(mq_timedsend(fake.mailbox, msg, len, 0, &past), 0);
}

static void put_snapshot(uint64_t generation) {
    struct wire_snapshot s = snapshot(generation);
    put(&s, s.header.size);
}

/* ---- replies ---- */

static void with_mailbox(void) {
    struct wire_snapshot s = snapshot(1);
    int reader = new_mailbox(sizeof s);
    say_with_fds(&s, s.header.size, &reader, 1);
    close(reader);
}

static void without_mailbox(void) {
    say_snapshot(1);
}

/* What each test of wrong messages says: version, size, content, type, too short, too long. */
static int say_nonsense(void (*out)(const void *, size_t)) {
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

static void say_overlong(void) {
    char big[WIRE_MAX + 100] = {0};
    struct wire_snapshot s = snapshot(66);
    s.header.size = sizeof big;
    memcpy(big, &s, sizeof s);
    say(big, sizeof big);
}

static void nonsense_then_mailbox(void) {
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

static void refusal(void) {
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, EDQUOT, 0, "too many"};
    say(&d, sizeof d);
}

static void hang_up(void) {
    close(fake.client);
    fake.client = -1;
}

static void silence(void) {}

static int wanted_queue(void) {
    return (fake.got[fake.got_count - 1].flags & WIRE_WANT_QUEUE) != 0;
}

static void two_mailboxes(void) {
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

static void a_crowd_of_descriptors(void) {
    struct wire_snapshot s = snapshot(1);
    int crowd[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (wanted_queue())
        say_with_fds(&s, s.header.size, crowd, 8);
    else
        say_snapshot(2);
}

static void a_pipe_for_a_mailbox(void) {
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

static void a_mailbox_of_another_size(void) {
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

static void set_limit(rlim_t soft) {
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = soft;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Both ends are this process: the limit falls while the message is on its way. */
static void a_mailbox_without_room(void) {
    struct wire_snapshot s = snapshot(1);
    if (!wanted_queue()) {
        say_snapshot(2);
        return;
    }
    int reader = new_mailbox(sizeof s);
    int lowest = dup(0);
    close(lowest);
    set_limit((rlim_t)lowest);
    say_with_fds(&s, s.header.size, &reader, 1);
    close(fake.client);
    fake.client = -1;
}

static void labels_with_noise(void) {
    struct wire_labels l = {.header = {WIRE_VERSION, WIRE_LABELS, sizeof l}};
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, 0, 0, ""};
    strcpy(l.names[3], "backup");
    say_nonsense(say);
    say_overlong();
    say_snapshot(1);
    say(&l, sizeof l);
    say(&d, sizeof d);
}

static void done_only(void) {
    struct wire_done d = {{WIRE_VERSION, WIRE_DONE, sizeof d}, 0, 0, ""};
    say(&d, sizeof d);
}

static void an_error_out_of_range(void) {
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

static int listen_at(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (bind(sock, (struct sockaddr *)&to, sizeof to) != 0 || listen(sock, 8) != 0)
        return -1;
    return sock;
}

static void start_scout(void (*reply)(void), int conversations) {
    fake.reply = reply;
    fake.conversations = conversations;
    fake.listener = listen_at(fake.path);
    ck_assert_int_ge(fake.listener, 0);
    ck_assert_int_eq(pthread_create(&fake.thread, NULL, serve, NULL), 0);
}

static void join_scout(void) {
    ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
}

static int opened_with(void (*reply)(void), int conversations) {
    start_scout(reply, conversations);
    int r = scout_link_open(&link_, fake.path, TID, &first);
    join_scout();
    return r;
}

static void setup(void) {
    fake.client = -1;
    strcpy(fake.dir, "/tmp/cmm-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fake.dir));
    snprintf(fake.path, sizeof fake.path, "%s/scout.sock", fake.dir);
}

static void teardown(void) {
    char bell[96];
    snprintf(bell, sizeof bell, "%s/scout.bell", fake.dir);
    unlink(bell);
    unlink(fake.path);
    rmdir(fake.dir);
}

static int received(void) {
    memset(&next, 0, sizeof next);
    return scout_link_receive(&link_, &next);
}

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 5000; fd++)
        count += is_open(fd);
    return count;
}

/* ---- opening ---- */

START_TEST(the_first_snapshot_comes_with_the_mailbox) {
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_uint_eq(first.generation, 1);
    ck_assert_str_eq(first.networks[0].name, "home");
    ck_assert_int_ge(link_.queue, 0);
    put_snapshot(2);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
    ck_assert_uint_eq(link_.dropped, 0);
}
END_TEST

START_TEST(subscribing_says_thread_program_and_the_wish_for_a_queue) {
    program_invocation_short_name = (char[]){"a-program-with-a-long-name"};
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_int_eq(wire_check(&fake.got[0], sizeof fake.got[0]), WIRE_SUBSCRIBE);
    ck_assert_uint_eq(fake.got[0].tid, TID);
    ck_assert_uint_eq(fake.got[0].flags, WIRE_WANT_QUEUE);
    ck_assert_str_eq(fake.got[0].program, "a-program-with-");
}
END_TEST

START_TEST(without_a_queue_snapshots_come_over_the_socket) {
    ck_assert_int_eq(opened_with(without_mailbox, 1), 0);
    ck_assert_int_eq(link_.queue, -1);
    ck_assert_int_eq(received(), 0);
    say_snapshot(2);
    say_snapshot(3);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 3);
    ck_assert_int_eq(received(), 0);
}
END_TEST

START_TEST(descriptors_are_numbered_high_and_closed_on_exec) {
    set_limit(1024);
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_int_ge(link_.sock, 1024 - 64);
    ck_assert_int_ge(link_.queue, 1024 - 64);
    ck_assert_int_eq(fcntl(link_.sock, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(link_.queue, F_GETFD), FD_CLOEXEC);
    ck_assert_int_ne(fcntl(link_.sock, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(closing_gives_both_descriptors_back) {
    int before = open_descriptors();
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_int_eq(open_descriptors(), before + 5);
    scout_link_close(&link_);
    ck_assert_int_eq(open_descriptors(), before + 3);
    ck_assert_int_eq(link_.sock, -1);
    ck_assert_int_eq(link_.queue, -1);
    scout_link_close(&link_);
    ck_assert_int_eq(open_descriptors(), before + 3);
}
END_TEST

START_TEST(wrong_messages_before_the_first_snapshot_are_dropped_and_counted) {
    int before = open_descriptors();
    ck_assert_int_eq(opened_with(nonsense_then_mailbox, 1), 0);
    ck_assert_uint_eq(link_.dropped, 11);
    ck_assert_uint_eq(first.generation, 1);
    ck_assert_int_ge(link_.queue, 0);
    ck_assert_int_eq(open_descriptors(), before + 5);
}
END_TEST

START_TEST(a_scout_that_says_nothing_is_given_up) {
    int before = open_descriptors();
    ck_assert_int_eq(opened_with(silence, 1), -ETIMEDOUT);
    ck_assert_int_eq(link_.sock, -1);
    ck_assert_int_eq(open_descriptors(), before + 2);
}
END_TEST

START_TEST(a_scout_that_hangs_up_is_gone) {
    ck_assert_int_eq(opened_with(hang_up, 1), -EPIPE);
    ck_assert_int_eq(link_.sock, -1);
}
END_TEST

START_TEST(a_refusal_is_told_as_it_was_said) {
    ck_assert_int_eq(opened_with(refusal, 1), -EDQUOT);
    ck_assert_int_eq(link_.sock, -1);
}
END_TEST

START_TEST(an_error_that_is_none_is_a_protocol_error) {
    ck_assert_int_eq(opened_with(an_error_out_of_range, 1), -EPROTO);
}
END_TEST

START_TEST(nobody_there_is_no_entry_and_a_dead_socket_is_refused) {
    int before = open_descriptors();
    ck_assert_int_eq(scout_link_open(&link_, fake.path, TID, &first), -ENOENT);
    close(listen_at(fake.path));
    ck_assert_int_eq(scout_link_open(&link_, fake.path, TID, &first), -ECONNREFUSED);
    ck_assert_int_eq(scout_link_open(&link_, ".hidden", TID, &first), -EINVAL);
    ck_assert_int_eq(open_descriptors(), before);
    ck_assert_int_eq(link_.sock, -1);
}
END_TEST

START_TEST(a_full_backlog_is_waited_for) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int sock;
    snprintf(to.sun_path, sizeof to.sun_path, "%s", fake.path);
    fake.listener = listen_at(fake.path);
    do
        sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    while (connect(sock, (struct sockaddr *)&to, sizeof to) == 0);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(scout_link_open(&link_, fake.path, TID, &first), -ETIMEDOUT);
}
END_TEST

/* The subscription goes on over the socket, and not one stray descriptor stays. */
static void falls_back(void (*reply)(void)) {
    int before = open_descriptors();
    ck_assert_int_eq(opened_with(reply, 2), 0);
    ck_assert_uint_eq(fake.got[0].flags, WIRE_WANT_QUEUE);
    ck_assert_uint_eq(fake.got[1].flags, 0);
    ck_assert_uint_eq(first.generation, 2);
    ck_assert_int_eq(link_.queue, -1);
    ck_assert_int_eq(open_descriptors(), before + 3);
    say_snapshot(3);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 3);
}

START_TEST(two_descriptors_are_refused_and_the_socket_used) {
    falls_back(two_mailboxes);
}
END_TEST

START_TEST(a_crowd_of_descriptors_is_refused_and_the_socket_used) {
    falls_back(a_crowd_of_descriptors);
}
END_TEST

START_TEST(a_descriptor_that_is_no_queue_is_refused_and_the_socket_used) {
    falls_back(a_pipe_for_a_mailbox);
}
END_TEST

START_TEST(a_queue_of_another_size_is_refused_and_the_socket_used) {
    falls_back(a_mailbox_of_another_size);
}
END_TEST

START_TEST(without_room_for_the_mailbox_the_socket_is_used) {
    ck_assert_int_eq(opened_with(a_mailbox_without_room, 2), 0);
    ck_assert_uint_eq(fake.got[1].flags, 0);
    ck_assert_uint_eq(first.generation, 2);
    ck_assert_int_eq(link_.queue, -1);
}
END_TEST

/* ---- trust ---- */

/* A scout of another user in a process of its own; its path is open to all. */
static pid_t start_foreign_scout(void) {
    int ready[2];
    char byte = 0;
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(chmod(fake.dir, 0777), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (setresuid(NOBODY, NOBODY, NOBODY) == 0 && listen_at(fake.path) >= 0 &&
            write(ready[1], "y", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

START_TEST(a_scout_of_another_user_is_not_believed) {
    struct label_names names;
    pid_t child = start_foreign_scout();
    ck_assert_int_eq(scout_link_open(&link_, fake.path, TID, &first), -EPERM);
    ck_assert_int_eq(scout_link_labels(fake.path, &names), -EPERM);
    ck_assert_int_eq(link_.sock, -1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
END_TEST

START_TEST(a_bell_of_another_user_is_not_heard) {
    char bell[96];
    snprintf(bell, sizeof bell, "%s/scout.bell", fake.dir);
    ck_assert_int_eq(mkfifo(bell, 0644), 0);
    ck_assert_int_eq(chown(bell, NOBODY, NOBODY), 0);
    ck_assert_int_eq(scout_link_bell(fake.path), -EPERM);
}
END_TEST

/* ---- receiving ---- */

START_TEST(an_empty_mailbox_is_no_more_and_never_waits) {
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_int_eq(fcntl(link_.queue, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(received(), 0);
    put_snapshot(2);
    ck_assert_int_eq(received(), 1);
    ck_assert_int_eq(received(), 0);
}
END_TEST

START_TEST(wrong_messages_on_the_socket_are_dropped_and_counted) {
    ck_assert_int_eq(opened_with(without_mailbox, 1), 0);
    int count = say_nonsense(say);
    say_overlong();
    say_snapshot(2);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
    ck_assert_uint_eq(link_.dropped, (unsigned long)count + 1);
    ck_assert_int_eq(received(), 0);
}
END_TEST

static unsigned long put_count;

static void put_and_receive(const void *msg, size_t len) {
    put(msg, len);
    ck_assert_int_eq(received(), 0);
    ck_assert_uint_eq(link_.dropped, ++put_count);
}

START_TEST(wrong_messages_in_the_mailbox_are_dropped_and_counted) {
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    say_nonsense(put_and_receive);
    put_snapshot(2);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
}
END_TEST

START_TEST(a_stray_descriptor_on_a_later_message_is_closed) {
    ck_assert_int_eq(opened_with(without_mailbox, 1), 0);
    int before = open_descriptors();
    struct wire_snapshot s = snapshot(2);
    int stray = 0;
    say_with_fds(&s, s.header.size, &stray, 1);
    ck_assert_int_eq(received(), 1);
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(a_flood_of_wrong_messages_holds_nobody_for_ever) {
    ck_assert_int_eq(opened_with(without_mailbox, 1), 0);
    for (int i = 0; i < 100; i++)
        say("nonsense", 8);
    say_snapshot(2);
    ck_assert_int_eq(received(), 0);
    ck_assert_uint_eq(link_.dropped, 64);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(link_.dropped, 100);
}
END_TEST

START_TEST(the_mailbox_is_drained_before_the_end_is_told) {
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    put_snapshot(2);
    close(fake.client);
    mq_close(fake.mailbox);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
    ck_assert_int_eq(received(), -EPIPE);
    ck_assert_int_eq(received(), -EPIPE);
}
END_TEST

START_TEST(the_socket_is_drained_before_the_end_is_told) {
    ck_assert_int_eq(opened_with(without_mailbox, 1), 0);
    say_snapshot(2);
    close(fake.client);
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
    ck_assert_int_eq(received(), -EPIPE);
}
END_TEST

START_TEST(descriptors_taken_away_are_the_end_not_a_crash) {
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    close(link_.queue);
    ck_assert_int_eq(received(), -EPIPE);
    link_.queue = -1;
    close(link_.sock);
    ck_assert_int_eq(received(), -EPIPE);
}
END_TEST

START_TEST(a_link_that_is_not_open_is_gone) {
    struct wire_report report = {0};
    ck_assert_int_eq(received(), -EPIPE);
    ck_assert_int_eq(scout_link_report(&link_, &report), -EPIPE);
}
END_TEST

/* ---- reporting ---- */

START_TEST(a_report_reaches_the_scout_whole) {
    struct wire_report report = {.sockets = 3, .thunks = 4, .count = WIRE_WANTS + 5};
    struct wire_report got;
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    report.wants[7].labels = 8;
    ck_assert_int_eq(scout_link_report(&link_, &report), 0);
    ck_assert_int_eq(recv(fake.client, &got, sizeof got, 0), sizeof got);
    ck_assert_int_eq(wire_check(&got, sizeof got), WIRE_REPORT);
    ck_assert_uint_eq(got.thunks, 4);
    ck_assert_uint_eq(got.count, WIRE_WANTS);
    ck_assert_uint_eq(got.wants[7].labels, 8);
}
END_TEST

START_TEST(a_report_to_a_scout_that_does_not_read_is_for_later) {
    struct wire_report report = {0};
    int r = 0;
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    for (int i = 0; i < 100000 && r == 0; i++)
        r = scout_link_report(&link_, &report);
    ck_assert_int_eq(r, -EAGAIN);
}
END_TEST

START_TEST(a_report_to_a_dead_scout_is_an_error_without_sigpipe) {
    struct wire_report report = {0};
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    close(fake.client);
    ck_assert_int_eq(scout_link_report(&link_, &report), -EPIPE);
}
END_TEST

/* ---- the bell ---- */

static short polled(int fd) {
    struct pollfd p = {fd, POLLIN, 0};
    ck_assert_int_ge(poll(&p, 1, 0), 0);
    return p.revents;
}

START_TEST(the_bell_hangs_up_when_a_scout_starts_to_listen) {
    char bell[96];
    snprintf(bell, sizeof bell, "%s/scout.bell", fake.dir);
    ck_assert_int_eq(scout_link_bell(fake.path), -ENOENT);
    ck_assert_int_eq(mkfifo(bell, 0644), 0);
    int fd = scout_link_bell(fake.path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(polled(fd), 0);
    int rung = open(bell, O_WRONLY | O_NONBLOCK);
    ck_assert_int_ge(rung, 0);
    close(rung);
    ck_assert_int_eq(polled(fd), POLLHUP);
}
END_TEST

START_TEST(a_bell_that_is_no_fifo_is_not_heard) {
    char bell[96];
    int before = open_descriptors();
    snprintf(bell, sizeof bell, "%s/scout.bell", fake.dir);
    close(open(bell, O_CREAT | O_WRONLY, 0644));
    ck_assert_int_eq(scout_link_bell(fake.path), -EPERM);
    unlink(bell);
    ck_assert_int_eq(symlink("/dev/null", bell), 0);
    ck_assert_int_eq(scout_link_bell(fake.path), -ELOOP);
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

/* ---- labels ---- */

static int labels_with(void (*reply)(void), struct label_names *ret) {
    memset(ret, 0, sizeof *ret);
    start_scout(reply, 1);
    int r = scout_link_labels(fake.path, ret);
    join_scout();
    return r;
}

START_TEST(the_names_of_user_labels_are_had_in_one_conversation) {
    struct label_names names;
    int before = open_descriptors();
    ck_assert_int_eq(labels_with(labels_with_noise, &names), 0);
    ck_assert_int_eq(label_bit("backup", 6, &names), 35);
    const struct wire_ask *ask = (const struct wire_ask *)&fake.got[0];
    ck_assert_int_eq(ask->header.type, WIRE_ASK);
    ck_assert_uint_eq(ask->header.size, sizeof *ask);
    ck_assert_uint_eq(ask->topic, WIRE_ASK_LABELS);
    ck_assert_int_eq(open_descriptors(), before + 2);
}
END_TEST

START_TEST(an_answer_without_labels_is_an_error) {
    struct label_names names;
    ck_assert_int_eq(labels_with(done_only, &names), -EPROTO);
}
END_TEST

START_TEST(a_refused_question_is_told_as_it_was_said) {
    struct label_names names;
    ck_assert_int_eq(labels_with(refusal, &names), -EDQUOT);
}
END_TEST

START_TEST(a_scout_that_goes_in_mid_conversation_is_gone) {
    struct label_names names;
    ck_assert_int_eq(labels_with(hang_up, &names), -EPIPE);
    unlink(fake.path);
    ck_assert_int_eq(scout_link_labels(fake.path, &names), -ENOENT);
}
END_TEST

/* ---- lifting ---- */

START_TEST(a_lifted_descriptor_leaves_its_low_number) {
    set_limit(1024);
    int low = dup(0);
    int high = scout_link_lift(low);
    ck_assert_int_ge(high, 960);
    ck_assert(!is_open(low));
    ck_assert_int_eq(fcntl(high, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(scout_link_lift(high), high);
}
END_TEST

START_TEST(under_a_small_limit_it_is_lifted_as_far_as_it_goes) {
    int low = dup(0);
    set_limit(32);
    int high = scout_link_lift(low);
    ck_assert_int_ge(high, 16);
    ck_assert(!is_open(low));
}
END_TEST

START_TEST(where_there_is_no_room_a_descriptor_stays_and_closes_on_exec) {
    int fd;
    int last = -1;
    set_limit(32);
    while ((fd = dup(0)) >= 0)
        last = fd;
    ck_assert_int_ge(last, 0);
    ck_assert_int_eq(scout_link_lift(last), last);
    ck_assert_int_eq(scout_link_lift(5), 5);
    ck_assert_int_eq(fcntl(5, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(last, F_GETFD), FD_CLOEXEC);
}
END_TEST

static void add_opening(TCase *t) {
    tcase_add_test(t, the_first_snapshot_comes_with_the_mailbox);
    tcase_add_test(t, subscribing_says_thread_program_and_the_wish_for_a_queue);
    tcase_add_test(t, without_a_queue_snapshots_come_over_the_socket);
    tcase_add_test(t, descriptors_are_numbered_high_and_closed_on_exec);
    tcase_add_test(t, closing_gives_both_descriptors_back);
    tcase_add_test(t, wrong_messages_before_the_first_snapshot_are_dropped_and_counted);
    tcase_add_test(t, a_scout_that_says_nothing_is_given_up);
    tcase_add_test(t, a_scout_that_hangs_up_is_gone);
    tcase_add_test(t, a_refusal_is_told_as_it_was_said);
    tcase_add_test(t, an_error_that_is_none_is_a_protocol_error);
    tcase_add_test(t, nobody_there_is_no_entry_and_a_dead_socket_is_refused);
    tcase_add_test(t, a_full_backlog_is_waited_for);
    tcase_add_test(t, two_descriptors_are_refused_and_the_socket_used);
    tcase_add_test(t, a_crowd_of_descriptors_is_refused_and_the_socket_used);
    tcase_add_test(t, a_descriptor_that_is_no_queue_is_refused_and_the_socket_used);
    tcase_add_test(t, a_queue_of_another_size_is_refused_and_the_socket_used);
    tcase_add_test(t, without_room_for_the_mailbox_the_socket_is_used);
}

static void add_talking(TCase *t) {
    tcase_add_test(t, an_empty_mailbox_is_no_more_and_never_waits);
    tcase_add_test(t, wrong_messages_on_the_socket_are_dropped_and_counted);
    tcase_add_test(t, wrong_messages_in_the_mailbox_are_dropped_and_counted);
    tcase_add_test(t, a_stray_descriptor_on_a_later_message_is_closed);
    tcase_add_test(t, a_flood_of_wrong_messages_holds_nobody_for_ever);
    tcase_add_test(t, the_mailbox_is_drained_before_the_end_is_told);
    tcase_add_test(t, the_socket_is_drained_before_the_end_is_told);
    tcase_add_test(t, descriptors_taken_away_are_the_end_not_a_crash);
    tcase_add_test(t, a_link_that_is_not_open_is_gone);
    tcase_add_test(t, a_report_reaches_the_scout_whole);
    tcase_add_test(t, a_report_to_a_scout_that_does_not_read_is_for_later);
    tcase_add_test(t, a_report_to_a_dead_scout_is_an_error_without_sigpipe);
    tcase_add_test(t, the_bell_hangs_up_when_a_scout_starts_to_listen);
    tcase_add_test(t, a_bell_that_is_no_fifo_is_not_heard);
    tcase_add_test(t, the_names_of_user_labels_are_had_in_one_conversation);
    tcase_add_test(t, an_answer_without_labels_is_an_error);
    tcase_add_test(t, a_refused_question_is_told_as_it_was_said);
    tcase_add_test(t, a_scout_that_goes_in_mid_conversation_is_gone);
    tcase_add_test(t, a_lifted_descriptor_leaves_its_low_number);
    tcase_add_test(t, under_a_small_limit_it_is_lifted_as_far_as_it_goes);
    tcase_add_test(t, where_there_is_no_room_a_descriptor_stays_and_closes_on_exec);
}

/* Root of a user namespace may have nobody else to be. */
static bool can_be_others(void) {
    return geteuid() == 0 && seteuid(NOBODY) == 0 && seteuid(0) == 0;
}

int main(void) {
    Suite *s = suite_create("scout_link");
    TCase *t = tcase_create("scout_link");
    SRunner *r = srunner_create(s);
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup, teardown);
    add_opening(t);
    add_talking(t);
    if (can_be_others()) {
        tcase_add_test(t, a_scout_of_another_user_is_not_believed);
        tcase_add_test(t, a_bell_of_another_user_is_not_heard);
    } else {
        fputs("skipped: whether others are believed, for it takes root to be others\n", stderr);
    }
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

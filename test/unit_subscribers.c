/* unit_subscribers - what clients are told, and that none of them can harm the scout or one another. */
#include "subscribers.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

union message {
    struct wire_header header;
    struct wire_snapshot snapshot;
    struct wire_labels labels;
    struct wire_status status;
    struct wire_subscriber subscriber;
    struct wire_event event;
    struct wire_done done;
    char raw[WIRE_MAX];
};

static struct subscribers *s;
static struct sockaddr_un at;
static union message m;
static int set_calls, set_answer;
static unsigned untold;

static int on_set(void *arg, const struct wire_set *set, char *ret_text, size_t len) {
    set_calls++;
    snprintf(ret_text, len, "%s", set->network);
    return set_answer;
}

static int on_policy(void *arg, const struct wire_policy *policy, char *ret_text, size_t len) {
    return policy->labels == 8 && policy->fields == WIRE_SET_LABELS ? 0 : EINVAL;
}

static void on_untold(void *arg, unsigned from, struct wire_snapshot *ret) {
    for (ret->count = 0; from < untold && ret->count < WIRE_NETWORKS; from++)
        ret->networks[ret->count++] = (struct wire_network){.id = from + 1};
}

static void on_status(void *arg, struct wire_status *ret) {
    ret->generation = 77;
}

static void start(void) {
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

static void finish(void) {
    subscribers_free(s);
    unlink(at.sun_path);
}

/* Lets the scout's side work until it has nothing more to do. */
static void turn(void) {
    struct pollfd p = {.fd = subscribers_fd(s), .events = POLLIN};
    for (int i = 0; i < 10000 && poll(&p, 1, 0) > 0; i++)
        subscribers_read(s);
}

static int dial(void) {
    int c = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(c, (struct sockaddr *)&at, sizeof at), 0);
    return c;
}

static void say(int c, void *msg, enum wire_type type, size_t size) {
    *(struct wire_header *)msg = (struct wire_header){WIRE_VERSION, (uint16_t)type, (uint32_t)size};
    ck_assert_int_eq(send(c, msg, size, MSG_NOSIGNAL), (int)size);
}

static void subscribe(int c, unsigned flags) {
    struct wire_subscribe msg = {.tid = (uint32_t)syscall(SYS_gettid), .flags = flags, .program = "tester"};
    say(c, &msg, WIRE_SUBSCRIBE, sizeof msg);
}

static void ask(int c, enum wire_topic topic) {
    struct wire_ask msg = {.topic = topic};
    say(c, &msg, WIRE_ASK, sizeof msg);
}

static void report(int c, uint64_t labels) {
    struct wire_report msg = {
        .sockets = 3, .thunks = 4, .count = 1, .wants = {{.labels = labels, .count = 1}}};
    say(c, &msg, WIRE_REPORT, sizeof msg);
}

/* The type of what comes next, 0: nothing; a descriptor that came with it. */
static int hear_with(int c, int *ret_fd) {
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

static int hear(int c) {
    int fd;
    int type = hear_with(c, &fd);
    ck_assert_int_eq(fd, -1);
    return type;
}

static void publish(uint64_t generation) {
    struct wire_snapshot snapshot = {
        .header = {WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(1)},
        .generation = generation,
        .count = 1,
        .networks = {{.name = "lab", .id = 5, .state = WIRE_NET_UP}},
    };
    subscribers_publish(s, &snapshot);
}

/* The generation in the mailbox, 0: empty. */
static uint64_t look_into(mqd_t queue) {
    static const struct timespec long_ago;
    ssize_t n = mq_timedreceive(queue, (char *)&m, sizeof m, NULL, &long_ago);
    if (n < 0)
        return 0;
    ck_assert_int_eq(wire_check(&m, (size_t)n), WIRE_SNAPSHOT);
    return m.snapshot.generation;
}

static int hangups(void) {
    static const struct timespec no_time;
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    int n = 0;
    while (sigtimedwait(&hup, NULL, &no_time) == SIGHUP)
        n++;
    return n;
}

static uint64_t dropped(int c) {
    ask(c, WIRE_ASK_STATUS);
    ck_assert_int_eq(hear(c), WIRE_STATUS);
    uint64_t n = m.status.dropped;
    ck_assert_int_eq(hear(c), WIRE_DONE);
    return n;
}

START_TEST(a_subscriber_gets_the_state_and_a_mailbox_it_can_only_read) {
    int c = dial(), queue;
    publish(1);
    subscribe(c, WIRE_WANT_QUEUE);
    ck_assert_int_eq(hear_with(c, &queue), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.generation, 1);
    if (queue < 0) {
        fprintf(stderr, "skipped: no message queue to be had here\n");
        return;
    }
    ck_assert_int_eq(mq_send(queue, "x", 1, 0), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_uint_eq(look_into(queue), 0);
    publish(2);
    ck_assert_int_eq(hangups(), 1);
    ck_assert_uint_eq(look_into(queue), 2);
    close(queue);
    close(c);
}
END_TEST

START_TEST(a_full_mailbox_holds_the_newest_state) {
    int c = dial(), queue;
    subscribe(c, WIRE_WANT_QUEUE);
    ck_assert_int_eq(hear_with(c, &queue), WIRE_SNAPSHOT);
    if (queue < 0) {
        fprintf(stderr, "skipped: no message queue to be had here\n");
        return;
    }
    /* Clearing O_NONBLOCK on the shared description must not let the scout hang. */
    struct mq_attr blocking = {0};
    mq_setattr(queue, &blocking, NULL);
    for (uint64_t g = 1; g <= 100; g++)
        publish(g);
    ck_assert_uint_eq(look_into(queue), 100);
    ck_assert_uint_eq(look_into(queue), 0);
    ck_assert_int_ge(hangups(), 1);
    close(queue);
    close(c);
}
END_TEST

START_TEST(without_a_queue_the_newest_state_comes_over_the_socket) {
    struct rlimit none = {0, 0};
    int c = dial(), queue;
    setrlimit(RLIMIT_MSGQUEUE, &none);
    if (geteuid() == 0)
        subscribe(c, 0);
    else
        subscribe(c, WIRE_WANT_QUEUE);
    ck_assert_int_eq(hear_with(c, &queue), WIRE_SNAPSHOT);
    ck_assert_int_eq(queue, -1);
    for (uint64_t g = 1; g <= 5000; g++)
        publish(g);
    uint64_t last = 0, count = 0;
    while (hear(c) == WIRE_SNAPSHOT) {
        ck_assert_uint_gt(m.snapshot.generation, last);
        last = m.snapshot.generation;
        count++;
    }
    ck_assert_uint_eq(last, 5000);
    ck_assert_uint_lt(count, 50); /* what was overtaken was never sent */
    close(c);
}
END_TEST

START_TEST(wrong_version_size_or_content_is_dropped_and_counted) {
    int c = dial();
    uint64_t before = dropped(c);
    struct wire_ask good = {{WIRE_VERSION, WIRE_ASK, sizeof good}, WIRE_ASK_STATUS, 0};
    struct wire_ask bad = good;
    bad.header.version++;
    send(c, &bad, sizeof bad, 0);
    bad = good;
    bad.header.size++;
    send(c, &bad, sizeof bad, 0);
    bad = good;
    bad.header.type = WIRE_SNAPSHOT;
    send(c, &bad, sizeof bad, 0);
    send(c, &good, sizeof good - 1, 0);
    send(c, &good, 3, 0);
    send(c, &good, 0, 0);
    char large[2 * WIRE_MAX] = {0};
    memcpy(large, &good, sizeof good);
    send(c, large, sizeof large, 0);
    struct wire_subscribe open_ended = {{WIRE_VERSION, WIRE_SUBSCRIBE, sizeof open_ended}, 1, 0, {0}};
    memset(open_ended.program, 'x', sizeof open_ended.program);
    send(c, &open_ended, sizeof open_ended, 0);
    struct wire_report many = {.header = {WIRE_VERSION, WIRE_REPORT, sizeof many}, .count = WIRE_WANTS + 1};
    send(c, &many, sizeof many, 0);
    ck_assert_int_eq(hear(c), 0);
    ck_assert_uint_eq(dropped(c), before + 9);
    close(c);
}
END_TEST

START_TEST(an_unknown_topic_is_answered_and_counted) {
    int c = dial();
    ask(c, (enum wire_topic)99);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, EINVAL);
    ck_assert_uint_eq(dropped(c), 1);
    close(c);
}
END_TEST

START_TEST(who_asks_hears_of_the_networks_that_found_no_room_too) {
    int c = dial();
    publish(3);
    untold = WIRE_NETWORKS + 5;
    ask(c, WIRE_ASK_NETWORKS);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    for (unsigned from = 0; from < untold; from += m.snapshot.count) {
        ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
        ck_assert_uint_eq(m.snapshot.generation, 3);
        ck_assert_uint_eq(m.snapshot.networks[0].id, from + 1);
    }
    ck_assert_int_eq(hear(c), WIRE_DONE);
    close(c);
}
END_TEST

START_TEST(what_is_only_kept_is_heard_by_who_asks_or_comes) {
    int c = dial(), late = dial();
    publish(3);
    subscribe(c, 0);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    struct wire_snapshot kept = m.snapshot;
    kept.pref_count = 1;
    subscribers_keep(s, &kept);
    ck_assert_int_eq(hear(c), 0);
    ask(c, WIRE_ASK_NETWORKS);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.pref_count, 1);
    subscribe(late, 0);
    ck_assert_int_eq(hear(late), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.pref_count, 1);
    close(c);
    close(late);
}
END_TEST

START_TEST(every_question_is_answered_and_the_answer_has_an_end) {
    int c = dial(), other = dial();
    struct label_names names = {.name = {"backup"}};
    subscribers_names(s, &names);
    publish(3);
    subscribe(other, 0);
    report(other, 8);
    turn();
    ask(c, WIRE_ASK_STATUS);
    ask(c, WIRE_ASK_LABELS);
    ask(c, WIRE_ASK_NETWORKS);
    ask(c, WIRE_ASK_SUBSCRIBERS);
    ck_assert_int_eq(hear(c), WIRE_STATUS);
    ck_assert_uint_eq(m.status.generation, 77);
    ck_assert_uint_eq(m.status.subscribers, 1);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(hear(c), WIRE_LABELS);
    ck_assert_str_eq(m.labels.names[0], "backup");
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.generation, 3);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(hear(c), WIRE_SUBSCRIBER);
    ck_assert_uint_eq(m.subscriber.pid, (uint32_t)getpid());
    ck_assert_str_eq(m.subscriber.program, "tester");
    ck_assert_uint_eq(m.subscriber.report.wants[0].labels, 8);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, 0);
    ck_assert_int_eq(hear(c), 0);
    close(c);
    close(other);
}
END_TEST

START_TEST(what_is_set_is_answered_with_the_outcome) {
    int c = dial();
    struct wire_set set = {.action = WIRE_SET_UP, .network = "lab"};
    set_answer = ENOENT;
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, ENOENT);
    ck_assert_str_eq(m.done.text, "lab");
    ck_assert_int_eq(set_calls, 1);
    close(c);
}
END_TEST

START_TEST(a_policy_is_answered_with_the_outcome) {
    int c = dial();
    struct wire_policy policy = {.network = "lab", .labels = 8, .fields = WIRE_SET_LABELS};
    say(c, &policy, WIRE_POLICY, sizeof policy);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, 0);
    policy.metered = 3; /* no message at all */
    say(c, &policy, WIRE_POLICY, sizeof policy);
    ck_assert_int_eq(hear(c), 0);
    close(c);
}
END_TEST

static void publish_one(enum wire_state state) {
    struct wire_snapshot snapshot = {.header = {WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(1)},
                                     .generation = 5,
                                     .count = 1};
    snapshot.networks[0] = (struct wire_network){.name = "lab", .id = 1, .state = (uint8_t)state};
    subscribers_publish(s, &snapshot);
}

START_TEST(a_release_goes_to_that_process_and_only_while_a_network_is_up) {
    int c = dial(), other = dial();
    struct wire_set set = {.action = WIRE_SET_RELEASE, .pid = (uint32_t)getpid()};
    publish_one(WIRE_NET_DOWN);
    subscribe(other, 0);
    ck_assert_int_eq(hear(other), WIRE_SNAPSHOT);
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, ENETDOWN);
    publish_one(WIRE_NET_UP);
    ck_assert_int_eq(hear(other), WIRE_SNAPSHOT);
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, 0);
    ck_assert_int_eq(hear(other), WIRE_RELEASE);
    ck_assert_int_eq(hear(other), 0);
    set.pid = 1;
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, ESRCH);
    ck_assert_int_eq(set_calls, 0);
    close(c);
    close(other);
}
END_TEST

START_TEST(who_watches_hears_of_subscribers_and_what_they_wait_for) {
    int c = dial(), other = dial();
    char want[64];
    ask(c, WIRE_ASK_WATCH);
    turn();
    subscribe(other, 0);
    report(other, 8);
    report(other, 8);
    ck_assert_int_eq(hear(c), WIRE_EVENT);
    snprintf(want, sizeof want, "subscriber %d tester came", getpid());
    ck_assert_str_eq(m.event.text, want);
    ck_assert_int_eq(hear(c), WIRE_EVENT);
    snprintf(want, sizeof want, "subscriber %d tester waiting background", getpid());
    ck_assert_str_eq(m.event.text, want);
    close(other);
    ck_assert_int_eq(hear(c), WIRE_EVENT);
    snprintf(want, sizeof want, "subscriber %d tester left", getpid());
    ck_assert_str_eq(m.event.text, want);
    ck_assert_int_eq(hear(c), 0);
    close(c);
}
END_TEST

START_TEST(who_watches_and_never_reads_is_told_how_much_it_missed) {
    int c = dial();
    unsigned heard = 0, missed = 0;
    ask(c, WIRE_ASK_WATCH);
    turn();
    for (int i = 0; i < 5000; i++)
        subscribers_event(s, "something");
    while (hear(c) == WIRE_EVENT)
        if (sscanf(m.event.text, "%u events were left out", &missed) != 1)
            heard++;
    ck_assert_uint_gt(missed, 0);
    ck_assert_uint_eq(heard + missed, 5000);
    close(c);
}
END_TEST

/* The one in the middle neither reads nor stops talking. */
START_TEST(a_client_that_floods_and_never_reads_stops_nobody) {
    int bad = dial(), good = dial();
    subscribe(good, 0);
    ck_assert_int_eq(hear(good), WIRE_SNAPSHOT);
    for (int i = 0; i < 20000; i++) {
        struct wire_ask msg = {{WIRE_VERSION, WIRE_ASK, sizeof msg}, WIRE_ASK_LABELS, 0};
        if (send(bad, &msg, sizeof msg, MSG_DONTWAIT) < 0)
            subscribers_read(s);
    }
    publish(9);
    ck_assert_int_eq(hear(good), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.generation, 9);
    /* Nothing left to do: the flood waits in its own socket. */
    struct pollfd p = {.fd = subscribers_fd(s), .events = POLLIN};
    turn();
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    /* Nor when it says no more and still does not read. */
    shutdown(bad, SHUT_WR);
    turn();
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    close(bad);
    ask(good, WIRE_ASK_STATUS);
    ck_assert_int_eq(hear(good), WIRE_STATUS);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    close(good);
}
END_TEST

START_TEST(subscribing_twice_is_one_subscription) {
    int c = dial();
    subscribe(c, 0);
    subscribe(c, 0);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    ask(c, WIRE_ASK_STATUS);
    ck_assert_int_eq(hear(c), WIRE_STATUS);
    ck_assert_uint_eq(m.status.subscribers, 1);
    close(c);
}
END_TEST

START_TEST(who_leaves_takes_everything_along) {
    int c = dial(), queue;
    subscribe(c, WIRE_WANT_QUEUE);
    ck_assert_int_eq(hear_with(c, &queue), WIRE_SNAPSHOT);
    close(c);
    if (queue >= 0)
        close(queue);
    turn();
    c = dial();
    ask(c, WIRE_ASK_STATUS);
    ck_assert_int_eq(hear(c), WIRE_STATUS);
    ck_assert_uint_eq(m.status.subscribers, 0);
    ck_assert_uint_eq(m.status.queues, 0);
    ck_assert_uint_eq(m.status.dropped, 0); /* an end is no message */
    close(c);
}
END_TEST

static int open_descriptors(void) {
    int count = 0;
    DIR *all = opendir("/proc/self/fd");
    while (all && readdir(all))
        count++;
    closedir(all);
    return count;
}

START_TEST(who_comes_and_goes_leaves_no_descriptor_behind) {
    turn();
    const int before = open_descriptors();
    for (int i = 0; i < 10; i++) {
        int mailbox, c = dial();
        subscribe(c, WIRE_WANT_QUEUE);
        ck_assert_int_eq(hear_with(c, &mailbox), WIRE_SNAPSHOT);
        if (mailbox >= 0)
            close(mailbox);
        close(c);
        turn();
    }
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(without_descriptors_newcomers_are_turned_away_and_the_loop_rests) {
    struct rlimit few, before;
    int spare[2000], count = 0, c = dial(), late = dial();
    turn();
    int tried = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = 1000;
    setrlimit(RLIMIT_NOFILE, &few);
    while (count < 2000 && (spare[count] = dup(c)) >= 0)
        count++;
    ck_assert_int_eq(connect(tried, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(hear(tried), 0);
    struct pollfd p = {.fd = subscribers_fd(s), .events = POLLIN}, gone = {.fd = tried, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    ck_assert_int_eq(poll(&gone, 1, 0), 1);
    while (count)
        close(spare[--count]);
    ask(late, WIRE_ASK_STATUS);
    ck_assert_int_eq(hear(late), WIRE_STATUS);
    close(c);
    close(late);
    close(tried);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("subscribers");
    TCase *c = tcase_create("subscribers");
    tcase_add_checked_fixture(c, start, finish);
    tcase_add_test(c, a_subscriber_gets_the_state_and_a_mailbox_it_can_only_read);
    tcase_add_test(c, a_full_mailbox_holds_the_newest_state);
    tcase_add_test(c, without_a_queue_the_newest_state_comes_over_the_socket);
    tcase_add_test(c, wrong_version_size_or_content_is_dropped_and_counted);
    tcase_add_test(c, an_unknown_topic_is_answered_and_counted);
    tcase_add_test(c, who_asks_hears_of_the_networks_that_found_no_room_too);
    tcase_add_test(c, what_is_only_kept_is_heard_by_who_asks_or_comes);
    tcase_add_test(c, every_question_is_answered_and_the_answer_has_an_end);
    tcase_add_test(c, what_is_set_is_answered_with_the_outcome);
    tcase_add_test(c, a_policy_is_answered_with_the_outcome);
    tcase_add_test(c, a_release_goes_to_that_process_and_only_while_a_network_is_up);
    tcase_add_test(c, who_watches_hears_of_subscribers_and_what_they_wait_for);
    tcase_add_test(c, who_watches_and_never_reads_is_told_how_much_it_missed);
    tcase_add_test(c, a_client_that_floods_and_never_reads_stops_nobody);
    tcase_add_test(c, subscribing_twice_is_one_subscription);
    tcase_add_test(c, who_leaves_takes_everything_along);
    tcase_add_test(c, who_comes_and_goes_leaves_no_descriptor_behind);
    tcase_add_test(c, without_descriptors_newcomers_are_turned_away_and_the_loop_rests);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* unit_subscribers - what subscribers are told, and that none of them can harm the scout or one another; who
 * only asks is in unit_subscribers_request. */
#include "subscriber.h"
#include "suite.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>

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
    tcase_add_test(c, a_client_that_floods_and_never_reads_stops_nobody);
    tcase_add_test(c, subscribing_twice_is_one_subscription);
    tcase_add_test(c, who_leaves_takes_everything_along);
    tcase_add_test(c, who_comes_and_goes_leaves_no_descriptor_behind);
    tcase_add_test(c, without_descriptors_newcomers_are_turned_away_and_the_loop_rests);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

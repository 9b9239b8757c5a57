/* unit_scout_talk - what is said over the wire to a scout, against a fake one: received, reported, asked, and
 * what is dropped and counted. How the wire is laid is in unit_scout_link. */
#include "fake_link.h"
#include "real.h"
#include "suite.h"

#include <poll.h>
#include <sys/stat.h>

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

/* The mailbox has been looked at and was empty; only then the scout speaks for the last time and dies. */
static ssize_t recv_after_the_last_word(int fd, void *buf, size_t len, int flags) {
    put_snapshot(2);
    close(fake.client);
    mq_close(fake.mailbox);
    return recv(fd, buf, len, flags);
}

START_TEST(a_last_word_just_before_the_end_is_heard) {
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ssize_t (*before)(int, void *, size_t, int) = real.recv;
    real.recv = recv_after_the_last_word;
    ck_assert_int_eq(received(), 1);
    ck_assert_uint_eq(next.generation, 2);
    real.recv = before;
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

START_TEST(a_report_to_a_dead_scout_is_an_error) {
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

static void add_talking(TCase *t) {
    tcase_add_test(t, an_empty_mailbox_is_no_more_and_never_waits);
    tcase_add_test(t, wrong_messages_on_the_socket_are_dropped_and_counted);
    tcase_add_test(t, wrong_messages_in_the_mailbox_are_dropped_and_counted);
    tcase_add_test(t, a_stray_descriptor_on_a_later_message_is_closed);
    tcase_add_test(t, a_flood_of_wrong_messages_holds_nobody_for_ever);
    tcase_add_test(t, the_mailbox_is_drained_before_the_end_is_told);
    tcase_add_test(t, a_last_word_just_before_the_end_is_heard);
    tcase_add_test(t, the_socket_is_drained_before_the_end_is_told);
    tcase_add_test(t, descriptors_taken_away_are_the_end_not_a_crash);
    tcase_add_test(t, a_link_that_is_not_open_is_gone);
    tcase_add_test(t, a_report_reaches_the_scout_whole);
    tcase_add_test(t, a_report_to_a_scout_that_does_not_read_is_for_later);
    tcase_add_test(t, a_report_to_a_dead_scout_is_an_error);
    tcase_add_test(t, the_bell_hangs_up_when_a_scout_starts_to_listen);
    tcase_add_test(t, a_bell_that_is_no_fifo_is_not_heard);
    tcase_add_test(t, the_names_of_user_labels_are_had_in_one_conversation);
    tcase_add_test(t, an_answer_without_labels_is_an_error);
    tcase_add_test(t, a_refused_question_is_told_as_it_was_said);
    tcase_add_test(t, a_scout_that_goes_in_mid_conversation_is_gone);
}

int main(void) {
    Suite *s = suite_create("scout_talk");
    TCase *t = tcase_create("scout_talk");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup_patiently, teardown);
    add_talking(t);
    return suite_run(s);
}

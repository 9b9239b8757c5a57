/* unit_scout_link - the wire to a scout, against a fake one: how it is laid, what is taken over, whom to
 * believe, and that no descriptor stays behind. What is said over it is in unit_scout_talk. */
#include "fake_link.h"
#include "real.h"
#include "suite.h"
#include "under_tsan.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { NOBODY = 65534 };

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

static bool was_open[100];

/* Between the program's own a number that the program closes by chance, and uses again, would be hit. */
static void expect_no_low_number(void) {
    for (int fd = 0; fd < 100; fd++)
        if (!was_open[fd] && fd != fake.client)
            ck_assert_msg(!is_open(fd), "%d is open while the scout is waited for", fd);
    with_mailbox();
}

START_TEST(the_subscription_is_out_of_the_programs_way_from_the_beginning) {
    start_scout(expect_no_low_number, 1);
    for (int fd = 0; fd < 100; fd++)
        was_open[fd] = is_open(fd);
    int r = scout_link_open(&link_, fake.path, TID, &first);
    join_scout();
    ck_assert_int_eq(r, 0);
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
    real.poll = poll;
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

static int interruptions;

static int interrupted_poll(struct pollfd *fds, nfds_t count, int timeout) {
    errno = EINTR;
    return interruptions++ < 3 ? -1 : poll_for_ever(fds, count, timeout);
}

static int interrupted_connect(int fd, const struct sockaddr *to, socklen_t len) {
    errno = EINTR;
    return interruptions++ < 3 ? -1 : connect(fd, to, len);
}

START_TEST(signals_of_the_program_do_not_break_the_subscription) {
    real.poll = interrupted_poll;
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_int_gt(interruptions, 3);
    scout_link_close(&link_);
    close(fake.listener);
    unlink(fake.path);
    interruptions = 0;
    real.connect = interrupted_connect;
    ck_assert_int_eq(opened_with(with_mailbox, 1), 0);
    ck_assert_int_gt(interruptions, 3);
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
    set_limit(FEW);
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

static void add_opening(TCase *t) {
    tcase_add_test(t, the_first_snapshot_comes_with_the_mailbox);
    tcase_add_test(t, the_subscription_is_out_of_the_programs_way_from_the_beginning);
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
    tcase_add_test(t, signals_of_the_program_do_not_break_the_subscription);
    tcase_add_test(t, two_descriptors_are_refused_and_the_socket_used);
    tcase_add_test(t, a_crowd_of_descriptors_is_refused_and_the_socket_used);
    tcase_add_test(t, a_descriptor_that_is_no_queue_is_refused_and_the_socket_used);
    tcase_add_test(t, a_queue_of_another_size_is_refused_and_the_socket_used);
    if (under_tsan)
        fprintf(stderr, "skipped: no room for the mailbox (ThreadSanitizer needs descriptors of its own)\n");
    else
        tcase_add_test(t, without_room_for_the_mailbox_the_socket_is_used);
}

/* Root of a user namespace may have nobody else to be. */
static bool can_be_others(void) {
    return geteuid() == 0 && seteuid(NOBODY) == 0 && seteuid(0) == 0;
}

int main(void) {
    Suite *s = suite_create("scout_link");
    TCase *t = tcase_create("scout_link");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup_patiently, teardown);
    add_opening(t);
    if (can_be_others()) {
        tcase_add_test(t, a_scout_of_another_user_is_not_believed);
        tcase_add_test(t, a_bell_of_another_user_is_not_heard);
    } else {
        fputs("skipped: whether others are believed, for it takes root to be others\n", stderr);
    }
    return suite_run(s);
}

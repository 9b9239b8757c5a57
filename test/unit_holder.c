/* Unit tests of holder: who else holds a socket. */
#include "holder.h"
#include "suite.h"

#include <check.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int pair[2];

static void begin(void) {
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

static void finish(void) {
    close(pair[0]);
    close(pair[1]);
}

/* One look serves for a moment. */
static bool becomes(bool held) {
    for (int i = 0; i < 24000; i++) {
        if (holder_elsewhere(pair[0], !held) == held)
            return true;
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    return false;
}

static pid_t child_that(void (*does)(void)) {
    char byte;
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    const pid_t pid = fork();
    if (!pid) {
        does();
        close(ready[1]);
        pause();
        _exit(0);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 0);
    close(ready[0]);
    return pid;
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void nothing(void) {}

static void close_it(void) {
    close(pair[0]);
}

START_TEST(what_nobody_else_has_is_held_here_only) {
    const int copy = dup(pair[0]);
    ck_assert(becomes(false));
    close(copy);
}
END_TEST

START_TEST(a_child_holds_what_it_has_inherited_until_it_ends) {
    const pid_t pid = child_that(nothing);
    ck_assert(becomes(true));
    end(pid);
    ck_assert(becomes(false));
}
END_TEST

START_TEST(after_a_fork_what_was_seen_before_is_past) {
    ck_assert(becomes(false));
    const pid_t pid = child_that(nothing);
    holder_forked();
    ck_assert(holder_elsewhere(pair[0], false));
    end(pid);
}
END_TEST

START_TEST(a_child_that_has_closed_it_holds_it_no_more) {
    const pid_t pid = child_that(close_it);
    ck_assert(becomes(false));
    end(pid);
}
END_TEST

/* What is told, after its end, of a child that was seen ahead. */
static bool remembered(bool fork_between) {
    const pid_t pid = child_that(nothing);
    struct holders *ahead = holder_ahead();
    ck_assert_ptr_nonnull(ahead);
    end(pid);
    if (fork_between)
        holder_forked();
    holder_take(ahead);
    return holder_elsewhere(pair[0], false);
}

/* For a moment, which may be over before it is asked. */
START_TEST(what_was_seen_ahead_counts_unless_a_fork_came_between) {
    bool ever = false;
    for (int i = 0; !ever && i < 1000; i++)
        ever = remembered(false);
    ck_assert(ever);
    for (int i = 0; i < 10; i++)
        ck_assert(!remembered(true));
    holder_take(NULL);
}
END_TEST

START_TEST(who_has_had_no_child_is_childless) {
    ck_assert(holder_childless());
    const pid_t pid = child_that(nothing);
    ck_assert(!holder_childless());
    end(pid);
    ck_assert(!holder_childless()); /* it may have had one of its own */
}
END_TEST

START_TEST(whose_children_go_unnoticed_is_not_childless) {
    signal(SIGCHLD, SIG_IGN);
    ck_assert(!holder_childless());
    signal(SIGCHLD, SIG_DFL);
    ck_assert(holder_childless());
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT}, NULL);
    ck_assert(!holder_childless());
}
END_TEST

START_TEST(what_is_no_descriptor_is_left_in_doubt) {
    ck_assert(holder_elsewhere(-1, true));
    ck_assert(!holder_elsewhere(-1, false));
}
END_TEST

int main(void) {
    Suite *s = suite_create("holder");
    TCase *t = tcase_create("holder");
    tcase_add_checked_fixture(t, begin, finish);
    tcase_add_test(t, what_nobody_else_has_is_held_here_only);
    tcase_add_test(t, a_child_holds_what_it_has_inherited_until_it_ends);
    tcase_add_test(t, after_a_fork_what_was_seen_before_is_past);
    tcase_add_test(t, a_child_that_has_closed_it_holds_it_no_more);
    tcase_add_test(t, what_was_seen_ahead_counts_unless_a_fork_came_between);
    tcase_add_test(t, who_has_had_no_child_is_childless);
    tcase_add_test(t, whose_children_go_unnoticed_is_not_childless);
    tcase_add_test(t, what_is_no_descriptor_is_left_in_doubt);
    suite_add_tcase(s, t);
    return suite_run(s);
}

/* unit_lift - descriptors of our own: high, close-on-exec, and known. */
#include "lift.h"
#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

static struct rlimit limit_before;

static void keep_limit(void) {
    getrlimit(RLIMIT_NOFILE, &limit_before);
}

static void restore_limit(void) {
    for (int fd = 5; fd < 64; fd++)
        close(fd);
    setrlimit(RLIMIT_NOFILE, &limit_before);
}

static void set_limit(rlim_t n) {
    const struct rlimit limit = {n, limit_before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(a_lifted_descriptor_leaves_its_low_number) {
    set_limit(1024);
    int low = dup(0);
    int high = lift(low);
    ck_assert_int_ge(high, 960);
    ck_assert(!is_open(low));
    ck_assert_int_eq(fcntl(high, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(lift(high), high);
}
END_TEST

START_TEST(a_dropped_descriptor_leaves_no_number_behind) {
    int fd = lift(dup(0));
    const int was = fd;
    lift_drop(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert(!is_open(was));
    ck_assert(!lift_owns(was));
    lift_drop(&fd);
    ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(under_a_small_limit_it_is_lifted_as_far_as_it_goes) {
    int low = dup(0);
    set_limit(32);
    int high = lift(low);
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
    ck_assert_int_eq(lift(last), last);
    ck_assert_int_eq(lift(5), 5);
    ck_assert_int_eq(fcntl(5, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(last, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(where_there_is_no_room_above_a_copy_takes_what_there_is) {
    set_limit(32);
    while (dup(0) >= 0)
        continue;
    close(5);
    ck_assert_int_eq(lift_copy(0), 5);
    ck_assert_int_eq(fcntl(5, F_GETFD), FD_CLOEXEC);
    ck_assert(lift_owns(5));
    ck_assert_int_eq(lift_copy(0), -1);
}
END_TEST

START_TEST(ours_are_known_until_they_are_closed) {
    int fd = lift(dup(0));
    ck_assert(lift_owns(fd));
    ck_assert_uint_eq(lift_next(0), (unsigned)fd);
    ck_assert_uint_eq(lift_next((unsigned)fd + 1), ~0U);
    lift_close(fd);
    ck_assert(!lift_owns(fd));
    ck_assert(!is_open(fd));
    ck_assert_uint_eq(lift_next(0), ~0U);
}
END_TEST

START_TEST(numbers_that_cannot_be_are_not_ours) {
    ck_assert(!lift_owns(-1));
    ck_assert(!lift_owns(LIFT_END));
    ck_assert(!lift_owns(1 << 30));
    ck_assert_int_eq(lift(-9), -9);
}
END_TEST

START_TEST(a_number_the_program_takes_is_left_to_it) {
    int fd = lift(dup(0));
    int other = lift_away(fd);
    ck_assert_int_ge(other, 0);
    ck_assert_int_ne(other, fd);
    ck_assert(lift_owns(other));
    ck_assert(!lift_owns(fd));
    close(fd);
    lift_close(other);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("lift");
    TCase *t = tcase_create("lift");
    tcase_add_checked_fixture(t, keep_limit, restore_limit);
    tcase_add_test(t, a_lifted_descriptor_leaves_its_low_number);
    tcase_add_test(t, a_dropped_descriptor_leaves_no_number_behind);
    tcase_add_test(t, under_a_small_limit_it_is_lifted_as_far_as_it_goes);
    tcase_add_test(t, where_there_is_no_room_a_descriptor_stays_and_closes_on_exec);
    tcase_add_test(t, where_there_is_no_room_above_a_copy_takes_what_there_is);
    tcase_add_test(t, ours_are_known_until_they_are_closed);
    tcase_add_test(t, numbers_that_cannot_be_are_not_ours);
    tcase_add_test(t, a_number_the_program_takes_is_left_to_it);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}

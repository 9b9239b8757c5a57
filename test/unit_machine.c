/* unit_machine - what a restarted scout finds again, and what it does not. */
#include "machine.h"
#include "suite.h"

#include <check.h>
#include <sys/resource.h>

START_TEST(the_seed_is_found_again_and_the_random_number_is_not) {
    ck_assert_uint_eq(machine_seed(), machine_seed());
    ck_assert_uint_ne(machine_random(), machine_random());
}
END_TEST

START_TEST(limits_are_raised_as_far_as_they_go) {
    struct rlimit l;
    machine_raise_limits();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
    ck_assert_uint_eq(l.rlim_cur, l.rlim_max);
}
END_TEST

START_TEST(clocks_go_forward) {
    int64_t before = machine_now_ms();
    ck_assert_int_gt(before, 0);
    ck_assert_int_ge(machine_now_ms(), before);
    ck_assert_uint_gt(machine_wall_ms(), UINT64_C(1600000000000));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("machine");
    TCase *c = tcase_create("machine");
    tcase_add_test(c, the_seed_is_found_again_and_the_random_number_is_not);
    tcase_add_test(c, limits_are_raised_as_far_as_they_go);
    tcase_add_test(c, clocks_go_forward);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

/* unit_duration - durations as people write them. */
#include "duration.h"
#include "suite.h"

#include <check.h>
#include <errno.h>

START_TEST(seconds_minutes_and_hours_may_have_decimals) {
    static const struct {
        const char *text;
        long long seconds;
        long nanos;
    } good[] = {{"0", 0, 0},
                {"90", 90, 0},
                {"2.5", 2, 500000000},
                {".25", 0, 250000000},
                {"4.", 4, 0},
                {"7s", 7, 0},
                {"5m", 300, 0},
                {"2h", 7200, 0},
                {"1.5m", 90, 0},
                {"0.0001h", 0, 360000000},
                {"0.0000000019", 0, 1},
                {"1000000000", 1000000000, 0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct timespec t = {-1, -1};
        ck_assert_int_eq(duration_parse(good[i].text, &t), 1);
        ck_assert_int_eq(t.tv_sec, good[i].seconds);
        ck_assert_int_eq(t.tv_nsec, good[i].nanos);
    }
}
END_TEST

START_TEST(forever_is_no_time) {
    struct timespec t = {-1, -1};
    ck_assert_int_eq(duration_parse("forever", &t), 0);
    ck_assert_int_eq(t.tv_sec, -1);
}
END_TEST

START_TEST(what_is_no_duration_is_an_error) {
    static const char *const bad[] = {"",        ".",          "-1",         "+1",
                                      " 1",      "1 ",         "1e3",        "inf",
                                      "nan",     "0x10",       "5ms",        "1.2.",
                                      "1,5",     "soon",       "m",          "5d",
                                      "Forever", "1000000001", "999999999h", "99999999999999999999999999"};
    struct timespec t;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(duration_parse(bad[i], &t), -EINVAL);
}
END_TEST

int main(void) {
    Suite *s = suite_create("duration");
    TCase *t = tcase_create("all");
    tcase_add_test(t, seconds_minutes_and_hours_may_have_decimals);
    tcase_add_test(t, forever_is_no_time);
    tcase_add_test(t, what_is_no_duration_is_an_error);
    suite_add_tcase(s, t);
    return suite_run(s);
}

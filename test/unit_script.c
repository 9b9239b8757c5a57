/* unit_script - timetables, their order and their mistakes. */
#include "script.h"
#include "script_chance.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static char said[2048];
static const struct label_names names = {.name = {"backup"}};

static void hear(void *arg, const char *file, unsigned line, const char *text) {
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s%s:%u: %s", used ? "|" : "", file, line, text);
}

static bool knows(void *arg, const char *network) {
    return strcmp(network, "lab") == 0 || strcmp(network, "home@wlan0") == 0;
}

static const struct script_reader reader = {&names, knows, hear, NULL};

static int read_text(const char *text, const char *file, struct script **ret) {
    char copy[2048];
    snprintf(copy, sizeof copy, "%s", text);
    said[0] = 0;
    FILE *f = fmemopen(copy, strlen(copy), "r");
    int r = script_read(f, file, &reader, ret);
    fclose(f);
    return r;
}

static struct script *good(const char *text) {
    struct script *s = NULL;
    ck_assert_msg(read_text(text, "f", &s) == 0, "%s", said);
    return s;
}

static void expect(struct script *s, int64_t at, enum script_verb verb, const char *network) {
    struct script_action a;
    ck_assert_int_eq(script_deadline(s), at);
    ck_assert_int_eq(script_take(s, at - 1, &a), 0);
    ck_assert_int_eq(script_take(s, at, &a), 1);
    ck_assert_int_eq(a.verb, verb);
    ck_assert_str_eq(a.network, network);
}

START_TEST(actions_come_at_their_time_and_in_their_order) {
    struct script *s =
        good("# seconds action\n0 up lab\n0 down lab  # at once again\n\n 2.5\tup home@wlan0\n4 end\n");
    struct script_action a;
    expect(s, 0, SCRIPT_UP, "lab");
    expect(s, 0, SCRIPT_DOWN, "lab");
    expect(s, 2500, SCRIPT_UP, "home@wlan0");
    ck_assert_int_eq(script_deadline(s), -1);
    ck_assert_int_eq(script_take(s, 1000000, &a), 0);
    script_free(s);
}
END_TEST

START_TEST(labels_are_parsed_with_the_names_of_the_configuration) {
    struct script *s = good("1 labels lab ondemand, backup\n2 labels lab all\n");
    struct script_action a;
    ck_assert_int_eq(script_take(s, 1000, &a), 1);
    ck_assert_int_eq(a.verb, SCRIPT_LABELS);
    ck_assert_uint_eq(a.labels, 4 | UINT64_C(1) << 32);
    ck_assert_int_eq(script_take(s, 2000, &a), 1);
    ck_assert_uint_eq(a.labels, LABEL_INTENTS);
    script_free(s);
}
END_TEST

START_TEST(a_loop_begins_again_at_its_own_time) {
    struct script *s = good("0 up lab\n1 down lab\n3 loop\n");
    for (int64_t round = 0; round < 9000; round += 3000) {
        expect(s, round, SCRIPT_UP, "lab");
        expect(s, round + 1000, SCRIPT_DOWN, "lab");
        struct script_action a;
        ck_assert_int_eq(script_take(s, round + 2999, &a), 0);
        ck_assert_int_eq(script_deadline(s), round + 3000);
        expect(s, round + 3000, SCRIPT_LOOP, "");
    }
    script_free(s);
}
END_TEST

START_TEST(exit_is_handed_out) {
    struct script *s = good("0.5 exit\n");
    expect(s, 500, SCRIPT_EXIT, "");
    script_free(s);
}
END_TEST

static const struct {
    const char *text, *said;
} wrong[] = {
    {"0 up nolab\n", "f:1: unknown network 'nolab'"},
    {"0 up\n", "f:1: the network is missing"},
    {"0\n", "f:1: the action is missing"},
    {"0 fly lab\n", "f:1: unknown action 'fly'"},
    {"\nsoon up lab\n", "f:2: 'soon' is not a number of seconds"},
    {"-1 up lab\n", "f:1: '-1' is not a number of seconds"},
    {"0 up lab now\n", "f:1: 'now' is too much"},
    {"0 labels lab\n", "f:1: the labels are missing"},
    {"0 labels lab red,huhu\n", "f:1: unknown label 'huhu'"},
    {"2 up lab\n1 down lab\n", "f:2: the time is before that of line 1"},
    {"0 loop\n", "f:1: 'loop' needs a time above 0"},
    {"1 loop\n2 up lab\n", "f:2: nothing can follow 'loop', 'end' or 'exit'"},
    {"1 loop lab\n", "f:1: 'lab' is too much"},
    {"cdf lab up\n", "f:1: expected 'cdf NETWORK UPTIMES DOWNTIMES [SEED]'"},
    {"cdf lab /nonexistent/a /nonexistent/b\n",
     "f:1: /nonexistent/a: No such file or directory|f:1: /nonexistent/b: No such file or directory"},
    {"x up lab\n0 up y\n", "f:1: 'x' is not a number of seconds|f:2: unknown network 'y'"},
};

START_TEST(every_mistake_is_told_with_file_and_line) {
    struct script *s = NULL;
    ck_assert_int_eq(read_text(wrong[_i].text, "f", &s), -EINVAL);
    ck_assert_str_eq(said, wrong[_i].said);
    ck_assert_ptr_null(s);
}
END_TEST

static int chance(const char *text, struct script_chance *ret, unsigned *ret_line, const char **ret_why) {
    char copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    FILE *f = fmemopen(copy, strlen(copy), "r");
    int r = script_chance_read(f, ret, ret_line, ret_why);
    fclose(f);
    return r;
}

START_TEST(drawn_times_follow_the_distribution_and_the_seed) {
    struct script_chance c;
    unsigned line, low = 0;
    const char *why;
    uint64_t one = 7, two = 7;
    /* Half of them between 1 and 2 s, the other half exactly 10 s. */
    ck_assert_int_eq(chance("1 0\n2 50\n10 50 # step\n10 100\n", &c, &line, &why), 0);
    for (int i = 0; i < 10000; i++) {
        uint32_t ms = script_chance_draw(&c, &one);
        ck_assert_uint_eq(ms, script_chance_draw(&c, &two));
        ck_assert(ms == 10000 || (ms >= 1000 && ms <= 2000));
        low += ms <= 2000;
    }
    ck_assert_uint_gt(low, 4700);
    ck_assert_uint_lt(low, 5300);
    script_chance_finish(&c);
}
END_TEST

START_TEST(percentages_may_have_their_sign_or_be_fractions) {
    static const char *const same[] = {"1 0\n2 50\n3 100\n", "1 0%\n2 50%\n3 100%\n", "1 0\n2 0.5\n3 1\n"};
    struct script_chance c[3];
    unsigned line;
    const char *why;
    uint64_t state[3] = {7, 7, 7};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(chance(same[i], &c[i], &line, &why), 0);
    for (int i = 0; i < 1000; i++) {
        uint32_t ms = script_chance_draw(&c[0], &state[0]);
        ck_assert_uint_eq(script_chance_draw(&c[1], &state[1]), ms);
        ck_assert_uint_eq(script_chance_draw(&c[2], &state[2]), ms);
    }
    for (int i = 0; i < 3; i++)
        script_chance_finish(&c[i]);
}
END_TEST

static const struct {
    const char *text;
    unsigned line;
    const char *why;
} odd[] = {{"\n", 0, "no values"},
           {"1 0\nx 5\n", 2, "expected a value in seconds and a percentage"},
           {"1 0\n2\n", 2, "expected a value in seconds and a percentage"},
           {"1 101\n", 1, "more than 100 percent"},
           {"2 10\n1 20\n", 2, "values and percentages must not fall"},
           {"1 20\n2 10\n", 2, "values and percentages must not fall"}};

START_TEST(a_bad_distribution_is_told_with_its_line) {
    struct script_chance c;
    unsigned line;
    const char *why = NULL;
    ck_assert_int_eq(chance(odd[_i].text, &c, &line, &why), -EINVAL);
    ck_assert_str_eq(why, odd[_i].why);
    ck_assert_uint_eq(line, odd[_i].line);
}
END_TEST

START_TEST(a_random_network_goes_up_and_down_beside_the_timetable) {
    char dir[] = "/tmp/cmm-script-XXXXXX", path[64], file[64];
    struct script *s = NULL;
    struct script_action a;
    int64_t now = 0;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/times.dat", dir);
    snprintf(file, sizeof file, "%s/script", dir);
    FILE *f = fopen(path, "w");
    fputs("1 0\n1 100\n", f);
    fclose(f);
    ck_assert_msg(read_text("0.5 up home@wlan0\ncdf lab times.dat times.dat 42\n", file, &s) == 0, "%s",
                  said);
    expect(s, 500, SCRIPT_UP, "home@wlan0");
    for (int i = 0; i < 6; i++) {
        now += 1000;
        ck_assert_int_eq(script_deadline(s), now);
        ck_assert_int_eq(script_take(s, now, &a), 1);
        ck_assert_int_eq(a.verb, i % 2 ? SCRIPT_DOWN : SCRIPT_UP);
        ck_assert_str_eq(a.network, "lab");
    }
    script_free(s);
    unlink(path);
    rmdir(dir);
}
END_TEST

int main(void) {
    Suite *s = suite_create("script");
    TCase *t = tcase_create("script");
    tcase_add_test(t, actions_come_at_their_time_and_in_their_order);
    tcase_add_test(t, labels_are_parsed_with_the_names_of_the_configuration);
    tcase_add_test(t, a_loop_begins_again_at_its_own_time);
    tcase_add_test(t, exit_is_handed_out);
    tcase_add_loop_test(t, every_mistake_is_told_with_file_and_line, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(t, drawn_times_follow_the_distribution_and_the_seed);
    tcase_add_test(t, percentages_may_have_their_sign_or_be_fractions);
    tcase_add_loop_test(t, a_bad_distribution_is_told_with_its_line, 0, sizeof odd / sizeof *odd);
    tcase_add_test(t, a_random_network_goes_up_and_down_beside_the_timetable);
    suite_add_tcase(s, t);
    return suite_run(s);
}

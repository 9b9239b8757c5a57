/* unit_keep - what a program started from here gets. */
#include "keep.h"
#include "suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct keep k;
static const char *const with[] = {"PATH=/bin", "LD_PRELOAD=/lib/x.so", "CMM_LABELS=red", "CMMX=1", NULL};
static const char *const scratch[] = {"HOME=/", NULL};

static void remember(const char *const *env) {
    keep_remember(&k, "/lib/x.so", (char *const *)env);
}

static size_t room(const char *const *env) {
    return keep_room(&k, (char *const *)env);
}

START_TEST(an_environment_made_from_scratch_is_completed) {
    char *done[8];
    remember(with);
    ck_assert_uint_eq(k.count, 2);
    ck_assert_uint_eq(room(scratch), 4);
    keep_complete(&k, (char *const *)scratch, done);
    ck_assert_str_eq(done[0], "HOME=/");
    ck_assert_str_eq(done[1], "LD_PRELOAD=/lib/x.so");
    ck_assert_str_eq(done[2], "CMM_LABELS=red");
    ck_assert_ptr_null(done[3]);
    ck_assert_ptr_ne(done[1], with[1]); /* its own copy: a program may write over its environment */
    ck_assert_uint_eq(room(NULL), 3);
    keep_complete(&k, (char *const *)NULL, done);
    ck_assert_str_eq(done[0], "LD_PRELOAD=/lib/x.so");
    ck_assert_ptr_null(done[2]);
}
END_TEST

START_TEST(what_was_left_out_on_purpose_stays_out) {
    const char *const without[] = {"PATH=/bin", "CMM_LABELS=red", NULL};
    const char *const other[] = {"LD_PRELOAD=/lib/y.so", NULL};
    remember(with);
    ck_assert_uint_eq(room(with), 0);
    ck_assert_uint_eq(room(without), 0);
    ck_assert_uint_eq(room(other), 0);
}
END_TEST

START_TEST(who_preloads_something_else_has_the_library_behind_it) {
    const char *const replaced[] = {"CMM_LABELS=red", "LD_PRELOAD=/lib/y.so z.so", NULL};
    const char *const emptied[] = {"CMM_LABELS=red", "LD_PRELOAD=", NULL};
    const char *const beside[] = {"CMM_LABELS=red", "LD_PRELOAD=y.so:x.so", NULL};
    const char *const other[] = {"LD_PRELOAD=/lib/y.so", NULL};
    char text[64];
    remember(with);
    const size_t size = keep_amend(&k, (char *const *)replaced);
    ck_assert_str_eq(keep_amended(&k, (char *const *)replaced, text), "LD_PRELOAD=/lib/y.so z.so:/lib/x.so");
    ck_assert_uint_eq(size, strlen(text) + 1);
    ck_assert_uint_eq(keep_amend(&k, (char *const *)emptied), 0);
    ck_assert_uint_eq(keep_amend(&k, (char *const *)beside), 0);
    ck_assert_uint_eq(keep_amend(&k, (char *const *)other), 0);
    ck_assert_uint_eq(keep_amend(&k, NULL), 0);
    keep_remember(&k, NULL, (char *const *)with);
    ck_assert_uint_eq(keep_amend(&k, (char *const *)replaced), 0);
}
END_TEST

START_TEST(what_does_not_fit_is_not_kept_in_part) {
    const char *const many[] = {
        "CMM_A=", "CMM_B=", "CMM_C=", "CMM_D=", "CMM_E=", "CMM_F=", "CMM_G=", "CMM_H=", "CMM_I=",
        "CMM_J=", "CMM_K=", "CMM_L=", "CMM_M=", "CMM_N=", "CMM_O=", "CMM_P=", "CMM_Q=", NULL};
    char *large = malloc(KEEP_TEXT + 1);
    memset(large, 'x', KEEP_TEXT);
    memcpy(large, "CMM_RULES=", 10);
    large[KEEP_TEXT] = 0;
    const char *const too_large[] = {"LD_PRELOAD=/lib/x.so", large, NULL};
    remember(too_large);
    ck_assert_uint_eq(room(scratch), 0);
    remember(many);
    ck_assert_uint_eq(room(scratch), 0);
    remember(NULL);
    ck_assert_uint_eq(room(scratch), 0);
    free(large);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("keep");
    TCase *c = tcase_create("keep");
    tcase_add_test(c, an_environment_made_from_scratch_is_completed);
    tcase_add_test(c, what_was_left_out_on_purpose_stays_out);
    tcase_add_test(c, who_preloads_something_else_has_the_library_behind_it);
    tcase_add_test(c, what_does_not_fit_is_not_kept_in_part);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

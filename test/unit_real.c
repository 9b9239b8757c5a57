/* unit_real - libc's own functions. This program is not interposed: what comes behind it is libc. */
#include "real.h"
#include "suite.h"

#include <check.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

START_TEST(what_is_found_is_what_the_loader_finds) {
    real_init();
#define SAME(result, name, parameters, arguments)                                                            \
    ck_assert_msg((void *)real.name == dlsym(RTLD_NEXT, #name), "%s is another one", #name);
    REAL_FUNCTIONS(SAME)
#undef SAME
}
END_TEST

START_TEST(the_program_comes_first_in_the_loaders_list) {
    ck_assert_ptr_nonnull(real_us());
    ck_assert(real_first());
}
END_TEST

/* ---- the first call, while the loader is busy ---- */

static pthread_t caller;
static int ended = -1;

static void *call(void *unused) {
    (void)unused;
    real.close(-1);
    return NULL;
}

void while_loading(void);
void while_loading(void) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 120;
    pthread_create(&caller, NULL, call, NULL);
    ended = pthread_timedjoin_np(caller, NULL, &limit);
}

START_TEST(the_first_call_does_not_wait_for_a_library_that_is_being_loaded) {
    ck_assert_ptr_nonnull(dlopen(getenv("CMM_LOADING_LIB"), RTLD_NOW));
    ck_assert_int_eq(ended, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("real");
    TCase *c = tcase_create("all");
    tcase_add_test(c, what_is_found_is_what_the_loader_finds);
    tcase_add_test(c, the_program_comes_first_in_the_loaders_list);
    tcase_add_test(c, the_first_call_does_not_wait_for_a_library_that_is_being_loaded);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

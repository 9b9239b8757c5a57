/* unit_lock - the one lock: held by one thread at a time, known to its holder, and no place to be cancelled.
 */
#include "lock.h"
#include "suite.h"
#include "under_tsan.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 20000 };

static volatile long guarded;
static pthread_barrier_t together;
static volatile bool inside;

static void *count(void *arg) {
    pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS; i++) {
        lock_take();
        if (inside || !self.holding)
            return arg;
        inside = true;
        guarded++;
        if (i % 1000 == 0)
            sched_yield();
        inside = false;
        lock_drop();
    }
    return NULL;
}

START_TEST(one_thread_holds_it_at_a_time_and_knows) {
    pthread_t threads[THREADS];
    void *wrong;
    pthread_barrier_init(&together, NULL, THREADS);
    ck_assert(!self.holding);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, &threads), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
    ck_assert_int_eq(guarded, (long)THREADS * ROUNDS);
    ck_assert(!self.holding);
}
END_TEST

static void *count_shortly(void *arg) {
    pthread_barrier_wait(&together);
    for (int i = 0; i < ROUNDS; i++) {
        lock_take_shortly();
        if (inside || !self.holding)
            return arg;
        inside = true;
        guarded++;
        if (i % 1000 == 0)
            sched_yield();
        inside = false;
        lock_drop_shortly();
    }
    return NULL;
}

START_TEST(who_holds_it_for_a_moment_holds_it_as_well) {
    pthread_t threads[THREADS];
    void *wrong;
    pthread_barrier_init(&together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 2 ? count : count_shortly, &threads), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
        ck_assert_ptr_null(wrong);
    }
    ck_assert_int_eq(guarded, (long)THREADS * ROUNDS);
    ck_assert(!self.holding);
}
END_TEST

static void *cancelled_while_holding(void *arg) {
    lock_take();
    pthread_cancel(pthread_self());
    pthread_testcancel();
    *(bool *)arg = true;
    lock_drop();
    pthread_testcancel();
    return NULL;
}

START_TEST(a_holder_is_cancelled_only_once_it_has_dropped_it) {
    pthread_t thread;
    void *how;
    bool went_on = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancelled_while_holding, &went_on), 0);
    ck_assert_int_eq(pthread_join(thread, &how), 0);
    ck_assert_ptr_eq(how, PTHREAD_CANCELED);
    ck_assert(went_on);
    lock_take();
    lock_drop();
}
END_TEST

START_TEST(cancellation_that_was_off_stays_off) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    lock_take();
    lock_drop();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    ck_assert_int_eq(before, PTHREAD_CANCEL_DISABLE);
}
END_TEST

static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;

static void *take_and_signal(void *arg) {
    lock_take();
    guarded = 1;
    pthread_cond_signal(&turn);
    lock_drop();
    return arg;
}

START_TEST(a_wait_gives_it_up_and_takes_it_again) {
    pthread_t thread;
    const struct timespec far = {.tv_sec = 1L << 40};
    lock_take();
    ck_assert_int_eq(pthread_create(&thread, NULL, take_and_signal, NULL), 0);
    while (!guarded)
        ck_assert_int_eq(lock_wait(&turn, &far), 0);
    ck_assert(self.holding);
    lock_drop();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(a_wait_ends_when_its_time_is_over) {
    const struct timespec past = {0, 0};
    lock_take();
    ck_assert_int_eq(lock_wait(&turn, &past), ETIMEDOUT);
    lock_drop();
}
END_TEST

START_TEST(a_child_forked_by_a_holder_can_give_it_up) {
    int status;
    lock_take();
    pid_t child = fork();
    if (child == 0) {
        lock_drop();
        lock_take();
        lock_drop();
        _exit(0);
    }
    lock_drop();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(whoever_held_it_a_forked_child_can_have_it) {
    int status;
    lock_take();
    pid_t child = fork();
    if (child == 0) {
        lock_forked();
        lock_take();
        _exit(0);
    }
    lock_drop();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("lock");
    Suite *s = suite_create("lock");
    suite_add_tcase(s, t);
    tcase_add_test(t, one_thread_holds_it_at_a_time_and_knows);
    tcase_add_test(t, who_holds_it_for_a_moment_holds_it_as_well);
    tcase_add_test(t, a_holder_is_cancelled_only_once_it_has_dropped_it);
    tcase_add_test(t, cancellation_that_was_off_stays_off);
    tcase_add_test(t, a_wait_gives_it_up_and_takes_it_again);
    tcase_add_test(t, a_wait_ends_when_its_time_is_over);
    tcase_add_test(t, a_child_forked_by_a_holder_can_give_it_up);
    if (under_tsan)
        fprintf(stderr, "skipped: a lock made anew (to ThreadSanitizer it is the one that is held)\n");
    else
        tcase_add_test(t, whoever_held_it_a_forked_child_can_have_it);
    return suite_run(s);
}

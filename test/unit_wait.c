/* unit_wait - threads that wait for a socket to change: woken, interrupted, too late, or cancelled.
 *
 * Each test starts its waiters as threads and acts once they sleep: on the list, and asleep by the kernel's
 * own word.
 */
#include "wait.h"

#include "lock.h"
#include "real.h"
#include "suite.h"
#include "under_tsan.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct wait_list list;

struct sleeper {
    pthread_t thread;
    pid_t tid;
    struct wait wait;
    int result;
    bool back;      /* guarded by the lock */
    bool abandoned; /* likewise */
};

static void give_up(void *context) {
    ((struct sleeper *)context)->abandoned = true;
}

static void *go_to_sleep(void *arg) {
    struct sleeper *s = arg;
    s->wait.abandon = give_up;
    s->wait.context = s;
    lock_take();
    s->tid = gettid();
    int r = wait_on(&list, &s->wait);
    s->result = r;
    s->back = true;
    lock_drop();
    return NULL;
}

static bool on_list(const struct sleeper *s) {
    bool found = false;
    lock_take();
    for (const struct waiter *w = list.first; w; w = w->next)
        found |= w->of.context == s;
    lock_drop();
    return found;
}

static bool asleep(pid_t tid) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *f = fopen(path, "re");
    if (!f || !fgets(line, sizeof line, f))
        line[0] = 0;
    if (f)
        fclose(f);
    const char *state = strrchr(line, ')');
    return state && state[2] == 'S';
}

static void until_asleep(const struct sleeper *s) {
    while (!on_list(s) || !asleep(s->tid))
        sched_yield();
}

static void start(struct sleeper *s, uint64_t deadline_ms) {
    *s = (struct sleeper){.wait.deadline_ms = deadline_ms, .result = 4711};
    ck_assert_int_eq(pthread_create(&s->thread, NULL, go_to_sleep, s), 0);
    until_asleep(s);
}

static void wake(void) {
    lock_take();
    wait_wake(&list);
    lock_drop();
}

static uint64_t expire(uint64_t now_ms) {
    lock_take();
    uint64_t next = wait_expire(now_ms);
    lock_drop();
    return next;
}

static int result(struct sleeper *s) {
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    ck_assert(s->back);
    return s->result;
}

static bool came_back(const struct sleeper *s) {
    lock_take();
    bool back = s->back;
    lock_drop();
    return back;
}

/* ---- woken ---- */

START_TEST(all_who_wait_on_a_list_are_woken) {
    struct sleeper s[5];
    for (int i = 0; i < 5; i++)
        start(&s[i], 0);
    wake();
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(result(&s[i]), 0);
    ck_assert_ptr_null(list.first);
}
END_TEST

START_TEST(who_waits_on_another_list_sleeps_on) {
    struct wait_list other = {0};
    struct sleeper s;
    start(&s, 0);
    lock_take();
    wait_wake(&other);
    lock_drop();
    until_asleep(&s);
    wake();
    ck_assert_int_eq(result(&s), 0);
}
END_TEST

START_TEST(waking_nobody_does_no_harm) {
    wake();
    ck_assert_ptr_null(list.first);
}
END_TEST

START_TEST(one_thread_may_wait_many_times) {
    for (int i = 0; i < 100; i++) {
        struct sleeper s;
        start(&s, 0);
        wake();
        ck_assert_int_eq(result(&s), 0);
    }
}
END_TEST

/* ---- interrupted ---- */

static _Atomic int handled;

static void on_signal(int signal) {
    (void)signal;
    handled++;
}

static void handle(int flags) {
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
}

START_TEST(a_handler_without_sa_restart_ends_the_wait_with_eintr) {
    struct sleeper s;
    handle(0);
    start(&s, 0);
    pthread_kill(s.thread, SIGUSR1);
    ck_assert_int_eq(result(&s), -EINTR);
    ck_assert_int_eq(handled, 1);
    ck_assert_ptr_null(list.first);
}
END_TEST

START_TEST(a_handler_with_sa_restart_does_not_end_the_wait) {
    struct sleeper s;
    handle(SA_RESTART);
    start(&s, 0);
    for (int i = 1; i <= 20; i++) {
        pthread_kill(s.thread, SIGUSR1);
        while (handled < i)
            sched_yield();
        until_asleep(&s);
        ck_assert(!came_back(&s));
    }
    wake();
    ck_assert_int_eq(result(&s), 0);
}
END_TEST

START_TEST(a_deadline_does_not_change_what_sa_restart_means) {
    struct sleeper s;
    handle(SA_RESTART);
    start(&s, wait_now_ms() + 3600000);
    pthread_kill(s.thread, SIGUSR1);
    while (!handled)
        sched_yield();
    until_asleep(&s);
    wake();
    ck_assert_int_eq(result(&s), 0);
}
END_TEST

/* ---- too late ---- */

START_TEST(a_wait_past_its_deadline_ends_with_etimedout) {
    struct sleeper s;
    start(&s, 5000);
    ck_assert_uint_eq(expire(5000), 0);
    ck_assert_int_eq(result(&s), -ETIMEDOUT);
}
END_TEST

START_TEST(the_earliest_deadline_to_come_is_told) {
    struct sleeper s[3];
    start(&s[0], 7000);
    start(&s[1], 6000);
    start(&s[2], 0);
    ck_assert_uint_eq(expire(5000), 6000);
    for (int i = 0; i < 3; i++)
        ck_assert(!came_back(&s[i]));
    ck_assert_uint_eq(expire(6500), 7000);
    ck_assert_int_eq(result(&s[1]), -ETIMEDOUT);
    ck_assert_uint_eq(expire(6500), 7000);
    wake();
    ck_assert_int_eq(result(&s[0]), 0);
    ck_assert_int_eq(result(&s[2]), 0);
    ck_assert_uint_eq(expire(100000), 0);
}
END_TEST

START_TEST(whoever_was_woken_before_is_not_too_late) {
    struct sleeper s;
    start(&s, 5000);
    lock_take();
    wait_wake(&list);
    wait_expire(9000);
    lock_drop();
    ck_assert_int_eq(result(&s), 0);
}
END_TEST

START_TEST(whoever_was_too_late_is_not_woken_afterwards) {
    struct sleeper s;
    start(&s, 5000);
    lock_take();
    wait_expire(9000);
    wait_wake(&list);
    lock_drop();
    ck_assert_int_eq(result(&s), -ETIMEDOUT);
}
END_TEST

/* ---- cancelled ---- */

START_TEST(a_cancelled_thread_leaves_the_list_and_gives_up_what_it_held) {
    struct sleeper s[3];
    void *how;
    for (int i = 0; i < 3; i++)
        start(&s[i], 5000);
    ck_assert_int_eq(pthread_cancel(s[1].thread), 0);
    ck_assert_int_eq(pthread_join(s[1].thread, &how), 0);
    ck_assert_ptr_eq(how, PTHREAD_CANCELED);
    ck_assert(s[1].abandoned && !s[1].back);
    ck_assert(!on_list(&s[1]));
    ck_assert_uint_eq(expire(4000), 5000);
    wake();
    ck_assert_int_eq(result(&s[0]), 0);
    ck_assert_int_eq(result(&s[2]), 0);
    ck_assert(!s[0].abandoned && !s[2].abandoned);
}
END_TEST

static void *not_now(void *arg) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return go_to_sleep(arg);
}

START_TEST(a_thread_that_cannot_be_cancelled_is_not) {
    struct sleeper s = {.result = 4711};
    void *how;
    ck_assert_int_eq(pthread_create(&s.thread, NULL, not_now, &s), 0);
    until_asleep(&s);
    pthread_cancel(s.thread);
    until_asleep(&s);
    wake();
    ck_assert_int_eq(pthread_join(s.thread, &how), 0);
    ck_assert_ptr_null(how);
    ck_assert_int_eq(s.result, 0);
}
END_TEST

START_TEST(a_time_to_wait_is_never_cut_short) {
    const struct timespec while_ = {2, 300000000};
    struct timespec now;
    for (int i = 0; i < 1000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        const uint64_t least = (uint64_t)(now.tv_sec + 2) * 1000000000 + (uint64_t)now.tv_nsec + 300000000;
        ck_assert_uint_ge(wait_end(&while_) * 1000000, least);
    }
}
END_TEST

START_TEST(the_end_of_a_time_beyond_all_clocks_is_far_off) {
    const struct timespec ages = {LONG_MAX, 999999999};
    ck_assert_uint_gt(wait_end(&ages), wait_now_ms() + 365 * 86400000ULL);
    ck_assert_uint_lt(wait_end(&ages), UINT64_MAX / 2);
}
END_TEST

/* ---- left by a jump ---- */

static sigjmp_buf out;
static struct sleeper jumper[2];

static void jump(int signal) {
    (void)signal;
    siglongjmp(out, 1);
}

/* The second wait is another one's by the same thread: on the ordinary stack, wherever the handler ran. */
static void *jump_and_sleep_again(void *stack) {
    static stack_t before; /* a sanitizer's, which takes it back */
    if (stack)
        ck_assert_int_eq(sigaltstack(stack, &before), 0);
    if (sigsetjmp(out, 1) == 0)
        go_to_sleep(&jumper[0]);
    go_to_sleep(&jumper[1]);
    if (stack)
        ck_assert_int_eq(sigaltstack(&before, NULL), 0);
    return NULL;
}

static void leave_by_a_jump(stack_t *stack) {
    struct sigaction action = {.sa_handler = jump, .sa_flags = stack ? SA_ONSTACK : 0};
    sigaction(SIGUSR1, &action, NULL);
    memset(jumper, 0, sizeof jumper);
    ck_assert_int_eq(pthread_create(&jumper[0].thread, NULL, jump_and_sleep_again, stack), 0);
    until_asleep(&jumper[0]);
    pthread_kill(jumper[0].thread, SIGUSR1);
    until_asleep(&jumper[1]);
    ck_assert(jumper[0].abandoned && !on_list(&jumper[0]));
    ck_assert(!jumper[1].abandoned);
    wake();
    ck_assert_int_eq(pthread_join(jumper[0].thread, NULL), 0);
    ck_assert(jumper[1].back && !jumper[0].back);
    ck_assert_ptr_null(list.first);
}

START_TEST(a_wait_that_a_signal_handler_has_jumped_out_of_ends_with_the_threads_next) {
    static char space[65536];
    stack_t stack = {.ss_sp = space, .ss_size = sizeof space};
    leave_by_a_jump(NULL);
    leave_by_a_jump(&stack);
}
END_TEST

static void sleep_within(int signal) {
    (void)signal;
    go_to_sleep(&jumper[1]);
}

START_TEST(a_signal_handlers_own_wait_leaves_the_one_it_has_interrupted_alone) {
    struct sigaction action = {.sa_handler = sleep_within, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    ck_assert_int_eq(pthread_create(&jumper[0].thread, NULL, go_to_sleep, &jumper[0]), 0);
    until_asleep(&jumper[0]);
    pthread_kill(jumper[0].thread, SIGUSR1);
    until_asleep(&jumper[1]);
    ck_assert(on_list(&jumper[0]));
    wake();
    ck_assert_int_eq(pthread_join(jumper[0].thread, NULL), 0);
    ck_assert(jumper[0].back && jumper[1].back && !jumper[0].abandoned && !jumper[1].abandoned);
}
END_TEST

/* ---- and forks ---- */

START_TEST(in_a_forked_child_nobody_waits) {
    struct sleeper s;
    int status;
    start(&s, 5000);
    lock_take();
    pid_t child = fork();
    if (child == 0) {
        lock_drop();
        wait_forked();
        _exit(wait_expire(9000) == 0 ? 0 : 1);
    }
    lock_drop();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(!came_back(&s));
    wake();
    ck_assert_int_eq(result(&s), 0);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("wait");
    Suite *s = suite_create("wait");
    suite_add_tcase(s, t);
    tcase_add_test(t, all_who_wait_on_a_list_are_woken);
    tcase_add_test(t, who_waits_on_another_list_sleeps_on);
    tcase_add_test(t, waking_nobody_does_no_harm);
    tcase_add_test(t, one_thread_may_wait_many_times);
    tcase_add_test(t, a_handler_without_sa_restart_ends_the_wait_with_eintr);
    if (under_tsan) {
        fprintf(stderr, "skipped: SA_RESTART, waits of handlers (ThreadSanitizer holds handlers back while a "
                        "futex is waited for)\n");
    } else {
        tcase_add_test(t, a_handler_with_sa_restart_does_not_end_the_wait);
        tcase_add_test(t, a_deadline_does_not_change_what_sa_restart_means);
        tcase_add_test(t, a_signal_handlers_own_wait_leaves_the_one_it_has_interrupted_alone);
    }
    tcase_add_test(t, a_wait_past_its_deadline_ends_with_etimedout);
    tcase_add_test(t, a_time_to_wait_is_never_cut_short);
    tcase_add_test(t, the_end_of_a_time_beyond_all_clocks_is_far_off);
    tcase_add_test(t, the_earliest_deadline_to_come_is_told);
    tcase_add_test(t, whoever_was_woken_before_is_not_too_late);
    tcase_add_test(t, whoever_was_too_late_is_not_woken_afterwards);
    tcase_add_test(t, a_cancelled_thread_leaves_the_list_and_gives_up_what_it_held);
    tcase_add_test(t, a_thread_that_cannot_be_cancelled_is_not);
    tcase_add_test(t, a_wait_that_a_signal_handler_has_jumped_out_of_ends_with_the_threads_next);
    tcase_add_test(t, in_a_forked_child_nobody_waits);
    return suite_run(s);
}

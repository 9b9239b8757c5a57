/* unit_self - what the shim knows of each thread: its frames, the call it is in, and how it is woken. */
#include "self.h"
#include "suite.h"

#include <check.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const int a_sock, another; /* only their addresses count */

static _Atomic int stage;

static void until(int wanted) {
    while (stage < wanted)
        sched_yield();
}

static bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

START_TEST(what_the_kernel_tells_is_text_as_far_as_there_is_room) {
    char text[8] = "before";
    self_read("/proc/self/comm", text, sizeof text);
    ck_assert_str_eq(text, "unit_se");
    self_read("/proc/self/nothing", text, sizeof text);
    ck_assert_str_eq(text, "");
}
END_TEST

static void *look_at_mask(void *ret_mask) {
    pthread_sigmask(SIG_SETMASK, NULL, ret_mask);
    stage = 1;
    return NULL;
}

START_TEST(a_thread_of_the_library_is_met_by_no_signal) {
    static sigset_t mask, before, after;
    pthread_t thread;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert_int_eq(self_start(&thread, look_at_mask, &mask), 0);
    until(1);
    for (int signal = 1; signal <= SIGSYS; signal++)
        ck_assert(sigismember(&mask, signal) || signal == SIGKILL || signal == SIGSTOP);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(sigismember(&after, SIGHUP), sigismember(&before, SIGHUP));
}
END_TEST

START_TEST(a_thread_in_user_code_of_a_socket_has_its_frame) {
    struct frame outer = {.sock = &a_sock, .hidden = 7},
                 inner = {.up = &outer, .sock = &another, .hidden = -1};
    ck_assert_ptr_null(self_frame(&a_sock));
    self.frames = &inner;
    ck_assert_ptr_eq(self_frame(&a_sock), &outer);
    ck_assert_ptr_eq(self_frame(&another), &inner);
    ck_assert_ptr_null(self_frame(&self));
    struct frame again = {.up = &inner, .sock = &a_sock, .hidden = 9};
    self.frames = &again;
    ck_assert_ptr_eq(self_frame(&a_sock), &again);
    self.frames = NULL;
}
END_TEST

static void *be_in_a_call(void *arg) {
    self_register();
    __atomic_store_n(&self.in_call, &a_sock, __ATOMIC_RELAXED);
    stage = 1;
    until(2);
    __atomic_store_n(&self.in_call, SELF_IDLE, __ATOMIC_RELAXED);
    stage = 3;
    until(4);
    return arg;
}

START_TEST(a_thread_inside_a_real_call_is_waited_for) {
    pthread_t thread;
    self_register();
    ck_assert_int_eq(pthread_create(&thread, NULL, be_in_a_call, NULL), 0);
    until(1);
    ck_assert(!self_quiesce(&a_sock, 1));
    ck_assert(self_quiesce(&another, 1));
    stage = 2;
    ck_assert(self_quiesce(&a_sock, 20000));
    ck_assert_int_ge(stage, 2);
    until(3);
    stage = 4;
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(ones_own_call_is_not_waited_for) {
    self_register();
    __atomic_store_n(&self.in_call, &a_sock, __ATOMIC_RELAXED);
    ck_assert(self_quiesce(&a_sock, 0));
    __atomic_store_n(&self.in_call, SELF_IDLE, __ATOMIC_RELAXED);
}
END_TEST

static int from;
static char heard;

static void *read_in_a_call(void *arg) {
    self_register();
    __atomic_store_n(&self.in_call, &a_sock, __ATOMIC_RELAXED);
    stage = 1;
    *(ssize_t *)arg = read(from, &heard, 1);
    __atomic_store_n(&self.in_call, SELF_IDLE, __ATOMIC_RELAXED);
    return NULL;
}

START_TEST(a_roused_thread_makes_its_call_again_on_what_is_there_by_now) {
    int silent[2], loud[2];
    ssize_t n = -1;
    pthread_t thread;
    if (!self_prepare_rouse())
        return;
    ck_assert(self_rouses());
    ck_assert_int_eq(pipe(silent), 0);
    ck_assert_int_eq(pipe(loud), 0);
    ck_assert_int_eq(write(loud[1], "x", 1), 1);
    from = silent[0];
    ck_assert_int_eq(pthread_create(&thread, NULL, read_in_a_call, &n), 0);
    until(1);
    ck_assert(!self_quiesce(&a_sock, 20));
    ck_assert_int_eq(dup2(loud[0], from), from);
    ck_assert(self_rouse(&another));
    ck_assert(!self_quiesce(&a_sock, 20));
    ck_assert(self_rouse(&a_sock));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(heard, 'x');
}
END_TEST

static void *come_and_go(void *arg) {
    self_register();
    self_register();
    __atomic_store_n(&self.in_call, &a_sock, __ATOMIC_RELAXED);
    *(int *)arg = self_wake_fd();
    return NULL;
}

START_TEST(a_thread_that_ends_leaves_nothing_behind) {
    pthread_t thread;
    int fd = -1;
    self_register();
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, come_and_go, &fd), 0);
        pthread_join(thread, NULL);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(dup(fd), -1);
        ck_assert(self_quiesce(&a_sock, 0));
    }
    self_wake_all();
}
END_TEST

START_TEST(every_thread_that_polls_is_woken_until_it_has_seen_it) {
    int fd = self_wake_fd();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(self_wake_fd(), fd);
    ck_assert(!readable(fd));
    self_wake_all();
    self_wake_all();
    ck_assert(readable(fd));
    self_wake_drain();
    ck_assert(!readable(fd));
}
END_TEST

START_TEST(a_forked_child_has_a_wake_up_of_its_own) {
    int fd = self_wake_fd(), status;
    pid_t child = fork();
    if (child == 0) {
        self_forked();
        int own = self_wake_fd();
        self_wake_all();
        _exit(own >= 0 && readable(own) ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(!readable(fd));
}
END_TEST

int main(void) {
    TCase *t = tcase_create("self");
    Suite *s = suite_create("self");
    suite_add_tcase(s, t);
    tcase_add_test(t, what_the_kernel_tells_is_text_as_far_as_there_is_room);
    tcase_add_test(t, a_thread_of_the_library_is_met_by_no_signal);
    tcase_add_test(t, a_thread_in_user_code_of_a_socket_has_its_frame);
    tcase_add_test(t, a_thread_inside_a_real_call_is_waited_for);
    tcase_add_test(t, ones_own_call_is_not_waited_for);
    tcase_add_test(t, a_roused_thread_makes_its_call_again_on_what_is_there_by_now);
    tcase_add_test(t, a_thread_that_ends_leaves_nothing_behind);
    tcase_add_test(t, every_thread_that_polls_is_woken_until_it_has_seen_it);
    tcase_add_test(t, a_forked_child_has_a_wake_up_of_its_own);
    return suite_run(s);
}

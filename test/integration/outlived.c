/* outlived - who is blocked on a socket that a child holds, too, or has held, is where he would be without
 * the child; and what the child holds goes on. */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static char heard[8];

static long receive(void) {
    return cmm_recv(talk_sock, heard, sizeof heard, 0);
}

static void block_before_a_fork(void) {
    int status;
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    talk_begin(receive);
    stage_wait(talk_asleep());
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    stage_equal(waitpid(child, &status, 0), child);
    stage_expect(!talk_back());
}

static void a_blocked_receive_is_carried_over_when_the_network_is_left(void) {
    block_before_a_fork();
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_say(1, "hello");
    stage_equal(talk_join(), 5);
    stage_expect(memcmp(heard, "hello", 5) == 0);
}

static void a_blocked_receive_ends_with_a_close(void) {
    stage_not_under_tsan("takes a close beside a call for the program's mistake");
    block_before_a_fork();
    stage_equal(cmm_close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
    stage_wait(stage_end(0) == STAGE_EOF);
}

static void a_blocked_receive_ends_with_a_reset(void) {
    block_before_a_fork();
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_join(), ENOTCONN);
    stage_wait(stage_end(0) == STAGE_EOF);
}

/* ---- the child lives, and has the connection ---- */

enum { LARGE = 8 << 20 };

static char large[LARGE];
static int tell, told;
static pid_t child;

static long send_large(void) {
    return cmm_send(talk_sock, large, LARGE, 0, SMALL, NULL, NULL);
}

/* It says what it hears, once it is asked. */
static void begin_child(void) {
    int ask[2], answer[2];
    stage_equal(pipe2(ask, O_CLOEXEC) | pipe2(answer, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        char text[8];
        const ssize_t asked = (close(ask[1]), read(ask[0], text, 1));
        const ssize_t n = asked == 1 ? cmm_recv(talk_sock, text, sizeof text, 0) : -1;
        _exit(n > 0 && write(answer[1], text, (size_t)n) == n ? 0 : 1);
    }
    tell = ask[1];
    told = answer[0];
}

static void expect_child_goes_on(void) {
    char text[8];
    int status;
    stage_say(0, "child");
    stage_equal(write(tell, "x", 1), 1);
    stage_equal(read(told, text, sizeof text), 5);
    stage_expect(memcmp(text, "child", 5) == 0);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
}

static void block_beside_a_child(long (*call)(void)) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_hold(call == send_large);
    talk_begin(call);
    stage_wait(talk_asleep());
    begin_child();
    stage_expect(!talk_back());
}

static void a_receive_blocked_before_a_fork_goes_on_where_its_socket_does(void) {
    block_beside_a_child(receive);
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    expect_child_goes_on();
    stage_expect(!talk_back());
    stage_say(1, "hello");
    stage_equal(talk_join(), 5);
    stage_expect(memcmp(heard, "hello", 5) == 0);
}

/* libc's handler for that signal has not always had SA_RESTART. */
static void also_where_the_kernel_does_not_make_the_call_again(void) {
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } action = {0};
    block_beside_a_child(receive);
    if (syscall(SYS_rt_sigaction, 32, NULL, &action, sizeof action.mask) == 0 && action.handler) {
        action.flags &= ~(unsigned long)SA_RESTART;
        stage_equal(syscall(SYS_rt_sigaction, 32, &action, NULL, sizeof action.mask), 0);
    }
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_say(1, "hello");
    stage_equal(talk_join(), 5);
    expect_child_goes_on();
}

static void a_receive_blocked_before_a_fork_ends_with_a_close(void) {
    block_beside_a_child(receive);
    stage_equal(cmm_close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
    expect_child_goes_on();
}

static void a_receive_blocked_before_a_fork_ends_with_a_reset(void) {
    block_beside_a_child(receive);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_join(), ENOTCONN);
    expect_child_goes_on();
}

static void a_receive_blocked_before_a_fork_ends_with_dup2_over_it_and_takes_nothing(void) {
    int ends[2];
    stage_equal(pipe(ends), 0);
    stage_equal(write(ends[1], "mine", 4), 4);
    block_beside_a_child(receive);
    stage_equal(dup2(ends[0], talk_sock), talk_sock);
    stage_fails(talk_join(), ECANCELED);
    stage_equal(read(talk_sock, heard, sizeof heard), 4);
    expect_child_goes_on();
}

static void a_send_blocked_before_a_fork_ends_with_a_close(void) {
    block_beside_a_child(send_large);
    stage_equal(cmm_close(talk_sock), 0);
    const long n = talk_join();
    stage_expect(n == -1 ? errno == ECANCELED : n > 0 && n < LARGE);
    stage_hold(false);
    expect_child_goes_on();
}

static void a_send_blocked_before_a_fork_tells_what_has_gone_where_its_socket_moves(void) {
    block_beside_a_child(send_large);
    stage_up("cell");
    stage_down("wifi");
    const long n = talk_join();
    stage_expect(n > 0 && n < LARGE);
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_hold(false);
    stage_wait(stage_received(0) == (size_t)n);
    expect_child_goes_on();
}

/* What rouses a thread is no cancellation, and takes nothing from one. */
static void a_thread_that_was_roused_can_be_cancelled(void) {
    void *result;
    block_beside_a_child(receive);
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_wait(talk_asleep());
    stage_equal(pthread_cancel(talk_thread), 0);
    stage_equal(pthread_join(talk_thread, &result), 0);
    stage_expect(result == PTHREAD_CANCELED);
    expect_child_goes_on();
}

static _Atomic int signals;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void with_SA_RESTART_a_signal_ends_no_receive_of_what_a_child_holds(void) {
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    stage_not_under_tsan("holds signals back while a call blocks");
    stage_equal(sigaction(SIGUSR1, &act, NULL), 0);
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    begin_child();
    talk_begin(receive);
    stage_wait(talk_asleep());
    stage_equal(pthread_kill(talk_thread, SIGUSR1), 0);
    stage_wait(signals == 1 && talk_asleep());
    stage_expect(!talk_back());
    stage_say(0, "hello");
    stage_equal(talk_join(), 5);
    expect_child_goes_on();
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_receive_blocked_before_a_fork_goes_on_where_its_socket_does),
    STAGE_TEST(also_where_the_kernel_does_not_make_the_call_again),
    STAGE_TEST(a_receive_blocked_before_a_fork_ends_with_a_close),
    STAGE_TEST(a_receive_blocked_before_a_fork_ends_with_a_reset),
    STAGE_TEST(a_receive_blocked_before_a_fork_ends_with_dup2_over_it_and_takes_nothing),
    STAGE_TEST(a_send_blocked_before_a_fork_ends_with_a_close),
    STAGE_TEST(a_send_blocked_before_a_fork_tells_what_has_gone_where_its_socket_moves),
    STAGE_TEST(a_thread_that_was_roused_can_be_cancelled),
    STAGE_TEST(with_SA_RESTART_a_signal_ends_no_receive_of_what_a_child_holds),
    STAGE_TEST(a_blocked_receive_is_carried_over_when_the_network_is_left),
    STAGE_TEST(a_blocked_receive_ends_with_a_close),
    STAGE_TEST(a_blocked_receive_ends_with_a_reset),
};

STAGE_MAIN(talk_config, tests)

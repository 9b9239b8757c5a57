/* meanwhile - while a reconnect handler runs, or a thunk: what the others see, who waits, and who it is that
 * runs it. Each test is a sentence of the contract; networks are addresses of the loopback interface. */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

/* ---- the others, while a handler runs ---- */

static char heard[16];

static long receive(void) {
    return cmm_recv(talk_sock, heard, sizeof heard, 0);
}

static long put_blocking(void) {
    return talk_put("blocking", BG);
}

static void hold_in_post(int flags) {
    talk_in_post = talk_wait_at_gate;
    stage_equal(talk_dial(flags, BG, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_inside);
    stage_expect_connection(0, "127.0.1.1");
}

static void while_a_handler_runs_others_see_no_connection(void) {
    char byte;
    hold_in_post(SOCK_NONBLOCK);
    stage_say(0, "early");
    stage_expect(talk_silent());
    stage_fails(recv(talk_sock, &byte, 1, 0), EAGAIN);
    stage_fails(talk_put("no", BG), EAGAIN);
    stage_fails(talk_put("no", SMALL), EAGAIN);
    stage_equal(talk_defer("later", BG), CMM_DEFERRED);
    stage_equal(talk_defer("changed", SMALL), CMM_DEFERRED);
    stage_expect(talk_silent());
    stage_equal(stage_received(0), 0);
    talk_gate = true;
    stage_expect_text(0, "laterchanged");
    stage_wait(!talk_silent());
    stage_wait(recv(talk_sock, heard, sizeof heard, 0) == 5);
}

static void while_a_handler_runs_blocking_sends_wait(void) {
    hold_in_post(0);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_expect(!talk_back() && stage_received(0) == 0);
    talk_gate = true;
    stage_equal(talk_join(), 8);
    stage_expect_text(0, "blocking");
}

static void while_a_handler_runs_blocking_receives_wait(void) {
    hold_in_post(0);
    talk_begin(receive);
    stage_say(0, "hello");
    stage_wait(talk_asleep());
    stage_expect(!talk_back());
    talk_gate = true;
    stage_equal(talk_join(), 5);
}

static void while_a_handler_runs_close_goes_through_with_ECANCELED_for_the_others(void) {
    hold_in_post(0);
    talk_begin(receive);
    stage_wait(talk_asleep());
    stage_equal(close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
    talk_gate = true;
    stage_wait(stage_end(0) != STAGE_OPEN);
}

static void close_ends_a_wait_for_a_network_with_ECANCELED(void) {
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_equal(cmm_close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
}

static long connect_it(void) {
    return talk_connect(BG, NULL);
}

static void close_ends_a_blocking_connect_with_ECANCELED(void) {
    stage_up("wifi");
    stage_crowd(true);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    talk_begin(connect_it);
    stage_wait(strcmp(talk_diary(), "<") == 0 && talk_asleep());
    stage_equal(close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
}

static void dup2_over_it_and_close_range_are_closes(void) {
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_equal(talk_defer("x", CMM_LABEL_CELLULAR), CMM_DEFERRED);
    stage_equal(dup2(2, talk_sock), talk_sock);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_fails(talk_put("x", BG), EBADF);
    stage_equal(close(talk_sock), 0);
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_equal(close_range((unsigned)talk_sock, (unsigned)talk_sock, 0), 0);
    stage_wait(stage_end(1) == STAGE_EOF);
    stage_fails(talk_put("x", BG), EBADF);
}

static void dup2_over_it_ends_a_receive_with_ECANCELED(void) {
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    talk_begin(receive);
    stage_wait(talk_asleep());
    stage_equal(dup2(2, talk_sock), talk_sock);
    stage_fails(talk_join(), ECANCELED);
    stage_wait(stage_end(0) == STAGE_EOF);
}

static char large[8 << 20];

static long put_large(void) {
    return cmm_send(talk_sock, large, sizeof large, 0, BG, NULL, NULL);
}

/* What the kernel has taken is told, and goes out. */
static void close_ends_a_send_that_waits_for_the_peer(void) {
    stage_not_under_tsan("takes a close beside a call for the program's mistake");
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_hold(true);
    talk_begin(put_large);
    stage_wait(talk_asleep());
    stage_equal(cmm_close(talk_sock), 0);
    const long n = talk_join();
    stage_expect(n > 0 && n < (long)sizeof large);
    stage_hold(false);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_equal(stage_received(0), n);
}

static void reset_ends_a_wait_with_ENOTCONN(void) {
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_join(), ENOTCONN);
    stage_up("wifi");
    stage_equal(talk_connect(BG, NULL), 0);
    talk_begin(receive);
    stage_wait(talk_asleep());
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_join(), ENOTCONN);
}

/* ---- one at a time ---- */

static void thunk_at_gate(void *labels) {
    (void)labels;
    talk_inside = true;
    stage_wait(talk_gate);
}

static void while_a_thunk_runs_no_handler_of_its_socket_does(void) {
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, thunk_at_gate, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_inside);
    stage_up("cell");
    stage_down("wifi");
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
    talk_gate = true;
    stage_expect_connection(1, "127.0.2.1");
    stage_wait(strcmp(talk_diary(), "<><>") == 0);
}

static void a_label_change_asked_from_elsewhere_while_a_thunk_runs_is_deferred(void) {
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, thunk_at_gate, NULL), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(talk_inside);
    stage_up("wifi");
    stage_fails(talk_put("no", BG), EAGAIN);
    stage_equal(talk_defer("deferred.", BG), CMM_DEFERRED);
    stage_equal(fcntl(talk_sock, F_SETFL, O_RDWR), 0);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_equal(stage_connections(), 1);
    talk_gate = true;
    stage_equal(talk_join(), 8);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "deferred.blocking");
}

static void a_blocking_label_change_waits_for_the_thunk_that_runs(void) {
    stage_equal(talk_dial(0, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, thunk_at_gate, NULL), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(talk_inside);
    stage_up("wifi");
    talk_begin(put_blocking);
    for (int calm = 0; calm < 100; calm = talk_asleep() ? calm + 1 : 0)
        stage_pause();
    stage_equal(talk_defer("deferred.", BG), CMM_DEFERRED);
    stage_expect(talk_on("cell"));
    stage_equal(stage_connections(), 1);
    talk_gate = true;
    stage_equal(talk_join(), 8);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "deferred.blocking");
}

static _Atomic long told;

static void put_for_wifi(void *unused) {
    (void)unused;
    talk_inside = true;
    told = talk_put("wifi", BG);
}

static void a_thunk_may_wait_for_another_network(void) {
    stage_equal(talk_dial(0, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, put_for_wifi, NULL), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(talk_inside);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    stage_wait(told == 4);
    stage_expect_text(1, "wifi");
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
}

/* ---- when they are back ---- */

/* Its connection's number may by then be that of another's, which is in a handler of its own. */
static void closing_a_socket_disturbs_no_other_in_its_handler(void) {
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    const int first = talk_sock;
    talk_in_post = talk_wait_at_gate;
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(talk_inside);
    stage_equal(cmm_close(first), 0);
    talk_gate = true;
    stage_wait(talk_put("x", BG) == 1);
    stage_expect_text(1, "x");
}

/* ---- who runs them ---- */

static bool ran_in(int i, pthread_t thread) {
    return talk_count > i && pthread_equal(talk_events[i].thread, thread);
}

static void a_blocking_connect_runs_the_handlers_itself(void) {
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_expect(ran_in(0, pthread_self()) && ran_in(1, pthread_self()));
}

static void scenario_two_runs_the_handlers_in_the_callers_thread(void) {
    stage_up("cell");
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    stage_up("wifi");
    stage_equal(talk_defer("x", BG), CMM_THUNK_EXECUTED);
    stage_expect(strcmp(talk_diary(), "<><>t") == 0);
    for (int i = 2; i < 5; i++)
        stage_expect(ran_in(i, pthread_self()));
}

static void a_waiting_call_runs_the_handlers(void) {
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_up("wifi");
    stage_equal(talk_join(), 8);
    stage_expect(ran_in(0, talk_thread) && ran_in(1, talk_thread));
}

static void a_waiting_receive_runs_the_handlers(void) {
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    talk_begin(receive);
    stage_wait(talk_asleep());
    stage_up("wifi");
    stage_expect_connection(0, "127.0.1.1");
    stage_say(0, "x");
    stage_equal(talk_join(), 1);
    stage_expect(ran_in(0, talk_thread) && ran_in(1, talk_thread));
}

static void when_nobody_waits_a_thread_of_the_library_runs_them(void) {
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_count == 2);
    stage_expect(!ran_in(0, pthread_self()) && !ran_in(1, pthread_self()));
}

static void in_manual_mode_only_dispatch_runs_them(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    struct pollfd p = {.fd = cmm_dispatch_fd(), .events = POLLIN};
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_equal(talk_defer("x", BG), CMM_DEFERRED);
    stage_equal(cmm_dispatch(), 0);
    stage_up("wifi");
    while (talk_count < 3) {
        stage_equal(poll(&p, 1, -1), 1);
        const int before = talk_count;
        stage_expect(cmm_dispatch() == talk_count - before);
    }
    for (int i = 0; i < 3; i++)
        stage_expect(ran_in(i, pthread_self()));
    stage_expect(strcmp(talk_diary(), "<>t") == 0);
    stage_expect_text(0, "x");
}

/* ---- a waiter that finds something else ---- */

static _Atomic bool held, held_enough;

static void hold(int number) {
    (void)number;
    held = true;
    while (!held_enough)
        stage_pause();
}

static long receive_one(void) {
    char byte;
    return cmm_recv(talk_sock, &byte, 1, 0);
}

/* The receiver is woken by the last word of the connection that is left, and is late: the handler, which was
 * left to it as it waited, is due by then. */
static void a_handler_left_to_a_receiver_runs_though_it_finds_what_it_waited_for(void) {
    stage_not_under_tsan("holds signals back while a call blocks");
    static char bulk[1 << 20];
    struct sigaction act = {.sa_flags = SA_RESTART};
    act.sa_handler = hold;
    sigaction(SIGUSR1, &act, NULL);
    stage_up("wifi");
    stage_up("cell");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_hold(true);
    while (cmm_send(talk_sock, bulk, sizeof bulk, MSG_DONTWAIT, BG, NULL, NULL) > 0)
        ;
    stage_down("wifi");
    stage_down("twin");
    talk_begin(receive_one);
    stage_wait(talk_asleep());
    pthread_kill(talk_thread, SIGUSR1);
    stage_wait(held);
    stage_up("twin");
    stage_say(0, "x");
    stage_hold(false);
    stage_wait(stage_end(0) == STAGE_EOF);
    for (int calm = 0; calm < 200; calm++) /* until it has been noticed here */
        stage_pause();
    held_enough = true;
    stage_equal(talk_join(), 1);
    stage_wait(strcmp(talk_diary(), "<><>") == 0);
    talk_expect_moved(1, "127.0.3.1", "twin");
}

static const struct stage_test tests[] = {
    STAGE_TEST(while_a_handler_runs_others_see_no_connection),
    STAGE_TEST(while_a_handler_runs_blocking_sends_wait),
    STAGE_TEST(while_a_handler_runs_blocking_receives_wait),
    STAGE_TEST(while_a_handler_runs_close_goes_through_with_ECANCELED_for_the_others),
    STAGE_TEST(close_ends_a_wait_for_a_network_with_ECANCELED),
    STAGE_TEST(close_ends_a_blocking_connect_with_ECANCELED),
    STAGE_TEST(dup2_over_it_and_close_range_are_closes),
    STAGE_TEST(dup2_over_it_ends_a_receive_with_ECANCELED),
    STAGE_TEST(close_ends_a_send_that_waits_for_the_peer),
    STAGE_TEST(reset_ends_a_wait_with_ENOTCONN),
    STAGE_TEST(while_a_thunk_runs_no_handler_of_its_socket_does),
    STAGE_TEST(a_label_change_asked_from_elsewhere_while_a_thunk_runs_is_deferred),
    STAGE_TEST(a_blocking_label_change_waits_for_the_thunk_that_runs),
    STAGE_TEST(a_thunk_may_wait_for_another_network),
    STAGE_TEST(closing_a_socket_disturbs_no_other_in_its_handler),
    STAGE_TEST(a_blocking_connect_runs_the_handlers_itself),
    STAGE_TEST(scenario_two_runs_the_handlers_in_the_callers_thread),
    STAGE_TEST(a_waiting_call_runs_the_handlers),
    STAGE_TEST(a_waiting_receive_runs_the_handlers),
    STAGE_TEST(when_nobody_waits_a_thread_of_the_library_runs_them),
    STAGE_TEST(in_manual_mode_only_dispatch_runs_them),
    STAGE_TEST(a_handler_left_to_a_receiver_runs_though_it_finds_what_it_waited_for),
};

STAGE_MAIN(talk_config, tests)

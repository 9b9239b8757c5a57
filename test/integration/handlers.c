/* handlers - what is promised of reconnect handlers: their word, what they and others may do meanwhile, and
 * who runs them. Each test is a sentence of the contract; networks are addresses of the loopback interface.
 */
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n"
                             "[network twin]\naddress = 127.0.3.1\nlabels = all\nmetric = 300\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static bool source_is(const char *address) {
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    return cmm_getsockname(talk_sock, (struct sockaddr *)&own, &len) == 0 && len == sizeof own &&
           own.sin_addr.s_addr == inet_addr(address);
}

static bool silent(void) {
    struct pollfd p = {.fd = talk_sock, .events = POLLIN | POLLOUT | POLLRDHUP};
    fd_set rd, wr;
    struct timeval none = {0, 0};
    FD_ZERO(&rd);
    FD_SET(talk_sock, &rd);
    wr = rd;
    return poll(&p, 1, 0) == 0 && select(talk_sock + 1, &rd, &wr, NULL, &none) == 0;
}

static int option(int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    stage_equal(getsockopt(talk_sock, level, name, &value, &len), 0);
    return value;
}

static int connected(int s) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    stage_equal(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    stage_equal(info.tcpi_state, TCP_ESTABLISHED);
    return 0;
}

/* ---- a handler says no ---- */

static int refuse(int s) {
    (void)s;
    return 7;
}

static void expect_aborted_until_reset(void) {
    char byte;
    stage_fails(talk_put("x", BG), ECONNABORTED);
    stage_fails(talk_defer("x", BG), ECONNABORTED);
    stage_fails(cmm_recv(talk_sock, &byte, 1, 0), ECONNABORTED);
    stage_fails(write(talk_sock, "x", 1), ECONNABORTED);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    talk_in_pre = talk_in_post = NULL;
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_equal(talk_put("well", BG), 4);
}

static void nonzero_from_pre_reconnect_is_ECONNABORTED_until_reset(void) {
    talk_in_pre = refuse;
    stage_up("wifi");
    stage_fails(talk_dial(0, BG, NULL), ECONNABORTED);
    stage_expect(strcmp(talk_diary(), "<") == 0);
    stage_equal(stage_connections(), 0);
    expect_aborted_until_reset();
    stage_expect_text(0, "well");
}

static void nonzero_from_post_reconnect_is_ECONNABORTED_until_reset(void) {
    talk_in_post = refuse;
    stage_up("wifi");
    stage_fails(talk_dial(0, BG, NULL), ECONNABORTED);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
    expect_aborted_until_reset();
    stage_expect_text(1, "well");
    stage_wait(stage_end(0) != STAGE_OPEN);
}

static int say_and_refuse(int s) {
    stage_equal(send(s, "go away", 7, 0), 7);
    return 7;
}

static void what_post_reconnect_refuses_ends_for_the_peer_and_polls_as_failed(void) {
    struct pollfd p = {.events = POLLIN};
    talk_in_post = say_and_refuse;
    stage_up("wifi");
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    p.fd = talk_sock;
    stage_equal(poll(&p, 1, 25000), 1);
    stage_equal(p.revents & POLLHUP, POLLHUP);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_expect_text(0, "go away");
}

static void a_thunk_whose_reconnect_failed_runs_and_its_send_reports_it(void) {
    talk_in_post = refuse;
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    stage_equal(talk_defer("x", BG), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_count == 3);
    stage_expect(strcmp(talk_diary(), "<>t") == 0);
    stage_wait(talk_events[2].result == CMM_FAILED);
    stage_fails(talk_put("x", BG), ECONNABORTED);
}

static _Atomic bool gate, inside;

static int wait_at_gate(int s) {
    (void)s;
    inside = true;
    stage_wait(gate);
    return 0;
}

static int wait_at_gate_and_refuse_once(int s) {
    talk_in_post = NULL;
    wait_at_gate(s);
    return 1;
}

static void nonzero_while_the_network_went_is_tried_again(void) {
    talk_in_post = wait_at_gate_and_refuse_once;
    stage_up("wifi");
    stage_up("twin");
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(inside);
    stage_down("wifi");
    gate = true;
    talk_expect_moved(1, "127.0.3.1", "twin");
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
    stage_wait(talk_put("x", BG) == 1);
}

/* ---- what a handler may do ---- */

static int converse(int s) {
    struct pollfd p = {.fd = s, .events = POLLIN | POLLOUT};
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    char back[8];
    /* Labels nobody offers: in a handler they are no question. */
    stage_equal(cmm_send(s, "a", 1, 0, CMM_LABEL_WIRED, NULL, NULL), 1);
    stage_equal(cmm_write(s, "b", 1, 0x8000000000000000UL, NULL, NULL), 1);
    stage_equal(write(s, "c", 1), 1);
    stage_equal(send(s, "d", 1, 0), 1);
    stage_equal(recv(s, back, 2, MSG_WAITALL), 2);
    stage_equal(cmm_recv(s, back + 2, 2, MSG_WAITALL), 2);
    stage_expect(memcmp(back, "abcd", 4) == 0);
    stage_fails(recv(s, back, 1, MSG_DONTWAIT), EAGAIN);
    stage_equal(poll(&p, 1, 0), 1);
    stage_equal(p.revents, POLLOUT);
    stage_equal(getsockname(s, (struct sockaddr *)&own, &len), 0);
    stage_expect(own.sin_addr.s_addr == inet_addr("127.0.1.1"));
    len = sizeof own;
    stage_equal(getpeername(s, (struct sockaddr *)&own, &len), 0);
    stage_expect(own.sin_port == stage_tcp().sin_port);
    stage_equal(option(SOL_SOCKET, SO_ERROR), 0);
    stage_equal(option(SOL_SOCKET, SO_ACCEPTCONN), 0);
    return connected(s);
}

static void a_handlers_calls_act_on_the_new_connection_and_never_defer(void) {
    talk_in_post = converse;
    stage_echo(true);
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_expect_text(0, "abcd");
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_equal(talk_put("e", BG), 1);
    stage_expect_text(0, "abcde");
}

static int bound_already(int s) {
    (void)s;
    stage_expect(source_is("127.0.1.1"));
    stage_fails(write(s, "x", 1), EPIPE);
    return 0;
}

static void pre_reconnects_calls_act_on_the_socket_to_be_connected(void) {
    talk_in_pre = bound_already;
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_equal(talk_put("x", BG), 1);
    stage_expect_text(0, "x");
}

static int close_it(int s) {
    stage_equal(cmm_close(s), 0);
    return 0;
}

static void a_handler_may_close_its_socket(void) {
    talk_in_post = close_it;
    stage_up("wifi");
    stage_fails(talk_dial(0, BG, NULL), ECANCELED);
    stage_expect_connection(0, "127.0.1.1");
    stage_wait(stage_end(0) != STAGE_OPEN);
    stage_fails(talk_put("x", BG), EBADF);
}

static int copied = -1, watched = -1;

static int copy_and_watch(int s) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = s};
    copied = dup(s);
    watched = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(watched, EPOLL_CTL_ADD, s, &e), 0);
    return 0;
}

static void in_a_handler_dup_and_epoll_ctl_act_on_the_number(void) {
    struct epoll_event e;
    talk_in_post = copy_and_watch;
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_equal(write(copied, "copy", 4), 4);
    stage_expect_text(0, "copy");
    stage_equal(epoll_wait(watched, &e, 1, 0), 0);
    stage_say(0, "x");
    stage_equal(epoll_wait(watched, &e, 1, 20000), 1);
    stage_equal(e.data.fd, talk_sock);
}

static int wait_for_input(int s) {
    fd_set set;
    int room;
    socklen_t len = sizeof room;
    FD_ZERO(&set);
    FD_SET(s, &set);
    stage_say(stage_connections() - 1, "welcome");
    stage_equal(select(s + 1, &set, NULL, NULL, NULL), 1);
    stage_expect(FD_ISSET(s, &set));
    stage_equal(cmm_getsockopt(s, SOL_SOCKET, SO_RCVBUF, &room, &len), 0);
    stage_equal(cmm_recv(s, (char[8]){0}, 8, 0), 7);
    return 0;
}

static int wait_for_connection_and_input(int s) {
    stage_wait(stage_connections() == (strlen(talk_diary()) > 2 ? 2 : 1));
    return wait_for_input(s);
}

static void a_handler_may_wait_for_the_peer(void) {
    talk_in_post = wait_for_connection_and_input;
    stage_up("wifi");
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    stage_up("cell");
    stage_down("wifi");
    stage_equal(talk_put("x", SMALL), 1);
    stage_expect_connection(1, "127.0.2.1");
    stage_expect_text(1, "x");
}

static _Atomic ssize_t handler_heard = 1;

static int hear_nothing_once(int s) {
    char byte;
    talk_in_post = NULL;
    inside = true;
    handler_heard = recv(s, &byte, 1, 0);
    return 0;
}

static void a_handler_that_waits_for_the_peer_is_woken_when_its_network_goes(void) {
    talk_in_post = hear_nothing_once;
    stage_up("wifi");
    stage_up("twin");
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(inside);
    stage_down("wifi");
    talk_expect_moved(1, "127.0.3.1", "twin");
    stage_expect(handler_heard <= 0);
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
}

/* ---- the others, while a handler runs ---- */

static char heard[16];

static long receive(void) {
    return cmm_recv(talk_sock, heard, sizeof heard, 0);
}

static long put_blocking(void) {
    return talk_put("blocking", BG);
}

static void hold_in_post(int flags) {
    talk_in_post = wait_at_gate;
    stage_equal(talk_dial(flags, BG, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(inside);
    stage_expect_connection(0, "127.0.1.1");
}

static void while_a_handler_runs_others_see_no_connection(void) {
    char byte;
    hold_in_post(SOCK_NONBLOCK);
    stage_say(0, "early");
    stage_expect(silent());
    stage_fails(recv(talk_sock, &byte, 1, 0), EAGAIN);
    stage_fails(talk_put("no", BG), EAGAIN);
    stage_fails(talk_put("no", SMALL), EAGAIN);
    stage_equal(talk_defer("later", BG), CMM_DEFERRED);
    stage_equal(talk_defer("changed", SMALL), CMM_DEFERRED);
    stage_expect(silent());
    stage_equal(stage_received(0), 0);
    gate = true;
    stage_expect_text(0, "laterchanged");
    stage_wait(!silent());
    stage_wait(recv(talk_sock, heard, sizeof heard, 0) == 5);
}

static void while_a_handler_runs_blocking_sends_wait(void) {
    hold_in_post(0);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_expect(!talk_back() && stage_received(0) == 0);
    gate = true;
    stage_equal(talk_join(), 8);
    stage_expect_text(0, "blocking");
}

static void while_a_handler_runs_blocking_receives_wait(void) {
    hold_in_post(0);
    talk_begin(receive);
    stage_say(0, "hello");
    stage_wait(talk_asleep());
    stage_expect(!talk_back());
    gate = true;
    stage_equal(talk_join(), 5);
}

static void while_a_handler_runs_close_goes_through_with_ECANCELED_for_the_others(void) {
    hold_in_post(0);
    talk_begin(receive);
    stage_wait(talk_asleep());
    stage_equal(close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
    gate = true;
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
    inside = true;
    stage_wait(gate);
}

static void while_a_thunk_runs_no_handler_of_its_socket_does(void) {
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, thunk_at_gate, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(inside);
    stage_up("cell");
    stage_down("wifi");
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
    gate = true;
    stage_expect_connection(1, "127.0.2.1");
    stage_wait(strcmp(talk_diary(), "<><>") == 0);
}

static void a_label_change_asked_from_elsewhere_while_a_thunk_runs_is_deferred(void) {
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, thunk_at_gate, NULL), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(inside);
    stage_up("wifi");
    stage_fails(talk_put("no", BG), EAGAIN);
    stage_equal(talk_defer("deferred.", BG), CMM_DEFERRED);
    stage_equal(fcntl(talk_sock, F_SETFL, O_RDWR), 0);
    talk_begin(put_blocking);
    stage_wait(talk_asleep());
    stage_equal(stage_connections(), 1);
    gate = true;
    stage_equal(talk_join(), 8);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "deferred.blocking");
}

static _Atomic long told;

static void put_for_wifi(void *unused) {
    (void)unused;
    inside = true;
    told = talk_put("wifi", BG);
}

static void a_thunk_may_wait_for_another_network(void) {
    stage_equal(talk_dial(0, SMALL, NULL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, put_for_wifi, NULL), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(inside);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    stage_wait(told == 4);
    stage_expect_text(1, "wifi");
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
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
        stage_equal(poll(&p, 1, 20000), 1);
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
    STAGE_TEST(a_handler_left_to_a_receiver_runs_though_it_finds_what_it_waited_for),
    STAGE_TEST(nonzero_from_pre_reconnect_is_ECONNABORTED_until_reset),
    STAGE_TEST(nonzero_from_post_reconnect_is_ECONNABORTED_until_reset),
    STAGE_TEST(what_post_reconnect_refuses_ends_for_the_peer_and_polls_as_failed),
    STAGE_TEST(a_thunk_whose_reconnect_failed_runs_and_its_send_reports_it),
    STAGE_TEST(nonzero_while_the_network_went_is_tried_again),
    STAGE_TEST(a_handlers_calls_act_on_the_new_connection_and_never_defer),
    STAGE_TEST(pre_reconnects_calls_act_on_the_socket_to_be_connected),
    STAGE_TEST(a_handler_may_close_its_socket),
    STAGE_TEST(while_a_handler_runs_others_see_no_connection),
    STAGE_TEST(while_a_handler_runs_blocking_sends_wait),
    STAGE_TEST(while_a_handler_runs_blocking_receives_wait),
    STAGE_TEST(while_a_handler_runs_close_goes_through_with_ECANCELED_for_the_others),
    STAGE_TEST(close_ends_a_wait_for_a_network_with_ECANCELED),
    STAGE_TEST(a_blocking_connect_runs_the_handlers_itself),
    STAGE_TEST(scenario_two_runs_the_handlers_in_the_callers_thread),
    STAGE_TEST(a_waiting_call_runs_the_handlers),
    STAGE_TEST(a_waiting_receive_runs_the_handlers),
    STAGE_TEST(when_nobody_waits_a_thread_of_the_library_runs_them),
    STAGE_TEST(in_manual_mode_only_dispatch_runs_them),
    STAGE_TEST(in_a_handler_dup_and_epoll_ctl_act_on_the_number),
    STAGE_TEST(a_handler_may_wait_for_the_peer),
    STAGE_TEST(while_a_thunk_runs_no_handler_of_its_socket_does),
    STAGE_TEST(a_label_change_asked_from_elsewhere_while_a_thunk_runs_is_deferred),
    STAGE_TEST(a_thunk_may_wait_for_another_network),
    STAGE_TEST(a_handler_that_waits_for_the_peer_is_woken_when_its_network_goes),
    STAGE_TEST(close_ends_a_blocking_connect_with_ECANCELED),
    STAGE_TEST(dup2_over_it_and_close_range_are_closes),
    STAGE_TEST(reset_ends_a_wait_with_ENOTCONN),
};

STAGE_MAIN(config, tests)

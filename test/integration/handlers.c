/* handlers - what is promised of reconnect handlers: their word, and what they may do. Each test is a
 * sentence of the contract; networks are addresses of the loopback interface. What the others see meanwhile
 * is in meanwhile. */
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

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
    stage_equal(poll(&p, 1, -1), 1);
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

static int wait_at_gate_and_refuse_once(int s) {
    talk_in_post = NULL;
    talk_wait_at_gate(s);
    return 1;
}

static void nonzero_while_the_network_went_is_tried_again(void) {
    talk_in_post = wait_at_gate_and_refuse_once;
    stage_up("wifi");
    stage_up("twin");
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(talk_inside);
    stage_down("wifi");
    talk_gate = true;
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
    stage_expect(talk_source_is("127.0.1.1"));
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

static int reset_and_connect(int s) {
    static bool again;
    if (again)
        return 0;
    again = true;
    stage_equal(cmm_reset(s), 0);
    stage_equal(talk_connect(BG, NULL), 0);
    return 0;
}

/* The connection it was called for is nobody's then. */
static void a_handler_may_reset_its_socket_and_connect_it_again(void) {
    talk_in_post = reset_and_connect;
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
    stage_equal(talk_put("x", BG), 1);
    stage_expect_text(1, "x");
    stage_wait(stage_end(0) != STAGE_OPEN);
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
    talk_inside = true;
    handler_heard = recv(s, &byte, 1, 0);
    return 0;
}

static void a_handler_that_waits_for_the_peer_is_woken_when_its_network_goes(void) {
    talk_in_post = hear_nothing_once;
    stage_up("wifi");
    stage_up("twin");
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(talk_inside);
    stage_down("wifi");
    talk_expect_moved(1, "127.0.3.1", "twin");
    stage_expect(handler_heard <= 0);
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
}

static int reset(int s) {
    return cmm_reset(s);
}

static void a_connect_whose_handler_resets_the_socket_fails_with_ENOTCONN(void) {
    stage_up("wifi");
    talk_in_pre = reset;
    stage_fails(talk_dial(0, BG, NULL), ENOTCONN);
    talk_in_pre = NULL;
    talk_in_post = reset;
    stage_fails(talk_connect(BG, NULL), ENOTCONN);
    talk_in_post = NULL;
    stage_equal(talk_connect(BG, NULL), 0);
    stage_expect(strcmp(talk_diary(), "<<><>") == 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(nonzero_from_pre_reconnect_is_ECONNABORTED_until_reset),
    STAGE_TEST(nonzero_from_post_reconnect_is_ECONNABORTED_until_reset),
    STAGE_TEST(what_post_reconnect_refuses_ends_for_the_peer_and_polls_as_failed),
    STAGE_TEST(a_thunk_whose_reconnect_failed_runs_and_its_send_reports_it),
    STAGE_TEST(nonzero_while_the_network_went_is_tried_again),
    STAGE_TEST(a_handlers_calls_act_on_the_new_connection_and_never_defer),
    STAGE_TEST(pre_reconnects_calls_act_on_the_socket_to_be_connected),
    STAGE_TEST(a_handler_may_close_its_socket),
    STAGE_TEST(a_connect_whose_handler_resets_the_socket_fails_with_ENOTCONN),
    STAGE_TEST(a_handler_may_reset_its_socket_and_connect_it_again),
    STAGE_TEST(in_a_handler_dup_and_epoll_ctl_act_on_the_number),
    STAGE_TEST(a_handler_may_wait_for_the_peer),
    STAGE_TEST(a_handler_that_waits_for_the_peer_is_woken_when_its_network_goes),
};

STAGE_MAIN(talk_config, tests)

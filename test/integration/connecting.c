/* connecting - what is promised of connecting and reconnecting: outcomes of cmm_connect, and the handlers.
 * Each test is a sentence of the contract; networks are addresses of the loopback interface but where a world
 * is asked for. What moves with a socket and what is lost on the way is proven in carrying. */
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n"
                             "[network twin]\naddress = 127.0.3.1\nlabels = all\nmetric = 300\n";
static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

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

/* ---- cmm_connect ---- */

static void on_a_matching_network_connect_is_made_at_once(void) {
    struct sockaddr_in to = stage_tcp(), peer;
    socklen_t len = sizeof peer;
    stage_up("cell");
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_expect(source_is("127.0.1.1") && talk_on("wifi"));
    stage_equal(cmm_getpeername(talk_sock, (struct sockaddr *)&peer, &len), 0);
    stage_expect(peer.sin_port == to.sin_port && peer.sin_addr.s_addr == to.sin_addr.s_addr);
    stage_expect_connection(0, "127.0.1.1");
}

static long dial_blocking(void) {
    return talk_dial(0, BG, NULL);
}

static void a_blocking_connect_waits_for_the_handshake(void) {
    stage_up("wifi");
    stage_crowd(true);
    talk_begin(dial_blocking);
    stage_wait(strcmp(talk_diary(), "<") == 0 && talk_asleep());
    stage_expect(!talk_back());
    stage_crowd(false);
    stage_equal(talk_join(), 0);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
}

static void a_nonblocking_connect_is_deferred_while_the_handshake_is_under_way(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_expect(silent());
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_crowd(false);
    talk_expect_moved(0, "127.0.1.1", "wifi");
}

static void without_a_matching_network_connect_is_deferred_and_made_when_one_comes(void) {
    stage_up("cell");
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    stage_equal(talk_count, 0);
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_up("wifi");
    talk_expect_moved(0, "127.0.1.1", "wifi");
    stage_wait(strcmp(talk_diary(), "<>") == 0);
}

static void a_second_connect_is_EISCONN_and_one_after_reset_is_not(void) {
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_equal(talk_put("x", BG), 1);
    stage_expect_text(0, "x");
    stage_equal(cmm_reset(talk_sock), 0);
    stage_wait(stage_end(0) != STAGE_OPEN);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_expect_connection(1, "127.0.1.1");
}

static void a_refused_connect_fails_until_reset(void) {
    char byte;
    stage_up("wifi");
    stage_refuse(true);
    stage_fails(talk_dial(0, BG, NULL), ECONNREFUSED);
    stage_refuse(false);
    stage_fails(talk_put("x", BG), ECONNREFUSED);
    stage_fails(cmm_recv(talk_sock, &byte, 1, 0), ECONNREFUSED);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_equal(talk_put("x", BG), 1);
}

static void a_family_no_network_can_ever_reach_is_ENETUNREACH(void) {
    struct sockaddr_in6 to = {
        .sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int s = cmm_socket(AF_INET6, SOCK_STREAM, 0);
    stage_fails(cmm_connect(s, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL), ENETUNREACH);
    stage_up("wifi");
    stage_fails(cmm_connect(s, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL), ENETUNREACH);
}

static void labels_0_mean_no_wish_nothing_is_bound(void) {
    stage_equal(talk_dial(0, 0, NULL), 0);
    stage_expect_connection(0, "127.0.0.1");
    stage_equal(talk_put("x", 0), 1);
    stage_expect_text(0, "x");
}

static void connect_refuses_what_makes_no_sense(void) {
    struct sockaddr_in to = stage_tcp();
    int plain = socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(cmm_connect(plain, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL), EBADF);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(talk_connect(0x1000, NULL), EINVAL);
    stage_fails(cmm_connect(talk_sock, NULL, 0, BG, NULL, NULL, NULL), EINVAL);
    stage_fails(cmm_connect(talk_sock, (struct sockaddr *)&to, 1000, BG, NULL, NULL, NULL), EINVAL);
    stage_fails(cmm_connect(talk_sock, (struct sockaddr *)&to, 3, BG, NULL, NULL, NULL), EINVAL);
    stage_up("wifi");
    stage_equal(talk_connect(BG, NULL), 0);
}

/* ---- the order of things, and what a fresh socket has ---- */

static ino_t inode(void) {
    struct stat st;
    return fstat(talk_sock, &st) == 0 ? st.st_ino : 0;
}

static int option(int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    stage_equal(getsockopt(talk_sock, level, name, &value, &len), 0);
    return value;
}

static void handlers_come_before_and_after_connect_and_then_the_thunks(void) {
    char me[] = "me";
    stage_equal(talk_dial(0, BG, me), CMM_DEFERRED);
    stage_equal(talk_defer("1", BG), CMM_DEFERRED);
    stage_equal(talk_defer("2", BG), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_count == 4);
    stage_expect(strcmp(talk_diary(), "<>tt") == 0);
    for (int i = 0; i < 2; i++) {
        stage_equal(talk_events[i].sock, talk_sock);
        stage_equal(talk_events[i].labels, BG);
        stage_expect(talk_events[i].arg == me);
    }
    stage_expect_text(0, "12");
}

static int unconnected(int s) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    stage_equal(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    stage_equal(info.tcpi_state, TCP_CLOSE);
    return 0;
}

static int connected(int s) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    stage_equal(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    stage_equal(info.tcpi_state, TCP_ESTABLISHED);
    return 0;
}

static void pre_reconnect_is_after_socket_and_before_connect(void) {
    talk_in_pre = unconnected;
    talk_in_post = connected;
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_up("cell");
    stage_down("wifi");
    stage_equal(talk_put("x", SMALL), 1);
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
}

static void a_reconnection_is_a_fresh_socket_under_the_same_number(void) {
    stage_up("cell");
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    const int number = talk_sock, copy = dup(talk_sock);
    const ino_t before = inode();
    stage_expect(before);
    stage_up("wifi");
    stage_equal(talk_put("wifi", BG), 4);
    stage_equal(talk_sock, number);
    stage_expect(inode() != before);
    stage_expect_text(1, "wifi");
    stage_equal(write(copy, "copy", 4), 4);
    stage_expect_text(1, "wificopy");
    stage_equal(talk_events[2].labels, BG);
}

static void options_and_flags_are_replayed(void) {
    const int on = 1, idle = 77;
    struct linger linger = {1, 9}, got;
    socklen_t len = sizeof got;
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    stage_equal(setsockopt(talk_sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    stage_up("cell");
    stage_equal(talk_connect(SMALL, NULL), 0);
    stage_equal(cmm_setsockopt(talk_sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle), 0);
    stage_equal(setsockopt(talk_sock, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    stage_up("wifi");
    stage_equal(talk_put("x", BG), 1);
    stage_expect_connection(1, "127.0.1.1");
    stage_equal(option(SOL_SOCKET, SO_KEEPALIVE), 1);
    stage_equal(option(IPPROTO_TCP, TCP_NODELAY), 1);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 77);
    stage_equal(cmm_getsockopt(talk_sock, SOL_SOCKET, SO_LINGER, &got, &len), 0);
    stage_expect(got.l_onoff == 1 && got.l_linger == 9);
    stage_equal(fcntl(talk_sock, F_GETFD), FD_CLOEXEC);
    stage_equal(fcntl(talk_sock, F_GETFL) & O_NONBLOCK, 0);
    stage_equal(fcntl(talk_sock, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    stage_equal(fcntl(talk_sock, F_SETFD, 0), 0);
    stage_down("wifi");
    stage_wait(talk_put("y", SMALL) == 1);
    stage_expect_connection(2, "127.0.2.1");
    stage_equal(fcntl(talk_sock, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    stage_equal(fcntl(talk_sock, F_GETFD), 0);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 77);
}

static int set_idle(int s) {
    const int idle = 55;
    stage_equal(setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle), 0);
    talk_in_pre = NULL;
    return 0;
}

static void an_option_set_in_a_handler_is_the_new_connections_and_remembered(void) {
    talk_in_pre = set_idle;
    stage_up("cell");
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 55);
    stage_up("wifi");
    stage_equal(talk_put("x", BG), 1);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 55);
}

static int bound_to_wifi(int s) {
    char device[32] = "";
    socklen_t len = sizeof device;
    stage_equal(getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
    stage_expect(strcmp(device, "wifi0") == 0);
    return 0;
}

static void a_connection_is_bound_to_its_network(void) {
    talk_in_pre = talk_in_post = bound_to_wifi;
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_equal(bound_to_wifi(talk_sock), 0);
    stage_expect_connection(0, "10.1.0.2");
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

/* ---- networks that are not ready ---- */

static void unreachable_by_a_young_network_is_no_network_yet(void) {
    stage_far_shell("echo 1 >/proc/sys/net/ipv4/ip_forward");
    stage_far_shell("ip addr del 10.9.0.1/32 dev lo && ip route add unreachable 10.9.0.1/32");
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(talk_count >= 3);
    stage_expect(strncmp(talk_diary(), "<<<", 3) == 0);
    stage_fails(talk_put("x", BG), EAGAIN);
    stage_far_shell("ip route del unreachable 10.9.0.1/32 && ip addr add 10.9.0.1/32 dev lo");
    talk_expect_moved(0, "10.1.0.2", "wifi");
    stage_wait(talk_put("x", BG) == 1);
}

static void refused_is_refused_also_by_a_young_network(void) {
    stage_wait(stage_offered("wifi"));
    stage_refuse(true);
    stage_fails(talk_dial(0, BG, NULL), ECONNREFUSED);
}

static const struct stage_test tests[] = {
    STAGE_TEST(on_a_matching_network_connect_is_made_at_once),
    STAGE_TEST(a_blocking_connect_waits_for_the_handshake),
    STAGE_TEST(a_nonblocking_connect_is_deferred_while_the_handshake_is_under_way),
    STAGE_TEST(without_a_matching_network_connect_is_deferred_and_made_when_one_comes),
    STAGE_TEST(a_second_connect_is_EISCONN_and_one_after_reset_is_not),
    STAGE_TEST(a_refused_connect_fails_until_reset),
    STAGE_TEST(a_family_no_network_can_ever_reach_is_ENETUNREACH),
    STAGE_TEST(labels_0_mean_no_wish_nothing_is_bound),
    STAGE_TEST(connect_refuses_what_makes_no_sense),
    STAGE_TEST(handlers_come_before_and_after_connect_and_then_the_thunks),
    STAGE_TEST(pre_reconnect_is_after_socket_and_before_connect),
    STAGE_TEST(a_reconnection_is_a_fresh_socket_under_the_same_number),
    STAGE_TEST(options_and_flags_are_replayed),
    STAGE_TEST(an_option_set_in_a_handler_is_the_new_connections_and_remembered),
    STAGE_TEST_IN(a_connection_is_bound_to_its_network, STAGE_WORLD, world),
    STAGE_TEST(nonzero_from_pre_reconnect_is_ECONNABORTED_until_reset),
    STAGE_TEST(nonzero_from_post_reconnect_is_ECONNABORTED_until_reset),
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
    STAGE_TEST_IN(unreachable_by_a_young_network_is_no_network_yet, STAGE_WORLD, world),
    STAGE_TEST_IN(refused_is_refused_also_by_a_young_network, STAGE_WORLD, world),
};

STAGE_MAIN(config, tests)

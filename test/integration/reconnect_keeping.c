/* reconnect_keeping - under --on-loss reconnect duplicates, names and options stay; what has ended
 * is not replaced; a network that still works is left and nothing is lost. */
#include "moving.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- duplicates ---- */

static int copy;

static long in_recv_of_the_copy(void) {
    return recv(copy, moving_heard, sizeof moving_heard, 0);
}

static void duplicates_move_together(void) {
    moving_live(0);
    copy = dup(moving_sock);
    const int second = fcntl(moving_sock, F_DUPFD_CLOEXEC, 100), third = dup2(moving_sock, 200);
    moving_begin(in_recv_of_the_copy);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
    stage_equal(fcntl(second, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    stage_equal(fcntl(copy, F_GETFD) & FD_CLOEXEC, 0);
    stage_equal(send(second, "a", 1, 0), 1);
    stage_equal(write(third, "b", 1), 1);
    close(moving_sock);
    stage_equal(send(copy, "c", 1, 0), 1);
    stage_expect_text(1, "abc");
    stage_equal(close(copy) | close(second) | close(third), 0);
    stage_wait(stage_end(1) == STAGE_EOF);
}

/* ---- ends ---- */

static void a_half_closed_connection_is_not_replaced(void) {
    moving_live(0);
    stage_equal(shutdown(moving_sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_say(0, "half");
    stage_wait(moving_available() == 4);
    moving_begin(moving_in_recv);
    stage_equal(moving_outcome(), 4);
    moving_begin(moving_in_recv);
    moving_lose();
    stage_fails(moving_outcome(), ECONNRESET);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void a_peers_end_of_file_is_no_loss(void) {
    moving_live(0);
    stage_say(0, "last");
    stage_finish(0);
    stage_wait(moving_polled(POLLRDHUP) & POLLRDHUP);
    moving_lose();
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(moving_in_recv(), 4);
    stage_equal(moving_in_recv(), 0);
    stage_equal(stage_connections(), 1);
}

static long in_close_after_loss(void) {
    return recv(moving_sock, moving_heard, sizeof moving_heard, 0);
}

static void a_socket_that_waits_for_its_next_connection_can_be_closed(void) {
    moving_live(0);
    moving_part();
    moving_begin(in_close_after_loss);
    moving_expect_waiting();
    stage_equal(close(moving_sock), 0);
    stage_equal(moving_outcome(), -1);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void names_flags_and_options_are_as_before(void) {
    struct sockaddr_in peer, far = stage_tcp();
    socklen_t len = sizeof peer;
    int one = 1, value = 0;
    moving_live(0);
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
    stage_equal(fcntl(moving_sock, F_SETFD, FD_CLOEXEC), 0);
    moving_part();
    for (int i = 0; i < 2; i++) {
        len = sizeof peer;
        stage_equal(getpeername(moving_sock, (struct sockaddr *)&peer, &len), 0);
        stage_expect(peer.sin_port == far.sin_port && peer.sin_addr.s_addr == far.sin_addr.s_addr);
        len = sizeof value;
        stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        stage_equal(value, 1);
        stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_ERROR, &value, &len), 0);
        stage_equal(value, 0);
        stage_equal(fcntl(moving_sock, F_GETFD), FD_CLOEXEC);
        if (!i)
            moving_find();
    }
    moving_expect_talk(1);
}

static void it_moves_as_often_as_its_networks_do(void) {
    moving_live(0);
    moving_begin(moving_in_recv);
    for (int i = 1; i <= 6; i++) {
        stage_link(i % 2 ? "wifi0" : "cell0", false);
        stage_link(i % 2 ? "cell0" : "wifi0", true);
        stage_expect_connection(i, i % 2 ? "10.2.0.2" : "10.1.0.2");
        moving_expect_waiting();
    }
    stage_say(6, "news");
    stage_equal(moving_outcome(), 4);
}

/* ---- withdrawn ---- */

static void live_on_loopback(int flags) {
    struct sockaddr_in to = stage_tcp();
    const int small = 65536;
    stage_receive_buffer(small);
    stage_up("wifi");
    stage_up("cell");
    moving_sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(moving_sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    stage_equal(fcntl(moving_sock, F_SETFL, flags), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void a_withdrawn_network_is_left_and_nothing_is_lost(void) {
    unsigned char *bytes = moving_pattern();
    live_on_loopback(O_NONBLOCK);
    stage_hold(true);
    size_t taken = 0;
    ssize_t n;
    while ((n = send(moving_sock, bytes + taken, MOVING_LARGE - taken, 0)) > 0)
        taken += (size_t)n;
    stage_say(0, "unread");
    stage_down("wifi");
    stage_hold(false);
    stage_expect_connection(1, "127.0.2.1");
    stage_wait(stage_received(0) == taken && stage_end(0) == STAGE_EOF);
    stage_wait(moving_polled(POLLOUT) & POLLOUT);
    stage_equal(fcntl(moving_sock, F_SETFL, 0), 0);
    stage_equal(moving_in_recv(), 6);
    stage_equal(send(moving_sock, bytes + taken, MOVING_LARGE - taken, 0), MOVING_LARGE - (long)taken);
    moving_expect_rest();
    stage_equal(stage_received(0) + stage_received(1), MOVING_LARGE);
    free(bytes);
}

static void a_thread_blocked_in_recv_sleeps_through_a_withdrawal(void) {
    live_on_loopback(0);
    moving_begin(moving_in_recv);
    moving_expect_waiting();
    stage_down("cell");
    stage_down("wifi");
    moving_expect_waiting();
    stage_up("cell");
    stage_expect_connection(1, "127.0.2.1");
    moving_expect_waiting();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
}

static void a_blocked_send_sleeps_through_a_withdrawal(void) {
    live_on_loopback(0);
    stage_hold(true);
    moving_begin(moving_in_send);
    moving_expect_waiting();
    stage_down("wifi");
    stage_hold(false);
    stage_equal(moving_outcome(), MOVING_LARGE);
    moving_expect_rest();
    stage_equal(stage_received(0) + stage_received(1), MOVING_LARGE);
}

static void unasked_nothing_goes_on(void) {
    live_on_loopback(0);
    stage_equal(send(moving_sock, "x", 1, 0), 1);
    stage_expect_text(0, "x");
    stage_down("wifi");
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, 0), ECONNRESET);
    stage_equal(stage_connections(), 1);
}

static void duplicates_made_meanwhile_are_connected_too(void) {
    moving_live(0);
    moving_part();
    copy = dup(moving_sock);
    const int over = open("/dev/null", O_RDONLY);
    stage_equal(dup2(moving_sock, over), over);
    stage_equal(close(moving_sock), 0);
    moving_sock = copy;
    moving_begin(moving_in_recv);
    moving_expect_waiting();
    moving_find();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
    stage_equal(write(over, "x", 1), 1);
    stage_expect_text(1, "x");
}

static void what_is_put_over_it_meanwhile_stays(void) {
    const int null = open("/dev/null", O_RDWR);
    moving_live(0);
    moving_part();
    stage_equal(dup2(null, moving_sock), moving_sock);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
    stage_equal(read(moving_sock, moving_heard, 1), 0);
}

static const struct {
    int level, name, value;
} options[] = {
    {IPPROTO_TCP, TCP_NODELAY, 1},  {IPPROTO_TCP, TCP_KEEPIDLE, 77}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 5000},
    {SOL_SOCKET, SO_RCVBUF, 50000}, {SOL_SOCKET, SO_SNDBUF, 40000},  {SOL_SOCKET, SO_PRIORITY, 3},
    {SOL_SOCKET, SO_OOBINLINE, 1},  {SOL_SOCKET, SO_RCVLOWAT, 2},    {IPPROTO_IP, IP_TOS, 0x10},
    {IPPROTO_IP, IP_TTL, 44},
};
enum { OPTIONS = sizeof options / sizeof *options };

static int option(size_t i) {
    int value = -1;
    socklen_t len = sizeof value;
    stage_equal(getsockopt(moving_sock, options[i].level, options[i].name, &value, &len), 0);
    return value;
}

static void options_of_every_kind_are_as_before(void) {
    struct linger linger = {1, 5};
    char algorithm[16] = "";
    int before[OPTIONS];
    socklen_t len = sizeof linger;
    moving_live(0);
    for (size_t i = 0; i < OPTIONS; i++)
        stage_equal(
            setsockopt(moving_sock, options[i].level, options[i].name, &options[i].value, sizeof(int)), 0);
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_LINGER, &linger, len), 0);
    stage_equal(setsockopt(moving_sock, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
    for (size_t i = 0; i < OPTIONS; i++)
        before[i] = option(i);
    moving_part();
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < OPTIONS; i++)
            if (option(i) != before[i])
                stage_fail(__FILE__, __LINE__, "option %zu is %d, not %d", i, option(i), before[i]);
        linger = (struct linger){0};
        stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_LINGER, &linger, &len), 0);
        stage_equal(linger.l_linger, 5);
        socklen_t room = sizeof algorithm;
        stage_equal(getsockopt(moving_sock, IPPROTO_TCP, TCP_CONGESTION, algorithm, &room), 0);
        stage_expect(strcmp(algorithm, "reno") == 0);
        if (!round)
            moving_find();
    }
}

static void its_own_name_is_that_of_the_network_it_is_on(void) {
    struct sockaddr_in own, before;
    socklen_t len = sizeof own;
    moving_live(0);
    stage_equal(getsockname(moving_sock, (struct sockaddr *)&before, &len), 0);
    moving_part();
    stage_equal(getsockname(moving_sock, (struct sockaddr *)&own, &len), 0);
    stage_equal(memcmp(&own, &before, len), 0);
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(getsockname(moving_sock, (struct sockaddr *)&own, &len), 0);
    stage_equal(own.sin_addr.s_addr, inet_addr("10.2.0.2"));
}

static _Atomic int signals;

static void on_data(int signal) {
    (void)signal;
    signals++;
}

static void data_of_the_next_connection_is_told_by_signal_too(void) {
    signal(SIGIO, on_data);
    moving_live(0);
    stage_equal(fcntl(moving_sock, F_SETOWN, getpid()), 0);
    stage_equal(fcntl(moving_sock, F_SETFL, O_ASYNC), 0);
    stage_say(0, "old");
    stage_wait(signals > 0);
    stage_equal(moving_in_recv(), 3);
    moving_part();
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    signals = 0;
    stage_say(1, "news");
    stage_wait(signals > 0);
}

static void who_is_to_be_told_by_signal_is_kept_before_signals_are_asked_for(void) {
    signal(SIGUSR1, on_data);
    moving_live(0);
    stage_equal(fcntl(moving_sock, F_SETOWN, getpid()), 0);
    stage_equal(fcntl(moving_sock, F_SETSIG, SIGUSR1), 0);
    moving_part();
    stage_equal(fcntl(moving_sock, F_GETOWN), getpid());
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(fcntl(moving_sock, F_GETSIG), SIGUSR1);
    stage_equal(fcntl(moving_sock, F_SETFL, O_ASYNC), 0);
    stage_say(1, "news");
    stage_wait(signals > 0);
}

static volatile sig_atomic_t told_of = -1;

static void on_told(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    told_of = info->si_fd;
}

static void the_signal_tells_the_number_it_was_asked_for_by(void) {
    const struct sigaction action = {.sa_sigaction = on_told, .sa_flags = SA_SIGINFO | SA_RESTART};
    stage_equal(sigaction(SIGRTMIN, &action, NULL), 0);
    moving_live(0);
    stage_equal(fcntl(moving_sock, F_SETOWN, getpid()), 0);
    stage_equal(fcntl(moving_sock, F_SETSIG, SIGRTMIN), 0);
    stage_equal(fcntl(moving_sock, F_SETFL, O_ASYNC), 0);
    moving_part();
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_expect(fcntl(moving_sock, F_GETFL) & O_ASYNC);
    told_of = -1;
    stage_say(1, "news");
    stage_wait(told_of >= 0);
    stage_equal(told_of, moving_sock);
}

static void it_is_no_listener_and_is_connected_already(void) {
    struct sockaddr_in to = stage_tcp();
    moving_live(0);
    moving_part();
    for (int connection = 0; connection < 2; connection++) {
        stage_fails(accept(moving_sock, NULL, NULL), EINVAL);
        stage_fails(accept4(moving_sock, NULL, NULL, 0), EINVAL);
        stage_fails(listen(moving_sock, 1), EINVAL);
        stage_fails(shutdown(moving_sock, 7), EINVAL);
        stage_fails(connect(moving_sock, (struct sockaddr *)&to, sizeof to), EISCONN);
        if (!connection)
            moving_find();
    }
    moving_expect_talk(1);
}

static void of_options_that_change_others_the_last_word_counts(void) {
    const int tos = 0x10; /* a priority, too */
    int priority = 3;
    socklen_t len = sizeof priority;
    moving_live(0);
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority), 0);
    stage_equal(setsockopt(moving_sock, IPPROTO_IP, IP_TOS, &tos, sizeof tos), 0);
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority), 0);
    moving_part();
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_PRIORITY, &priority, &len), 0);
    stage_equal(priority, 3);
}

static const struct stage_test tests[] = {
    MOVING_TEST(duplicates_move_together),
    MOVING_TEST(a_half_closed_connection_is_not_replaced),
    MOVING_TEST(a_peers_end_of_file_is_no_loss),
    MOVING_TEST(a_socket_that_waits_for_its_next_connection_can_be_closed),
    MOVING_TEST(names_flags_and_options_are_as_before),
    MOVING_TEST(it_moves_as_often_as_its_networks_do),
    MOVING_TEST_WITHDRAWN(a_withdrawn_network_is_left_and_nothing_is_lost),
    MOVING_TEST_WITHDRAWN(a_thread_blocked_in_recv_sleeps_through_a_withdrawal),
    MOVING_TEST_WITHDRAWN(a_blocked_send_sleeps_through_a_withdrawal),
    STAGE_TEST_WITH(unasked_nothing_goes_on, STAGE_PRELOAD, moving_loopback, "CMM_RULES=127.0.0.0/8=small"),
    MOVING_TEST(duplicates_made_meanwhile_are_connected_too),
    MOVING_TEST(what_is_put_over_it_meanwhile_stays),
    MOVING_TEST(options_of_every_kind_are_as_before),
    MOVING_TEST(its_own_name_is_that_of_the_network_it_is_on),
    MOVING_TEST(data_of_the_next_connection_is_told_by_signal_too),
    MOVING_TEST(who_is_to_be_told_by_signal_is_kept_before_signals_are_asked_for),
    MOVING_TEST(the_signal_tells_the_number_it_was_asked_for_by),
    MOVING_TEST(it_is_no_listener_and_is_connected_already),
    MOVING_TEST(of_options_that_change_others_the_last_word_counts),
};

STAGE_MAIN(moving_world, tests)

/* reconnect_waiting - under --on-loss reconnect poll, select and epoll go on with the next connection. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static long in_poll(void) {
    struct pollfd p = {.fd = moving_sock, .events = POLLIN};
    return poll(&p, 1, -1) == 1 ? p.revents : -1;
}

static long in_ppoll(void) {
    struct pollfd p = {.fd = moving_sock, .events = POLLIN};
    sigset_t none;
    sigemptyset(&none);
    return ppoll(&p, 1, NULL, &none) == 1 ? p.revents : -1;
}

static long in_select(void) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(moving_sock, &in);
    return select(moving_sock + 1, &in, NULL, NULL, NULL) == 1 && FD_ISSET(moving_sock, &in) ? POLLIN : -1;
}

static long in_pselect(void) {
    fd_set in;
    sigset_t none;
    FD_ZERO(&in);
    FD_SET(moving_sock, &in);
    sigemptyset(&none);
    return pselect(moving_sock + 1, &in, NULL, NULL, NULL, &none) == 1 && FD_ISSET(moving_sock, &in) ? POLLIN
                                                                                                     : -1;
}

static void becomes_readable(long (*call)(void)) {
    moving_live(0);
    moving_begin(call);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), POLLIN);
    stage_equal(moving_in_recv(), 4);
}

#define BECOMES_READABLE(name, call)                                                                         \
    static void name(void) {                                                                                 \
        becomes_readable(call);                                                                              \
    }
BECOMES_READABLE(a_thread_blocked_in_poll_hears_the_next_connection, in_poll)
BECOMES_READABLE(a_thread_blocked_in_ppoll_hears_the_next_connection, in_ppoll)
BECOMES_READABLE(a_thread_blocked_in_select_hears_the_next_connection, in_select)
BECOMES_READABLE(a_thread_blocked_in_pselect_hears_the_next_connection, in_pselect)

static void polls_time_runs_out_also_while_there_is_no_network(void) {
    struct pollfd p = {.events = POLLIN | POLLOUT};
    fd_set in;
    moving_live(0);
    p.fd = moving_sock;
    moving_part();
    stage_wait(moving_polled(POLLOUT) == 0);
    stage_equal(poll(&p, 1, 50), 0);
    FD_ZERO(&in);
    FD_SET(moving_sock, &in);
    stage_equal(select(moving_sock + 1, &in, NULL, NULL, &(struct timeval){0, 50000}), 0);
    stage_equal(stage_connections(), 1);
}

static int epoll;
static struct epoll_event seen[4];

static void watch(uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = 0x1234567890};
    epoll = epoll_create1(0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, moving_sock, &event), 0);
}

static long in_epoll(void) {
    int n = epoll_wait(epoll, seen, 4, -1);
    return n == 1 && seen[0].data.u64 == 0x1234567890 ? (long)seen[0].events : -n;
}

static void a_thread_blocked_in_epoll_wait_hears_the_next_connection(void) {
    moving_live(0);
    watch(EPOLLIN);
    moving_begin(in_epoll);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), EPOLLIN);
    stage_equal(in_epoll(), EPOLLIN);
    stage_equal(moving_in_recv(), 4);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), 0);
    stage_fails(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), ENOENT);
}

static void an_edge_of_the_next_connection_is_told_once(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLET);
    moving_begin(in_epoll);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), EPOLLIN);
    stage_equal(epoll_wait(epoll, seen, 4, 100), 0);
    stage_equal(moving_in_recv(), 4);
    stage_say(1, "more");
    stage_equal(epoll_wait(epoll, seen, 4, -1), 1);
}

static void a_one_shot_that_has_not_fired_fires_for_the_next_connection_once(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    moving_begin(in_epoll);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), EPOLLIN);
    stage_equal(epoll_wait(epoll, seen, 4, 100), 0);
}

static void a_one_shot_that_has_fired_stays_disarmed(void) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 0x1234567890};
    moving_live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "old");
    stage_equal(in_epoll(), EPOLLIN);
    stage_equal(moving_in_recv(), 3);
    moving_part();
    moving_find();
    stage_say(1, "news");
    stage_wait(moving_available() == 4);
    stage_equal(epoll_wait(epoll, seen, 4, 50), 0);
    stage_finish(1);
    stage_wait(moving_polled(POLLRDHUP) & POLLRDHUP);
    stage_equal(epoll_wait(epoll, seen, 4, 50), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_MOD, moving_sock, &event), 0);
    stage_equal(in_epoll(), EPOLLIN);
}

static void a_disarmed_one_shot_hears_no_reset_either(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "old");
    stage_equal(in_epoll(), EPOLLIN);
    stage_equal(moving_in_recv(), 3);
    moving_part();
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_hang_up(1);
    stage_wait(moving_polled(POLLIN) & POLLHUP);
    stage_equal(epoll_wait(epoll, seen, 4, 50), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), 0);
}

static void what_had_arrived_is_an_event_of_epoll_and_select_too(void) {
    fd_set in;
    moving_live(0);
    watch(EPOLLIN);
    stage_say(0, "unread");
    stage_wait(moving_available() == 6);
    moving_part();
    stage_equal(in_epoll(), EPOLLIN);
    FD_ZERO(&in);
    FD_SET(moving_sock, &in);
    stage_equal(select(moving_sock + 1, &in, NULL, NULL, NULL), 1);
    stage_equal(moving_in_recv(), 6);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
}

static void a_thread_that_waits_to_write_goes_on_with_the_next_connection(void) {
    unsigned char *bytes = moving_pattern();
    moving_live(SOCK_NONBLOCK);
    const int small = 65536;
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    stage_hold(true);
    stage_wait(send(moving_sock, bytes, MOVING_LARGE, 0) < 0 && moving_stuck() && !moving_polled(POLLOUT));
    watch(EPOLLOUT | EPOLLET);
    moving_begin(in_epoll);
    moving_expect_waiting();
    moving_part();
    moving_expect_waiting();
    moving_find();
    stage_equal(moving_outcome(), EPOLLOUT);
    stage_hold(false);
    free(bytes);
}

static const struct stage_test tests[] = {
    MOVING_TEST(a_thread_blocked_in_poll_hears_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_ppoll_hears_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_select_hears_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_pselect_hears_the_next_connection),
    MOVING_TEST(polls_time_runs_out_also_while_there_is_no_network),
    MOVING_TEST(a_thread_blocked_in_epoll_wait_hears_the_next_connection),
    MOVING_TEST(an_edge_of_the_next_connection_is_told_once),
    MOVING_TEST(a_one_shot_that_has_not_fired_fires_for_the_next_connection_once),
    MOVING_TEST(a_one_shot_that_has_fired_stays_disarmed),
    MOVING_TEST(a_disarmed_one_shot_hears_no_reset_either),
    MOVING_TEST(what_had_arrived_is_an_event_of_epoll_and_select_too),
    MOVING_TEST(a_thread_that_waits_to_write_goes_on_with_the_next_connection),
};

STAGE_MAIN(moving_world, tests)

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

/* ---- several at once, and sets of their own kind ---- */

static int copy;

static long in_select_of_the_copy(void) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(copy, &in);
    return select(copy + 1, &in, NULL, NULL, NULL);
}

static long in_epoll_pwait(void) {
    sigset_t none;
    sigemptyset(&none);
    return epoll_pwait(epoll, seen, 4, -1, &none);
}

static long in_epoll_pwait2(void) {
    return epoll_pwait2(epoll, seen, 4, NULL, NULL);
}

static void threads_in_any_wait_on_one_socket_all_hear_the_next_connection(void) {
    long (*const calls[])(void) = {in_poll,  in_poll,        in_select_of_the_copy,
                                   in_epoll, in_epoll_pwait, in_epoll_pwait2};
    moving_live(0);
    copy = dup(moving_sock);
    watch(EPOLLIN);
    for (int i = 0; i < 6; i++)
        moving_begin(calls[i]);
    moving_move();
    stage_say(1, "news");
    for (int i = 0; i < 6; i++)
        stage_expect(moving_outcome() > 0);
}

static void what_else_is_waited_for_is_heard_meanwhile(void) {
    struct pollfd p[2] = {{.events = POLLIN | POLLOUT}, {.events = POLLIN}};
    int ends[2];
    fd_set in, out, odd;
    moving_live(0);
    stage_equal(pipe(ends), 0);
    moving_part();
    p[0].fd = moving_sock;
    p[1].fd = ends[0];
    stage_equal(poll(p, 2, 20), 0);
    stage_equal(write(ends[1], "x", 1), 1);
    stage_equal(poll(p, 2, -1), 1);
    stage_equal(p[0].revents, 0);
    moving_find();
    stage_wait(poll(p, 2, -1) == 2);
    stage_equal(p[0].revents, POLLOUT);
    FD_ZERO(&in);
    FD_SET(moving_sock, &in);
    FD_SET(ends[0], &in);
    FD_ZERO(&out);
    FD_SET(moving_sock, &out);
    odd = out;
    stage_equal(select(ends[1] + 1, &in, &out, &odd, NULL), 2);
    stage_expect(!FD_ISSET(moving_sock, &in) && FD_ISSET(ends[0], &in) && FD_ISSET(moving_sock, &out) &&
                 !FD_ISSET(moving_sock, &odd));
}

static void a_set_can_be_changed_while_there_is_no_network(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};
    moving_live(0);
    copy = dup(moving_sock);
    watch(EPOLLIN);
    moving_part();
    stage_fails(epoll_ctl(epoll, EPOLL_CTL_ADD, moving_sock, &event), EEXIST);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_MOD, moving_sock, &event), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &event), 0);
    stage_equal(epoll_wait(epoll, seen, 4, 20), 0);
    moving_find();
    stage_say(1, "news");
    stage_wait(epoll_wait(epoll, seen, 4, -1) == 2);
    stage_expect(seen[0].data.u64 == 5 && seen[1].data.u64 == 5);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, copy, NULL), 0);
    stage_equal(epoll_wait(epoll, seen, 4, -1), 1);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), 0);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
}

static void what_was_taken_out_meanwhile_stays_out(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLOUT);
    moving_part();
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), 0);
    moving_find();
    stage_say(1, "news");
    stage_wait(moving_available() == 4);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
}

/* A set that is closed takes its registrations with it; the next one may have its number. */
static void a_new_set_hears_nothing_of_a_closed_ones(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLOUT);
    const int old = epoll;
    stage_equal(close(epoll), 0);
    epoll = epoll_create1(0);
    stage_equal(epoll, old);
    moving_part();
    moving_find();
    stage_say(1, "news");
    stage_wait(moving_available() == 4);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
}

static void what_fired_in_a_copy_of_the_set_stays_disarmed(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    copy = dup(epoll);
    stage_say(0, "old");
    stage_equal(epoll_wait(copy, seen, 4, -1), 1);
    stage_equal(moving_in_recv(), 3);
    moving_part();
    moving_find();
    stage_say(1, "news");
    stage_wait(moving_available() == 4);
    stage_equal(epoll_wait(copy, seen, 4, 20), 0);
}

/* The set lives on as long as any of its numbers. */
static void a_copy_of_the_set_hears_it_when_the_first_number_is_closed(void) {
    moving_live(0);
    watch(EPOLLIN);
    copy = dup(epoll);
    stage_equal(close(epoll), 0);
    epoll = copy;
    moving_begin(in_epoll);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), EPOLLIN);
    stage_equal(moving_in_recv(), 4);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), 0);
}

static void what_is_changed_by_either_number_of_the_set_stays_changed(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1234567890};
    moving_live(0);
    watch(EPOLLIN);
    copy = dup(epoll);
    event.events = EPOLLOUT;
    stage_equal(epoll_ctl(copy, EPOLL_CTL_MOD, moving_sock, &event), 0);
    event.events = EPOLLIN;
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_MOD, moving_sock, &event), 0);
    moving_begin(in_epoll);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), EPOLLIN);
    stage_equal(epoll_ctl(copy, EPOLL_CTL_DEL, moving_sock, NULL), 0);
    stage_fails(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), ENOENT);
}

static void a_set_inside_a_set_hears_it_too(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1234567890};
    moving_live(0);
    watch(EPOLLIN);
    const int outer = epoll_create1(0);
    stage_equal(epoll_ctl(outer, EPOLL_CTL_ADD, epoll, &event), 0);
    epoll = outer;
    moving_begin(in_epoll);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), EPOLLIN);
}

static void a_set_that_is_polled_tells_of_what_had_arrived_and_of_the_next(void) {
    struct pollfd p = {.events = POLLIN};
    moving_live(0);
    watch(EPOLLIN);
    p.fd = epoll;
    stage_say(0, "old");
    stage_wait(moving_available() == 3);
    moving_part();
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(moving_in_recv(), 3);
    stage_equal(poll(&p, 1, 20), 0);
    moving_find();
    stage_say(1, "news");
    stage_equal(poll(&p, 1, -1), 1);
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
    MOVING_TEST(threads_in_any_wait_on_one_socket_all_hear_the_next_connection),
    MOVING_TEST(what_else_is_waited_for_is_heard_meanwhile),
    MOVING_TEST(a_set_can_be_changed_while_there_is_no_network),
    MOVING_TEST(what_was_taken_out_meanwhile_stays_out),
    MOVING_TEST(a_new_set_hears_nothing_of_a_closed_ones),
    MOVING_TEST(what_fired_in_a_copy_of_the_set_stays_disarmed),
    MOVING_TEST(a_copy_of_the_set_hears_it_when_the_first_number_is_closed),
    MOVING_TEST(what_is_changed_by_either_number_of_the_set_stays_changed),
    MOVING_TEST(a_set_inside_a_set_hears_it_too),
    MOVING_TEST(a_set_that_is_polled_tells_of_what_had_arrived_and_of_the_next),
};

STAGE_MAIN(moving_world, tests)

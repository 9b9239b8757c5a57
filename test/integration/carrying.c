/* carrying - what is promised of a socket that changes its connection: who is blocked on it, who watches it,
 * and every byte on the way. Each test is a sentence of the contract. Networks that are withdrawn still work
 * and are left in peace; those of a world are lost. */
#include "leaving.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

/* ---- no connection ---- */

static void expect_silence(int level, int edge) {
    stage_equal(leaving_polled(POLLIN | POLLOUT | POLLRDHUP | POLLPRI), 0);
    stage_expect(!leaving_selected(true) && !leaving_selected(false));
    stage_equal(leaving_look(level, 0), 0);
    stage_equal(leaving_look(edge, 0), 0);
}

static void while_there_is_no_connection_the_fd_polls_silent(void) {
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    int level = leaving_watch(EPOLLIN | EPOLLOUT | EPOLLRDHUP),
        edge = leaving_watch(EPOLLIN | EPOLLOUT | EPOLLET);
    expect_silence(level, edge);
    stage_up("wifi");
    stage_wait(leaving_polled(POLLOUT) == POLLOUT);
    stage_equal(leaving_look(level, 0), EPOLLOUT);
    stage_equal(leaving_look(edge, 0), EPOLLOUT);
    stage_down("wifi");
    stage_wait(leaving_polled(POLLOUT) == 0);
    leaving_look(edge, 0);
    expect_silence(level, edge);
    stage_up("cell");
    stage_wait(leaving_polled(POLLOUT) == POLLOUT);
    stage_equal(leaving_look(level, 0), EPOLLOUT);
    stage_equal(leaving_look(edge, 0), EPOLLOUT);
}

/* ---- blocked threads ---- */

static char heard[256];

static long in_recv(void) {
    return recv(talk_sock, heard, sizeof heard, 0);
}

static long in_cmm_recv(void) {
    return cmm_recv(talk_sock, heard, sizeof heard, 0);
}

static long in_poll(void) {
    struct pollfd p = {.fd = talk_sock, .events = POLLIN};
    long r = poll(&p, 1, -1);
    stage_equal(p.revents, POLLIN);
    return r;
}

static long in_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(talk_sock, &set);
    long r = select(talk_sock + 1, &set, NULL, NULL, NULL);
    stage_expect(FD_ISSET(talk_sock, &set));
    return r;
}

static int watched;

static long in_epoll_wait(void) {
    struct epoll_event e;
    long r = epoll_wait(watched, &e, 1, -1);
    stage_equal(e.data.u64, 4711);
    stage_expect(e.events & EPOLLIN);
    return r;
}

/* The new connection's handshake takes its time: those who sleep must not look at the number too early. */
static void expect_carried(long (*job)(void), long result) {
    talk_begin(job);
    stage_wait(talk_asleep());
    stage_crowd(true);
    stage_up("cell");
    stage_down("wifi");
    stage_wait(strcmp(talk_diary(), "<><") == 0);
    stage_expect(!talk_back());
    stage_crowd(false);
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_expect(!talk_back());
    stage_say(1, "news");
    stage_equal(talk_join(), result);
}

static void threads_blocked_in_recv_carry_over(void) {
    leaving_live(0);
    expect_carried(in_recv, 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void threads_blocked_in_cmm_recv_carry_over(void) {
    leaving_live(0);
    expect_carried(in_cmm_recv, 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void threads_blocked_in_poll_carry_over(void) {
    leaving_live(0);
    expect_carried(in_poll, 1);
}

static long in_poll_out(void) {
    struct pollfd p = {.fd = talk_sock, .events = POLLOUT};
    return poll(&p, 1, -1);
}

static void a_thread_that_polls_for_room_hears_of_the_new_connections(void) {
    stage_receive_buffer(65536);
    leaving_live(0);
    stage_hold(true);
    stage_wait(cmm_send(talk_sock, (char[65536]){0}, 65536, MSG_DONTWAIT, SMALL, NULL, NULL) == CMM_FAILED);
    talk_begin(in_poll_out);
    stage_wait(talk_asleep());
    stage_up("cell");
    stage_down("wifi");
    stage_equal(talk_join(), 1);
    stage_expect(talk_on("cell"));
}

static void threads_blocked_in_select_carry_over(void) {
    leaving_live(0);
    expect_carried(in_select, 1);
}

/* In one step, with no placeholder in between. */
static void a_thread_blocked_in_recv_is_taken_along_by_a_send_that_moves_its_socket(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_up("wifi");
    talk_begin(in_recv);
    stage_wait(talk_asleep());
    stage_equal(talk_put("hello", BG), 5);
    stage_expect_text(1, "hello");
    stage_say(1, "news");
    stage_equal(talk_join(), 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void threads_blocked_in_epoll_wait_carry_over(void) {
    leaving_live(0);
    watched = leaving_watch(EPOLLIN);
    expect_carried(in_epoll_wait, 1);
}

static void edge_triggered_registrations_carry_over(void) {
    leaving_live(0);
    watched = leaving_watch(EPOLLIN | EPOLLET);
    expect_carried(in_epoll_wait, 1);
    stage_equal(leaving_look(watched, 0), 0);
    stage_say(1, "more");
    stage_equal(leaving_look(watched, 20000), EPOLLIN);
}

static void oneshot_registrations_carry_over_armed_or_fired(void) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 4711};
    leaving_live(0);
    int armed = leaving_watch(EPOLLIN | EPOLLONESHOT), fired = leaving_watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "x");
    stage_equal(leaving_look(fired, 20000), EPOLLIN | (e.events & 0));
    stage_equal(recv(talk_sock, heard, 1, 0), 1);
    leaving_move();
    stage_say(1, "y");
    stage_equal(leaving_look(armed, 20000), EPOLLIN);
    stage_equal(leaving_look(fired, 0), 0);
    stage_equal(epoll_ctl(fired, EPOLL_CTL_MOD, talk_sock, &e), 0);
    stage_equal(leaving_look(fired, 20000), EPOLLIN);
}

static void registrations_can_be_changed_and_removed_after_a_move(void) {
    struct epoll_event e = {.events = EPOLLOUT, .data.u64 = 4711};
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN);
    leaving_move();
    stage_equal(leaving_look(ep, 0), 0);
    stage_fails(epoll_ctl(ep, EPOLL_CTL_ADD, talk_sock, &e), EEXIST);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_MOD, talk_sock, &e), 0);
    stage_equal(leaving_look(ep, 0), EPOLLOUT);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_DEL, talk_sock, NULL), 0);
    stage_equal(leaving_look(ep, 0), 0);
    stage_fails(epoll_ctl(ep, EPOLL_CTL_DEL, talk_sock, NULL), ENOENT);
}

/* ---- a set that is closed while its sockets are not, and another one of its number ---- */

static int another_set(int ep) {
    stage_equal(close(ep), 0);
    stage_equal(epoll_create1(EPOLL_CLOEXEC), ep);
    return ep;
}

static void a_set_hears_nothing_of_what_was_in_an_earlier_one_of_its_number(void) {
    leaving_live(0);
    int ep = another_set(leaving_watch(EPOLLIN));
    stage_say(0, "x");
    stage_wait(leaving_polled(POLLIN));
    leaving_move();
    stage_equal(leaving_look(ep, 0), 0);
    stage_equal(recv(talk_sock, heard, 1, 0), 1);
}

static void what_has_fired_in_an_earlier_set_can_be_put_into_another_of_its_number(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 4711};
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "x");
    stage_equal(leaving_look(ep, 20000), EPOLLIN);
    stage_equal(recv(talk_sock, heard, 1, 0), 1);
    leaving_move();
    another_set(ep);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_ADD, talk_sock, &e), 0);
    stage_say(1, "y");
    stage_equal(leaving_look(ep, 20000), EPOLLIN);
}

/* ---- the stream that is left ---- */

static int nothing_is_unacknowledged(int s) {
    if (stage_connections() > 0)
        stage_equal(cmm_unacked(s), 0);
    return 0;
}

/* More is in flight than the far end, which does not read, has room for: it stays so. */
static void fill_wifi(void) {
    enum { ROOM = 65536 };
    const int bounded = 1 << 20;
    stage_receive_buffer(ROOM);
    leaving_live(0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_SNDBUF, &bounded, sizeof bounded), 0);
    stage_hold(true);
    stage_wait(leaving_put(100000, MSG_DONTWAIT) == CMM_FAILED && errno == EAGAIN &&
               leaving_number(SIOCOUTQ) > 2 * ROOM);
    stage_expect(leaving_put_at < STAGE_KEPT);
}

static void leaving_a_network_that_works_loses_nothing(void) {
    talk_in_pre = nothing_is_unacknowledged;
    fill_wifi();
    const size_t told = leaving_put_at;
    stage_up("cell");
    stage_down("wifi");
    stage_hold(false);
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_wait(stage_end(0) == STAGE_EOF);
    leaving_expect(0, 0, told);
    stage_equal(cmm_unacked(talk_sock), 0);
    stage_equal(leaving_put(1000, 0), 1000);
    stage_wait(stage_received(1) == 1000);
    leaving_expect(1, told, 1000);
}

static void leaving_takes_two_seconds_at_most_and_what_remains_is_counted(void) {
    fill_wifi();
    const size_t told = leaving_put_at;
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_hold(false);
    stage_wait(stage_end(0) == STAGE_RESET);
    stage_expect(cmm_unacked(talk_sock) > 0);
    leaving_expect(0, 0, told - (size_t)cmm_unacked(talk_sock));
}

/* The far end reads on only when the socket is gone. */
static void end_while_leaving(int (*end)(mc_socket_t)) {
    fill_wifi();
    const size_t told = leaving_put_at;
    stage_down("wifi");
    stage_expect(leaving_number(SIOCOUTQ) > 0); /* as in its program's eyes */
    stage_equal(end(talk_sock), 0);
    stage_hold(false);
    stage_wait(stage_end(0) == STAGE_EOF);
    leaving_expect(0, 0, told);
}

static void a_close_while_leaving_loses_nothing(void) {
    end_while_leaving(cmm_close);
}

static void a_reset_while_leaving_loses_nothing(void) {
    end_while_leaving(cmm_reset);
}

static void a_peer_that_waits_for_us_to_read_does_not_stop_the_leaving(void) {
    const int small = 65536;
    stage_receive_buffer(65536);
    stage_echo(true);
    leaving_live(0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    /* Until the far end is stuck in its answer: nothing moves any more in either direction. */
    for (int still = 0; still < 300; stage_pause()) {
        const size_t before = stage_received(0);
        const bool full = leaving_put(50000, MSG_DONTWAIT) == CMM_FAILED && errno == EAGAIN;
        still = full && stage_received(0) == before ? still + 1 : 0;
    }
    const size_t told = leaving_put_at;
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_equal(cmm_unacked(talk_sock), 0);
    stage_wait(stage_received(0) == told);
    leaving_expect(0, 0, told);
    /* What it answered is here, up to where we closed. */
    for (size_t got = 0; leaving_number(FIONREAD);) {
        unsigned char bytes[4096];
        ssize_t n = recv(talk_sock, bytes, sizeof bytes, 0);
        stage_expect(n > 0);
        for (ssize_t i = 0; i < n; i++)
            stage_equal(bytes[i], leaving_at(got + (size_t)i));
        got += (size_t)n;
    }
}

static long in_send(void) {
    return leaving_put(1 << 20, 0);
}

static void a_thread_blocked_in_send_carries_over_and_every_byte_it_told_arrives(void) {
    fill_wifi();
    talk_begin(in_send);
    stage_wait(talk_asleep());
    stage_up("cell");
    stage_down("wifi");
    stage_hold(false);
    stage_expect(talk_join() > 0);
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_equal(leaving_put(1000, 0), 1000);
    stage_wait(stage_end(0) == STAGE_EOF && stage_received(0) + stage_received(1) >= leaving_put_at);
    const size_t first = stage_received(0);
    leaving_expect(0, 0, first);
    leaving_expect(1, first, leaving_put_at - first);
}

static _Atomic bool enough;

static long in_many_sends(void) {
    while (!enough)
        stage_expect(leaving_put(3000, 0) > 0);
    return 0;
}

static void a_stream_through_many_moves_is_whole(void) {
    enum { MOVES = 30 };
    size_t sum = 0;
    leaving_live(0);
    talk_begin(in_many_sends);
    for (int i = 1; i <= MOVES; i++) {
        stage_up(i % 2 ? "cell" : "wifi");
        stage_down(i % 2 ? "wifi" : "cell");
        stage_wait(stage_connections() > i && stage_received(i) > 3000);
    }
    enough = true;
    stage_equal(talk_join(), 0);
    stage_equal(stage_connections(), MOVES + 1);
    for (int i = 0; i <= MOVES; i++) {
        stage_wait(i == MOVES ? sum + stage_received(i) == leaving_put_at : stage_end(i) == STAGE_EOF);
        leaving_expect(i, sum, stage_received(i));
        sum += stage_received(i);
    }
    stage_equal(sum, leaving_put_at);
}

static const struct stage_test tests[] = {
    STAGE_TEST(while_there_is_no_connection_the_fd_polls_silent),
    STAGE_TEST(threads_blocked_in_recv_carry_over),
    STAGE_TEST(threads_blocked_in_cmm_recv_carry_over),
    STAGE_TEST(a_thread_blocked_in_recv_is_taken_along_by_a_send_that_moves_its_socket),
    STAGE_TEST(threads_blocked_in_poll_carry_over),
    STAGE_TEST(threads_blocked_in_select_carry_over),
    STAGE_TEST(threads_blocked_in_epoll_wait_carry_over),
    STAGE_TEST(edge_triggered_registrations_carry_over),
    STAGE_TEST(oneshot_registrations_carry_over_armed_or_fired),
    STAGE_TEST(registrations_can_be_changed_and_removed_after_a_move),
    STAGE_TEST(a_set_hears_nothing_of_what_was_in_an_earlier_one_of_its_number),
    STAGE_TEST(what_has_fired_in_an_earlier_set_can_be_put_into_another_of_its_number),
    STAGE_TEST(leaving_a_network_that_works_loses_nothing),
    STAGE_TEST(leaving_takes_two_seconds_at_most_and_what_remains_is_counted),
    STAGE_TEST(a_close_while_leaving_loses_nothing),
    STAGE_TEST(a_reset_while_leaving_loses_nothing),
    STAGE_TEST(a_peer_that_waits_for_us_to_read_does_not_stop_the_leaving),
    STAGE_TEST(a_thread_blocked_in_send_carries_over_and_every_byte_it_told_arrives),
    STAGE_TEST(a_stream_through_many_moves_is_whole),
    STAGE_TEST(a_thread_that_polls_for_room_hears_of_the_new_connections),
};

STAGE_MAIN(leaving_config, tests)

/* carrying - what is promised of a socket that changes its connection: who is blocked on it, who watches it,
 * and every byte on the way. Each test is a sentence of the contract. Networks that are withdrawn still work
 * and are left in peace; those of a world are lost. */
#include "talk.h"

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

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n";
static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static int number(int request) {
    int value = -1;
    stage_equal(ioctl(talk_sock, (unsigned long)request, &value), 0);
    return value;
}

static short polled(short events) {
    struct pollfd p = {.fd = talk_sock, .events = events};
    return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static bool selected(bool to_read) {
    struct timeval none = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(talk_sock, &set);
    return select(talk_sock + 1, to_read ? &set : NULL, to_read ? NULL : &set, NULL, &none) == 1;
}

static int watch(uint32_t events) {
    struct epoll_event e = {.events = events, .data.u64 = 4711};
    int ep = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_ADD, talk_sock, &e), 0);
    return ep;
}

/* The events of one look, 0 for none. */
static uint32_t look(int ep, int ms) {
    struct epoll_event e[4];
    int n = epoll_wait(ep, e, 4, ms);
    if (n > 0)
        stage_equal(e[0].data.u64, 4711);
    return n > 0 ? e[0].events : 0;
}

/* wifi carries it; then it is withdrawn and cell carries it. */
static void live_on_wifi(int flags) {
    stage_up("wifi");
    stage_expect(talk_dial(flags, SMALL, NULL) >= (flags ? CMM_DEFERRED : 0));
    talk_expect_moved(0, "127.0.1.1", "wifi");
}

static void move_to_cell(void) {
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
}

/* ---- no connection ---- */

static void expect_silence(int level, int edge) {
    stage_equal(polled(POLLIN | POLLOUT | POLLRDHUP | POLLPRI), 0);
    stage_expect(!selected(true) && !selected(false));
    stage_equal(look(level, 0), 0);
    stage_equal(look(edge, 0), 0);
}

static void while_there_is_no_connection_the_fd_polls_silent(void) {
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    int level = watch(EPOLLIN | EPOLLOUT | EPOLLRDHUP), edge = watch(EPOLLIN | EPOLLOUT | EPOLLET);
    expect_silence(level, edge);
    stage_up("wifi");
    stage_wait(polled(POLLOUT) == POLLOUT);
    stage_equal(look(level, 0), EPOLLOUT);
    stage_equal(look(edge, 0), EPOLLOUT);
    stage_down("wifi");
    stage_wait(polled(POLLOUT) == 0);
    look(edge, 0);
    expect_silence(level, edge);
    stage_up("cell");
    stage_wait(polled(POLLOUT) == POLLOUT);
    stage_equal(look(level, 0), EPOLLOUT);
    stage_equal(look(edge, 0), EPOLLOUT);
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
    live_on_wifi(0);
    expect_carried(in_recv, 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void threads_blocked_in_cmm_recv_carry_over(void) {
    live_on_wifi(0);
    expect_carried(in_cmm_recv, 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void threads_blocked_in_poll_carry_over(void) {
    live_on_wifi(0);
    expect_carried(in_poll, 1);
}

static long in_poll_out(void) {
    struct pollfd p = {.fd = talk_sock, .events = POLLOUT};
    return poll(&p, 1, -1);
}

static void a_thread_that_polls_for_room_hears_of_the_new_connections(void) {
    stage_receive_buffer(65536);
    live_on_wifi(0);
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
    live_on_wifi(0);
    expect_carried(in_select, 1);
}

static void threads_blocked_in_epoll_wait_carry_over(void) {
    live_on_wifi(0);
    watched = watch(EPOLLIN);
    expect_carried(in_epoll_wait, 1);
}

static void edge_triggered_registrations_carry_over(void) {
    live_on_wifi(0);
    watched = watch(EPOLLIN | EPOLLET);
    expect_carried(in_epoll_wait, 1);
    stage_equal(look(watched, 0), 0);
    stage_say(1, "more");
    stage_equal(look(watched, 20000), EPOLLIN);
}

static void oneshot_registrations_carry_over_armed_or_fired(void) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 4711};
    live_on_wifi(0);
    int armed = watch(EPOLLIN | EPOLLONESHOT), fired = watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "x");
    stage_equal(look(fired, 20000), EPOLLIN | (e.events & 0));
    stage_equal(recv(talk_sock, heard, 1, 0), 1);
    move_to_cell();
    stage_say(1, "y");
    stage_equal(look(armed, 20000), EPOLLIN);
    stage_equal(look(fired, 0), 0);
    stage_equal(epoll_ctl(fired, EPOLL_CTL_MOD, talk_sock, &e), 0);
    stage_equal(look(fired, 20000), EPOLLIN);
}

static void registrations_can_be_changed_and_removed_after_a_move(void) {
    struct epoll_event e = {.events = EPOLLOUT, .data.u64 = 4711};
    live_on_wifi(0);
    int ep = watch(EPOLLIN);
    move_to_cell();
    stage_equal(look(ep, 0), 0);
    stage_fails(epoll_ctl(ep, EPOLL_CTL_ADD, talk_sock, &e), EEXIST);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_MOD, talk_sock, &e), 0);
    stage_equal(look(ep, 0), EPOLLOUT);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_DEL, talk_sock, NULL), 0);
    stage_equal(look(ep, 0), 0);
    stage_fails(epoll_ctl(ep, EPOLL_CTL_DEL, talk_sock, NULL), ENOENT);
}

/* ---- a set that is closed while its sockets are not, and another one of its number ---- */

static int another_set(int ep) {
    stage_equal(close(ep), 0);
    stage_equal(epoll_create1(EPOLL_CLOEXEC), ep);
    return ep;
}

static void a_set_hears_nothing_of_what_was_in_an_earlier_one_of_its_number(void) {
    live_on_wifi(0);
    int ep = another_set(watch(EPOLLIN));
    stage_say(0, "x");
    stage_wait(polled(POLLIN));
    move_to_cell();
    stage_equal(look(ep, 0), 0);
    stage_equal(recv(talk_sock, heard, 1, 0), 1);
}

static void what_has_fired_in_an_earlier_set_can_be_put_into_another_of_its_number(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 4711};
    live_on_wifi(0);
    int ep = watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "x");
    stage_equal(look(ep, 20000), EPOLLIN);
    stage_equal(recv(talk_sock, heard, 1, 0), 1);
    move_to_cell();
    another_set(ep);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_ADD, talk_sock, &e), 0);
    stage_say(1, "y");
    stage_equal(look(ep, 20000), EPOLLIN);
}

/* ---- the stream that is left ---- */

/* A pattern that tells every byte's place. */
static unsigned char at(size_t i) {
    return (unsigned char)(i * 131 + (i >> 8) * 29 + (i >> 16));
}

static size_t put_at; /* how much of the pattern the library has taken */

static long put_pattern(size_t len, int flags) {
    unsigned char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = at(put_at + i);
    ssize_t n = cmm_send(talk_sock, bytes, len, flags, SMALL, NULL, NULL);
    free(bytes);
    if (n > 0)
        put_at += (size_t)n;
    return n;
}

static void expect_pattern(int connection, size_t from, size_t len) {
    const unsigned char *bytes = stage_bytes(connection);
    stage_equal(stage_received(connection), len);
    for (size_t i = 0; i < len && i < STAGE_KEPT; i++)
        if (bytes[i] != at(from + i))
            stage_fail(__FILE__, __LINE__, "byte %zu of connection %d is wrong", i, connection);
}

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
    live_on_wifi(0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_SNDBUF, &bounded, sizeof bounded), 0);
    stage_hold(true);
    stage_wait(put_pattern(100000, MSG_DONTWAIT) == CMM_FAILED && errno == EAGAIN &&
               number(SIOCOUTQ) > 2 * ROOM);
    stage_expect(put_at < STAGE_KEPT);
}

static void leaving_a_network_that_works_loses_nothing(void) {
    talk_in_pre = nothing_is_unacknowledged;
    fill_wifi();
    const size_t told = put_at;
    stage_up("cell");
    stage_down("wifi");
    stage_hold(false);
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_wait(stage_end(0) == STAGE_EOF);
    expect_pattern(0, 0, told);
    stage_equal(cmm_unacked(talk_sock), 0);
    stage_equal(put_pattern(1000, 0), 1000);
    stage_wait(stage_received(1) == 1000);
    expect_pattern(1, told, 1000);
}

static void leaving_takes_two_seconds_at_most_and_what_remains_is_counted(void) {
    fill_wifi();
    const size_t told = put_at;
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_hold(false);
    stage_wait(stage_end(0) == STAGE_RESET);
    stage_expect(cmm_unacked(talk_sock) > 0);
    expect_pattern(0, 0, told - (size_t)cmm_unacked(talk_sock));
}

/* The far end reads on only when the socket is gone. */
static void end_while_leaving(int (*end)(mc_socket_t)) {
    fill_wifi();
    const size_t told = put_at;
    stage_down("wifi");
    stage_expect(number(SIOCOUTQ) > 0); /* as in its program's eyes */
    stage_equal(end(talk_sock), 0);
    stage_hold(false);
    stage_wait(stage_end(0) == STAGE_EOF);
    expect_pattern(0, 0, told);
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
    live_on_wifi(0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    /* Until the far end is stuck in its answer: nothing moves any more in either direction. */
    for (int still = 0; still < 300; stage_pause()) {
        const size_t before = stage_received(0);
        const bool full = put_pattern(50000, MSG_DONTWAIT) == CMM_FAILED && errno == EAGAIN;
        still = full && stage_received(0) == before ? still + 1 : 0;
    }
    const size_t told = put_at;
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_equal(cmm_unacked(talk_sock), 0);
    stage_wait(stage_received(0) == told);
    expect_pattern(0, 0, told);
    /* What it answered is here, up to where we closed. */
    for (size_t got = 0; number(FIONREAD);) {
        unsigned char bytes[4096];
        ssize_t n = recv(talk_sock, bytes, sizeof bytes, 0);
        stage_expect(n > 0);
        for (ssize_t i = 0; i < n; i++)
            stage_equal(bytes[i], at(got + (size_t)i));
        got += (size_t)n;
    }
}

static long in_send(void) {
    return put_pattern(1 << 20, 0);
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
    stage_equal(put_pattern(1000, 0), 1000);
    stage_wait(stage_end(0) == STAGE_EOF && stage_received(0) + stage_received(1) >= put_at);
    const size_t first = stage_received(0);
    expect_pattern(0, 0, first);
    expect_pattern(1, first, put_at - first);
}

static _Atomic bool enough;

static long in_many_sends(void) {
    while (!enough)
        stage_expect(put_pattern(3000, 0) > 0);
    return 0;
}

static void a_stream_through_many_moves_is_whole(void) {
    enum { MOVES = 30 };
    size_t sum = 0;
    live_on_wifi(0);
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
        stage_wait(i == MOVES ? sum + stage_received(i) == put_at : stage_end(i) == STAGE_EOF);
        expect_pattern(i, sum, stage_received(i));
        sum += stage_received(i);
    }
    stage_equal(sum, put_at);
}

/* ---- bytes that had arrived unread ---- */

static void expect_unread(int ep) {
    char bytes[16];
    stage_equal(number(FIONREAD), 6);
    stage_expect(polled(POLLIN) & POLLIN);
    stage_expect(selected(true));
    stage_expect(look(ep, 0) & EPOLLIN);
    stage_equal(recv(talk_sock, bytes, sizeof bytes, MSG_PEEK), 6);
    stage_expect(memcmp(bytes, "unread", 6) == 0);
    stage_equal(cmm_recv(talk_sock, bytes, 2, 0), 2);
    stage_equal(number(FIONREAD), 4);
    stage_equal(read(talk_sock, bytes + 2, sizeof bytes - 2), 4);
    stage_expect(memcmp(bytes, "unread", 6) == 0);
    stage_equal(number(FIONREAD), 0);
    stage_equal(polled(POLLIN), 0);
    stage_expect(!selected(true));
    stage_equal(look(ep, 0), 0);
    stage_fails(recv(talk_sock, bytes, 1, MSG_DONTWAIT), EAGAIN);
}

static void arrive_unread(void) {
    stage_say(0, "unread");
    stage_wait(number(FIONREAD) == 6);
}

static void bytes_that_had_arrived_unread_are_what_the_next_receives_return(void) {
    live_on_wifi(0);
    int ep = watch(EPOLLIN);
    arrive_unread();
    move_to_cell();
    expect_unread(ep);
    stage_say(1, "news");
    stage_equal(look(ep, 20000), EPOLLIN);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void bytes_of_the_new_connection_come_after_those_that_had_arrived(void) {
    live_on_wifi(0);
    arrive_unread();
    move_to_cell();
    stage_say(1, "news");
    for (size_t got = 0; got < 10;) {
        ssize_t n = recv(talk_sock, heard + got, sizeof heard - got, 0);
        stage_expect(n > 0);
        got += (size_t)n;
    }
    stage_expect(memcmp(heard, "unreadnews", 10) == 0);
}

static void bytes_that_had_arrived_are_there_also_while_there_is_no_connection(void) {
    live_on_wifi(0);
    int ep = watch(EPOLLIN);
    arrive_unread();
    stage_down("wifi");
    stage_wait(stage_end(0) == STAGE_EOF);
    expect_unread(ep);
}

static void an_edge_tells_of_bytes_that_had_arrived(void) {
    live_on_wifi(0);
    int ep = watch(EPOLLIN | EPOLLET);
    arrive_unread();
    move_to_cell();
    stage_expect(look(ep, 20000) & EPOLLIN);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 6);
    stage_say(1, "news");
    stage_expect(look(ep, 20000) & EPOLLIN);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
}

static void a_large_arrival_unread_is_whole_after_a_move(void) {
    enum { LARGE = 60000 };
    unsigned char *bytes = malloc(LARGE);
    live_on_wifi(0);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = at(i);
    stage_say_bytes(0, bytes, LARGE);
    stage_wait(number(FIONREAD) == LARGE);
    move_to_cell();
    for (size_t got = 0; got < LARGE;) {
        ssize_t n = recv(talk_sock, bytes, 7777, 0);
        stage_expect(n > 0);
        for (ssize_t i = 0; i < n; i++)
            stage_equal(bytes[i], at(got + (size_t)i));
        got += (size_t)n;
    }
    stage_equal(number(FIONREAD), 0);
}

static void datagrams_that_had_arrived_keep_their_bounds(void) {
    struct sockaddr_in to = stage_udp();
    stage_up("wifi");
    stage_echo(true);
    talk_sock = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL), 0);
    stage_equal(talk_put("one", SMALL), 3);
    stage_equal(talk_put("three", SMALL), 5);
    stage_wait(stage_datagrams() == 2 && number(FIONREAD) == 3);
    stage_up("cell");
    stage_down("wifi");
    stage_wait(talk_on("cell"));
    stage_equal(number(FIONREAD), 3);
    stage_expect(polled(POLLIN) & POLLIN);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 3);
    stage_equal(recv(talk_sock, heard, 2, MSG_TRUNC), 5);
    stage_equal(talk_put("next", SMALL), 4);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_expect(memcmp(heard, "next", 4) == 0);
}

/* Nobody polls it, so that it is left and connected again in one step. */
static void a_send_that_moves_its_socket_keeps_what_had_arrived(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_up("wifi");
    arrive_unread();
    stage_equal(talk_put("hello", BG), 5);
    stage_expect(talk_on("wifi"));
    stage_expect_text(1, "hello");
    stage_say(1, "news");
    stage_equal(recv(talk_sock, heard, 6, MSG_WAITALL), 6);
    stage_equal(recv(talk_sock, heard + 6, sizeof heard - 6, 0), 4);
    stage_expect(memcmp(heard, "unreadnews", 10) == 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_equal(cmm_unacked(talk_sock), 0);
}

static void bytes_that_had_arrived_survive_a_loss(void) {
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    stage_expect_connection(0, "10.1.0.2");
    int ep = watch(EPOLLIN);
    arrive_unread();
    stage_link("wifi0", false);
    talk_expect_moved(1, "10.2.0.2", "cell");
    expect_unread(ep);
}

static const struct stage_test tests[] = {
    STAGE_TEST(while_there_is_no_connection_the_fd_polls_silent),
    STAGE_TEST(threads_blocked_in_recv_carry_over),
    STAGE_TEST(threads_blocked_in_cmm_recv_carry_over),
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
    STAGE_TEST(bytes_that_had_arrived_unread_are_what_the_next_receives_return),
    STAGE_TEST(bytes_of_the_new_connection_come_after_those_that_had_arrived),
    STAGE_TEST(bytes_that_had_arrived_are_there_also_while_there_is_no_connection),
    STAGE_TEST(an_edge_tells_of_bytes_that_had_arrived),
    STAGE_TEST(a_large_arrival_unread_is_whole_after_a_move),
    STAGE_TEST_IN(bytes_that_had_arrived_survive_a_loss, STAGE_WORLD, world),
    STAGE_TEST(a_stream_through_many_moves_is_whole),
    STAGE_TEST(datagrams_that_had_arrived_keep_their_bounds),
    STAGE_TEST(a_send_that_moves_its_socket_keeps_what_had_arrived),
    STAGE_TEST(a_thread_that_polls_for_room_hears_of_the_new_connections),
};

STAGE_MAIN(config, tests)

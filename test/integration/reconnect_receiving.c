/* reconnect_receiving - under --on-loss reconnect who receives sees time pass, nothing else. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static long in_read(void) {
    return read(moving_sock, moving_heard, sizeof moving_heard);
}

static long in_readv(void) {
    struct iovec iov[2] = {{moving_heard, 2}, {moving_heard + 2, sizeof moving_heard - 2}};
    return readv(moving_sock, iov, 2);
}

static long in_recvmsg(void) {
    struct iovec iov = {moving_heard, sizeof moving_heard};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return recvmsg(moving_sock, &msg, 0);
}

static long in_recvfrom(void) {
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    return recvfrom(moving_sock, moving_heard, sizeof moving_heard, 0, (struct sockaddr *)&from, &len);
}

static long in_peek(void) {
    return recv(moving_sock, moving_heard, sizeof moving_heard, MSG_PEEK);
}

static long in_recv_all(void) {
    return recv(moving_sock, moving_heard, 8, MSG_WAITALL);
}

static void receives_on(long (*call)(void)) {
    moving_live(0);
    moving_begin(call);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
    stage_expect(memcmp(moving_heard, "news", 4) == 0);
}

static void a_thread_blocked_in_recv_receives_from_the_next_connection(void) {
    receives_on(moving_in_recv);
    moving_expect_talk(1);
}

static void a_thread_blocked_in_read_receives_from_the_next_connection(void) {
    receives_on(in_read);
}

static void a_thread_blocked_in_readv_receives_from_the_next_connection(void) {
    receives_on(in_readv);
}

static void a_thread_blocked_in_recvmsg_receives_from_the_next_connection(void) {
    receives_on(in_recvmsg);
}

static void a_thread_blocked_in_recvfrom_receives_from_the_next_connection(void) {
    receives_on(in_recvfrom);
}

static void a_thread_that_peeks_sees_the_next_connections_bytes_and_leaves_them(void) {
    receives_on(in_peek);
    stage_equal(moving_in_recv(), 4);
}

static void a_recv_that_waits_for_all_gets_the_rest_from_the_next_connection(void) {
    moving_live(0);
    moving_begin(in_recv_all);
    stage_say(0, "half");
    stage_wait(moving_available() == 0);
    moving_move();
    stage_say(1, "rest");
    stage_equal(moving_outcome(), 8);
    stage_expect(memcmp(moving_heard, "halfrest", 8) == 0);
}

static void two_threads_blocked_on_one_descriptor_both_go_on(void) {
    moving_live(0);
    moving_begin(moving_in_recv);
    moving_begin(moving_in_recv);
    moving_move();
    stage_say(1, "one");
    stage_wait(moving_callers[0].over || moving_callers[1].over);
    stage_say(1, "two");
    stage_equal(moving_outcome(), 3);
    stage_equal(moving_outcome(), 3);
}

static void MSG_DONTWAIT_finds_nothing_to_read_while_there_is_no_network(void) {
    moving_live(0);
    moving_part();
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, MSG_DONTWAIT), EAGAIN);
    moving_find();
    stage_wait(recv(moving_sock, moving_heard, sizeof moving_heard, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    stage_say(1, "news");
    stage_wait(recv(moving_sock, moving_heard, sizeof moving_heard, MSG_DONTWAIT) == 4);
}

static void a_non_blocking_socket_finds_nothing_to_do_while_there_is_no_network(void) {
    moving_live(SOCK_NONBLOCK);
    moving_part();
    stage_wait(moving_polled(POLLOUT) == 0);
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, 0), EAGAIN);
    stage_fails(send(moving_sock, "x", 1, 0), EAGAIN);
    stage_equal(fcntl(moving_sock, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(send(moving_sock, "later", 5, 0), 5);
    stage_expect_text(1, "later");
}

static void SO_RCVTIMEO_ends_a_receive_also_while_there_is_no_network(void) {
    moving_live(0);
    moving_set_timeout(SO_RCVTIMEO, 300);
    moving_part();
    moving_begin(moving_in_recv);
    stage_fails(moving_outcome(), EAGAIN);
    moving_find();
    moving_begin(moving_in_recv);
    stage_fails(moving_outcome(), EAGAIN);
    stage_say(1, "news");
    stage_wait(moving_in_recv() == 4);
}

static void SO_RCVTIMEO_ends_a_receive_that_began_before_the_loss(void) {
    moving_live(0);
    moving_set_timeout(SO_RCVTIMEO, 1500);
    moving_begin(moving_in_recv);
    moving_lose();
    stage_fails(moving_outcome(), EAGAIN);
    stage_equal(stage_connections(), 1);
}

/* ---- what had arrived, what was sent ---- */

static void what_had_arrived_unread_is_read_before_the_next_connections_bytes(void) {
    moving_live(0);
    stage_say(0, "unread");
    stage_wait(moving_available() == 6);
    moving_part();
    stage_equal(moving_polled(POLLIN | POLLOUT), POLLIN);
    stage_equal(moving_available(), 6);
    stage_equal(in_peek(), 6);
    moving_find();
    stage_say(1, "news");
    stage_equal(moving_polled(POLLIN) & POLLIN, POLLIN);
    stage_equal(moving_in_recv(), 6);
    stage_expect(memcmp(moving_heard, "unread", 6) == 0);
    stage_equal(moving_in_recv(), 4);
    stage_expect(memcmp(moving_heard, "news", 4) == 0);
}

static void what_was_sent_is_not_sent_again(void) {
    moving_live(0);
    stage_equal(send(moving_sock, "arrived.", 8, 0), 8);
    stage_wait(moving_unacknowledged() == 0);
    stage_swallow("wifi0", true, false);
    stage_equal(send(moving_sock, "swallowed.", 10, 0), 10);
    moving_part();
    moving_find();
    stage_equal(send(moving_sock, "after.", 6, 0), 6);
    stage_expect_text(1, "after.");
    stage_expect(stage_is_text(0, "arrived."));
}

static const struct stage_test tests[] = {
    MOVING_TEST(a_thread_blocked_in_recv_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_read_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_readv_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_recvmsg_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_recvfrom_receives_from_the_next_connection),
    MOVING_TEST(a_thread_that_peeks_sees_the_next_connections_bytes_and_leaves_them),
    MOVING_TEST(a_recv_that_waits_for_all_gets_the_rest_from_the_next_connection),
    MOVING_TEST(two_threads_blocked_on_one_descriptor_both_go_on),
    MOVING_TEST(MSG_DONTWAIT_finds_nothing_to_read_while_there_is_no_network),
    MOVING_TEST(a_non_blocking_socket_finds_nothing_to_do_while_there_is_no_network),
    MOVING_TEST(SO_RCVTIMEO_ends_a_receive_also_while_there_is_no_network),
    MOVING_TEST(SO_RCVTIMEO_ends_a_receive_that_began_before_the_loss),
    MOVING_TEST(what_had_arrived_unread_is_read_before_the_next_connections_bytes),
    MOVING_TEST(what_was_sent_is_not_sent_again),
};

STAGE_MAIN(moving_world, tests)

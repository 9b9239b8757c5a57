/* unit_stream - the kernel's word about a connection, on loopback. */
#include "stream.h"
#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static int here, there;

static void connect_pair(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    here = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(here, (struct sockaddr *)&at, sizeof at), 0);
    there = accept(listener, NULL, NULL);
    ck_assert_int_ge(there, 0);
    close(listener);
}

static void close_pair(void) {
    close(here);
    close(there);
}

static void wait_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, -1), 1);
}

START_TEST(a_new_connection_is_open_and_untouched) {
    ck_assert(!stream_ended(here));
    ck_assert(!stream_closed(here));
    ck_assert(stream_untouched(here));
    ck_assert_uint_eq(stream_unacked(here, false), 0);
}
END_TEST

START_TEST(a_byte_sent_touches_it) {
    ck_assert_int_eq(send(here, "x", 1, 0), 1);
    ck_assert(!stream_untouched(here));
}
END_TEST

START_TEST(bytes_arrived_but_unread_do_not_touch_it_and_read_ones_do) {
    char c;
    ck_assert_int_eq(send(there, "hi", 2, 0), 2);
    wait_readable(here);
    ck_assert(stream_untouched(here));
    ck_assert_int_eq(recv(here, &c, 1, 0), 1);
    ck_assert(!stream_untouched(here));
}
END_TEST

START_TEST(the_peers_end_of_file_ends_it_but_does_not_close_it) {
    ck_assert_int_eq(shutdown(there, SHUT_WR), 0);
    wait_readable(here);
    ck_assert(stream_ended(here));
    ck_assert(!stream_closed(here));
}
END_TEST

START_TEST(the_peers_reset_closes_it) {
    const struct linger now = {1, 0};
    setsockopt(there, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(there);
    there = -1;
    wait_readable(here);
    ck_assert(stream_closed(here));
    ck_assert(stream_ended(here));
}
END_TEST

START_TEST(what_the_peer_has_no_room_for_is_unacknowledged) {
    static char block[1 << 16];
    size_t sent = 0;
    for (ssize_t n; (n = send(here, block, sizeof block, MSG_DONTWAIT)) > 0;)
        sent += (size_t)n;
    const size_t unacked = stream_unacked(here, false);
    ck_assert_uint_gt(unacked, 0);
    ck_assert_uint_le(unacked, sent);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("stream");
    TCase *t = tcase_create("stream");
    tcase_add_checked_fixture(t, connect_pair, close_pair);
    tcase_add_test(t, a_new_connection_is_open_and_untouched);
    tcase_add_test(t, a_byte_sent_touches_it);
    tcase_add_test(t, bytes_arrived_but_unread_do_not_touch_it_and_read_ones_do);
    tcase_add_test(t, the_peers_end_of_file_ends_it_but_does_not_close_it);
    tcase_add_test(t, the_peers_reset_closes_it);
    tcase_add_test(t, what_the_peer_has_no_room_for_is_unacknowledged);
    suite_add_tcase(suite, t);
    return suite_run(suite);
}

/* unit_subflow - what the kernel's Multipath TCP says of a connection, on loopback. */
#include "stream.h"
#include "subflow.h"
#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int here, there;

static void connect_pair(int protocol_here, int protocol_there) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, protocol_there);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    here = socket(AF_INET, SOCK_STREAM, protocol_here);
    ck_assert_int_eq(connect(here, (struct sockaddr *)&at, sizeof at), 0);
    there = accept(listener, NULL, NULL);
    ck_assert_int_ge(there, 0);
    close(listener);
}

static void connect_multipath(void) {
    connect_pair(IPPROTO_MPTCP, IPPROTO_MPTCP);
}

static void close_pair(void) {
    close(here);
    close(there);
}

static void wait_for(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    ck_assert_int_eq(poll(&p, 1, -1), 1);
}

START_TEST(it_is_known_when_both_ends_speak_it) {
    ck_assert(subflow_multipath(here));
    ck_assert(subflow_multipath(there));
}
END_TEST

START_TEST(its_ways_are_told_by_address_and_interface) {
    struct subflow ways[SUBFLOW_MAX];
    ck_assert_int_eq(subflow_list(here, ways), 1);
    ck_assert_int_eq(ways[0].family, AF_INET);
    ck_assert(memcmp(ways[0].address, (unsigned char[16]){127, 0, 0, 1}, 16) == 0);
    ck_assert_uint_eq(ways[0].ifindex, if_nametoindex("lo"));
}
END_TEST

/* Linux counts a Multipath connection's bytes since 6.5; before, none is told to be untouched. */
static bool counts(void) {
    uint64_t sent, received;
    if (subflow_account(here, &sent, &received))
        return true;
    ck_assert(!stream_untouched(here));
    fputs("skipped: this kernel does not count a Multipath connection's bytes\n", stderr);
    return false;
}

START_TEST(what_passes_is_counted) {
    uint64_t sent = 9, received = 9;
    if (!counts())
        return;
    ck_assert(subflow_account(here, &sent, &received));
    ck_assert_uint_eq(sent, 0);
    ck_assert_uint_eq(received, 0);
    ck_assert_int_eq(send(here, "hello", 5, 0), 5);
    ck_assert_int_eq(send(there, "hi", 2, 0), 2);
    wait_for(here, POLLIN);
    ck_assert(subflow_account(here, &sent, &received));
    ck_assert_uint_eq(sent, 5);
    ck_assert_uint_eq(received, 2);
}
END_TEST

START_TEST(unread_bytes_do_not_touch_it_and_read_ones_do) {
    char c;
    if (!counts())
        return;
    ck_assert(stream_untouched(here));
    ck_assert_int_eq(send(there, "hi", 2, 0), 2);
    wait_for(here, POLLIN);
    ck_assert(stream_untouched(here));
    ck_assert_uint_eq(stream_unread(here), 2);
    ck_assert_int_eq(recv(here, &c, 1, 0), 1);
    ck_assert(!stream_untouched(here));
}
END_TEST

START_TEST(the_peers_end_is_seen_and_is_no_byte) {
    ck_assert(!stream_ended(here));
    ck_assert_int_eq(shutdown(there, SHUT_WR), 0);
    wait_for(here, POLLIN);
    ck_assert(stream_finished(here));
    ck_assert(!stream_closed(here));
    ck_assert_uint_eq(stream_unread(here), 0);
}
END_TEST

START_TEST(an_abort_is_seen_and_is_no_peers_end) {
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    ck_assert(!stream_aborted(here));
    ck_assert_int_eq(connect(here, &none, sizeof none), 0);
    ck_assert(stream_aborted(here));
    ck_assert(stream_closed(here));
    ck_assert(!stream_finished(here));
}
END_TEST

START_TEST(a_plain_connection_is_none) {
    struct subflow ways[SUBFLOW_MAX];
    uint64_t sent, received;
    close_pair();
    connect_pair(IPPROTO_TCP, IPPROTO_TCP);
    ck_assert(!subflow_multipath(here));
    ck_assert(!subflow_account(here, &sent, &received));
    ck_assert_int_eq(subflow_list(here, ways), 0);
}
END_TEST

START_TEST(one_that_fell_back_is_none_and_is_told_of_as_plain) {
    close_pair();
    connect_pair(IPPROTO_MPTCP, IPPROTO_TCP);
    ck_assert(!subflow_multipath(here));
    ck_assert(stream_untouched(here));
    ck_assert_int_eq(send(here, "x", 1, 0), 1);
    ck_assert(!stream_untouched(here));
    ck_assert_int_eq(shutdown(there, SHUT_WR), 0);
    wait_for(here, POLLIN);
    ck_assert(stream_finished(here));
    ck_assert_uint_eq(stream_unread(here), 0);
}
END_TEST

int main(void) {
    if ((here = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)) < 0) {
        fputs("no Multipath TCP in this kernel\n", stderr);
        return 77;
    }
    close(here);
    Suite *suite = suite_create("subflow");
    TCase *c = tcase_create("subflow");
    tcase_add_checked_fixture(c, connect_multipath, close_pair);
    tcase_add_test(c, it_is_known_when_both_ends_speak_it);
    tcase_add_test(c, its_ways_are_told_by_address_and_interface);
    tcase_add_test(c, what_passes_is_counted);
    tcase_add_test(c, unread_bytes_do_not_touch_it_and_read_ones_do);
    tcase_add_test(c, the_peers_end_is_seen_and_is_no_byte);
    tcase_add_test(c, an_abort_is_seen_and_is_no_peers_end);
    tcase_add_test(c, a_plain_connection_is_none);
    tcase_add_test(c, one_that_fell_back_is_none_and_is_told_of_as_plain);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

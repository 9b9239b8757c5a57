/* unit_options - the socket options a program has set: remembered once, in order, and set again. */
#include "options.h"
#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct options o;

static void end(void) {
    options_finish(&o);
}

static const struct option *last(void) {
    const struct option *at = o.first;
    while (at && at->next)
        at = at->next;
    return at;
}

static void put(int level, int name, int value) {
    ck_assert_int_eq(options_put(&o, level, name, &value, sizeof value), 0);
}

static int got(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static int replayed(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(options_replay(&o, fd), 0);
    return fd;
}

START_TEST(what_was_set_is_set_again_on_the_next_connection) {
    put(IPPROTO_TCP, TCP_NODELAY, 1);
    put(SOL_SOCKET, SO_KEEPALIVE, 1);
    put(IPPROTO_TCP, TCP_KEEPIDLE, 77);
    int fd = replayed();
    ck_assert_int_eq(got(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(got(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(got(fd, IPPROTO_TCP, TCP_KEEPIDLE), 77);
    close(fd);
}
END_TEST

static unsigned count(void) {
    unsigned n = 0;
    for (const struct option *at = o.first; at; at = at->next)
        n++;
    return n;
}

START_TEST(the_last_value_counts) {
    for (int value = 1; value <= 5; value++)
        put(IPPROTO_TCP, TCP_KEEPIDLE, value);
    ck_assert_uint_eq(count(), 1);
    put(IPPROTO_TCP, TCP_NODELAY, 1);
    for (int value = 6; value <= 9; value++)
        put(IPPROTO_TCP, TCP_KEEPIDLE, value);
    ck_assert_uint_eq(count(), 3);
    ck_assert_int_eq(*(const int *)(const void *)options_find(&o, IPPROTO_TCP, TCP_KEEPIDLE)->value, 9);
    put(IPPROTO_TCP, TCP_NODELAY, 0);
    put(IPPROTO_TCP, TCP_KEEPIDLE, 10);
    ck_assert_uint_eq(count(), 4);
    ck_assert_int_eq(last()->name, TCP_KEEPIDLE);
    ck_assert_ptr_null(last()->next);
    int fd = replayed();
    ck_assert_int_eq(got(fd, IPPROTO_TCP, TCP_KEEPIDLE), 10);
    ck_assert_int_eq(got(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    close(fd);
}
END_TEST

START_TEST(what_another_option_has_changed_is_as_it_was_set_last) {
    put(SOL_SOCKET, SO_PRIORITY, 1);
    put(IPPROTO_IP, IP_TOS, 0x10); /* which is a priority, too */
    put(SOL_SOCKET, SO_PRIORITY, 3);
    int fd = replayed();
    ck_assert_int_eq(got(fd, SOL_SOCKET, SO_PRIORITY), 3);
    ck_assert_int_eq(got(fd, IPPROTO_IP, IP_TOS), 0x10);
    close(fd);
}
END_TEST

START_TEST(what_another_option_depends_on_is_there_before_it) {
    put(SOL_SOCKET, 1, 10);
    put(IPPROTO_TCP, 1, 20);
    put(SOL_SOCKET, 1, 30);
    ck_assert_int_eq(o.first->level, SOL_SOCKET);
    ck_assert_int_eq(last()->level, SOL_SOCKET);
}
END_TEST

START_TEST(one_name_on_two_levels_is_two_options) {
    put(SOL_SOCKET, 1, 10);
    put(IPPROTO_TCP, 1, 20);
    ck_assert_int_eq(*(const int *)(const void *)options_find(&o, SOL_SOCKET, 1)->value, 10);
    ck_assert_int_eq(*(const int *)(const void *)options_find(&o, IPPROTO_TCP, 1)->value, 20);
    ck_assert_ptr_null(options_find(&o, IPPROTO_IP, 1));
}
END_TEST

START_TEST(a_value_may_change_its_size) {
    const char name[] = "lo";
    const struct linger linger = {1, 2};
    ck_assert_int_eq(options_put(&o, SOL_SOCKET, SO_LINGER, name, 0), 0);
    ck_assert_uint_eq(options_find(&o, SOL_SOCKET, SO_LINGER)->len, 0);
    ck_assert_int_eq(options_put(&o, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    ck_assert_uint_eq(options_find(&o, SOL_SOCKET, SO_LINGER)->len, sizeof linger);
    ck_assert_int_eq(memcmp(options_find(&o, SOL_SOCKET, SO_LINGER)->value, &linger, sizeof linger), 0);
}
END_TEST

START_TEST(group_memberships_add_up) {
    const struct ip_mreq first = {{htonl(0xe0000101)}, {0}}, second = {{htonl(0xe0000102)}, {0}};
    ck_assert_int_eq(options_put(&o, IPPROTO_IP, IP_ADD_MEMBERSHIP, &first, sizeof first), 0);
    ck_assert_int_eq(options_put(&o, IPPROTO_IP, IP_ADD_MEMBERSHIP, &second, sizeof second), 0);
    ck_assert_ptr_ne(o.first, last());
    ck_assert_int_eq(memcmp(o.first->value, &first, sizeof first), 0);
    ck_assert_int_eq(memcmp(last()->value, &second, sizeof second), 0);
    put(IPPROTO_IP, IP_TOS, 0x10);
    ck_assert_int_eq(last()->name, IP_TOS);
}
END_TEST

static void group(int name, const char *address) {
    struct ip_mreqn m = {.imr_ifindex = 1};
    ck_assert_int_eq(inet_pton(AF_INET, address, &m.imr_multiaddr), 1);
    ck_assert_int_eq(options_put(&o, IPPROTO_IP, name, &m, sizeof m), 0);
}

START_TEST(a_group_that_was_left_is_forgotten) {
    group(IP_ADD_MEMBERSHIP, "239.1.2.3");
    put(SOL_SOCKET, SO_PRIORITY, 1);
    for (int i = 0; i < 5; i++) {
        group(IP_ADD_MEMBERSHIP, "239.1.2.4");
        group(IP_DROP_MEMBERSHIP, "239.1.2.4");
    }
    ck_assert_uint_eq(count(), 2);
    ck_assert_int_eq(last()->name, SO_PRIORITY);
    group(IP_DROP_MEMBERSHIP, "239.1.2.3");
    ck_assert_uint_eq(count(), 1);
    group(IP_DROP_MEMBERSHIP, "239.1.2.3"); /* of one that was joined in other words */
    ck_assert_uint_eq(count(), 2);
}
END_TEST

START_TEST(a_filter_is_set_again_though_the_program_has_it_no_more) {
    const struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, 4711);
    struct sock_filter *program = malloc(sizeof *program), attached[4];
    const struct sock_fprog filter = {1, program};
    socklen_t count = 4;
    *program = pass;
    ck_assert_int_eq(options_put(&o, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), 0);
    memset(program, 0xff, sizeof *program);
    free(program);
    int fd = replayed();
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, attached, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(memcmp(attached, &pass, sizeof pass), 0);
    close(fd);
}
END_TEST

START_TEST(what_a_socket_refuses_is_told_and_the_rest_still_set) {
    put(SOL_SOCKET, 9999, 1);
    put(IPPROTO_TCP, TCP_NODELAY, 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(options_replay(&o, fd), -ENOPROTOOPT);
    ck_assert_int_eq(got(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    close(fd);
}
END_TEST

START_TEST(the_time_a_call_may_take_is_known_in_ms_rounded_up) {
    const struct timeval t = {2, 1}, none = {0, 0};
    ck_assert_uint_eq(options_timeout(&o, SO_RCVTIMEO), 0);
    ck_assert_int_eq(options_put(&o, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
    ck_assert_uint_eq(options_timeout(&o, SO_RCVTIMEO), 2001);
    ck_assert_uint_eq(options_timeout(&o, SO_SNDTIMEO), 0);
    ck_assert_int_eq(options_put(&o, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none), 0);
    ck_assert_uint_eq(options_timeout(&o, SO_RCVTIMEO), 0);
}
END_TEST

START_TEST(nothing_set_is_nothing_to_set_again) {
    int fd = replayed();
    ck_assert_ptr_null(options_find(&o, SOL_SOCKET, SO_KEEPALIVE));
    close(fd);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("options");
    Suite *s = suite_create("options");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, NULL, end);
    tcase_add_test(t, what_was_set_is_set_again_on_the_next_connection);
    tcase_add_test(t, the_last_value_counts);
    tcase_add_test(t, what_another_option_has_changed_is_as_it_was_set_last);
    tcase_add_test(t, what_another_option_depends_on_is_there_before_it);
    tcase_add_test(t, one_name_on_two_levels_is_two_options);
    tcase_add_test(t, a_value_may_change_its_size);
    tcase_add_test(t, group_memberships_add_up);
    tcase_add_test(t, a_group_that_was_left_is_forgotten);
    tcase_add_test(t, a_filter_is_set_again_though_the_program_has_it_no_more);
    tcase_add_test(t, what_a_socket_refuses_is_told_and_the_rest_still_set);
    tcase_add_test(t, the_time_a_call_may_take_is_known_in_ms_rounded_up);
    tcase_add_test(t, nothing_set_is_nothing_to_set_again);
    return suite_run(s);
}

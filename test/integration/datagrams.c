/* datagrams - the datagram sockets of unmodified programs: connect() never waits, sends do, and the socket
 * moves with its network.
 * In a world of two interfaces, wifi0 preferred by the routes; what only cell0 offers goes against them. */
#include "post.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- by their labels ---- */

static void a_datagram_goes_by_the_network_that_matches(void) {
    post_make(0);
    stage_equal(post_put_to("unconnected"), 11);
    post_expect(0, "10.2.0.2", "unconnected");
    stage_equal(post_dial(), 0);
    stage_equal(post_put("connected"), 9);
    post_expect(1, "10.2.0.2", "connected");
    stage_equal(write(post_sock, "written", 7), 7);
    post_expect(2, "10.2.0.2", "written");
}

/* The scout, which would tell, is gone: its last word stands. */
static void what_has_no_way_by_a_young_network_goes_by_the_other(void) {
    post_make(0);
    stage_equal(post_dial(), 0);
    stage_equal(post_put("one"), 3);
    post_expect(0, "10.1.0.2", "one");
    stage_scout_kill();
    stage_link("wifi0", false);
    stage_equal(post_put("two"), 3);
    post_expect(1, "10.2.0.2", "two");
}

static void one_socket_serves_destinations_of_either_kind(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
    socklen_t len = sizeof own;
    char text[8];
    int local = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(bind(local, (struct sockaddr *)&own, len), 0);
    stage_equal(getsockname(local, (struct sockaddr *)&own, &len), 0);
    post_make(0);
    for (int i = 0; i < 3; i++) {
        stage_equal(post_put_to("far"), 3);
        post_expect(i, "10.2.0.2", "far");
        stage_equal(sendto(post_sock, "near", 4, 0, (struct sockaddr *)&own, sizeof own), 4);
        len = sizeof from;
        stage_equal(recvfrom(local, text, sizeof text, 0, (struct sockaddr *)&from, &len), 4);
        stage_equal(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    }
}

static void an_IPv6_socket_goes_by_it_too(void) {
    struct sockaddr_in far = stage_udp();
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = far.sin_port}, own, cell;
    socklen_t len = sizeof own;
    to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&to.sin6_addr.s6_addr[12], &far.sin_addr, 4);
    post_sock = socket(AF_INET6, SOCK_DGRAM, 0);
    stage_equal(sendto(post_sock, "mapped", 6, 0, (struct sockaddr *)&to, sizeof to), 6);
    post_expect(0, "10.2.0.2", "mapped");
    stage_shell("for n in 1:wifi0 2:cell0; do ip -6 addr add fd00:${n%%%%:*}::2/64 dev ${n#*:} nodad && "
                "ip -6 route replace default via fd00:${n%%%%:*}::1 dev ${n#*:} metric ${n%%%%:*}00; done");
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    inet_pton(AF_INET6, "fd00:2::2", &cell.sin6_addr);
    stage_wait(connect(post_sock, (struct sockaddr *)&to, sizeof to) == 0 &&
               getsockname(post_sock, (struct sockaddr *)&own, &len) == 0 &&
               memcmp(&own.sin6_addr, &cell.sin6_addr, 16) == 0);
}

/* ---- waiting ---- */

static void connect_never_waits_and_the_socket_is_silent_until_it_can_send(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    int value = -1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u64 = 7};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    post_down("cell0");
    post_make(SOCK_NONBLOCK);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, post_sock, &e), 0);
    stage_equal(post_dial(), 0);
    stage_equal(stage_polled(post_sock, POLLIN | POLLOUT, POST_MOMENT_MS), 0);
    stage_equal(epoll_wait(set, &e, 1, POST_MOMENT_MS), 0);
    stage_fails(post_put("early"), EAGAIN);
    char byte;
    stage_fails(recv(post_sock, &byte, 1, 0), EAGAIN);
    stage_fails(read(post_sock, &byte, 1), EAGAIN);
    stage_equal(getpeername(post_sock, (struct sockaddr *)&name, &len), 0);
    stage_equal(name.sin_port, stage_udp().sin_port);
    len = sizeof value;
    stage_equal(getsockopt(post_sock, SOL_SOCKET, SO_TYPE, &value, &len), 0);
    stage_equal(value, SOCK_DGRAM);
    value = 50000;
    stage_equal(setsockopt(post_sock, SOL_SOCKET, SO_RCVBUF, &value, sizeof value), 0);
    stage_equal(fcntl(post_sock, F_GETFL), O_RDWR | O_NONBLOCK);
    post_up("cell0");
    stage_equal(epoll_wait(set, &e, 1, -1), 1);
    stage_equal(e.events, EPOLLOUT);
    stage_equal(e.data.u64, 7);
    stage_equal(stage_polled(post_sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(post_put("late"), 4);
    post_expect(0, "10.2.0.2", "late");
    stage_equal(getsockopt(post_sock, SOL_SOCKET, SO_RCVBUF, &value, &len), 0);
    stage_equal(value, 100000);
}

/* The network that comes has no address of that family. */
static void what_can_never_be_sent_is_told_and_the_socket_is_silent_no_more(void) {
    const struct sockaddr_in6 to = post_six();
    post_down("cell0");
    post_sock = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_fails(sendto(post_sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLOUT, 0), 0);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT); /* not before it has settled */
    stage_fails(sendto(post_sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to), ENETUNREACH);
    stage_equal(stage_polled(post_sock, POLLOUT, 0), POLLOUT);
}

static void an_unconnected_socket_is_silent_from_its_first_send_on(void) {
    post_down("cell0");
    post_make(SOCK_NONBLOCK);
    stage_equal(stage_polled(post_sock, POLLOUT, 0), POLLOUT);
    stage_fails(post_put_to("early"), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLIN | POLLOUT, POST_MOMENT_MS), 0);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(post_put_to("late"), 4);
    post_expect(0, "10.2.0.2", "late");
}

static void a_blocking_send_waits(void) {
    post_down("cell0");
    post_begin_blocked();
    post_up("cell0");
    post_expect_sent("10.2.0.2");
}

static void with_no_route_at_all_it_waits_too(void) {
    post_down("cell0");
    post_down("wifi0");
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    stage_equal(stage_polled(post_sock, POLLOUT, POST_MOMENT_MS), 0);
    stage_fails(post_put("early"), EAGAIN);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("late"), 4);
    post_expect(0, "10.2.0.2", "late");
}

/* ---- how long ---- */

static void patience_ends_a_blocking_send(void) {
    post_down("cell0");
    post_make(0);
    stage_fails(post_put_to("never"), ETIMEDOUT);
    stage_equal(post_dial(), 0);
    stage_fails(post_put("never"), ETIMEDOUT);
}

static void SO_SNDTIMEO_ends_a_blocking_send(void) {
    const struct timeval soon = {0, 100000};
    post_down("cell0");
    post_make(0);
    stage_equal(setsockopt(post_sock, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    stage_fails(post_put_to("never"), EAGAIN);
    stage_equal(post_dial(), 0);
    stage_fails(post_put("never"), EAGAIN);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("now"), 3);
    post_expect(0, "10.2.0.2", "now");
}

static void what_waits_can_be_copied_and_closed(void) {
    post_down("cell0");
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    const int copy = dup(post_sock);
    stage_equal(close(post_sock), 0);
    post_sock = copy;
    stage_fails(post_put("early"), EAGAIN);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("by the copy"), 11);
    post_expect(0, "10.2.0.2", "by the copy");
    stage_equal(close(post_sock), 0);
    stage_fails(fcntl(post_sock, F_GETFD), EBADF);
}

static void a_forked_child_sends_as_its_parent_does(void) {
    int status;
    post_down("cell0");
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    const pid_t child = fork();
    if (child == 0) {
        fcntl(post_sock, F_SETFL, 0);
        _exit(post_put("child") == 5 ? 0 : 1);
    }
    stage_fails(post_put("parent"), EAGAIN);
    post_up("cell0");
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
    post_expect(0, "10.2.0.2", "child");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("parent"), 6);
    post_expect(1, "10.2.0.2", "parent");
}

/* As the library itself does in another process, where it gives the socket another way. */
static void part_past_the_doors(void) {
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    int (*real_connect)(int, const struct sockaddr *, socklen_t);
    *(void **)&real_connect = dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "connect");
    stage_equal(real_connect(post_sock, &none, sizeof none), 0);
}

static void who_shares_it_sends_also_while_another_gives_it_another_way(void) {
    int status;
    post_make(0);
    stage_equal(post_dial(), 0);
    stage_equal(post_put("before"), 6);
    const pid_t child = fork();
    if (child == 0) {
        part_past_the_doors();
        _exit(0);
    }
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(post_put("after"), 5);
    post_expect(0, "10.2.0.2", "before");
    post_expect(1, "10.2.0.2", "after");
}

/* ---- moving ---- */

static void a_connected_socket_moves_and_keeps_its_port(void) {
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    const in_port_t port = post_port();
    stage_equal(post_put("by wifi"), 7);
    post_expect(0, "10.1.0.2", "by wifi");
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("by cell"), 7);
    post_expect(1, "10.2.0.2", "by cell");
    stage_equal(post_port(), port);
    post_up("wifi0");
    stage_equal(post_put("still by cell"), 13); /* what works is not left for what is preferred */
    post_expect(2, "10.2.0.2", "still by cell");
    stage_link("cell0", false);
    stage_wait(!stage_offered("cell"));
    stage_equal(post_put("by wifi again"), 13);
    post_expect(3, "10.1.0.2", "by wifi again");
    stage_equal(post_port(), port);
}

static void answers_come_by_the_new_network(void) {
    char text[16] = "";
    stage_echo(true);
    post_make(0);
    stage_equal(post_dial(), 0);
    stage_equal(post_put("one"), 3);
    stage_equal(recv(post_sock, text, sizeof text, 0), 3);
    post_down("wifi0");
    stage_equal(post_put("two"), 3);
    stage_equal(recv(post_sock, text, sizeof text, 0), 3);
    stage_equal(memcmp(text, "two", 3), 0);
    post_expect(1, "10.2.0.2", "two");
}

static void an_unconnected_socket_moves_with_its_next_datagram(void) {
    post_make(0);
    stage_equal(post_put_to("by wifi"), 7);
    post_expect(0, "10.1.0.2", "by wifi");
    post_down("wifi0");
    stage_equal(post_put_to("by cell"), 7);
    post_expect(1, "10.2.0.2", "by cell");
}

static void a_socket_that_loses_its_network_is_silent_until_another_comes(void) {
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    stage_equal(post_put("before"), 6);
    post_expect(0, "10.2.0.2", "before");
    post_down("cell0");
    stage_wait(stage_polled(post_sock, POLLOUT, 0) == 0);
    stage_fails(post_put("meanwhile"), EAGAIN);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("after"), 5);
    post_expect(1, "10.2.0.2", "after");
}

static void what_arrived_is_read_though_the_network_is_gone(void) {
    char text[16];
    stage_echo(true);
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    stage_equal(post_put("answer"), 6);
    stage_equal(stage_polled(post_sock, POLLIN, -1), POLLIN);
    post_down("cell0");
    stage_equal(stage_polled(post_sock, POLLIN, 0), POLLIN);
    stage_equal(recv(post_sock, text, sizeof text, 0), 6);
    stage_fails(post_put("more"), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLOUT, POST_MOMENT_MS), 0);
}

static void a_socket_bound_by_the_program_is_left_alone(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(4711)};
    post_make(0);
    stage_equal(bind(post_sock, (struct sockaddr *)&own, sizeof own), 0);
    stage_equal(post_put_to("as routed"), 9);
    post_expect(0, "10.1.0.2", "as routed");
}

static void the_wildcard_and_port_0_is_no_bind(void) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    post_make(0);
    stage_equal(bind(post_sock, (struct sockaddr *)&own, sizeof own), 0);
    const in_port_t port = post_port();
    stage_equal(post_dial(), 0);
    stage_equal(post_put("labeled"), 7);
    post_expect(0, "10.2.0.2", "labeled");
    stage_equal(post_port(), port);
}

static void broadcasts_follow_the_routes(void) {
    const int on = 1;
    post_make(0);
    stage_equal(setsockopt(post_sock, SOL_SOCKET, SO_BROADCAST, &on, sizeof on), 0);
    stage_equal(post_put_to("as routed"), 9);
    post_expect(0, "10.1.0.2", "as routed");
}

static void an_errors_word_is_told_once(void) {
    struct sockaddr_in nobody = stage_udp();
    nobody.sin_port = htons(1);
    char byte;
    post_make(0);
    stage_equal(connect(post_sock, (struct sockaddr *)&nobody, sizeof nobody), 0);
    stage_equal(post_put("hello"), 5);
    stage_expect(stage_polled(post_sock, POLLIN, -1) & POLLERR);
    stage_fails(recv(post_sock, &byte, 1, 0), ECONNREFUSED);
    stage_equal(post_put("hello"), 5);
    stage_expect(stage_polled(post_sock, POLLIN, -1) & POLLERR);
    stage_fails(post_put("hello"), ECONNREFUSED);
}

static const struct stage_test tests[] = {
    POST_TEST(a_datagram_goes_by_the_network_that_matches, "small"),
    POST_TEST(what_has_no_way_by_a_young_network_goes_by_the_other, "large"),
    POST_TEST(one_socket_serves_destinations_of_either_kind, "small"),
    POST_TEST(an_IPv6_socket_goes_by_it_too, "small"),
    POST_TEST(connect_never_waits_and_the_socket_is_silent_until_it_can_send, "small"),
    POST_TEST(what_can_never_be_sent_is_told_and_the_socket_is_silent_no_more, "small"),
    POST_TEST(an_unconnected_socket_is_silent_from_its_first_send_on, "small"),
    POST_TEST(a_blocking_send_waits, "small"),
    POST_TEST(with_no_route_at_all_it_waits_too, "small"),
    POST_TEST(patience_ends_a_blocking_send, "small CMM_PATIENCE=0.3"),
    POST_TEST(SO_SNDTIMEO_ends_a_blocking_send, "small"),
    POST_TEST(what_waits_can_be_copied_and_closed, "small"),
    POST_TEST(a_forked_child_sends_as_its_parent_does, "small"),
    POST_TEST(who_shares_it_sends_also_while_another_gives_it_another_way, "small"),
    POST_TEST(a_connected_socket_moves_and_keeps_its_port, "large"),
    POST_TEST(answers_come_by_the_new_network, "large"),
    POST_TEST(an_unconnected_socket_moves_with_its_next_datagram, "large"),
    POST_TEST(a_socket_that_loses_its_network_is_silent_until_another_comes, "small"),
    POST_TEST(what_arrived_is_read_though_the_network_is_gone, "small"),
    POST_TEST(a_socket_bound_by_the_program_is_left_alone, "small"),
    POST_TEST(the_wildcard_and_port_0_is_no_bind, "small"),
    POST_TEST(broadcasts_follow_the_routes, "small"),
    POST_TEST(an_errors_word_is_told_once, "small"),
};

STAGE_MAIN(post_world, tests)

/* datagrams - the datagram sockets of unmodified programs: connect() never waits, sends do, and the socket
 * moves with its network.
 * In a world of two interfaces, wifi0 preferred by the routes; what only cell0 offers goes against them. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background, large\n"
                            "[network cell]\nmatch = cell0\nlabels = small, large\n";

enum { MOMENT_MS = 200 };

static int sock = -1;

static void make(int flags) {
    sock = socket(AF_INET, SOCK_DGRAM | flags, 0);
    stage_expect(sock >= 0);
}

static int dial(void) {
    struct sockaddr_in to = stage_udp();
    return connect(sock, (struct sockaddr *)&to, sizeof to);
}

static ssize_t put(const char *text) {
    return send(sock, text, strlen(text), 0);
}

static ssize_t put_to(const char *text) {
    struct sockaddr_in to = stage_udp();
    return sendto(sock, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to);
}

/* The datagram i arrived from there, with that text. */
static void expect_datagram(int i, const char *source, const char *text) {
    const void *bytes;
    stage_wait(stage_datagrams() > i);
    size_t len = stage_datagram(i, &bytes);
    if (strcmp(stage_datagram_peer(i), source) != 0)
        stage_fail(__FILE__, __LINE__, "datagram %d comes from %s, not %s", i, stage_datagram_peer(i),
                   source);
    stage_equal(len, strlen(text));
    stage_expect(memcmp(bytes, text, len) == 0);
}

static void down(const char *interface) {
    stage_link(interface, false);
    stage_wait(!stage_offered(strcmp(interface, "wifi0") == 0 ? "wifi" : "cell"));
}

static void up(const char *interface) {
    stage_link(interface, true);
    stage_wait(stage_offered(strcmp(interface, "wifi0") == 0 ? "wifi" : "cell"));
}

static in_port_t own_port(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    stage_equal(getsockname(sock, (struct sockaddr *)&name, &len), 0);
    return name.sin_port;
}

/* ---- by their labels ---- */

static void a_datagram_goes_by_the_network_that_matches(void) {
    make(0);
    stage_equal(put_to("unconnected"), 11);
    expect_datagram(0, "10.2.0.2", "unconnected");
    stage_equal(dial(), 0);
    stage_equal(put("connected"), 9);
    expect_datagram(1, "10.2.0.2", "connected");
    stage_equal(write(sock, "written", 7), 7);
    expect_datagram(2, "10.2.0.2", "written");
}

/* The scout, which would tell, is gone: its last word stands. */
static void what_has_no_way_by_a_young_network_goes_by_the_other(void) {
    make(0);
    stage_equal(dial(), 0);
    stage_equal(put("one"), 3);
    expect_datagram(0, "10.1.0.2", "one");
    stage_scout_kill();
    stage_link("wifi0", false);
    stage_equal(put("two"), 3);
    expect_datagram(1, "10.2.0.2", "two");
}

static void one_socket_serves_destinations_of_either_kind(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
    socklen_t len = sizeof own;
    char text[8];
    int local = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(bind(local, (struct sockaddr *)&own, len), 0);
    stage_equal(getsockname(local, (struct sockaddr *)&own, &len), 0);
    make(0);
    for (int i = 0; i < 3; i++) {
        stage_equal(put_to("far"), 3);
        expect_datagram(i, "10.2.0.2", "far");
        stage_equal(sendto(sock, "near", 4, 0, (struct sockaddr *)&own, sizeof own), 4);
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
    sock = socket(AF_INET6, SOCK_DGRAM, 0);
    stage_equal(sendto(sock, "mapped", 6, 0, (struct sockaddr *)&to, sizeof to), 6);
    expect_datagram(0, "10.2.0.2", "mapped");
    stage_shell("for n in 1:wifi0 2:cell0; do ip -6 addr add fd00:${n%%%%:*}::2/64 dev ${n#*:} nodad && "
                "ip -6 route replace default via fd00:${n%%%%:*}::1 dev ${n#*:} metric ${n%%%%:*}00; done");
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    inet_pton(AF_INET6, "fd00:2::2", &cell.sin6_addr);
    stage_wait(connect(sock, (struct sockaddr *)&to, sizeof to) == 0 &&
               getsockname(sock, (struct sockaddr *)&own, &len) == 0 &&
               memcmp(&own.sin6_addr, &cell.sin6_addr, 16) == 0);
}

/* ---- waiting ---- */

static void connect_never_waits_and_the_socket_is_silent_until_it_can_send(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    int value = -1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u64 = 7};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    down("cell0");
    make(SOCK_NONBLOCK);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    stage_equal(dial(), 0);
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, MOMENT_MS), 0);
    stage_equal(epoll_wait(set, &e, 1, MOMENT_MS), 0);
    stage_fails(put("early"), EAGAIN);
    char byte;
    stage_fails(recv(sock, &byte, 1, 0), EAGAIN);
    stage_fails(read(sock, &byte, 1), EAGAIN);
    stage_equal(getpeername(sock, (struct sockaddr *)&name, &len), 0);
    stage_equal(name.sin_port, stage_udp().sin_port);
    len = sizeof value;
    stage_equal(getsockopt(sock, SOL_SOCKET, SO_TYPE, &value, &len), 0);
    stage_equal(value, SOCK_DGRAM);
    value = 50000;
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, sizeof value), 0);
    stage_equal(fcntl(sock, F_GETFL), O_RDWR | O_NONBLOCK);
    up("cell0");
    stage_equal(epoll_wait(set, &e, 1, -1), 1);
    stage_equal(e.events, EPOLLOUT);
    stage_equal(e.data.u64, 7);
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(put("late"), 4);
    expect_datagram(0, "10.2.0.2", "late");
    stage_equal(getsockopt(sock, SOL_SOCKET, SO_RCVBUF, &value, &len), 0);
    stage_equal(value, 100000);
}

/* The network that comes has no address of that family. */
static void what_can_never_be_sent_is_told_and_the_socket_is_silent_no_more(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    down("cell0");
    sock = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_fails(sendto(sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to), EAGAIN);
    stage_equal(stage_polled(sock, POLLOUT, 0), 0);
    up("cell0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT); /* not before it has settled */
    stage_fails(sendto(sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to), ENETUNREACH);
    stage_equal(stage_polled(sock, POLLOUT, 0), POLLOUT);
}

static void an_unconnected_socket_is_silent_from_its_first_send_on(void) {
    down("cell0");
    make(SOCK_NONBLOCK);
    stage_equal(stage_polled(sock, POLLOUT, 0), POLLOUT);
    stage_fails(put_to("early"), EAGAIN);
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, MOMENT_MS), 0);
    up("cell0");
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(put_to("late"), 4);
    expect_datagram(0, "10.2.0.2", "late");
}

static _Atomic bool over;
static ssize_t result;

static void *sender(void *unused) {
    (void)unused;
    result = put_to("patiently");
    over = true;
    return NULL;
}

static void a_blocking_send_waits(void) {
    pthread_t thread;
    down("cell0");
    make(0);
    pthread_create(&thread, NULL, sender, NULL);
    stage_wait(stage_polled(sock, POLLOUT, 0) == 0); /* it has been put aside */
    stage_expect(!over);
    stage_equal(stage_datagrams(), 0);
    up("cell0");
    stage_wait(over);
    stage_equal(result, 9);
    expect_datagram(0, "10.2.0.2", "patiently");
    pthread_join(thread, NULL);
}

static void with_no_route_at_all_it_waits_too(void) {
    down("cell0");
    down("wifi0");
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    stage_fails(put("early"), EAGAIN);
    up("cell0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("late"), 4);
    expect_datagram(0, "10.2.0.2", "late");
}

/* ---- without a wish: a rule of "none" ---- */

static void no_wish_goes_as_the_kernel_routes_it(void) {
    make(0);
    stage_equal(put_to("unconnected"), 11);
    expect_datagram(0, "10.1.0.2", "unconnected");
    stage_equal(dial(), 0);
    stage_equal(put("connected"), 9);
    expect_datagram(1, "10.1.0.2", "connected");
}

static void no_wish_waits_only_while_there_is_no_route_at_all(void) {
    make(SOCK_NONBLOCK);
    down("cell0");
    stage_equal(put_to("by wifi"), 7);
    expect_datagram(0, "10.1.0.2", "by wifi");
    down("wifi0");
    stage_fails(put_to("early"), EAGAIN);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    stage_equal(dial(), 0);
    stage_fails(put("early"), EAGAIN);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    up("cell0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("by cell"), 7);
    expect_datagram(1, "10.2.0.2", "by cell");
    down("cell0");
    stage_fails(put("early"), EAGAIN);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    up("wifi0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("again"), 5);
    expect_datagram(2, "10.1.0.2", "again");
}

/* The networks that are up have been so for a while: what they lack they lack. */
static bool settled(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const bool told = sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) < 0 && errno == ENETUNREACH;
    close(fd);
    return told;
}

/* The kernel has taken the route, and no scout tells. */
static void a_way_that_went_unheard_of_is_waited_for(void) {
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    stage_equal(put("1"), 1);
    expect_datagram(0, "10.1.0.2", "1");
    stage_wait(settled());
    stage_scout_kill();
    stage_shell("ip route flush default");
    stage_fails(put("2"), EAGAIN);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    stage_shell("ip route add default via 10.2.0.1");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("3"), 1);
    expect_datagram(1, "10.2.0.2", "3");
}

static void without_a_wish_a_blocking_send_waits_too(void) {
    pthread_t thread;
    down("cell0");
    down("wifi0");
    make(0);
    pthread_create(&thread, NULL, sender, NULL);
    stage_wait(stage_polled(sock, POLLOUT, 0) == 0); /* it has been put aside */
    stage_expect(!over);
    up("wifi0");
    stage_wait(over);
    stage_equal(result, 9);
    expect_datagram(0, "10.1.0.2", "patiently");
    pthread_join(thread, NULL);
}

static void without_a_wish_patience_ends_a_blocking_send(void) {
    down("cell0");
    down("wifi0");
    make(0);
    stage_fails(put_to("never"), ETIMEDOUT);
    stage_equal(dial(), 0);
    stage_fails(put("never"), ETIMEDOUT);
}

/* Nothing waits for what networks that are up do not have: programs try the other family. */
static void without_a_wish_a_family_that_no_network_has_is_unreachable(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    sock = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_wait(sendto(sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == -1 && errno == ENETUNREACH);
    stage_equal(stage_polled(sock, POLLOUT, 0), POLLOUT);
    stage_fails(connect(sock, (struct sockaddr *)&to, sizeof to), ENETUNREACH);
}

/* Somebody has decided so: that is no lack of a route. */
static void without_a_wish_what_is_prohibited_is_told(void) {
    make(SOCK_NONBLOCK);
    stage_shell("ip route add unreachable 10.9.0.1");
    stage_fails(put_to("never"), EHOSTUNREACH);
    stage_fails(dial(), EHOSTUNREACH);
    stage_shell("ip route replace prohibit 10.9.0.1");
    stage_fails(put_to("never"), EACCES);
    stage_equal(stage_polled(sock, POLLOUT, 0), POLLOUT);
}

/* ---- how long ---- */

static void patience_ends_a_blocking_send(void) {
    down("cell0");
    make(0);
    stage_fails(put_to("never"), ETIMEDOUT);
    stage_equal(dial(), 0);
    stage_fails(put("never"), ETIMEDOUT);
}

static void SO_SNDTIMEO_ends_a_blocking_send(void) {
    const struct timeval soon = {0, 100000};
    down("cell0");
    make(0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon), 0);
    stage_fails(put_to("never"), EAGAIN);
    stage_equal(dial(), 0);
    stage_fails(put("never"), EAGAIN);
    up("cell0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("now"), 3);
    expect_datagram(0, "10.2.0.2", "now");
}

static void what_waits_can_be_copied_and_closed(void) {
    down("cell0");
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    const int copy = dup(sock);
    stage_equal(close(sock), 0);
    sock = copy;
    stage_fails(put("early"), EAGAIN);
    up("cell0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("by the copy"), 11);
    expect_datagram(0, "10.2.0.2", "by the copy");
    stage_equal(close(sock), 0);
    stage_fails(fcntl(sock, F_GETFD), EBADF);
}

static void a_forked_child_sends_as_its_parent_does(void) {
    int status;
    down("cell0");
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    const pid_t child = fork();
    if (child == 0) {
        fcntl(sock, F_SETFL, 0);
        _exit(put("child") == 5 ? 0 : 1);
    }
    stage_fails(put("parent"), EAGAIN);
    up("cell0");
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
    expect_datagram(0, "10.2.0.2", "child");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("parent"), 6);
    expect_datagram(1, "10.2.0.2", "parent");
}

/* ---- moving ---- */

static void a_connected_socket_moves_and_keeps_its_port(void) {
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    const in_port_t port = own_port();
    stage_equal(put("by wifi"), 7);
    expect_datagram(0, "10.1.0.2", "by wifi");
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("by cell"), 7);
    expect_datagram(1, "10.2.0.2", "by cell");
    stage_equal(own_port(), port);
    up("wifi0");
    stage_equal(put("still by cell"), 13); /* what works is not left for what is preferred */
    expect_datagram(2, "10.2.0.2", "still by cell");
    stage_link("cell0", false);
    stage_wait(!stage_offered("cell"));
    stage_equal(put("by wifi again"), 13);
    expect_datagram(3, "10.1.0.2", "by wifi again");
    stage_equal(own_port(), port);
}

static void answers_come_by_the_new_network(void) {
    char text[16] = "";
    stage_echo(true);
    make(0);
    stage_equal(dial(), 0);
    stage_equal(put("one"), 3);
    stage_equal(recv(sock, text, sizeof text, 0), 3);
    down("wifi0");
    stage_equal(put("two"), 3);
    stage_equal(recv(sock, text, sizeof text, 0), 3);
    stage_equal(memcmp(text, "two", 3), 0);
    expect_datagram(1, "10.2.0.2", "two");
}

static void an_unconnected_socket_moves_with_its_next_datagram(void) {
    make(0);
    stage_equal(put_to("by wifi"), 7);
    expect_datagram(0, "10.1.0.2", "by wifi");
    down("wifi0");
    stage_equal(put_to("by cell"), 7);
    expect_datagram(1, "10.2.0.2", "by cell");
}

static void a_socket_that_loses_its_network_is_silent_until_another_comes(void) {
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    stage_equal(put("before"), 6);
    expect_datagram(0, "10.2.0.2", "before");
    down("cell0");
    stage_wait(stage_polled(sock, POLLOUT, 0) == 0);
    stage_fails(put("meanwhile"), EAGAIN);
    up("cell0");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(put("after"), 5);
    expect_datagram(1, "10.2.0.2", "after");
}

static void what_arrived_is_read_though_the_network_is_gone(void) {
    char text[16];
    stage_echo(true);
    make(SOCK_NONBLOCK);
    stage_equal(dial(), 0);
    stage_equal(put("answer"), 6);
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
    down("cell0");
    stage_equal(stage_polled(sock, POLLIN, 0), POLLIN);
    stage_equal(recv(sock, text, sizeof text, 0), 6);
    stage_fails(put("more"), EAGAIN);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
}

static void a_socket_bound_by_the_program_is_left_alone(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(4711)};
    make(0);
    stage_equal(bind(sock, (struct sockaddr *)&own, sizeof own), 0);
    stage_equal(put_to("as routed"), 9);
    expect_datagram(0, "10.1.0.2", "as routed");
}

static void the_wildcard_and_port_0_is_no_bind(void) {
    struct sockaddr_in own = {.sin_family = AF_INET};
    make(0);
    stage_equal(bind(sock, (struct sockaddr *)&own, sizeof own), 0);
    const in_port_t port = own_port();
    stage_equal(dial(), 0);
    stage_equal(put("labeled"), 7);
    expect_datagram(0, "10.2.0.2", "labeled");
    stage_equal(own_port(), port);
}

static void broadcasts_follow_the_routes(void) {
    const int on = 1;
    make(0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_BROADCAST, &on, sizeof on), 0);
    stage_equal(put_to("as routed"), 9);
    expect_datagram(0, "10.1.0.2", "as routed");
}

static void an_errors_word_is_told_once(void) {
    struct sockaddr_in nobody = stage_udp();
    nobody.sin_port = htons(1);
    char byte;
    make(0);
    stage_equal(connect(sock, (struct sockaddr *)&nobody, sizeof nobody), 0);
    stage_equal(put("hello"), 5);
    stage_expect(stage_polled(sock, POLLIN, -1) & POLLERR);
    stage_fails(recv(sock, &byte, 1, 0), ECONNREFUSED);
    stage_equal(put("hello"), 5);
    stage_expect(stage_polled(sock, POLLIN, -1) & POLLERR);
    stage_fails(put("hello"), ECONNREFUSED);
}

static const struct stage_test tests[] = {
#define TEST(name, labels) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=" labels)
    TEST(a_datagram_goes_by_the_network_that_matches, "small"),
    TEST(what_has_no_way_by_a_young_network_goes_by_the_other, "large"),
    TEST(one_socket_serves_destinations_of_either_kind, "small"),
    TEST(an_IPv6_socket_goes_by_it_too, "small"),
    TEST(connect_never_waits_and_the_socket_is_silent_until_it_can_send, "small"),
    TEST(what_can_never_be_sent_is_told_and_the_socket_is_silent_no_more, "small"),
    TEST(an_unconnected_socket_is_silent_from_its_first_send_on, "small"),
    TEST(a_blocking_send_waits, "small"),
    TEST(with_no_route_at_all_it_waits_too, "small"),
    TEST(no_wish_goes_as_the_kernel_routes_it, "small CMM_RULES=10.9.0.0/16=none"),
    TEST(no_wish_waits_only_while_there_is_no_route_at_all, "small CMM_RULES=10.9.0.0/16=none"),
    TEST(a_way_that_went_unheard_of_is_waited_for, "small CMM_RULES=10.9.0.0/16=none"),
    TEST(without_a_wish_a_blocking_send_waits_too, "small CMM_RULES=10.9.0.0/16=none"),
    TEST(without_a_wish_patience_ends_a_blocking_send, "small CMM_PATIENCE=0.3 CMM_RULES=10.9.0.0/16=none"),
    TEST(without_a_wish_a_family_that_no_network_has_is_unreachable, "small CMM_RULES=[fd00::]/8=none"),
    TEST(without_a_wish_what_is_prohibited_is_told, "small CMM_RULES=10.9.0.0/16=none"),
    TEST(patience_ends_a_blocking_send, "small CMM_PATIENCE=0.3"),
    TEST(SO_SNDTIMEO_ends_a_blocking_send, "small"),
    TEST(what_waits_can_be_copied_and_closed, "small"),
    TEST(a_forked_child_sends_as_its_parent_does, "small"),
    TEST(a_connected_socket_moves_and_keeps_its_port, "large"),
    TEST(answers_come_by_the_new_network, "large"),
    TEST(an_unconnected_socket_moves_with_its_next_datagram, "large"),
    TEST(a_socket_that_loses_its_network_is_silent_until_another_comes, "small"),
    TEST(what_arrived_is_read_though_the_network_is_gone, "small"),
    TEST(a_socket_bound_by_the_program_is_left_alone, "small"),
    TEST(the_wildcard_and_port_0_is_no_bind, "small"),
    TEST(broadcasts_follow_the_routes, "small"),
    TEST(an_errors_word_is_told_once, "small"),
};

STAGE_MAIN(world, tests)

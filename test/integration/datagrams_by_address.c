/* datagrams_by_address - where a network is an address, a datagram socket moves by a description of its own:
 * port, options, duplicates, epoll sets and who waits in a receive stay. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = all\nmetric = 200\n";

static int sock;

static void make(void) {
    stage_up("wifi");
    stage_up("cell");
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    stage_expect(sock >= 0);
}

static void dial(void) {
    struct sockaddr_in to = stage_udp();
    make();
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
}

static void put_to(const char *text) {
    struct sockaddr_in to = stage_udp();
    stage_equal(sendto(sock, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to), strlen(text));
}

static in_port_t own_port(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    stage_equal(getsockname(sock, (struct sockaddr *)&name, &len), 0);
    return name.sin_port;
}

static void expect_datagram(int i, const char *source) {
    stage_wait(stage_datagrams() > i);
    if (strcmp(stage_datagram_peer(i), source) != 0)
        stage_fail(__FILE__, __LINE__, "datagram %d comes from %s", i, stage_datagram_peer(i));
}

static void a_connected_socket_keeps_its_port(void) {
    dial();
    stage_equal(send(sock, "1", 1, 0), 1);
    expect_datagram(0, "127.0.1.1");
    const in_port_t port = own_port();
    stage_down("wifi");
    stage_equal(send(sock, "2", 1, 0), 1);
    expect_datagram(1, "127.0.2.1");
    stage_equal(own_port(), port);
    stage_up("wifi");
    stage_down("cell");
    stage_equal(send(sock, "3", 1, 0), 1);
    expect_datagram(2, "127.0.1.1");
    stage_equal(own_port(), port);
}

static void an_unconnected_socket_keeps_its_port(void) {
    make();
    put_to("1");
    const in_port_t port = own_port();
    stage_down("wifi");
    put_to("2");
    expect_datagram(1, "127.0.2.1");
    stage_equal(own_port(), port);
}

static void take_port(const char *address, in_port_t port) {
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = inet_addr(address)};
    stage_equal(bind(socket(AF_INET, SOCK_DGRAM, 0), (const struct sockaddr *)&at, sizeof at), 0);
}

static void where_its_port_is_taken_it_gets_another(void) {
    dial();
    stage_equal(send(sock, "1", 1, 0), 1);
    const in_port_t port = own_port();
    stage_down("wifi");
    stage_equal(send(sock, "2", 1, 0), 1);
    expect_datagram(1, "127.0.2.1");
    stage_equal(own_port(), port);
    take_port("127.0.1.1", port);
    stage_up("wifi");
    stage_down("cell");
    stage_equal(send(sock, "3", 1, 0), 1);
    expect_datagram(2, "127.0.1.1");
    stage_expect(own_port() != port);
}

static bool told_to_wait(void) {
    return system("LD_PRELOAD= \"$CMM_CTL_EXE\" subscribers | grep -q small") == 0;
}

static void that_it_waits_is_told_until_it_goes(void) {
    struct sockaddr_in to = stage_udp();
    if (!getenv("CMM_CTL_EXE") || !*getenv("CMM_CTL_EXE"))
        stage_skip("built without the tools");
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_wait(told_to_wait());
    stage_up("wifi");
    stage_equal(send(sock, "1", 1, 0), 1);
    stage_wait(!told_to_wait());
}

static _Atomic long heard;

static void *in_recv(void *unused) {
    char bytes[8];
    const ssize_t n = recv(sock, bytes, sizeof bytes, 0);
    heard = n < 0 ? -errno : 100 + n;
    return unused;
}

static void a_thread_blocked_in_recv_hears_by_the_new_one(void) {
    pthread_t thread;
    int calm = 0;
    stage_echo(true);
    dial();
    stage_equal(pthread_create(&thread, NULL, in_recv, NULL), 0);
    stage_wait(++calm > 50);
    stage_down("wifi");
    stage_wait(++calm > 100);
    stage_equal(heard, 0);
    stage_equal(send(sock, "echo", 4, 0), 4);
    stage_wait(heard);
    stage_equal(heard, 104);
    pthread_join(thread, NULL);
}

/* Told by another wait that begins with it: longer than what the program allows, shorter than that counted
 * anew from the move. */
enum { ALLOWED = 3000, MOVED_AT = 1500, LONGER = 4000 };

static _Atomic bool later;

static void *in_longer_wait(void *unused) {
    poll(NULL, 0, MOVED_AT);
    stage_down("wifi");
    poll(NULL, 0, LONGER - MOVED_AT);
    later = true;
    return unused;
}

static void SO_RCVTIMEO_runs_on_while_it_moves(void) {
    const struct timeval limit = {.tv_sec = ALLOWED / 1000};
    pthread_t receiver, clock;
    dial();
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    stage_equal(pthread_create(&clock, NULL, in_longer_wait, NULL), 0);
    stage_equal(pthread_create(&receiver, NULL, in_recv, NULL), 0);
    stage_wait(heard);
    stage_expect(!later);
    stage_equal(heard, -EAGAIN);
    stage_equal(send(sock, "later", 5, 0), 5);
    expect_datagram(0, "127.0.2.1");
    pthread_join(receiver, NULL);
    pthread_join(clock, NULL);
}

static void duplicates_options_and_epoll_sets_stay(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7};
    int size = 50000;
    socklen_t len = sizeof size;
    char bytes[8];
    stage_echo(true);
    dial();
    const int copy = dup(sock), set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    stage_down("wifi");
    stage_equal(send(copy, "echo", 4, 0), 4);
    expect_datagram(0, "127.0.2.1");
    stage_equal(epoll_wait(set, &e, 1, -1), 1);
    stage_equal(e.data.u64, 7);
    stage_equal(recv(copy, bytes, sizeof bytes, 0), 4);
    stage_equal(getsockopt(copy, SOL_SOCKET, SO_RCVBUF, &size, &len), 0);
    stage_equal(size, 100000);
}

/* ---- what had arrived ---- */

static int available(void) {
    int bytes = -1;
    stage_equal(ioctl(sock, FIONREAD, &bytes), 0);
    return bytes;
}

static bool readable(void) {
    struct pollfd p = {.fd = sock, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static bool on_cell(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    stage_equal(getsockname(sock, (struct sockaddr *)&name, &len), 0);
    return name.sin_addr.s_addr == inet_addr("127.0.2.1");
}

/* To where the socket is, by somebody else. */
static void hear(const char *text) {
    struct sockaddr_in to, from = stage_udp();
    socklen_t len = sizeof to;
    stage_equal(getsockname(sock, (struct sockaddr *)&to, &len), 0);
    from.sin_port = 0;
    const int other = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(bind(other, (struct sockaddr *)&from, sizeof from), 0);
    stage_equal(sendto(other, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to), strlen(text));
    stage_equal(close(other), 0);
}

static void expect_to_read(const char *text) {
    char bytes[8];
    stage_wait(readable());
    stage_equal(recv(sock, bytes, sizeof bytes, MSG_DONTWAIT), strlen(text));
    stage_expect(memcmp(bytes, text, strlen(text)) == 0);
}

static void what_had_arrived_is_read_before_what_the_new_one_hears(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7};
    char bytes[8];
    stage_echo(true);
    dial();
    const int set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    stage_equal(send(sock, "one", 3, 0), 3);
    stage_wait(available() == 3);
    stage_equal(send(sock, "", 0, 0), 0);
    stage_equal(send(sock, "three", 5, 0), 5);
    stage_wait(stage_datagrams() == 3);
    stage_down("wifi");
    stage_wait(on_cell());
    stage_equal(send(sock, "four", 4, 0), 4);
    stage_equal(available(), 3);
    stage_equal(epoll_wait(set, &e, 1, 0), 1);
    stage_equal(recv(sock, bytes, sizeof bytes, MSG_PEEK), 3);
    expect_to_read("one");
    expect_to_read("");
    expect_to_read("three");
    expect_to_read("four");
    stage_expect(!readable());
    stage_equal(epoll_wait(set, &e, 1, 0), 0);
    stage_equal(e.data.u64, 7);
}

static void what_had_arrived_unconnected_has_its_sender_yet(void) {
    struct sockaddr_in from, far = stage_udp();
    socklen_t len = sizeof from;
    char bytes[8];
    stage_echo(true);
    make();
    put_to("one");
    stage_wait(available() == 3);
    stage_down("wifi");
    put_to("two");
    stage_equal(recvfrom(sock, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &len), 3);
    stage_expect(memcmp(bytes, "one", 3) == 0);
    stage_equal(len, sizeof from);
    stage_equal(from.sin_port, far.sin_port);
    stage_equal(from.sin_addr.s_addr, far.sin_addr.s_addr);
    expect_to_read("two");
}

static void a_sender_is_told_as_far_as_there_is_room(void) {
    struct sockaddr_in far = stage_udp();
    char from[8] = "........", bytes[8];
    socklen_t len = 4;
    stage_echo(true);
    make();
    put_to("one");
    stage_wait(available() == 3);
    stage_down("wifi");
    put_to("two");
    stage_equal(recvfrom(sock, bytes, sizeof bytes, 0, (struct sockaddr *)from, &len), 3);
    stage_equal(len, sizeof far);
    stage_expect(memcmp(from, &far, 4) == 0 && memcmp(from + 4, "....", 4) == 0);
}

static void an_epoll_set_tells_of_what_had_arrived_before_a_send_has_moved_it(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 7};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    make();
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    put_to("1");
    hear("one");
    stage_wait(available() == 3);
    stage_down("wifi");
    put_to("2");
    expect_datagram(1, "127.0.2.1");
    stage_equal(epoll_wait(set, &e, 1, 0), 1);
    expect_to_read("one");
    stage_equal(epoll_wait(set, &e, 1, 0), 0);
}

static void what_had_arrived_where_a_child_is_left_is_the_childs(void) {
    char bytes[8];
    int go[2], status = 1;
    make();
    put_to("1");
    hear("one");
    stage_wait(available() == 3);
    stage_equal(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        _exit(read(go[0], bytes, 1) == 1 && recv(sock, bytes, sizeof bytes, MSG_DONTWAIT) == 3 ? 0 : 1);
    }
    stage_down("wifi");
    put_to("2");
    expect_datagram(1, "127.0.2.1");
    stage_equal(write(go[1], "", 1), 1);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
}

static bool refused(void) {
    struct pollfd p = {.fd = sock};
    return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

static _Atomic pid_t selector;

static void *select_urgent(void *unused) {
    fd_set urgent;
    FD_ZERO(&urgent);
    FD_SET(sock, &urgent);
    selector = gettid();
    select(sock + 1, NULL, NULL, &urgent, NULL);
    stage_fail(__FILE__, __LINE__, "select() has returned");
    return unused;
}

static void an_error_is_nothing_to_who_selects_urgent_bytes(void) {
    const struct sockaddr_in nobody = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = inet_addr("127.0.9.9")};
    pthread_t thread;
    int calm = 0;
    make();
    stage_equal(connect(sock, (const struct sockaddr *)&nobody, sizeof nobody), 0);
    stage_equal(send(sock, "who?", 4, 0), 4);
    stage_wait(refused());
    stage_equal(pthread_create(&thread, NULL, select_urgent, NULL), 0);
    stage_wait(selector && stage_asleep(selector) && ++calm > 50);
}

/* The kernel would tell the refusal first. */
static void what_had_arrived_before_a_refusal_is_read_too(void) {
    struct sockaddr_in at = stage_udp(), from;
    socklen_t len = sizeof at, from_len = sizeof from;
    const int other = socket(AF_INET, SOCK_DGRAM, 0);
    at.sin_port = 0;
    stage_equal(bind(other, (struct sockaddr *)&at, sizeof at), 0);
    stage_equal(getsockname(other, (struct sockaddr *)&at, &len), 0);
    make();
    stage_equal(connect(sock, (struct sockaddr *)&at, sizeof at), 0);
    stage_equal(getsockname(sock, (struct sockaddr *)&from, &from_len), 0);
    stage_equal(sendto(other, "last", 4, 0, (struct sockaddr *)&from, sizeof from), 4);
    stage_wait(available() == 4);
    stage_equal(close(other), 0);
    stage_equal(send(sock, "what?", 5, 0), 5);
    stage_wait(refused());
    stage_down("wifi");
    stage_wait(on_cell());
    expect_to_read("last");
}

static void *in_recvmmsg(void *unused) {
    char bytes[2][8];
    struct sockaddr_in from[2];
    struct iovec iov[2] = {{bytes[0], sizeof bytes[0]}, {bytes[1], sizeof bytes[1]}};
    struct mmsghdr msgs[2] = {{.msg_hdr = {.msg_iov = &iov[0], .msg_iovlen = 1}},
                              {.msg_hdr = {.msg_iov = &iov[1], .msg_iovlen = 1}}};
    for (int i = 0; i < 2; i++) {
        msgs[i].msg_hdr.msg_name = &from[i];
        msgs[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    const int n = recvmmsg(sock, msgs, 2, 0, NULL);
    const bool named =
        msgs[0].msg_hdr.msg_namelen == sizeof *from && msgs[1].msg_hdr.msg_namelen == sizeof *from;
    heard = n < 0 ? -errno : n * 100 + (long)(msgs[0].msg_len * 10 + msgs[1].msg_len) + (named ? 0 : 1000);
    return unused;
}

static void a_thread_blocked_in_recvmmsg_hears_by_the_new_one(void) {
    pthread_t thread;
    int calm = 0;
    make();
    put_to("1");
    stage_equal(pthread_create(&thread, NULL, in_recvmmsg, NULL), 0);
    hear("one");
    stage_wait(!readable());
    stage_wait(++calm > 50);
    stage_down("wifi");
    put_to("2");
    stage_wait(++calm > 100);
    stage_equal(heard, 0);
    hear("four");
    stage_wait(heard);
    stage_equal(heard, 234);
    pthread_join(thread, NULL);
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=small")
    TEST(a_connected_socket_keeps_its_port),
    TEST(an_unconnected_socket_keeps_its_port),
    TEST(where_its_port_is_taken_it_gets_another),
    TEST(that_it_waits_is_told_until_it_goes),
    TEST(a_thread_blocked_in_recv_hears_by_the_new_one),
    TEST(SO_RCVTIMEO_runs_on_while_it_moves),
    TEST(duplicates_options_and_epoll_sets_stay),
    TEST(what_had_arrived_is_read_before_what_the_new_one_hears),
    TEST(what_had_arrived_unconnected_has_its_sender_yet),
    TEST(an_epoll_set_tells_of_what_had_arrived_before_a_send_has_moved_it),
    TEST(what_had_arrived_where_a_child_is_left_is_the_childs),
    TEST(an_error_is_nothing_to_who_selects_urgent_bytes),
    STAGE_TEST_WITH(what_had_arrived_before_a_refusal_is_read_too, STAGE_PRELOAD, NULL,
                    "CMM_RULES=127.0.0.1=small"), /* not the peer's */
    TEST(a_sender_is_told_as_far_as_there_is_room),
    TEST(a_thread_blocked_in_recvmmsg_hears_by_the_new_one),
};

STAGE_MAIN(config, tests)

/* datagrams_by_address - where a network is an address, a datagram socket moves by a description of its own:
 * port, options, duplicates, epoll sets and who waits in a receive stay. */
#include "stage.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
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

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=small")
    TEST(a_connected_socket_keeps_its_port),
    TEST(an_unconnected_socket_keeps_its_port),
    TEST(a_thread_blocked_in_recv_hears_by_the_new_one),
    TEST(duplicates_options_and_epoll_sets_stay),
};

STAGE_MAIN(config, tests)

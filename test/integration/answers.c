/* answers - what the labeled calls answer: how long they wait, which error is which, and the names of labels
 * and networks. */
#include "hello.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- patience ---- */

static _Atomic int receiving, received;

static void *receive(void *arg) {
    char byte;
    receiving = 1;
    received = (int)cmm_recv(*(int *)arg, &byte, 1, 0);
    if (received < 0)
        received = -errno;
    receiving = 2;
    return NULL;
}

static void patience_covers_waits_for_a_network_never_waits_for_the_peer(void) {
    const struct timespec moment = {0, 20000000};
    pthread_t thread;
    stage_up("wifi");
    int sock = hello_connected(WIFI);
    int other = hello_connected(WIFI);
    stage_equal(cmm_set_patience(sock, &moment), 0);
    stage_equal(cmm_set_patience(other, &moment), 0);
    pthread_create(&thread, NULL, receive, &sock);
    stage_wait(receiving == 1);
    for (int i = 0; i < 5; i++)
        stage_fails(cmm_send(other, "x", 1, 0, CELL, NULL, NULL), ETIMEDOUT);
    stage_equal(receiving, 1);
    stage_wait(stage_connections() == 2);
    stage_say(0, "y");
    pthread_join(thread, NULL);
    stage_equal(received, 1);
}

static void *connect_with_patience(void *arg) {
    struct sockaddr_in to = stage_tcp();
    receiving = 1;
    received = cmm_connect(*(int *)arg, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL);
    receiving = 2;
    return NULL;
}

/* Others run out of it meanwhile, again and again. */
static void let_patience_pass(void) {
    const struct timespec moment = {0, 20000000};
    int other = hello_waiting(CELL);
    stage_equal(cmm_set_patience(other, &moment), 0);
    for (int i = 0; i < 5; i++)
        stage_fails(cmm_send(other, "x", 1, 0, CELL, NULL, NULL), ETIMEDOUT);
}

static void patience_does_not_cover_the_handshake(void) {
    const struct timespec moment = {0, 20000000};
    pthread_t thread;
    stage_up("wifi");
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_set_patience(sock, &moment), 0);
    stage_crowd(true);
    pthread_create(&thread, NULL, connect_with_patience, &sock);
    stage_wait(receiving == 1);
    let_patience_pass();
    stage_equal(receiving, 1);
    stage_crowd(false);
    pthread_join(thread, NULL);
    stage_equal(received, 0);
}

static _Atomic bool gate;

static void stop(void *arg) {
    (void)arg;
    hello_runs++;
    stage_wait(gate);
}

static void *wait_in_send(void *arg) {
    receiving = 1;
    received = (int)cmm_send(*(int *)arg, "x", 1, 0, WIFI, NULL, NULL);
    if (received < 0)
        received = -errno;
    return NULL;
}

static void patience_does_not_cover_the_wait_for_ones_turn(void) {
    const struct timespec moment = {0, 20000000};
    pthread_t thread;
    int sock = hello_waiting(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, stop, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(hello_runs == 1);
    stage_equal(cmm_set_patience(sock, &moment), 0);
    pthread_create(&thread, NULL, wait_in_send, &sock);
    stage_wait(receiving == 1);
    let_patience_pass();
    gate = true;
    pthread_join(thread, NULL);
    stage_equal(received, 1);
}

static void patience_ends_a_receive_that_waits_for_a_network(void) {
    const struct timespec moment = {0, 20000000};
    char byte;
    int sock = hello_waiting(WIFI);
    stage_equal(cmm_set_patience(sock, &moment), 0);
    stage_fails(cmm_recv(sock, &byte, 1, 0), ETIMEDOUT);
    stage_equal(cmm_set_patience(sock, NULL), 0);
    pthread_t thread;
    pthread_create(&thread, NULL, receive, &sock);
    stage_up("wifi");
    stage_wait(stage_connections() == 1);
    stage_say(0, "z");
    pthread_join(thread, NULL);
    stage_equal(received, 1);
}

/* ---- errors ---- */

static void what_is_no_cmm_socket_is_ebadf(void) {
    struct sockaddr_in to = stage_tcp();
    const struct timespec moment = {0, 1};
    struct cmm_network n;
    socklen_t len = sizeof to;
    char c = 0;
    const int plain = socket(AF_INET, SOCK_STREAM, 0), numbers[] = {-1, 0, 999999, plain};
    for (int i = 0; i < 4; i++) {
        const int fd = numbers[i];
        int value = 0;
        socklen_t size = sizeof value;
        struct iovec iov = {&c, 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        stage_fails(cmm_connect(fd, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), EBADF);
        stage_fails(cmm_send(fd, &c, 1, 0, WIFI, hello_send, NULL), EBADF);
        stage_fails(cmm_write(fd, &c, 1, WIFI, hello_send, NULL), EBADF);
        stage_fails(cmm_writev(fd, &iov, 1, WIFI, hello_send, NULL), EBADF);
        stage_fails(cmm_sendmsg(fd, &msg, 0, WIFI, hello_send, NULL), EBADF);
        stage_fails(cmm_recv(fd, &c, 1, 0), EBADF);
        stage_fails(cmm_read(fd, &c, 1), EBADF);
        stage_fails(cmm_setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value), EBADF);
        stage_fails(cmm_getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &size), EBADF);
        stage_fails(cmm_getpeername(fd, (struct sockaddr *)&to, &len), EBADF);
        stage_fails(cmm_getsockname(fd, (struct sockaddr *)&to, &len), EBADF);
        stage_fails(cmm_shutdown(fd, SHUT_WR), EBADF);
        stage_fails(cmm_reset(fd), EBADF);
        stage_fails(cmm_close(fd), EBADF);
        stage_fails(cmm_check_label(fd, WIFI, NULL, NULL), EBADF);
        stage_fails(cmm_thunk_cancel(fd, NULL, NULL), EBADF);
        stage_fails(cmm_thunk_count(fd), EBADF);
        stage_fails(cmm_unacked(fd), EBADF);
        stage_fails(cmm_set_replay(fd, 1), EBADF);
        stage_fails(cmm_set_patience(fd, &moment), EBADF);
        stage_fails(cmm_socket_network(fd, &n), EBADF);
    }
    stage_expect(close(plain) == 0);
}

static void before_cmm_connect_it_is_enotconn(void) {
    struct sockaddr_in at;
    struct cmm_network n;
    socklen_t len = sizeof at;
    char c = 0;
    stage_up("wifi");
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(cmm_send(sock, &c, 1, 0, WIFI, hello_send, NULL), ENOTCONN);
    stage_fails(cmm_send(sock, &c, 1, 0, CELL, hello_send, NULL), ENOTCONN);
    stage_fails(cmm_send(sock, &c, 1, 0, 0, NULL, NULL), ENOTCONN);
    stage_fails(cmm_recv(sock, &c, 1, 0), ENOTCONN);
    stage_fails(cmm_check_label(sock, WIFI, NULL, NULL), ENOTCONN);
    stage_fails(cmm_getpeername(sock, (struct sockaddr *)&at, &len), ENOTCONN);
    stage_fails(cmm_shutdown(sock, SHUT_WR), ENOTCONN);
    stage_fails(cmm_socket_network(sock, &n), ENOTCONN);
    stage_equal(cmm_thunk_count(sock), 0);
}

static void a_second_cmm_connect_is_eisconn(void) {
    struct sockaddr_in to = stage_tcp();
    int waiting = hello_waiting(WIFI);
    stage_fails(cmm_connect(waiting, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), EISCONN);
    stage_up("wifi");
    int live = hello_connected(WIFI);
    stage_fails(cmm_connect(live, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), EISCONN);
    stage_equal(cmm_reset(live), 0);
    stage_equal(cmm_connect(live, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), 0);
}

static void unknown_label_bits_and_bad_arguments_are_einval(void) {
    struct sockaddr_in to = stage_tcp();
    const struct timespec negative = {-1, 0}, crooked = {0, 1000000000};
    struct iovec iov = {NULL, 0};
    unsigned long labels = 5;
    stage_up("wifi");
    int fresh = cmm_socket(AF_INET, SOCK_STREAM, 0);
    for (int bit = 0; bit < 32; bit++) {
        if ((1UL << bit) & 0xf3fUL)
            continue;
        stage_fails(cmm_connect(fresh, (struct sockaddr *)&to, sizeof to, 1UL << bit, NULL, NULL, NULL),
                    EINVAL);
    }
    int sock = hello_connected(WIFI);
    stage_fails(cmm_send(sock, "x", 1, 0, 0x40, hello_send, NULL), EINVAL);
    stage_fails(cmm_check_label(sock, 0x80, NULL, NULL), EINVAL);
    stage_fails(cmm_set_default_labels(0x1000), EINVAL);
    stage_fails(cmm_connect(fresh, NULL, sizeof to, WIFI, NULL, NULL, NULL), EINVAL);
    stage_fails(cmm_connect(fresh, (struct sockaddr *)&to, 3, WIFI, NULL, NULL, NULL), EINVAL);
    stage_fails(cmm_writev(sock, &iov, -1, WIFI, NULL, NULL), EINVAL);
    stage_fails(cmm_set_patience(sock, &negative), EINVAL);
    stage_fails(cmm_set_patience(sock, &crooked), EINVAL);
    stage_fails(cmm_set_dispatch(2), EINVAL);
    stage_fails(cmm_socket_network(sock, NULL), EINVAL);
    stage_fails(cmm_labels_parse(NULL, &labels), EINVAL);
    stage_fails(cmm_labels_parse("red", NULL), EINVAL);
    stage_equal(cmm_get_default_labels(), 0);
    stage_equal(cmm_connect(fresh, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), 0);
    stage_equal(hello_runs, 0);
}

static void patience_over_is_etimedout(void) {
    const struct timespec none = {0, 0};
    int sock = hello_waiting(WIFI);
    stage_equal(cmm_set_patience(sock, &none), 0);
    stage_fails(cmm_send(sock, "x", 1, 0, WIFI, NULL, NULL), ETIMEDOUT);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, hello_send, NULL), CMM_DEFERRED); /* a thunk waits for ever */
}

static void closed_while_waiting_is_ecanceled(void) {
    pthread_t thread;
    int sock = hello_waiting(WIFI);
    pthread_create(&thread, NULL, wait_in_send, &sock);
    stage_wait(receiving == 1 && cmm_check_label(sock, WIFI, NULL, NULL) == CMM_DEFERRED);
    stage_pause();
    stage_pause();
    stage_equal(cmm_close(sock), 0);
    pthread_join(thread, NULL);
    stage_expect(received == -ECANCELED || received == -EBADF); /* EBADF: it had not begun to wait */
}

static void no_listed_network_of_that_family_ever_is_enetunreach(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = 9};
    int sock = cmm_socket(AF_INET6, SOCK_STREAM, 0);
    if (sock < 0 && errno == EAFNOSUPPORT)
        return;
    stage_up("wifi"); /* so the library has heard of all that are listed */
    stage_down("wifi");
    stage_fails(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), ENETUNREACH);
}

/* ---- names ---- */

static void label_names_are_read_and_written(void) {
    unsigned long labels = 1;
    char text[64];
    stage_equal(cmm_labels_parse("background,large", &labels), 0);
    stage_equal(labels, CMM_LABEL_BACKGROUND | CMM_LABEL_LARGE);
    stage_equal(cmm_labels_parse("none", &labels), 0);
    stage_equal(labels, 0);
    stage_equal(cmm_labels_parse("bit63", &labels), 0);
    stage_expect(labels == 1UL << 63);
    stage_fails(cmm_labels_parse("red,nonsense", &labels), EINVAL);
    stage_fails(cmm_labels_parse("bit64", &labels), EINVAL);
    stage_expect(labels == 1UL << 63); /* untouched */
    stage_equal(cmm_labels_format(CMM_LABEL_RED | CMM_LABEL_WIFI, text, sizeof text), 8);
    stage_expect(strcmp(text, "red,wifi") == 0);
    stage_equal(cmm_labels_format(CMM_LABEL_RED | CMM_LABEL_WIFI, text, 5), 8);
    stage_expect(strcmp(text, "red,") == 0);
    stage_equal(cmm_labels_format(CMM_LABEL_RED, NULL, 0), 3);
    stage_equal(cmm_labels_format(0, text, sizeof text), 4);
    stage_expect(strcmp(text, "none") == 0);
}

static void user_labels_are_known_to_whoever_can_ask_the_scout(void) {
    unsigned long labels = 0;
    char text[64];
    stage_equal(cmm_labels_parse("backup,red", &labels), 0);
    stage_expect(labels == (1UL << 40 | CMM_LABEL_RED));
    cmm_labels_format(labels, text, sizeof text);
    stage_expect(strcmp(text, "red,backup") == 0);
    stage_up("wifi");
    int sock = hello_connected(1UL << 40);
    stage_equal(cmm_send(sock, "saved", 5, 0, 1UL << 40, NULL, NULL), 5);
    stage_expect_connection(0, "127.0.1.1");
}

static void without_a_scout_a_user_label_is_unknown_and_its_bit_works(void) {
    unsigned long labels = 0;
    char text[64];
    stage_fails(cmm_labels_parse("backup", &labels), EINVAL);
    stage_equal(cmm_labels_parse("bit40", &labels), 0);
    stage_expect(labels == 1UL << 40);
    cmm_labels_format(labels, text, sizeof text);
    stage_expect(strcmp(text, "bit40") == 0);
}

/* ---- networks ---- */

static void cmm_networks_tells_what_is_usable_now(void) {
    struct cmm_network n[3];
    memset(n, 0x55, sizeof n);
    stage_equal(cmm_networks(n, 3), 0);
    stage_up("wifi");
    stage_equal(cmm_networks(n, 3), 1);
    stage_expect(strcmp(n[0].name, "wifi") == 0);
    stage_equal(n[0].ifindex, 0);
    stage_expect((n[0].labels & (WIFI | 1UL << 40)) == (WIFI | 1UL << 40) && !(n[0].labels & CELL));
    stage_up("cell");
    stage_equal(cmm_networks(n, 2), 2);
    stage_expect(n[0].id != n[1].id && n[0].id && n[1].id);
    stage_equal(n[2].ifindex, 0x55555555);
    stage_equal(cmm_networks(n, 1), 2);
    stage_equal(cmm_networks(NULL, 0), 2);
    stage_down("wifi");
    stage_equal(cmm_networks(n, 3), 1);
    stage_expect(strcmp(n[0].name, "cell") == 0);
}

static void cmm_socket_network_tells_the_one_the_socket_is_on(void) {
    struct cmm_network n;
    int sock = hello_waiting(WIFI);
    stage_fails(cmm_socket_network(sock, &n), ENOTCONN);
    stage_up("wifi");
    stage_up("cell");
    stage_wait(cmm_socket_network(sock, &n) == 0);
    stage_expect(strcmp(n.name, "wifi") == 0);
    stage_equal(cmm_send(sock, "x", 1, 0, CELL, NULL, NULL), 1);
    stage_equal(cmm_socket_network(sock, &n), 0);
    stage_expect(strcmp(n.name, "cell") == 0);
    stage_down("cell");
    stage_wait(cmm_socket_network(sock, &n) == -1 || strcmp(n.name, "cell") != 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(patience_covers_waits_for_a_network_never_waits_for_the_peer),
    STAGE_TEST(patience_does_not_cover_the_handshake),
    STAGE_TEST(patience_does_not_cover_the_wait_for_ones_turn),
    STAGE_TEST(patience_ends_a_receive_that_waits_for_a_network),
    STAGE_TEST(what_is_no_cmm_socket_is_ebadf),
    STAGE_TEST(before_cmm_connect_it_is_enotconn),
    STAGE_TEST(a_second_cmm_connect_is_eisconn),
    STAGE_TEST(unknown_label_bits_and_bad_arguments_are_einval),
    STAGE_TEST(patience_over_is_etimedout),
    STAGE_TEST(closed_while_waiting_is_ecanceled),
    STAGE_TEST(no_listed_network_of_that_family_ever_is_enetunreach),
    STAGE_TEST(label_names_are_read_and_written),
    STAGE_TEST(user_labels_are_known_to_whoever_can_ask_the_scout),
    STAGE_TEST_IN(without_a_scout_a_user_label_is_unknown_and_its_bit_works, STAGE_ALONE, NULL),
    STAGE_TEST(cmm_networks_tells_what_is_usable_now),
    STAGE_TEST(cmm_socket_network_tells_the_one_the_socket_is_on),
};

STAGE_MAIN(hello_config, tests)

/* connects - what connect() tells an unmodified program stays what Linux tells.
 * Preloaded, on networks that are addresses of the loopback interface; a rule takes its destinations in. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char config[] = "[label away]\nbit = 40\n"
                             "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = small, away\n";

enum { MOMENT_MS = 200 };

static int sock = -1;

static int make(int flags) {
    sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    return sock;
}

static int dial_again(void) {
    struct sockaddr_in to = stage_tcp();
    return connect(sock, (struct sockaddr *)&to, sizeof to);
}

static int dial(int flags) {
    make(flags);
    return dial_again();
}

static void expect_talk(int connection, const char *text) {
    stage_equal(send(sock, text, strlen(text), 0), strlen(text));
    stage_expect_connection(connection, "127.0.1.1");
    stage_wait(stage_is_text(connection, text));
}

static void a_listen_that_fails_changes_nothing(void) {
    struct sockaddr_in to = stage_udp();
    sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_fails(listen(sock, 1), EOPNOTSUPP);
    stage_fails(sendto(sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to), EAGAIN);
}

/* ---- how long ---- */

static void patience_is_for_networks_not_for_handshakes(void) {
    stage_crowd(true);
    stage_up("wifi");
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_up("cell");                                           /* the library looks at its clocks */
    stage_equal(stage_polled(sock, POLLOUT, 3 * MOMENT_MS), 0); /* longer than it is patient */
    stage_fails(dial_again(), EALREADY);
    stage_crowd(false);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(stage_so_error(sock), 0);
    expect_talk(0, "at last");
}

static void a_blocking_handshake_outlasts_patience_too(void) {
    const struct timeval timeout = {0, 3 * MOMENT_MS * 1000};
    stage_crowd(true);
    stage_up("wifi");
    make(0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    stage_fails(dial_again(), EINPROGRESS); /* the program's own time, not ETIMEDOUT */
    stage_crowd(false);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    expect_talk(0, "at last");
}

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Atomic bool silent;
static long answer;

static void *dialer(void *unused) {
    (void)unused;
    silent = true;
    answer = dial_again() < 0 ? errno : 0;
    return NULL;
}

/* The network comes while it is patient; how long the peer takes then is another matter. */
static void a_handshake_that_follows_a_wait_outlasts_patience_too(void) {
    const long patience = 3000;
    pthread_t thread;
    long began, came;
    stage_crowd(true);
    do {
        stage_down("wifi");
        make(0);
        silent = false;
        began = now_ms();
        stage_equal(pthread_create(&thread, NULL, dialer, NULL), 0);
        stage_wait(silent && stage_polled(sock, POLLOUT, 0) == 0); /* it waits */
        stage_up("wifi");
        came = now_ms();
        stage_wait(now_ms() > began + patience + 5 * MOMENT_MS);
        stage_crowd(came >= began + patience);
        stage_equal(pthread_join(thread, NULL), 0);
    } while (came >= began + patience); /* it came too late to prove anything */
    stage_equal(answer, 0);
    expect_talk(stage_connections() - 1, "at last");
}

static void the_programs_own_timeout_ends_the_call_not_the_attempt(void) {
    const struct timeval timeout = {0, MOMENT_MS * 1000};
    make(0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    stage_fails(dial_again(), EINPROGRESS);
    stage_fails(dial_again(), EALREADY);
    stage_equal(stage_polled(sock, POLLOUT, 0), 0);
    stage_up("wifi");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(stage_so_error(sock), 0);
    expect_talk(0, "at last");
}

/* ---- what can never be ---- */

static void expect_refusal(int family, const void *to, socklen_t len, int error) {
    const int fd = socket(family, SOCK_STREAM, 0);
    if (connect(fd, to, len) != -1 || errno != error)
        stage_fail(__FILE__, __LINE__, "family %d, %d bytes: %m", family, (int)len);
    close(fd);
}

/* No network is there: what is ours would wait. */
static void a_wrong_address_is_refused_without_a_network(void) {
    struct sockaddr_in in = stage_tcp();
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = in.sin_port};
    struct sockaddr_storage large = {.ss_family = AF_INET};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &in6.sin6_addr);
    expect_refusal(AF_INET, &in, 8, EINVAL);
    expect_refusal(AF_INET, &in, 1, EINVAL);
    expect_refusal(AF_INET, &large, 4096, EINVAL);
    expect_refusal(AF_INET, &in6, sizeof in6, EAFNOSUPPORT);
    expect_refusal(AF_INET6, &in6, 20, EINVAL);
    expect_refusal(AF_INET6, &in, sizeof in, EINVAL);
}

/* Some ask the socket itself: luasocket by a receive. */
static void a_refusal_is_told_once_by_whatever_asks(void) {
    char byte;
    stage_up("wifi");
    stage_refuse(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_fails(recv(sock, &byte, 0, 0), ECONNREFUSED);
    stage_equal(recv(sock, &byte, 1, 0), 0);
    stage_equal(stage_so_error(sock), 0);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_fails(send(sock, "x", 1, MSG_NOSIGNAL), ECONNREFUSED);
    stage_fails(send(sock, "x", 1, MSG_NOSIGNAL), EPIPE);
}

/* ---- again, and elsewhere ---- */

static void a_wait_is_called_off_by_AF_UNSPEC(void) {
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(connect(sock, &none, sizeof none), 0);
    stage_equal(stage_so_error(sock), 0);
    stage_equal(stage_polled(sock, POLLOUT, 0) & POLLHUP, POLLHUP); /* as an unconnected one */
    stage_up("wifi");
    stage_fails(dial_again(), EINPROGRESS);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(connect(sock, &none, sizeof none), 0);
    stage_wait(stage_end(0) == STAGE_RESET);
    stage_fails(dial_again(), EINPROGRESS);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    expect_talk(1, "anew");
}

/* The number is no longer bound to the network that has failed it. */
static void after_a_refusal_it_may_go_where_nothing_is_ours(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(0x7f010203);
    stage_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    stage_equal(listen(listener, 1), 0);
    stage_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    stage_up("wifi");
    stage_refuse(true);
    stage_fails(dial(0), ECONNREFUSED);
    stage_equal(connect(sock, (struct sockaddr *)&at, sizeof at), 0);
    len = sizeof at;
    stage_equal(getsockname(sock, (struct sockaddr *)&at, &len), 0);
    stage_equal(at.sin_addr.s_addr, htonl(INADDR_LOOPBACK)); /* the kernel's choice */
}

/* ---- closed in the middle of it ---- */

static _Atomic pid_t caller;

static void *dial_and_fail(void *unused) {
    caller = gettid();
    stage_fails(dial_again(), EBADF);
    return unused;
}

/* The library asks a scout that does not answer yet whose connection this is. */
static void what_is_closed_while_it_is_judged_is_no_connection_of_a_later_socket(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const int mute = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    pthread_t thread;
    snprintf(at.sun_path, sizeof at.sun_path, "%s", getenv("CMM_SCOUT"));
    stage_equal(bind(mute, (struct sockaddr *)&at, sizeof at), 0);
    stage_equal(listen(mute, 1), 0);
    make(0);
    stage_equal(pthread_create(&thread, NULL, dial_and_fail, NULL), 0);
    const int asks = accept(mute, NULL, NULL);
    stage_wait(caller && stage_asleep(caller));
    close(sock);
    close(asks);
    close(mute);
    unlink(at.sun_path);
    pthread_join(thread, NULL);
    stage_scout_start();
    stage_up("wifi");
    for (int i = 0; i < 3; i++) {
        stage_equal(dial(0), 0);
        expect_talk(i, "each its own");
    }
}

/* ---- connecting by sending ---- */

static ssize_t send_first(const char *text) {
    struct sockaddr_in to = stage_tcp();
    return sendto(sock, text, strlen(text), MSG_FASTOPEN, (struct sockaddr *)&to, sizeof to);
}

static void a_first_send_that_connects_waits_as_connect_does(void) {
    make(SOCK_NONBLOCK);
    stage_fails(send_first("too early"), EINPROGRESS);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    stage_up("wifi");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    expect_talk(0, "at last");
    make(0);
    stage_equal(send_first("at once"), 7);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "at once");
}

/* ---- whose names rules know ---- */

static void a_rule_knows_the_names_of_the_scouts_configuration(void) {
    stage_up("wifi");
    stage_up("cell");
    stage_equal(dial(0), 0);
    stage_expect_connection(0, "127.0.2.1");
}

/* As a child of cmm-run that is started while there is no scout. */
static void names_handed_on_hold_while_the_scout_is_away(void) {
    stage_scout_start();
    stage_up("wifi");
    stage_up("cell");
    stage_equal(dial(0), 0);
    stage_expect_connection(0, "127.0.2.1");
}

static in_port_t port_of(int fd, const char *address) {
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    stage_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    stage_equal(at.sin_addr.s_addr, inet_addr(address));
    return at.sin_port;
}

/* One that is free now, at all addresses. */
static in_port_t bind_port(int fd) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    for (int port = 20000; port < 30000; port++) {
        at.sin_port = htons((uint16_t)port);
        if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
            return at.sin_port;
    }
    stage_fail(__FILE__, __LINE__, "no port is free");
}

static void what_a_rule_takes_in_keeps_the_port_it_was_bound_to(void) {
    const in_port_t port = bind_port(make(0));
    stage_up("wifi");
    stage_equal(dial_again(), 0);
    stage_equal(port_of(sock, "127.0.1.1"), port);
    expect_talk(0, "from there");
}

static const struct stage_test tests[] = {
#define RULE                "CMM_RULES=127.0.0.0/16=background"
#define TEST(name)          STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, RULE " CMM_LABELS=background")
#define TEST_PATIENCE(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, RULE " CMM_PATIENCE=0.3")
    TEST_PATIENCE(patience_is_for_networks_not_for_handshakes),
    TEST_PATIENCE(a_blocking_handshake_outlasts_patience_too),
    STAGE_TEST_WITH(a_handshake_that_follows_a_wait_outlasts_patience_too, STAGE_PRELOAD, NULL,
                    RULE " CMM_PATIENCE=3"),
    TEST(the_programs_own_timeout_ends_the_call_not_the_attempt),
    TEST(a_wrong_address_is_refused_without_a_network),
    TEST(a_refusal_is_told_once_by_whatever_asks),
    TEST(a_wait_is_called_off_by_AF_UNSPEC),
    TEST(a_listen_that_fails_changes_nothing),
    TEST(a_first_send_that_connects_waits_as_connect_does),
    TEST(after_a_refusal_it_may_go_where_nothing_is_ours),
    TEST(what_a_rule_takes_in_keeps_the_port_it_was_bound_to),
    STAGE_TEST_WITH(what_is_closed_while_it_is_judged_is_no_connection_of_a_later_socket,
                    STAGE_PRELOAD | STAGE_ALONE, NULL, "CMM_RULES=127.0.0.0/16=background"),
    STAGE_TEST_WITH(a_rule_knows_the_names_of_the_scouts_configuration, STAGE_PRELOAD, NULL,
                    "CMM_RULES=127.0.0.0/16=away"),
    STAGE_TEST_WITH(names_handed_on_hold_while_the_scout_is_away, STAGE_PRELOAD | STAGE_ALONE, NULL,
                    "CMM_RULES=127.0.0.0/16=away CMM_NAMES=here=39,away=40"),
};

STAGE_MAIN(config, tests)

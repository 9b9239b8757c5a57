/* scout_comes_and_goes - what holds while there is no scout, one dies, one comes back, or one is told
 * nonsense; and the errors, waits and names that depend on its word.
 */
#include "stage.h"

#include "private/wire.h"

#include <errno.h>
#include <libcmm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

static const char config[] = "[label backup]\nbit = 40\n"
                             "[network wifi]\naddress = 127.0.1.1\nlabels = background, backup\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand\n";

/* ---- sockets and thunks ---- */

static _Atomic int runs;
static ssize_t result;

static void send_hello(void *arg) {
    result = cmm_send((int)(long)arg, "hello", 5, 0, WIFI, send_hello, arg);
    runs++;
}

static int try_connect(int type, unsigned long labels, int *ret_sock) {
    struct sockaddr_in to = stage_tcp();
    *ret_sock = cmm_socket(AF_INET, type, 0);
    stage_expect(*ret_sock >= 0);
    return cmm_connect(*ret_sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL);
}

static int waiting_socket(unsigned long labels) {
    int sock;
    stage_equal(try_connect(SOCK_STREAM, labels, &sock), CMM_DEFERRED);
    return sock;
}

static int connected_socket(unsigned long labels) {
    int sock;
    stage_equal(try_connect(SOCK_STREAM, labels, &sock), 0);
    return sock;
}

static void defer_hello(int sock) {
    stage_equal(cmm_send(sock, "hello", 5, 0, WIFI, send_hello, (void *)(long)sock), CMM_DEFERRED);
}

#define carries(i, text)                                                                                     \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        stage_expect_text(i, text);                                                                          \
    } while (0)

/* ---- the scout, past the library ---- */

static int dial(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.90s", getenv("CMM_SCOUT"));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    stage_expect(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

union answer {
    struct wire_header header;
    struct wire_status status;
    struct wire_subscriber subscriber;
    char bytes[WIRE_MAX];
};

/* Asks, and hands every answer to look until it says true. */
static bool ask(enum wire_topic topic, bool (*look)(const union answer *, void *), void *context) {
    const struct wire_ask m = {{WIRE_VERSION, WIRE_ASK, sizeof m}, topic, 0};
    union answer a;
    bool found = false;
    int fd = dial();
    stage_equal(send(fd, &m, sizeof m, MSG_NOSIGNAL), sizeof m);
    for (;;) {
        ssize_t n = recv(fd, &a, sizeof a, 0);
        stage_expect(n > 0);
        if (a.header.type == WIRE_DONE)
            break;
        found |= look(&a, context);
    }
    close(fd);
    return found;
}

static bool is_pid(const union answer *a, void *pid) {
    return a->header.type == WIRE_SUBSCRIBER && a->subscriber.pid == (uint32_t) * (pid_t *)pid;
}

static bool subscribed(pid_t pid) {
    return ask(WIRE_ASK_SUBSCRIBERS, is_pid, &pid);
}

static bool keep_status(const union answer *a, void *status) {
    if (a->header.type == WIRE_STATUS)
        *(struct wire_status *)status = a->status;
    return a->header.type == WIRE_STATUS;
}

static struct wire_status scout_status(void) {
    struct wire_status s = {0};
    stage_expect(ask(WIRE_ASK_STATUS, keep_status, &s));
    return s;
}

/* ---- subscribing ---- */

static void a_linked_program_is_subscribed_before_its_first_call(void) {
    stage_wait(subscribed(getpid()));
}

static int threads(void) {
    char line[128];
    int count = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "Threads: %d", &count);
    fclose(f);
    return count;
}

static void a_preloaded_program_subscribes_at_first_need(void) {
    stage_equal(threads(), 1);
    stage_expect(!subscribed(getpid()));
    stage_expect(cmm_socket(AF_INET, SOCK_STREAM, 0) >= 0);
    stage_wait(subscribed(getpid()));
}

static void a_program_is_unsubscribed_at_its_end(void) {
    int pipes[2];
    char none;
    stage_equal(pipe(pipes), 0);
    /* A sanitizer's allocator does not bear a fork while a thread is being made. */
    stage_wait(subscribed(getpid()));
    pid_t child = fork();
    if (child == 0) {
        close(pipes[1]);
        waiting_socket(WIFI);
        exit((int)read(pipes[0], &none, 1));
    }
    close(pipes[0]);
    stage_wait(subscribed(child));
    close(pipes[1]);
    stage_equal(waitpid(child, NULL, 0), child);
    stage_wait(!subscribed(child));
    stage_expect(subscribed(getpid()));
}

static void without_room_for_a_message_queue_the_news_come_all_the_same(void) {
    const struct rlimit none = {0, 0};
    stage_equal(setrlimit(RLIMIT_MSGQUEUE, &none), 0);
    stage_scout_start();
    stage_down("wifi");
    int sock = waiting_socket(WIFI);
    defer_hello(sock);
    stage_wait(subscribed(getpid()));
    stage_equal(scout_status().queues, 0);
    for (int i = 0; i < 20; i++) {
        stage_up("cell");
        stage_down("cell");
    }
    stage_up("wifi");
    stage_wait(runs == 1);
    carries(0, "hello");
}

/* ---- no scout yet ---- */

static void with_no_scout_yet_labels_0_behave_as_without_libcmm(void) {
    int sock = connected_socket(0);
    stage_equal(cmm_send(sock, "plain", 5, 0, 0, send_hello, NULL), 5);
    carries(0, "plain");
    stage_equal(cmm_networks(NULL, 0), 0);
    stage_equal(runs, 0);
}

static void with_no_scout_yet_and_no_route_labels_0_fail_as_without_libcmm(void) {
    int sock;
    stage_link("wifi0", false);
    stage_link("cell0", false);
    stage_fails(try_connect(SOCK_STREAM, 0, &sock), ENETUNREACH);
}

static void with_no_route_at_all_labels_0_wait_once_a_scout_has_spoken(void) {
    stage_link("wifi0", false);
    stage_link("cell0", false);
    stage_wait(cmm_networks(NULL, 0) == 0);
    int sock = waiting_socket(0);
    stage_equal(cmm_send(sock, "hello", 5, 0, 0, send_hello, (void *)(long)sock), CMM_DEFERRED);
    stage_link("wifi0", true);
    stage_wait(runs == 1);
    stage_expect_connection(0, "10.1.0.2");
}

static void with_no_scout_yet_labeled_calls_find_no_network(void) {
    const struct timespec moment = {0, 50000000};
    int sock = waiting_socket(WIFI);
    stage_equal(cmm_check_label(sock, WIFI, NULL, NULL), CMM_DEFERRED);
    defer_hello(sock);
    stage_fails(cmm_send(sock, "x", 1, MSG_DONTWAIT, CELL, NULL, NULL), EAGAIN);
    stage_equal(cmm_set_patience(sock, &moment), 0);
    stage_fails(cmm_send(sock, "x", 1, 0, CELL, NULL, NULL), ETIMEDOUT);
    stage_equal(runs, 0);
    stage_scout_start();
    stage_wait(runs == 1);
    stage_equal(result, 5);
    carries(0, "hello");
}

static void the_first_scout_is_noticed_by_the_next_call(void) {
    stage_equal(cmm_networks(NULL, 0), 0);
    stage_scout_start();
    stage_wait(cmm_networks(NULL, 0) == 2);
    stage_expect(subscribed(getpid()));
}

static void a_scout_that_comes_back_is_noticed_though_nothing_waits(void) {
    stage_wait(subscribed(getpid()));
    for (int i = 0; i < 5; i++) {
        stage_scout_kill();
        stage_scout_start();
        stage_wait(subscribed(getpid()));
    }
}

/* ---- a scout dies ---- */

static void a_scout_that_dies_leaves_its_last_word_standing(void) {
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    stage_scout_kill();
    stage_expect(stage_offered("wifi") && !stage_offered("cell"));
    stage_equal(cmm_send(sock, "one ", 4, 0, WIFI, NULL, NULL), 4);
    int another = connected_socket(WIFI);
    stage_equal(cmm_send(another, "another", 7, 0, WIFI, NULL, NULL), 7);
    int waiting = waiting_socket(CELL);
    stage_equal(cmm_send(sock, "two", 3, 0, WIFI, NULL, NULL), 3);
    carries(0, "one two");
    carries(1, "another");
    stage_equal(cmm_check_label(waiting, CELL, NULL, NULL), CMM_DEFERRED);
    stage_equal(cmm_check_label(waiting, WIFI, NULL, NULL), 0);
    stage_expect(stage_offered("wifi") && !stage_offered("cell"));
}

static void a_new_scout_that_says_the_same_disturbs_no_connection(void) {
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    stage_equal(cmm_send(sock, "one ", 4, 0, WIFI, NULL, NULL), 4);
    for (int i = 0; i < 5; i++) {
        stage_scout_kill();
        stage_scout_start(); /* its networks are up as it finds them */
        stage_wait(subscribed(getpid()) && stage_offered("wifi") && stage_offered("cell"));
    }
    stage_equal(cmm_send(sock, "two", 3, 0, WIFI, NULL, NULL), 3);
    carries(0, "one two");
    stage_equal(stage_connections(), 1);
}

static void a_scout_that_comes_back_is_noticed_without_a_restart(void) {
    int sock = waiting_socket(WIFI);
    defer_hello(sock);
    stage_scout_kill();
    stage_scout_start();
    stage_wait(runs == 1);
    carries(0, "hello");
    stage_scout_kill();
    stage_scout_start();
    stage_down("wifi");
    defer_hello(sock);
    stage_scout_kill();
    stage_equal(runs, 1);
    stage_scout_start();
    stage_wait(runs == 2);
    carries(1, "hello");
}

static void a_thunk_deferred_while_no_scout_lives_runs_when_one_does(void) {
    int sock = waiting_socket(WIFI);
    stage_scout_kill();
    defer_hello(sock);
    stage_scout_start();
    stage_wait(runs == 1);
    carries(0, "hello");
}

static void the_scout_may_be_killed_again_and_again(void) {
    enum { DEATHS = 30 };
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    for (int i = 0; i < DEATHS; i++) {
        stage_scout_kill();
        stage_equal(cmm_send(sock, ".", 1, 0, WIFI, NULL, NULL), 1);
        stage_scout_start();
    }
    stage_wait(subscribed(getpid()));
    stage_wait(stage_received(0) == DEATHS);
    stage_equal(stage_connections(), 1);
}

/* ---- any order ---- */

static void networks_and_scout_may_come_and_go_in_any_order(void) {
    enum { STEPS = 60 };
    int deferred = 0, direct = 0, sock = waiting_socket(WIFI);
    unsigned seed = 7;
    bool alive = true;
    for (int i = 0; i < STEPS; i++) {
        const int what = rand_r(&seed) % 5;
        if (what == 0 && alive)
            stage_scout_kill();
        if (what <= 1 && alive == (what == 0))
            alive = !alive, alive ? stage_scout_start() : (void)0;
        if (what == 2 && alive)
            stage_up(i % 2 ? "wifi" : "cell");
        if (what == 3 && alive)
            stage_down(i % 2 ? "wifi" : "cell");
        ssize_t r = cmm_send(sock, "hello", 5, 0, WIFI, send_hello, (void *)(long)sock);
        stage_expect(r == CMM_DEFERRED || r == CMM_THUNK_EXECUTED || r == 5);
        direct += r == 5;
        deferred += r != 5;
    }
    if (!alive)
        stage_scout_start();
    stage_up("wifi");
    stage_wait(cmm_thunk_count(sock) == 0);
    stage_equal(cmm_send(sock, "bye", 3, 0, WIFI, NULL, NULL), 3);
    stage_expect(runs >= deferred); /* one that deferred itself again ran twice */
    size_t sent = (size_t)(direct + deferred) * 5 + 3, received = 0;
    stage_wait_begins();
    while (received != sent && !stage_late()) {
        received = 0;
        for (int i = 0; i < stage_connections(); i++)
            received += stage_received(i);
        stage_pause();
    }
    stage_equal(received, sent);
}

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
    int sock = connected_socket(WIFI);
    int other = connected_socket(WIFI);
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
    int other = waiting_socket(CELL);
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
    runs++;
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
    int sock = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, stop, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(runs == 1);
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
    int sock = waiting_socket(WIFI);
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
        stage_fails(cmm_send(fd, &c, 1, 0, WIFI, send_hello, NULL), EBADF);
        stage_fails(cmm_write(fd, &c, 1, WIFI, send_hello, NULL), EBADF);
        stage_fails(cmm_writev(fd, &iov, 1, WIFI, send_hello, NULL), EBADF);
        stage_fails(cmm_sendmsg(fd, &msg, 0, WIFI, send_hello, NULL), EBADF);
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
    stage_fails(cmm_send(sock, &c, 1, 0, WIFI, send_hello, NULL), ENOTCONN);
    stage_fails(cmm_send(sock, &c, 1, 0, CELL, send_hello, NULL), ENOTCONN);
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
    int waiting = waiting_socket(WIFI);
    stage_fails(cmm_connect(waiting, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), EISCONN);
    stage_up("wifi");
    int live = connected_socket(WIFI);
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
    int sock = connected_socket(WIFI);
    stage_fails(cmm_send(sock, "x", 1, 0, 0x40, send_hello, NULL), EINVAL);
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
    stage_equal(runs, 0);
}

static void patience_over_is_etimedout(void) {
    const struct timespec none = {0, 0};
    int sock = waiting_socket(WIFI);
    stage_equal(cmm_set_patience(sock, &none), 0);
    stage_fails(cmm_send(sock, "x", 1, 0, WIFI, NULL, NULL), ETIMEDOUT);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, send_hello, NULL), CMM_DEFERRED); /* a thunk waits for ever */
}

static void closed_while_waiting_is_ecanceled(void) {
    pthread_t thread;
    int sock = waiting_socket(WIFI);
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
    stage_wait(subscribed(getpid()));
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
    int sock = connected_socket(1UL << 40);
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
    int sock = waiting_socket(WIFI);
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

/* ---- nonsense ---- */

static int tell(const void *msg, size_t len) {
    int fd = dial();
    stage_equal(send(fd, msg, len, MSG_NOSIGNAL), len);
    close(fd);
    return 1;
}

static void messages_of_the_wrong_version_size_or_content_are_dropped_and_counted(void) {
    struct wire_ask a = {{WIRE_VERSION, WIRE_ASK, sizeof a}, WIRE_ASK_STATUS, 0}, wrong;
    struct wire_set set = {.header = {WIRE_VERSION, WIRE_SET, sizeof set}, .action = WIRE_SET_UP};
    struct wire_report report = {.header = {WIRE_VERSION, WIRE_REPORT, sizeof report},
                                 .count = WIRE_WANTS + 1};
    struct wire_subscribe who = {.header = {WIRE_VERSION, WIRE_SUBSCRIBE, sizeof who}};
    static char big[WIRE_MAX + 100];
    const uint64_t before = scout_status().dropped;
    uint64_t told = 0;
    stage_up("wifi");
    int sock = waiting_socket(CELL);
    wrong = a, wrong.header.version++;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.version = 0;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.size++;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.type = 77;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.type = WIRE_SET; /* too short for one */
    told += (uint64_t)tell(&wrong, sizeof wrong);
    told += (uint64_t)tell(&a, sizeof a - 1);
    told += (uint64_t)tell(&a, 3);
    told += (uint64_t)tell(big, sizeof big);
    told += (uint64_t)tell(&report, sizeof report);
    memset(set.network, 'x', sizeof set.network);
    told += (uint64_t)tell(&set, sizeof set);
    memset(who.program, 'x', sizeof who.program);
    told += (uint64_t)tell(&who, sizeof who);
    stage_wait(scout_status().dropped >= before + told);
    stage_equal(scout_status().dropped, before + told);
    stage_equal(cmm_send(sock, "hello", 5, 0, CELL, send_hello, (void *)(long)sock), CMM_DEFERRED);
    stage_up("cell"); /* it still speaks, and is heard */
    stage_wait(runs == 1);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_linked_program_is_subscribed_before_its_first_call),
    STAGE_TEST_IN(a_preloaded_program_subscribes_at_first_need, STAGE_PRELOAD, NULL),
    STAGE_TEST(a_program_is_unsubscribed_at_its_end),
    STAGE_TEST_IN(without_room_for_a_message_queue_the_news_come_all_the_same, STAGE_ALONE, NULL),
    STAGE_TEST_IN(with_no_scout_yet_labels_0_behave_as_without_libcmm, STAGE_ALONE, NULL),
    STAGE_TEST_IN(with_no_scout_yet_and_no_route_labels_0_fail_as_without_libcmm, STAGE_ALONE | STAGE_WORLD,
                  world),
    STAGE_TEST_IN(with_no_route_at_all_labels_0_wait_once_a_scout_has_spoken, STAGE_WORLD, world),
    STAGE_TEST_IN(with_no_scout_yet_labeled_calls_find_no_network, STAGE_ALONE, NULL),
    STAGE_TEST_IN(the_first_scout_is_noticed_by_the_next_call, STAGE_ALONE, NULL),
    STAGE_TEST(a_scout_that_comes_back_is_noticed_though_nothing_waits),
    STAGE_TEST(a_scout_that_dies_leaves_its_last_word_standing),
    STAGE_TEST(a_new_scout_that_says_the_same_disturbs_no_connection),
    STAGE_TEST(a_scout_that_comes_back_is_noticed_without_a_restart),
    STAGE_TEST(a_thunk_deferred_while_no_scout_lives_runs_when_one_does),
    STAGE_TEST(the_scout_may_be_killed_again_and_again),
    STAGE_TEST(networks_and_scout_may_come_and_go_in_any_order),
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
    STAGE_TEST(messages_of_the_wrong_version_size_or_content_are_dropped_and_counted),
};

STAGE_MAIN(config, tests)

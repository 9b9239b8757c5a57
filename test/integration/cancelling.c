/* cancelling - threads that are cancelled in the middle of a call, or end the process there, and what is done
 * at a thread's end. Preloaded; every test ends with the library alive. */
#include "alive.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static _Atomic pid_t tid;

static void *recv_forever(void *unused) {
    char byte;
    tid = gettid();
    while (recv(alive_sock, &byte, 1, 0) != 0 || errno == EINTR)
        ;
    return unused;
}

static void *send_forever(void *unused) {
    static char bytes[1 << 20];
    tid = gettid();
    while (send(alive_sock, bytes, sizeof bytes, 0) >= 0)
        ;
    return unused;
}

static void *poll_forever(void *unused) {
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    tid = gettid();
    while (poll(&p, 1, -1) >= 0)
        ;
    return unused;
}

static void *select_forever(void *unused) {
    fd_set in;
    tid = gettid();
    do {
        FD_ZERO(&in);
        FD_SET(alive_sock, &in);
    } while (select(alive_sock + 1, &in, NULL, NULL, NULL) >= 0);
    return unused;
}

static void *connect_forever(void *unused) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    tid = gettid();
    connect(fd, (struct sockaddr *)&to, sizeof to);
    return unused;
}

static void cancel_in(void *(*call)(void *)) {
    pthread_t thread;
    void *result;
    int calm = 0;
    tid = 0;
    stage_equal(pthread_create(&thread, NULL, call, NULL), 0);
    stage_wait(tid && (calm = stage_asleep(tid) ? calm + 1 : 0) > 20);
    stage_equal(pthread_cancel(thread), 0);
    stage_equal(pthread_join(thread, &result), 0);
    stage_expect(result == PTHREAD_CANCELED);
}

static void a_thread_can_be_cancelled_in_recv(void) {
    alive_begin();
    cancel_in(recv_forever);
    alive_says(alive_sock, 0, "on");
    alive_expect();
}

static void a_thread_can_be_cancelled_in_send(void) {
    alive_begin();
    stage_hold(true);
    cancel_in(send_forever);
    stage_hold(false);
    alive_expect();
}

static void a_thread_can_be_cancelled_in_poll_and_select(void) {
    alive_begin();
    cancel_in(poll_forever);
    cancel_in(select_forever);
    alive_says(alive_sock, 0, "on");
    alive_expect();
}

static void a_thread_can_be_cancelled_in_a_connect_that_waits(void) {
    alive_begin();
    stage_down("wifi");
    cancel_in(connect_forever);
    alive_expect();
}

/* With the policy reconnect the connection waits for its next network. */
static void a_thread_can_be_cancelled_while_its_connection_waits(void) {
    alive_begin();
    stage_down("wifi");
    struct pollfd p = {.fd = alive_sock, .events = POLLOUT};
    stage_wait(poll(&p, 1, 0) == 0);
    cancel_in(recv_forever);
    cancel_in(send_forever);
    cancel_in(poll_forever);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    alive_says(alive_sock, 1, "on");
    alive_expect();
}

static _Atomic int failures;

static void *fail_in_recv_forever(void *unused) {
    char byte;
    while (recv(alive_sock, &byte, 1, 0) < 0)
        failures++;
    return unused;
}

static void *fail_in_send_forever(void *unused) {
    while (send(alive_sock, "x", 1, MSG_NOSIGNAL) < 0)
        failures++;
    return unused;
}

static void *cancelled_in_poll(void *unused) {
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    pthread_cancel(pthread_self());
    poll(&p, 1, -1);
    return unused;
}

static int lowest_free(void) {
    const int fd = dup(STDIN_FILENO);
    close(fd);
    return fd;
}

/* What the library makes for its first poll goes with it. */
static void a_thread_that_is_cancelled_as_it_polls_leaves_no_descriptor(void) {
    alive_begin();
    const int before = lowest_free();
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *result;
        stage_equal(pthread_create(&thread, NULL, cancelled_in_poll, NULL), 0);
        stage_equal(pthread_join(thread, &result), 0);
        stage_expect(result == PTHREAD_CANCELED);
    }
    stage_equal(lowest_free(), before);
    alive_expect();
}

/* The library answers by itself, and the kernel is not asked. */
static void a_thread_can_be_cancelled_among_calls_that_fail_at_once(void) {
    void *(*const calls[])(void *) = {fail_in_recv_forever, fail_in_send_forever};
    alive_begin();
    alive_says(alive_sock, 0, "used");
    stage_down("wifi");
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        void *result;
        failures = 0;
        stage_equal(pthread_create(&thread, NULL, calls[i], NULL), 0);
        stage_wait(failures > 100);
        stage_equal(pthread_cancel(thread), 0);
        stage_equal(pthread_join(thread, &result), 0);
        stage_expect(result == PTHREAD_CANCELED);
    }
    alive_expect();
}

static void *exit_from_here(void *unused) {
    (void)unused;
    stage_wait(tid && stage_asleep(tid));
    exit(7);
}

static void any_thread_can_end_the_process(void) {
    alive_begin();
    for (int i = 0; i < 5; i++) {
        const pid_t child = alive_fork();
        if (!child) {
            pthread_t threads[2];
            alive_sock = alive_dial(0);
            pthread_create(&threads[0], NULL, recv_forever, NULL);
            pthread_create(&threads[1], NULL, exit_from_here, NULL);
            pthread_exit(NULL);
        }
        alive_ended(child, 7);
    }
    alive_expect();
}

/* ---- keys ---- */

static void *use_and_end(void *unused) {
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    stage_equal(poll(&p, 1, 1), 0);
    return unused;
}

static void a_program_that_has_taken_all_keys_has_them_to_itself(void) {
    static pthread_key_t keys[PTHREAD_KEYS_MAX];
    int count = 0;
    while (count < PTHREAD_KEYS_MAX && pthread_key_create(&keys[count], NULL) == 0)
        count++;
    for (int i = 0; i < count; i++)
        stage_equal(pthread_setspecific(keys[i], &keys[i]), 0);
    alive_begin();
    use_and_end(NULL);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        stage_equal(pthread_create(&thread, NULL, use_and_end, NULL), 0);
        stage_equal(pthread_join(thread, NULL), 0);
    }
    for (int i = 0; i < count; i++)
        stage_expect(pthread_getspecific(keys[i]) == &keys[i]);
    alive_expect();
}

/* ---- at any instruction ---- */

static void *call_without_end(void *unused) {
    char byte;
    int error;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        struct pollfd p = {.fd = alive_sock, .events = POLLIN};
        fd_set in;
        struct timeval now = {0};
        socklen_t len = sizeof error;
        FD_ZERO(&in);
        FD_SET(alive_sock, &in);
        recv(alive_sock, &byte, 1, MSG_DONTWAIT);
        poll(&p, 1, 0);
        select(alive_sock + 1, &in, NULL, NULL, &now);
        getsockopt(alive_sock, SOL_SOCKET, SO_ERROR, &error, &len);
    }
    return unused;
}

static void a_thread_that_is_cancelled_at_any_instruction_leaves_no_lock(void) {
    enum { ROUNDS = 400 };
    alive_begin();
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t thread;
        void *result;
        stage_equal(pthread_create(&thread, NULL, call_without_end, NULL), 0);
        usleep((useconds_t)(rand() % 300));
        stage_equal(pthread_cancel(thread), 0);
        stage_equal(pthread_join(thread, &result), 0);
        stage_expect(result == PTHREAD_CANCELED);
    }
    alive_says(alive_sock, 0, "on");
    alive_expect();
}

/* ---- what is left behind ---- */

static void *recv_once(void *fd) {
    char byte;
    tid = gettid();
    recv(*(int *)fd, &byte, 1, 0);
    return NULL;
}

/* Calls that end by cancellation, each on a socket of its own: none leaves a record behind. */
static void expect_nothing_left(int rounds, int (*make)(int), void *(*ends)(void *)) {
    enum { RECORD = 200 };
    size_t before = 0;
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        void *result;
        int fd = make(0);
        tid = 0;
        stage_equal(pthread_create(&thread, NULL, ends, &fd), 0);
        if (ends == recv_once) {
            stage_wait(tid && stage_asleep(tid));
            stage_equal(pthread_cancel(thread), 0);
        }
        stage_equal(pthread_join(thread, &result), 0);
        stage_expect(result == PTHREAD_CANCELED);
        close(fd);
        if (i == rounds / 10)
            before = mallinfo2().uordblks;
    }
    stage_expect(mallinfo2().uordblks < before + (size_t)rounds * RECORD);
}

static int unconnected(int flags) {
    return socket(AF_INET, SOCK_STREAM | flags, 0);
}

static void *cancelled_in_close(void *socket) {
    pthread_cancel(pthread_self());
    close(*(int *)socket);
    return NULL;
}

/* The number itself stays open, as libc has it. */
static void a_cancelled_close_leaves_nothing_of_the_librarys(void) {
    alive_begin();
    expect_nothing_left(400, unconnected, cancelled_in_close);
    alive_expect();
}

static void a_call_that_is_cancelled_keeps_nothing_of_its_socket(void) {
    alive_begin();
    expect_nothing_left(50, alive_dial, recv_once);
    alive_expect();
}

static const struct stage_test tests[] = {
#define TEST   ALIVE_TEST
#define MOVING ALIVE_MOVING
    TEST(a_thread_can_be_cancelled_in_recv),
    TEST(a_call_that_is_cancelled_keeps_nothing_of_its_socket),
    TEST(a_thread_can_be_cancelled_in_send),
    TEST(a_thread_can_be_cancelled_in_poll_and_select),
    TEST(a_thread_can_be_cancelled_in_a_connect_that_waits),
    TEST(a_thread_that_is_cancelled_as_it_polls_leaves_no_descriptor),
    TEST(a_thread_can_be_cancelled_among_calls_that_fail_at_once),
    MOVING(a_thread_can_be_cancelled_while_its_connection_waits),
    TEST(any_thread_can_end_the_process),
    TEST(a_program_that_has_taken_all_keys_has_them_to_itself),
    TEST(a_thread_that_is_cancelled_at_any_instruction_leaves_no_lock),
    TEST(a_cancelled_close_leaves_nothing_of_the_librarys),
};

STAGE_MAIN(alive_config, tests)

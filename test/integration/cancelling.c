/* cancelling - threads that are cancelled in the middle of a call, or end the process there, and what is done
 * at a thread's end; and signal handlers that fork there. Preloaded; every test ends with the library alive.
 */
#include "alive.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
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

/* ---- the main thread ends ---- */

static void say_the_end(void) {
    (void)!write(alive_dial(0), "end", 3);
}

/* Unknown to the library. */
static void *linger(void *unused) {
    stage_wait(tid);
    return unused;
}

static bool main_has_ended(void) {
    char line[200] = "";
    FILE *f = fopen("/proc/self/stat", "re");
    if (f) {
        (void)!fgets(line, sizeof line, f);
        fclose(f);
    }
    return strstr(line, ") Z") != NULL;
}

static void *let_linger(void *unused) {
    stage_wait(main_has_ended());
    tid = gettid();
    return unused;
}

static void a_program_whose_main_thread_has_ended_ends_with_its_last(void) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        pthread_t threads[2];
        alive_dial(0);
        atexit(say_the_end);
        pthread_create(&threads[0], NULL, linger, NULL);
        pthread_create(&threads[1], NULL, let_linger, NULL);
        pthread_exit(NULL);
    }
    alive_ended(child, 0);
    stage_expect_text(2, "end");
    alive_expect();
}

static void say_thunk(void *socket) {
    __typeof__(cmm_send) *const say = (__typeof__(cmm_send) *)dlsym(RTLD_DEFAULT, "cmm_send");
    say(*(int *)socket, "thunk", 5, 0, CMM_LABEL_LARGE, NULL, NULL);
}

static void but_not_before_its_thunks_have_run(void) {
    __typeof__(cmm_socket) *const make = (__typeof__(cmm_socket) *)dlsym(RTLD_DEFAULT, "cmm_socket");
    __typeof__(cmm_connect) *const join = (__typeof__(cmm_connect) *)dlsym(RTLD_DEFAULT, "cmm_connect");
    __typeof__(cmm_send) *const say = (__typeof__(cmm_send) *)dlsym(RTLD_DEFAULT, "cmm_send");
    static int s;
    alive_begin();
    stage_down("wifi");
    const pid_t child = alive_fork();
    if (!child) {
        struct sockaddr_in to = stage_tcp();
        s = make(AF_INET, SOCK_STREAM, 0);
        if (join(s, (struct sockaddr *)&to, sizeof to, CMM_LABEL_LARGE, NULL, NULL, NULL) != CMM_DEFERRED ||
            say(s, "x", 1, 0, CMM_LABEL_LARGE, say_thunk, &s) != CMM_DEFERRED)
            _exit(1);
        pthread_exit(NULL);
    }
    int calm = 0, status = 0;
    stage_wait(++calm > 300 || waitpid(child, &status, WNOHANG) != 0);
    stage_equal(status, 0);
    stage_up("wifi");
    stage_wait(alive_carried(1, "thunk"));
    alive_ended(child, 0);
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

/* ---- forks in between ---- */

static _Atomic int forks, strange;

static void fork_here(int signal) {
    int status = -1;
    (void)signal;
    const pid_t child = fork();
    if (!child)
        _exit(write(alive_sock, ".", 1) == 1 ? 0 : 1);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    strange += status != 0;
    forks++;
}

static void a_signal_handler_may_fork_wherever_it_has_interrupted_the_library(void) {
    enum { FORKS = 300 };
    alive_begin();
    signal(SIGALRM, fork_here);
    while (forks < FORKS) {
        const int until = forks + 1;
        ualarm((useconds_t)(50 + rand() % 300), 0);
        while (forks < until) {
            int error;
            socklen_t len = sizeof error;
            stage_equal(getsockopt(alive_sock, SOL_SOCKET, SO_ERROR, &error, &len), 0);
        }
    }
    stage_equal(strange, 0);
    stage_wait(stage_received(0) == FORKS);
    alive_expect();
}

/* ---- jumps out of a call, as programs do that give connect() and lookups a time by alarm() ---- */

static sigjmp_buf out;

static void jump(int signal) {
    (void)signal;
    siglongjmp(out, 1);
}

/* What was on the stack below is something else's now. */
__attribute__((noinline)) static void use_the_stack(void) {
    volatile char bytes[32768];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0x55;
}

static void leave_by_a_jump(void (*call)(int fd), int fd) {
    if (sigsetjmp(out, 1) == 0) {
        ualarm(50000, 0);
        call(fd);
        stage_fail(__FILE__, __LINE__, "the call is back");
    }
    use_the_stack();
}

static void in_connect(int fd) {
    struct sockaddr_in to = stage_tcp();
    connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void a_signal_handler_may_jump_out_of_a_connect_that_waits(void) {
    enum { TIMES = 8 };
    int fds[TIMES];
    alive_begin();
    stage_down("wifi");
    signal(SIGALRM, jump);
    for (int i = 0; i < TIMES; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        leave_by_a_jump(in_connect, fds[i]);
        if (i % 2)
            close(fds[i]);
    }
    stage_up("wifi");
    for (int i = 0; i < TIMES; i += 2) {
        stage_equal(stage_polled(fds[i], POLLOUT, -1), POLLOUT);
        close(fds[i]);
    }
    alive_expect();
}

/* The library asks a scout that does not answer yet. */
static void also_while_the_scout_is_asked_for_the_first_time(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const int mute = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", getenv("CMM_SCOUT"));
    stage_equal(bind(mute, (struct sockaddr *)&at, sizeof at), 0);
    stage_equal(listen(mute, 1), 0);
    signal(SIGALRM, jump);
    leave_by_a_jump(in_connect, socket(AF_INET, SOCK_STREAM, 0));
    close(mute);
    unlink(at.sun_path);
    stage_scout_start();
    alive_begin();
    alive_says(alive_sock, 0, "on");
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
    TEST(a_program_whose_main_thread_has_ended_ends_with_its_last),
    TEST(but_not_before_its_thunks_have_run),
    TEST(a_thread_that_is_cancelled_at_any_instruction_leaves_no_lock),
    TEST(a_cancelled_close_leaves_nothing_of_the_librarys),
    TEST(a_signal_handler_may_fork_wherever_it_has_interrupted_the_library),
    TEST(a_signal_handler_may_jump_out_of_a_connect_that_waits),
    STAGE_TEST_WITH(also_while_the_scout_is_asked_for_the_first_time, STAGE_PRELOAD | STAGE_ALONE, NULL,
                    "CMM_RULES=127.0.0.0/8=background"),
};

STAGE_MAIN(alive_config, tests)

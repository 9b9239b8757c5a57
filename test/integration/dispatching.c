/* dispatching - where handlers and thunks run: on the library's threads, or in cmm_dispatch(). */
#include "notes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static sigset_t seen[3];
static int handled;

static int see_mask(int sock, unsigned long labels, void *arg) {
    (void)sock;
    (void)labels;
    (void)arg;
    pthread_sigmask(SIG_SETMASK, NULL, &seen[handled++]);
    return 0;
}

static void see_mask_in_thunk(void *arg) {
    note_begin(arg);
    pthread_sigmask(SIG_SETMASK, NULL, &seen[2]);
    note_end();
}

static void on_library_threads_the_signal_mask_is_that_of_the_sockets_maker(void) {
    struct sockaddr_in to = stage_tcp();
    sigset_t mask, before;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigaddset(&mask, SIGTERM);
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, see_mask, see_mask, NULL),
                CMM_DEFERRED);
    struct note n = {.sock = sock, .text = "x", .labels = WIFI};
    note_defer(&n, see_mask_in_thunk);
    stage_up("wifi");
    stage_wait(note_finished == 1);
    stage_equal(handled, 2);
    stage_expect(!pthread_equal(n.thread, pthread_self()));
    for (int i = 0; i < 3; i++)
        for (int signal = 1; signal < SIGRTMIN; signal++)
            stage_equal(sigismember(&seen[i], signal), signal == SIGUSR2 || signal == SIGTERM);
}

static bool blocks_all(const char *thread) {
    unsigned long long blocked = 0;
    char path[300], line[128];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "SigBlk: %llx", &blocked);
    if (f)
        fclose(f);
    return blocked >> (SIGUSR1 - 1) & 1 && blocked >> (SIGTERM - 1) & 1 && blocked >> (SIGHUP - 1) & 1;
}

/* All but this one are the library's. */
static bool others_block_all(void) {
    char own[16];
    bool all = true;
    DIR *threads = opendir("/proc/self/task");
    snprintf(own, sizeof own, "%d", (int)gettid());
    for (struct dirent *d; (d = readdir(threads));)
        all &= d->d_name[0] == '.' || strcmp(d->d_name, own) == 0 || blocks_all(d->d_name);
    closedir(threads);
    return all;
}

static void a_library_thread_hears_no_signals_once_its_thunk_has_run(void) {
    struct note n = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    note_defer(&n, note_send);
    stage_up("wifi");
    stage_wait(note_finished == 1);
    stage_wait(others_block_all());
}

/* Which starts with all signals blocked. */
static void who_has_a_library_thread_started_keeps_its_own_signal_mask(void) {
    struct sockaddr_in to = stage_tcp();
    sigset_t now;
    stage_up("wifi");
    int sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, see_mask, see_mask, NULL),
                CMM_DEFERRED);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int signal = 1; signal < SIGRTMIN; signal++)
        stage_equal(sigismember(&now, signal), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void in_manual_mode_thunks_and_handlers_run_in_cmm_dispatch(void) {
    struct sockaddr_in to = stage_tcp();
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int fd = cmm_dispatch_fd(), sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    stage_expect(fd >= 0);
    stage_equal(poll(&p, 1, 0), 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, see_mask, see_mask, NULL),
                CMM_DEFERRED);
    struct note n = {.sock = sock, .text = "x", .labels = WIFI};
    note_defer(&n, note_send);
    stage_equal(cmm_dispatch(), 0);
    stage_equal(poll(&p, 1, 0), 0);
    stage_up("wifi");
    int count = 0;
    while (!note_finished) {
        stage_equal(poll(&p, 1, -1), 1);
        count += cmm_dispatch();
    }
    stage_equal(count, 3); /* two handlers and a thunk */
    stage_expect(pthread_equal(n.thread, pthread_self()));
    stage_equal(cmm_dispatch(), 0);
    stage_equal(poll(&p, 1, 0), 0);
    note_carries(0, "x");
}

static void a_dispatch_fd_that_is_made_late_tells_of_what_is_ready(void) {
    struct cmm_network net;
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    struct note n = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    note_defer(&n, note_send);
    stage_up("wifi");
    stage_wait(cmm_socket_network(n.sock, &net) == 0);
    struct pollfd p = {.fd = cmm_dispatch_fd(), .events = POLLIN};
    stage_equal(poll(&p, 1, 0), 1);
    stage_equal(cmm_dispatch(), 1);
    stage_equal(poll(&p, 1, 0), 0);
}

static void the_dispatch_fd_is_the_librarys_also_for_sweeps(void) {
    char byte;
    int ends[2];
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    struct note n = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    struct pollfd p = {.fd = cmm_dispatch_fd(), .events = POLLIN};
    note_defer(&n, note_send);
    stage_fails(close(p.fd), EBADF);
    stage_equal(close_range((unsigned)p.fd, (unsigned)p.fd, 0), 0);
    stage_up("wifi");
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLIN);
    /* Who takes the number has it to himself. */
    stage_equal(pipe2(ends, O_NONBLOCK), 0);
    stage_equal(dup2(ends[1], p.fd), p.fd);
    stage_wait(cmm_dispatch() == 1);
    stage_down("wifi");
    note_defer(&n, note_send);
    stage_up("wifi");
    stage_wait(cmm_dispatch() == 1);
    stage_fails(read(ends[0], &byte, 1), EAGAIN);
}

static void dispatch_nested(void *arg) {
    note_begin(arg);
    stage_equal(cmm_dispatch(), 0);
    note_end();
}

static void a_nested_cmm_dispatch_runs_nothing(void) {
    struct note n[2];
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    for (int i = 0; i < 2; i++) {
        n[i] = (struct note){.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
        note_defer(&n[i], dispatch_nested);
    }
    stage_up("wifi");
    stage_wait(cmm_dispatch() >= 0 && note_finished == 2);
    stage_equal(note_most, 1);
}

static void the_mode_is_set_before_the_first_cmm_socket(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_THREAD), 0);
    stage_fails(cmm_set_dispatch(7), EINVAL);
    stage_expect(cmm_socket(AF_INET, SOCK_STREAM, 0) >= 0);
    stage_fails(cmm_set_dispatch(CMM_DISPATCH_MANUAL), EBUSY);
}

static void in_manual_mode_a_blocking_call_runs_the_thunks_before_it_itself(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    note_defer(&one, note_send);
    note_defer(&two, note_send);
    stage_up("wifi");
    note_defer(&three, note_send); /* also of the same thread, also with a network there */
    stage_equal(cmm_send(sock, "4", 1, 0, WIFI, NULL, NULL), 1);
    stage_equal(note_finished, 3);
    stage_expect(pthread_equal(one.thread, pthread_self()));
    note_carries(0, "1234");
}

static void *dispatch(void *unused) {
    stage_wait(cmm_dispatch() > 0);
    return unused;
}

static void in_manual_mode_a_blocking_call_waits_for_the_thunk_that_runs(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = note_socket(WIFI), calm = 0;
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    pthread_t dispatcher, sender;
    note_defer(&one, note_stop_and_send);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_equal(pthread_create(&dispatcher, NULL, dispatch, NULL), 0);
    stage_wait(one.entered);
    stage_equal(pthread_create(&sender, NULL, note_send_without_thunk, &three), 0);
    stage_wait(three.entered && ++calm > 50);
    stage_equal(two.runs, 0);
    one.gate = true;
    stage_wait(three.gate);
    pthread_join(dispatcher, NULL);
    pthread_join(sender, NULL);
    stage_equal(note_most, 1);
    note_carries(0, "123");
}

static const struct stage_test tests[] = {
    STAGE_TEST(on_library_threads_the_signal_mask_is_that_of_the_sockets_maker),
    STAGE_TEST(a_library_thread_hears_no_signals_once_its_thunk_has_run),
    STAGE_TEST(who_has_a_library_thread_started_keeps_its_own_signal_mask),
    STAGE_TEST(in_manual_mode_thunks_and_handlers_run_in_cmm_dispatch),
    STAGE_TEST(a_dispatch_fd_that_is_made_late_tells_of_what_is_ready),
    STAGE_TEST(the_dispatch_fd_is_the_librarys_also_for_sweeps),
    STAGE_TEST(a_nested_cmm_dispatch_runs_nothing),
    STAGE_TEST(the_mode_is_set_before_the_first_cmm_socket),
    STAGE_TEST(in_manual_mode_a_blocking_call_runs_the_thunks_before_it_itself),
    STAGE_TEST(in_manual_mode_a_blocking_call_waits_for_the_thunk_that_runs),
};

STAGE_MAIN(note_config, tests)

/* forks - what a forked child has of its parent's sockets, thunks and handlers. */
#include "forking.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

static void count_run(void *arg) {
    (void)arg;
    if (getpid() != forking_parent)
        forking_both->runs_in_child++;
    forking_both->runs++;
}

/* A sanitizer's allocator does not bear a fork while a thread begins. */
static void settle(void) {
    stage_up("cell");
}

static int waiting_socket(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    if (getpid() == forking_parent)
        settle();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), CMM_DEFERRED);
    return sock;
}

static void defer(int sock) {
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, count_run, NULL), CMM_DEFERRED);
}

static void the_childs_copy_remains_a_cmm_socket_without_thunks(void) {
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    forking_share();
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 3; i++)
        defer(sock);
    pid_t child = fork();
    if (child == 0) {
        stage_equal(cmm_thunk_count(sock), 0);
        stage_equal(cmm_thunk_cancel(sock, NULL, NULL), 0);
        stage_equal(cmm_getpeername(sock, (struct sockaddr *)&peer, &len), 0);
        stage_fails(cmm_connect(sock, (struct sockaddr *)&peer, len, WIFI, NULL, NULL, NULL), EISCONN);
        _exit(0);
    }
    stage_equal(forking_ended(child), 0);
    stage_equal(cmm_thunk_count(sock), 3);
    stage_up("wifi");
    stage_wait(forking_both->runs == 3);
    stage_equal(forking_both->runs_in_child, 0);
}

static void stored_thunks_run_once_however_many_children_there_are(void) {
    enum { CHILDREN = 5 };
    pid_t child[CHILDREN];
    forking_share();
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 20; i++)
        defer(sock);
    for (int i = 0; i < CHILDREN; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            stage_equal(cmm_send(sock, "c", 1, 0, WIFI, NULL, NULL), 1); /* waits for a network of its own */
            _exit(0);
        }
    }
    stage_up("wifi");
    for (int i = 0; i < CHILDREN; i++)
        stage_equal(forking_ended(child[i]), 0);
    stage_wait(forking_both->runs == 20);
    stage_equal(forking_both->runs_in_child, 0);
    stage_wait(stage_connections() == CHILDREN + 1);
}

static void a_child_stores_and_runs_thunks_of_its_own(void) {
    forking_share();
    int sock = waiting_socket(WIFI);
    pid_t child = fork();
    if (child == 0) {
        defer(sock);
        forking_both->step = 1;
        stage_wait(forking_both->runs == 1);
        _exit(forking_both->runs_in_child == 1 ? 0 : 1);
    }
    forking_step(1);
    stage_up("wifi");
    stage_equal(forking_ended(child), 0);
}

static void thunks_are_dropped_with_their_process(void) {
    forking_share();
    settle();
    pid_t child = fork();
    if (child == 0) {
        defer(waiting_socket(WIFI));
#ifdef __SANITIZE_ADDRESS__
        _exit(0); /* its leak checker may hang at the exit of a child of many threads */
#endif
        exit(0);
    }
    int status = -1;
    stage_wait(waitpid(child, &status, WNOHANG) == child);
    stage_equal(status, 0);
    stage_up("wifi");
    int sock = forking_connected(WIFI);
    stage_equal(cmm_send(sock, "last", 4, 0, WIFI, NULL, NULL), 4);
    forking_carries(0, "last");
    stage_equal(forking_both->runs, 0);
}

static void fork_inside(void *arg) {
    const pid_t child = fork();
    if (child == 0) {
        forking_both->step = (int)getpid();
        return;
    }
    *(_Atomic pid_t *)arg = child;
    forking_both->runs++;
}

static void a_child_forked_inside_a_thunk_runs_nothing_more_of_ours(void) {
    static _Atomic pid_t child;
    forking_share();
    int sock = waiting_socket(WIFI), other = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fork_inside, (void *)&child), CMM_DEFERRED);
    for (int i = 0; i < 5; i++) {
        defer(sock);
        defer(other);
    }
    stage_up("wifi");
    stage_wait(child != 0);
    stage_equal(forking_ended(child), 0); /* back from the thunk, its only thread has nothing left to do */
    stage_wait(forking_both->runs == 11);
    stage_equal(forking_both->runs_in_child, 0);
    stage_equal(forking_both->step, child);
}

static void in_manual_mode_too_it_runs_nothing_more(void) {
    static _Atomic pid_t child;
    forking_share();
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = waiting_socket(WIFI), other = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fork_inside, (void *)&child), CMM_DEFERRED);
    defer(sock);
    defer(other);
    stage_up("wifi");
    while (forking_both->runs < 3) {
        cmm_dispatch();
        if (getpid() != forking_parent)
            _exit(forking_both->runs_in_child ? 1 : 0);
    }
    stage_equal(forking_ended(child), 0);
    stage_equal(forking_both->runs_in_child, 0);
}

static void a_thunk_may_fork_a_program(void) {
    static _Atomic pid_t child;
    forking_share();
    int sock = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fork_inside, (void *)&child), CMM_DEFERRED);
    defer(sock);
    stage_up("wifi");
    stage_wait(forking_both->runs == 2);
    stage_equal(forking_ended(child), 0);
    stage_equal(system("true"), 0);
}

/* Its child has a connection of its own, which brings the library in it to life. */
static int fork_in_handler(mc_socket_t sock, unsigned long labels, void *arg) {
    (void)sock, (void)labels;
    if (getpid() != forking_parent) {
        forking_both->runs_in_child++;
        return 0;
    }
    const pid_t child = fork();
    if (child == 0) {
        forking_connected(WIFI);
        for (int i = 0; i < 100 && !forking_both->runs_in_child; i++)
            usleep(1000);
        _exit(0);
    }
    *(_Atomic pid_t *)arg = child;
    return 0;
}

static void expect_no_nested_handler(connection_event_cb_t pre, connection_event_cb_t post) {
    static _Atomic pid_t child;
    struct sockaddr_in to = stage_tcp();
    forking_share();
    stage_up("wifi");
    const int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, pre, post, (void *)&child), 0);
    stage_equal(forking_ended(child), 0);
    stage_equal(forking_both->runs_in_child, 0);
}

static void in_a_child_forked_inside_pre_reconnect_it_does_not_run_once_more_inside_itself(void) {
    expect_no_nested_handler(fork_in_handler, NULL);
}

static void nor_inside_post_reconnect(void) {
    expect_no_nested_handler(NULL, fork_in_handler);
}

static const struct stage_test tests[] = {
    STAGE_TEST(the_childs_copy_remains_a_cmm_socket_without_thunks),
    STAGE_TEST(stored_thunks_run_once_however_many_children_there_are),
    STAGE_TEST(a_child_stores_and_runs_thunks_of_its_own),
    STAGE_TEST(thunks_are_dropped_with_their_process),
    STAGE_TEST(a_child_forked_inside_a_thunk_runs_nothing_more_of_ours),
    STAGE_TEST(in_manual_mode_too_it_runs_nothing_more),
    STAGE_TEST(a_thunk_may_fork_a_program),
    STAGE_TEST(in_a_child_forked_inside_pre_reconnect_it_does_not_run_once_more_inside_itself),
    STAGE_TEST(nor_inside_post_reconnect),
};

STAGE_MAIN(forking_config, tests)

/* forks - what a forked child has of its parent's sockets and thunks, and what it may not disturb.
 *
 * The child tells by its exit code; 0 is success. What both must see lies in memory they share.
 */
#include "stage.h"

#include <errno.h>
#include <libcmm.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = background, ondemand\n";

static struct { _Atomic int runs, runs_in_child, step; } * both;
static pid_t parent;

static void share(void) {
    parent = getpid();
    both = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stage_expect(both != MAP_FAILED);
}

static void count_run(void *arg) {
    (void)arg;
    if (getpid() != parent)
        both->runs_in_child++;
    both->runs++;
}

/* A sanitizer's allocator does not bear a fork while a thread begins. */
static void settle(void) {
    stage_up("cell");
}

static int waiting_socket(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    if (getpid() == parent)
        settle();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), CMM_DEFERRED);
    return sock;
}

static int connected_socket(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), 0);
    return sock;
}

static void defer(int sock) {
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, count_run, NULL), CMM_DEFERRED);
}

static int ended(pid_t child) {
    int status = -1;
    stage_expect(child > 0);
    stage_wait(waitpid(child, &status, WNOHANG) == child);
    return status;
}

static void step(int wanted) {
    stage_wait(both->step >= wanted);
}

#define carries(i, text)                                                                                     \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        stage_expect_text(i, text);                                                                          \
    } while (0)

/* ---- thunks ---- */

static void the_childs_copy_remains_a_cmm_socket_without_thunks(void) {
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    share();
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
    stage_equal(ended(child), 0);
    stage_equal(cmm_thunk_count(sock), 3);
    stage_up("wifi");
    stage_wait(both->runs == 3);
    stage_equal(both->runs_in_child, 0);
}

static void stored_thunks_run_once_however_many_children_there_are(void) {
    enum { CHILDREN = 5 };
    pid_t child[CHILDREN];
    share();
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
        stage_equal(ended(child[i]), 0);
    stage_wait(both->runs == 20);
    stage_equal(both->runs_in_child, 0);
    stage_wait(stage_connections() == CHILDREN + 1);
}

static void a_child_stores_and_runs_thunks_of_its_own(void) {
    share();
    int sock = waiting_socket(WIFI);
    pid_t child = fork();
    if (child == 0) {
        defer(sock);
        both->step = 1;
        stage_wait(both->runs == 1);
        _exit(both->runs_in_child == 1 ? 0 : 1);
    }
    step(1);
    stage_up("wifi");
    stage_equal(ended(child), 0);
}

static void thunks_are_dropped_with_their_process(void) {
    share();
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
    int sock = connected_socket(WIFI);
    stage_equal(cmm_send(sock, "last", 4, 0, WIFI, NULL, NULL), 4);
    carries(0, "last");
    stage_equal(both->runs, 0);
}

static void fork_inside(void *arg) {
    const pid_t child = fork();
    if (child == 0) {
        both->step = (int)getpid();
        return;
    }
    *(_Atomic pid_t *)arg = child;
    both->runs++;
}

static void a_child_forked_inside_a_thunk_runs_nothing_more_of_ours(void) {
    static _Atomic pid_t child;
    share();
    int sock = waiting_socket(WIFI), other = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fork_inside, (void *)&child), CMM_DEFERRED);
    for (int i = 0; i < 5; i++) {
        defer(sock);
        defer(other);
    }
    stage_up("wifi");
    stage_wait(child != 0);
    stage_equal(ended(child), 0); /* back from the thunk, its only thread has nothing left to do */
    stage_wait(both->runs == 11);
    stage_equal(both->runs_in_child, 0);
    stage_equal(both->step, child);
}

static void in_manual_mode_too_it_runs_nothing_more(void) {
    static _Atomic pid_t child;
    share();
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = waiting_socket(WIFI), other = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fork_inside, (void *)&child), CMM_DEFERRED);
    defer(sock);
    defer(other);
    stage_up("wifi");
    while (both->runs < 3) {
        cmm_dispatch();
        if (getpid() != parent)
            _exit(both->runs_in_child ? 1 : 0);
    }
    stage_equal(ended(child), 0);
    stage_equal(both->runs_in_child, 0);
}

static void a_thunk_may_fork_a_program(void) {
    static _Atomic pid_t child;
    share();
    int sock = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fork_inside, (void *)&child), CMM_DEFERRED);
    defer(sock);
    stage_up("wifi");
    stage_wait(both->runs == 2);
    stage_equal(ended(child), 0);
    stage_equal(system("true"), 0);
}

/* Its child has a connection of its own, which brings the library in it to life. */
static int fork_in_handler(mc_socket_t sock, unsigned long labels, void *arg) {
    (void)sock, (void)labels;
    if (getpid() != parent) {
        both->runs_in_child++;
        return 0;
    }
    const pid_t child = fork();
    if (child == 0) {
        connected_socket(WIFI);
        for (int i = 0; i < 100 && !both->runs_in_child; i++)
            usleep(1000);
        _exit(0);
    }
    *(_Atomic pid_t *)arg = child;
    return 0;
}

static void expect_no_nested_handler(connection_event_cb_t pre, connection_event_cb_t post) {
    static _Atomic pid_t child;
    struct sockaddr_in to = stage_tcp();
    share();
    stage_up("wifi");
    const int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, pre, post, (void *)&child), 0);
    stage_equal(ended(child), 0);
    stage_equal(both->runs_in_child, 0);
}

static void in_a_child_forked_inside_pre_reconnect_it_does_not_run_once_more_inside_itself(void) {
    expect_no_nested_handler(fork_in_handler, NULL);
}

static void nor_inside_post_reconnect(void) {
    expect_no_nested_handler(NULL, fork_in_handler);
}

/* ---- connections ---- */

static void a_childs_reconnect_changes_its_own_copy_only(void) {
    share();
    stage_up("wifi");
    stage_up("cell");
    int sock = connected_socket(WIFI);
    stage_equal(cmm_send(sock, "one ", 4, 0, WIFI, NULL, NULL), 4);
    pid_t child = fork();
    if (child == 0) {
        stage_equal(cmm_send(sock, "child", 5, 0, CELL, NULL, NULL), 5);
        _exit(0);
    }
    stage_equal(ended(child), 0);
    stage_expect_connection(1, "127.0.2.1");
    carries(1, "child");
    stage_equal(cmm_send(sock, "two", 3, 0, WIFI, NULL, NULL), 3);
    carries(0, "one two");
    stage_equal(stage_end(0), STAGE_OPEN);
    stage_wait(stage_end(1) == STAGE_EOF); /* the child is over */
    stage_say(0, "answer");
    char answer[7] = "";
    stage_equal(cmm_recv(sock, answer, 6, MSG_WAITALL), 6);
    stage_expect(strcmp(answer, "answer") == 0);
}

static void a_childs_reconnect_leaves_the_parents_epoll_registration_in_peace(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 11}, got;
    char text[6] = "";
    share();
    stage_up("wifi");
    stage_up("cell");
    int sock = connected_socket(WIFI), epoll = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event), 0);
    pid_t child = fork();
    if (child == 0) {
        stage_equal(cmm_send(sock, "child", 5, 0, CELL, NULL, NULL), 5);
        step(1);
        _exit(0);
    }
    stage_expect_connection(1, "127.0.2.1");
    carries(1, "child");
    stage_say(0, "hello");
    stage_equal(epoll_wait(epoll, &got, 1, 25000), 1);
    stage_equal(got.data.u64, 11);
    stage_equal(cmm_recv(sock, text, 5, MSG_DONTWAIT), 5);
    both->step = 1;
    stage_equal(ended(child), 0);
}

static void a_parents_reconnect_leaves_the_childs_connection_in_peace(void) {
    share();
    stage_up("wifi");
    stage_up("cell");
    int sock = connected_socket(WIFI);
    pid_t child = fork();
    if (child == 0) {
        step(1);
        stage_equal(cmm_send(sock, "child", 5, 0, WIFI, NULL, NULL), 5);
        stage_wait(stage_received(0) == 5);
        stage_equal(stage_end(0), STAGE_OPEN);
        _exit(0);
    }
    stage_equal(cmm_send(sock, "parent", 6, 0, CELL, NULL, NULL), 6);
    stage_expect_connection(1, "127.0.2.1");
    both->step = 1;
    stage_equal(ended(child), 0);
    carries(0, "child");
    carries(1, "parent");
}

static long queued(int sock, unsigned long request) {
    int bytes = -1;
    stage_equal(ioctl(sock, request, &bytes), 0);
    return bytes;
}

static void a_blocking_call_on_a_shared_connection_is_whole(void) {
    enum { LARGE = 8 << 20 };
    char text[11] = "", *bytes = calloc(1, LARGE);
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    stage_hold(true);
    pid_t child = fork();
    if (child == 0) {
        stage_equal(cmm_send(sock, bytes, LARGE, 0, WIFI, NULL, NULL), LARGE);
        stage_equal(cmm_recv(sock, text, 10, MSG_WAITALL), 10);
        stage_expect(strcmp(text, "helloworld") == 0);
        _exit(0);
    }
    stage_wait(queued(sock, SIOCOUTQ) > 100000);
    stage_hold(false);
    stage_wait(stage_received(0) == LARGE);
    stage_say(0, "hello");
    stage_wait(queued(sock, FIONREAD) == 0);
    stage_say(0, "world");
    stage_equal(ended(child), 0);
    free(bytes);
}

/* Not as an end, which nobody has sent. */
static void a_reset_that_cuts_a_shared_call_short_is_told_to_the_next(void) {
    char text[10];
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    pid_t child = fork();
    if (child == 0) {
        both->step = 1;
        stage_equal(cmm_recv(sock, text, 10, MSG_WAITALL), 5);
        stage_fails(cmm_recv(sock, text, 10, 0), ECONNRESET);
        _exit(0);
    }
    stage_wait(both->step);
    stage_say(0, "hello");
    stage_wait(queued(sock, FIONREAD) == 0);
    stage_hang_up(0);
    stage_equal(ended(child), 0);
}

static void a_childs_close_leaves_the_parents_connection_open(void) {
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    pid_t child = fork();
    if (child == 0)
        _exit(cmm_close(sock) == 0 ? 0 : 1);
    stage_equal(ended(child), 0);
    stage_equal(cmm_send(sock, "still", 5, 0, WIFI, NULL, NULL), 5);
    carries(0, "still");
    stage_equal(stage_end(0), STAGE_OPEN);
}

static void parent_and_child_may_both_send_on_the_shared_connection(void) {
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    stage_equal(cmm_send(sock, "1", 1, 0, WIFI, NULL, NULL), 1);
    pid_t child = fork();
    if (child == 0)
        _exit(cmm_send(sock, "2", 1, 0, WIFI, NULL, NULL) == 1 ? 0 : 1);
    stage_equal(ended(child), 0);
    stage_equal(cmm_send(sock, "3", 1, 0, WIFI, NULL, NULL), 1);
    carries(0, "123");
}

static void after_a_loss_each_process_remakes_its_own(void) {
    share();
    stage_link("cell0", false);
    stage_wait(stage_offered("wifi") && !stage_offered("cell"));
    int sock = connected_socket(WIFI);
    stage_equal(cmm_send(sock, "shared", 6, 0, WIFI, NULL, NULL), 6);
    carries(0, "shared");
    pid_t child = fork();
    if (child == 0) {
        step(1);
        stage_equal(cmm_send(sock, "child", 5, 0, WIFI, NULL, NULL), 5);
        step(2);
        _exit(0);
    }
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_link("cell0", true);
    stage_expect_connection(1, "10.2.0.2"); /* the parent's, unasked */
    stage_equal(cmm_send(sock, "parent", 6, 0, WIFI, NULL, NULL), 6);
    carries(1, "parent");
    stage_equal(stage_connections(), 2); /* the child's when it next uses it */
    both->step = 1;
    stage_expect_connection(2, "10.2.0.2");
    carries(2, "child");
    both->step = 2;
    stage_equal(ended(child), 0);
}

static void a_child_that_only_waits_in_epoll_remakes_its_own(void) {
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI);
    pid_t child = fork();
    if (child == 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7};
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event), 0);
        stage_equal(epoll_wait(epoll, &event, 1, 0), 0); /* from here on it hears of networks */
        both->step = 1;
        stage_equal(epoll_wait(epoll, &event, 1, 25000), 1);
        _exit(event.data.u64 != 7);
    }
    step(1);
    stage_equal(cmm_close(sock), 0);
    stage_down("wifi");
    stage_wait(stage_end(0) != STAGE_OPEN); /* back too soon it is the same, for who has not heard */
    stage_up("wifi");
    stage_wait(stage_connections() == 2);
    stage_say(1, "hello");
    stage_equal(ended(child), 0);
}

static void *receive(void *arg) {
    static char text[16];
    ssize_t n = cmm_recv(*(int *)arg, text, sizeof text - 1, 0);
    both->step = 1;
    return n > 0 ? text : NULL;
}

static void a_thread_blocked_in_a_receive_is_carried_over_though_a_child_holds_the_socket(void) {
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI), pipes[2];
    char none;
    stage_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pipes[1]);
        _exit((int)read(pipes[0], &none, 1)); /* holds the socket until the parent closes the pipe */
    }
    close(pipes[0]);
    pthread_t thread;
    void *text;
    pthread_create(&thread, NULL, receive, &sock);
    stage_up("cell");
    stage_equal(cmm_send(sock, "moved", 5, 0, CELL, NULL, NULL), 5);
    carries(1, "moved");
    stage_equal(both->step, 0);
    stage_say(1, "hello");
    pthread_join(thread, &text);
    stage_expect(text && strcmp(text, "hello") == 0);
    close(pipes[1]);
    stage_equal(ended(child), 0);
}

static _Atomic pid_t receiver;

static void *receive_known(void *arg) {
    receiver = gettid();
    return receive(arg);
}

/* In the kernel, in a receive: the numbers of recvfrom and recvmsg. */
static bool is_receiving(pid_t thread) {
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)thread);
    FILE *file = fopen(path, "r");
    if (file && !fgets(text, sizeof text, file))
        text[0] = 0;
    if (file)
        fclose(file);
    return atoi(text) == SYS_recvfrom || atoi(text) == SYS_recvmsg;
}

/* Whoever waits on what a child holds, too, is woken by any news; then it sleeps again. */
static void a_thread_blocked_in_a_shared_receive_sleeps_on_when_the_news_is_anothers(void) {
    share();
    stage_up("wifi");
    int sock = connected_socket(WIFI), pipes[2], calm = 0;
    char none;
    stage_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pipes[1]);
        _exit((int)read(pipes[0], &none, 1));
    }
    close(pipes[0]);
    pthread_t thread;
    void *text;
    pthread_create(&thread, NULL, receive_known, &sock);
    stage_wait(receiver && stage_asleep(receiver));
    cmm_close(connected_socket(WIFI));
    stage_wait((calm = stage_asleep(receiver) ? calm + 1 : 0) > 50);
    stage_say(0, "hello");
    pthread_join(thread, &text);
    stage_expect(text && strcmp(text, "hello") == 0);
    close(pipes[1]);
    stage_equal(ended(child), 0);
}

static void a_thread_blocked_before_the_fork_is_carried_over_when_the_network_is_lost(void) {
    share();
    stage_link("cell0", false);
    stage_wait(stage_offered("wifi") && !stage_offered("cell"));
    int sock = connected_socket(WIFI), pipes[2];
    char none;
    pthread_t thread;
    void *text;
    stage_equal(pipe(pipes), 0);
    pthread_create(&thread, NULL, receive_known, &sock);
    stage_wait(receiver && is_receiving(receiver));
    pid_t child = fork();
    if (child == 0) {
        close(pipes[1]);
        _exit((int)read(pipes[0], &none, 1));
    }
    close(pipes[0]);
    stage_link("wifi0", false);
    stage_link("cell0", true);
    stage_expect_connection(1, "10.2.0.2");
    stage_equal(both->step, 0);
    stage_say(1, "hello");
    stage_wait(both->step == 1);
    pthread_join(thread, &text);
    stage_expect(text && strcmp(text, "hello") == 0);
    close(pipes[1]);
    stage_equal(ended(child), 0);
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
    STAGE_TEST(a_childs_reconnect_changes_its_own_copy_only),
    STAGE_TEST(a_childs_reconnect_leaves_the_parents_epoll_registration_in_peace),
    STAGE_TEST(a_parents_reconnect_leaves_the_childs_connection_in_peace),
    STAGE_TEST(a_blocking_call_on_a_shared_connection_is_whole),
    STAGE_TEST(a_reset_that_cuts_a_shared_call_short_is_told_to_the_next),
    STAGE_TEST(a_childs_close_leaves_the_parents_connection_open),
    STAGE_TEST(parent_and_child_may_both_send_on_the_shared_connection),
    STAGE_TEST_IN(after_a_loss_each_process_remakes_its_own, STAGE_WORLD, world),
    STAGE_TEST(a_child_that_only_waits_in_epoll_remakes_its_own),
    STAGE_TEST(a_thread_blocked_in_a_receive_is_carried_over_though_a_child_holds_the_socket),
    STAGE_TEST(a_thread_blocked_in_a_shared_receive_sleeps_on_when_the_news_is_anothers),
    STAGE_TEST_IN(a_thread_blocked_before_the_fork_is_carried_over_when_the_network_is_lost, STAGE_WORLD,
                  world),
};

STAGE_MAIN(config, tests)

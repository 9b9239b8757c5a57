/* forked_sockets - a connection that parent and child share: what each does with it leaves the other's in
 * peace. */
#include "forking.h"

#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static void a_childs_reconnect_changes_its_own_copy_only(void) {
    forking_share();
    stage_up("wifi");
    stage_up("cell");
    int sock = forking_connected(WIFI);
    stage_equal(cmm_send(sock, "one ", 4, 0, WIFI, NULL, NULL), 4);
    pid_t child = fork();
    if (child == 0) {
        stage_equal(cmm_send(sock, "child", 5, 0, CELL, NULL, NULL), 5);
        _exit(0);
    }
    stage_equal(forking_ended(child), 0);
    stage_expect_connection(1, "127.0.2.1");
    forking_carries(1, "child");
    stage_equal(cmm_send(sock, "two", 3, 0, WIFI, NULL, NULL), 3);
    forking_carries(0, "one two");
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
    forking_share();
    stage_up("wifi");
    stage_up("cell");
    int sock = forking_connected(WIFI), epoll = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event), 0);
    pid_t child = fork();
    if (child == 0) {
        stage_equal(cmm_send(sock, "child", 5, 0, CELL, NULL, NULL), 5);
        forking_step(1);
        _exit(0);
    }
    stage_expect_connection(1, "127.0.2.1");
    forking_carries(1, "child");
    stage_say(0, "hello");
    stage_equal(epoll_wait(epoll, &got, 1, 25000), 1);
    stage_equal(got.data.u64, 11);
    stage_equal(cmm_recv(sock, text, 5, MSG_DONTWAIT), 5);
    forking_both->step = 1;
    stage_equal(forking_ended(child), 0);
}

static void a_parents_reconnect_leaves_the_childs_connection_in_peace(void) {
    forking_share();
    stage_up("wifi");
    stage_up("cell");
    int sock = forking_connected(WIFI);
    pid_t child = fork();
    if (child == 0) {
        forking_step(1);
        stage_equal(cmm_send(sock, "child", 5, 0, WIFI, NULL, NULL), 5);
        stage_wait(stage_received(0) == 5);
        stage_equal(stage_end(0), STAGE_OPEN);
        _exit(0);
    }
    stage_equal(cmm_send(sock, "parent", 6, 0, CELL, NULL, NULL), 6);
    stage_expect_connection(1, "127.0.2.1");
    forking_both->step = 1;
    stage_equal(forking_ended(child), 0);
    forking_carries(0, "child");
    forking_carries(1, "parent");
}

static long queued(int sock, unsigned long request) {
    int bytes = -1;
    stage_equal(ioctl(sock, request, &bytes), 0);
    return bytes;
}

static void a_blocking_call_on_a_shared_connection_is_whole(void) {
    enum { LARGE = 8 << 20 };
    char text[11] = "", *bytes = calloc(1, LARGE);
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI);
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
    stage_equal(forking_ended(child), 0);
    free(bytes);
}

/* Not as an end, which nobody has sent. */
static void a_reset_that_cuts_a_shared_call_short_is_told_to_the_next(void) {
    char text[10];
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI);
    pid_t child = fork();
    if (child == 0) {
        forking_both->step = 1;
        stage_equal(cmm_recv(sock, text, 10, MSG_WAITALL), 5);
        stage_fails(cmm_recv(sock, text, 10, 0), ECONNRESET);
        _exit(0);
    }
    stage_wait(forking_both->step);
    stage_say(0, "hello");
    stage_wait(queued(sock, FIONREAD) == 0);
    stage_hang_up(0);
    stage_equal(forking_ended(child), 0);
}

/* Where the kernel would give them to one of the two. */
static void what_had_arrived_is_both_processes_after_one_of_them_has_left(void) {
    char text[9] = "";
    forking_share();
    stage_up("wifi");
    stage_up("cell");
    int sock = forking_connected(WIFI);
    stage_say(0, "arrived");
    stage_wait(recv(sock, text, sizeof text, MSG_PEEK | MSG_DONTWAIT) == 7);
    pid_t child = fork();
    if (child == 0) {
        forking_step(1);
        _exit(cmm_recv(sock, text, sizeof text, MSG_DONTWAIT) == 7 ? 0 : 1);
    }
    stage_equal(cmm_send(sock, "parent", 6, 0, CELL, NULL, NULL), 6);
    forking_carries(1, "parent");
    stage_equal(cmm_recv(sock, text, sizeof text, MSG_DONTWAIT), 7);
    stage_expect(memcmp(text, "arrived", 7) == 0);
    forking_both->step = 1;
    stage_equal(forking_ended(child), 0);
}

static void a_childs_close_leaves_the_parents_connection_open(void) {
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI);
    pid_t child = fork();
    if (child == 0)
        _exit(cmm_close(sock) == 0 ? 0 : 1);
    stage_equal(forking_ended(child), 0);
    stage_equal(cmm_send(sock, "still", 5, 0, WIFI, NULL, NULL), 5);
    forking_carries(0, "still");
    stage_equal(stage_end(0), STAGE_OPEN);
}

static void parent_and_child_may_both_send_on_the_shared_connection(void) {
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI);
    stage_equal(cmm_send(sock, "1", 1, 0, WIFI, NULL, NULL), 1);
    pid_t child = fork();
    if (child == 0)
        _exit(cmm_send(sock, "2", 1, 0, WIFI, NULL, NULL) == 1 ? 0 : 1);
    stage_equal(forking_ended(child), 0);
    stage_equal(cmm_send(sock, "3", 1, 0, WIFI, NULL, NULL), 1);
    forking_carries(0, "123");
}

static void after_a_loss_each_process_remakes_its_own(void) {
    forking_share();
    stage_link("cell0", false);
    stage_wait(stage_offered("wifi") && !stage_offered("cell"));
    int sock = forking_connected(WIFI);
    stage_equal(cmm_send(sock, "shared", 6, 0, WIFI, NULL, NULL), 6);
    forking_carries(0, "shared");
    pid_t child = fork();
    if (child == 0) {
        forking_step(1);
        stage_equal(cmm_send(sock, "child", 5, 0, WIFI, NULL, NULL), 5);
        forking_step(2);
        _exit(0);
    }
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_link("cell0", true);
    stage_expect_connection(1, "10.2.0.2"); /* the parent's, unasked */
    stage_equal(cmm_send(sock, "parent", 6, 0, WIFI, NULL, NULL), 6);
    forking_carries(1, "parent");
    stage_equal(stage_connections(), 2); /* the child's when it next uses it */
    forking_both->step = 1;
    stage_expect_connection(2, "10.2.0.2");
    forking_carries(2, "child");
    forking_both->step = 2;
    stage_equal(forking_ended(child), 0);
}

static void a_child_that_only_waits_in_epoll_remakes_its_own(void) {
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI);
    pid_t child = fork();
    if (child == 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7};
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event), 0);
        stage_equal(epoll_wait(epoll, &event, 1, 0), 0); /* from here on it hears of networks */
        forking_both->step = 1;
        stage_equal(epoll_wait(epoll, &event, 1, 25000), 1);
        _exit(event.data.u64 != 7);
    }
    forking_step(1);
    stage_equal(cmm_close(sock), 0);
    stage_down("wifi");
    stage_wait(stage_end(0) != STAGE_OPEN); /* back too soon it is the same, for who has not heard */
    stage_up("wifi");
    stage_wait(stage_connections() == 2);
    stage_say(1, "hello");
    stage_equal(forking_ended(child), 0);
}

static void *receive(void *arg) {
    static char text[16];
    ssize_t n = cmm_recv(*(int *)arg, text, sizeof text - 1, 0);
    forking_both->step = 1;
    return n > 0 ? text : NULL;
}

static void a_thread_blocked_in_a_receive_is_carried_over_though_a_child_holds_the_socket(void) {
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI), pipes[2];
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
    forking_carries(1, "moved");
    stage_equal(forking_both->step, 0);
    stage_say(1, "hello");
    pthread_join(thread, &text);
    stage_expect(text && strcmp(text, "hello") == 0);
    close(pipes[1]);
    stage_equal(forking_ended(child), 0);
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
    forking_share();
    stage_up("wifi");
    int sock = forking_connected(WIFI), pipes[2], calm = 0;
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
    cmm_close(forking_connected(WIFI));
    stage_wait((calm = stage_asleep(receiver) ? calm + 1 : 0) > 50);
    stage_say(0, "hello");
    pthread_join(thread, &text);
    stage_expect(text && strcmp(text, "hello") == 0);
    close(pipes[1]);
    stage_equal(forking_ended(child), 0);
}

static void a_thread_blocked_before_the_fork_is_carried_over_when_the_network_is_lost(void) {
    forking_share();
    stage_link("cell0", false);
    stage_wait(stage_offered("wifi") && !stage_offered("cell"));
    int sock = forking_connected(WIFI), pipes[2];
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
    stage_equal(forking_both->step, 0);
    stage_say(1, "hello");
    stage_wait(forking_both->step == 1);
    pthread_join(thread, &text);
    stage_expect(text && strcmp(text, "hello") == 0);
    close(pipes[1]);
    stage_equal(forking_ended(child), 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_childs_reconnect_changes_its_own_copy_only),
    STAGE_TEST(a_childs_reconnect_leaves_the_parents_epoll_registration_in_peace),
    STAGE_TEST(a_parents_reconnect_leaves_the_childs_connection_in_peace),
    STAGE_TEST(a_blocking_call_on_a_shared_connection_is_whole),
    STAGE_TEST(a_reset_that_cuts_a_shared_call_short_is_told_to_the_next),
    STAGE_TEST(what_had_arrived_is_both_processes_after_one_of_them_has_left),
    STAGE_TEST(a_childs_close_leaves_the_parents_connection_open),
    STAGE_TEST(parent_and_child_may_both_send_on_the_shared_connection),
    STAGE_TEST_IN(after_a_loss_each_process_remakes_its_own, STAGE_WORLD, forking_world),
    STAGE_TEST(a_child_that_only_waits_in_epoll_remakes_its_own),
    STAGE_TEST(a_thread_blocked_in_a_receive_is_carried_over_though_a_child_holds_the_socket),
    STAGE_TEST(a_thread_blocked_in_a_shared_receive_sleeps_on_when_the_news_is_anothers),
    STAGE_TEST_IN(a_thread_blocked_before_the_fork_is_carried_over_when_the_network_is_lost, STAGE_WORLD,
                  forking_world),
};

STAGE_MAIN(forking_config, tests)

/* linked - what a program that is linked with the library may rely on, beside its labeled sends: its plain
 * sockets, its descriptors, its threads, and what a network is. */
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background, small\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand\n"
                            "[scout]\nhold-down = 0\ngrace = 1000\n";

static const char brief[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[scout]\nhold-down = 0\ngrace = 0.05\n";

#define BG    CMM_LABEL_BACKGROUND
#define CELL  CMM_LABEL_ONDEMAND
#define SMALL CMM_LABEL_SMALL

/* ---- signals ---- */

static _Atomic int hangups;

static void on_hangup(int signal) {
    (void)signal;
    hangups++;
}

static void a_linked_program_has_its_hangups_to_itself(void) {
    enum { FLAPS = 60 };
    struct sigaction act = {.sa_handler = on_hangup};
    stage_equal(sigaction(SIGHUP, &act, NULL), 0);
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    for (int i = 0; i < FLAPS; i++) {
        stage_up("cell");
        stage_equal(hangups, i);
        stage_equal(kill(getpid(), SIGHUP), 0);
        stage_wait(hangups == i + 1);
        stage_down("cell");
    }
    stage_equal(hangups, FLAPS);
}

/* ---- plain sockets ---- */

static int plain_socket(void) {
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_expect(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        stage_equal(errno, EINPROGRESS);
    return fd;
}

static void plain_sockets_of_a_program_that_is_only_linked_pass_through_untouched(void) {
    char byte;
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    stage_equal(cmm_set_default_labels(CELL), 0);
    int fd = plain_socket();
    stage_expect_connection(0, "10.1.0.2"); /* the routes' choice */
    stage_wait(write(fd, "plain", 5) == 5);
    stage_expect_text(0, "plain");
    stage_finish(0);
    stage_wait(read(fd, &byte, 1) == 0);
    stage_fails(cmm_thunk_count(fd), EBADF);
    stage_equal(close(fd), 0);
}

static void in_a_program_that_is_preloaded_too_they_get_the_default_labels(void) {
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    stage_equal(cmm_set_default_labels(CELL), 0);
    int fd = plain_socket();
    stage_expect_connection(0, "10.2.0.2"); /* the routes prefer the other */
    stage_fails(cmm_thunk_count(fd), EBADF);
    stage_fails(cmm_check_label(fd, CELL, NULL, NULL), EBADF);
    /* Its cmm sockets are what they are elsewhere. */
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_expect_connection(1, "10.1.0.2");
    stage_equal(talk_put("x", CELL), 1);
    stage_expect_connection(2, "10.2.0.2");
}

/* ---- the plain calls under cmm_ names ---- */

static void cmm_poll_and_cmm_select_are_the_plain_calls(void) {
    int pipes[2];
    struct timeval none = {0, 0};
    fd_set rd, wr;
    stage_equal(pipe(pipes), 0);
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    struct pollfd p[] = {{.fd = talk_sock, .events = POLLIN | POLLOUT}, {.fd = pipes[0], .events = POLLIN}};
    stage_equal(cmm_poll(p, 2, 0), 0);
    stage_equal((int)write(pipes[1], "x", 1), 1);
    stage_equal(cmm_poll(p, 2, -1), 1);
    stage_equal(p[1].revents, POLLIN);
    stage_up("wifi");
    stage_equal(cmm_poll(p, 1, -1), 1);
    stage_equal(p[0].revents, POLLOUT);
    FD_ZERO(&rd);
    FD_SET(talk_sock, &rd);
    FD_SET(pipes[0], &rd);
    wr = rd;
    stage_equal(cmm_select((talk_sock > pipes[0] ? talk_sock : pipes[0]) + 1, &rd, &wr, NULL, &none), 2);
    stage_expect(FD_ISSET(pipes[0], &rd) && !FD_ISSET(talk_sock, &rd) && FD_ISSET(talk_sock, &wr));
    stage_equal(cmm_poll(NULL, 0, 0), 0);
    stage_fails(cmm_select(-1, NULL, NULL, NULL, &none), EINVAL);
}

/* ---- descriptors ---- */

static void a_duplicate_is_the_same_socket_before_and_after_a_move(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 8};
    char text[8];
    stage_up("wifi");
    stage_up("cell");
    stage_equal(talk_dial(0, BG, NULL), 0);
    const int copy = fcntl(talk_sock, F_DUPFD_CLOEXEC, 0), epoll = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &event), 0);
    stage_equal(cmm_send(copy, "one", 3, 0, BG, NULL, NULL), 3);
    stage_expect_text(0, "one");
    stage_equal(talk_put("two", CELL), 3);
    stage_equal((int)write(copy, "three", 5), 5);
    stage_expect_text(1, "twothree");
    stage_equal(cmm_close(talk_sock), 0);
    stage_say(1, "answer");
    stage_equal(epoll_wait(epoll, &event, 1, 25000), 1);
    stage_equal(event.data.u64, 8);
    stage_equal(cmm_recv(copy, text, sizeof text, 0), 6);
    stage_equal(cmm_close(copy), 0);
    stage_wait(stage_end(1) == STAGE_EOF);
}

/* ---- many ---- */

static _Atomic int answered;

static void count_answer(void *arg) {
    const int sock = *(const int *)arg;
    stage_equal(cmm_send(sock, "x", 1, 0, BG, NULL, NULL), 1);
    stage_equal(cmm_close(sock), 0);
    answered++;
}

static void hundreds_of_sockets_wait_together_and_each_is_served_once(void) {
    enum { MANY = 800 };
    const struct sockaddr_in to = stage_tcp();
    struct rlimit limit;
    static int socks[MANY];
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < MANY; i++) {
        socks[i] = cmm_socket(AF_INET, SOCK_STREAM, 0);
        stage_equal(cmm_connect(socks[i], (const struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL),
                    CMM_DEFERRED);
        stage_equal(cmm_send(socks[i], "x", 1, 0, BG, count_answer, &socks[i]), CMM_DEFERRED);
    }
    stage_up("wifi");
    stage_wait(answered == MANY);
}

enum { FULL = 300 };
static int filler[FULL], fillers;

static void fill_table(void) {
    const struct rlimit few = {FULL, FULL};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;)
        filler[fillers++] = fd;
}

static void empty_table(void) {
    while (fillers)
        close(filler[--fillers]);
}

/* Speaking to the scout takes a descriptor: another process does it when it is told. */
static _Atomic int *begin_helper(void (*job)(void)) {
    _Atomic int *go = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stage_expect(go != MAP_FAILED);
    /* A sanitizer's allocator bears no fork while a thread is being made: the listening thread stands now. */
    stage_wait(cmm_networks(NULL, 0) >= 0);
    const pid_t helper = fork();
    stage_expect(helper >= 0);
    if (helper)
        return go;
    stage_wait(*go);
    job();
    _exit(0);
}

static void both_come(void) {
    stage_up("wifi");
    stage_up("cell");
}

static void wifi_goes(void) {
    stage_down("wifi");
}

/* Also where each of several networks could carry it. */
static void a_full_table_of_descriptors_only_delays_a_connection(void) {
    _Atomic int *come = begin_helper(both_come);
    stage_equal(talk_dial_plainly(0, SMALL), CMM_DEFERRED);
    fill_table();
    *come = 1;
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    stage_equal(stage_connections(), 0);
    stage_fails(cmm_socket(AF_INET, SOCK_STREAM, 0), EMFILE);
    empty_table();
    stage_wait(stage_connections() == 1);
}

static void a_full_table_of_descriptors_does_not_end_a_connection(void) {
    _Atomic int *go = begin_helper(wifi_goes);
    stage_up("wifi");
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, BG), 0);
    fill_table();
    stage_fails(talk_put("x", CELL), EMFILE);
    stage_equal(talk_put("still there", BG), 11);
    stage_expect_text(0, "still there");
    *go = 1;
    stage_wait(!stage_offered("wifi"));
    stage_fails(cmm_send(talk_sock, "x", 1, MSG_DONTWAIT, BG, NULL, NULL), EAGAIN);
    empty_table();
    stage_equal(talk_put("by cell", CELL), 7);
    stage_expect_text(1, "by cell");
}

/* ---- threads ---- */

static void *go_on(void *arg) {
    pthread_join(*(pthread_t *)arg, NULL);
    stage_equal(talk_defer("late", BG), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_count == 3);
    stage_expect_text(0, "late");
    stage_down("wifi");
    stage_up("wifi");
    stage_wait(talk_count == 5);
    stage_equal(talk_put("later", BG), 5);
    stage_expect_text(1, "later");
    _exit(0);
}

static void when_the_main_thread_has_ended_the_others_go_on(void) {
    stage_not_under_tsan("ends with the main thread");
    static pthread_t all[2];
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    all[0] = pthread_self();
    stage_equal(pthread_create(&all[1], NULL, go_on, &all[0]), 0);
    pthread_exit(NULL);
}

/* ---- networks ---- */

static unsigned long id_of(const char *name) {
    struct cmm_network all[8];
    const int count = cmm_networks(all, 8);
    for (int i = 0; i < count && i < 8; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].id;
    return 0;
}

static void within_grace_no_new_connection_picks_a_network_and_one_that_is_back_is_the_same(void) {
    stage_wait(stage_offered("wifi"));
    const unsigned long id = id_of("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    const int first = talk_sock;
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
    stage_link("wifi0", true);
    stage_wait(stage_offered("wifi"));
    stage_equal(id_of("wifi"), id);
    stage_wait(strcmp(talk_diary(), "<><>") == 0); /* the other one's */
    stage_equal(cmm_send(first, "same", 4, 0, BG, NULL, NULL), 4);
    stage_expect_text(0, "same");
    stage_equal(stage_connections(), 2);
}

static void a_network_that_was_lost_is_another_though_it_looks_the_same(void) {
    stage_wait(stage_offered("wifi"));
    const unsigned long id = id_of("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_link("wifi0", false);
    /* Its grace is over when the connection is given up. */
    stage_wait(cmm_check_label(talk_sock, BG, NULL, NULL) == CMM_DEFERRED);
    stage_link("wifi0", true);
    talk_expect_moved(1, "10.1.0.2", "wifi");
    stage_expect(id_of("wifi") != id && id_of("wifi") != 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST_IN(plain_sockets_of_a_program_that_is_only_linked_pass_through_untouched,
                  STAGE_WORLD | STAGE_UP, world),
    STAGE_TEST_IN(in_a_program_that_is_preloaded_too_they_get_the_default_labels,
                  STAGE_WORLD | STAGE_UP | STAGE_PRELOAD, world),
    STAGE_TEST(a_linked_program_has_its_hangups_to_itself),
    STAGE_TEST(cmm_poll_and_cmm_select_are_the_plain_calls),
    STAGE_TEST(a_duplicate_is_the_same_socket_before_and_after_a_move),
    STAGE_TEST(hundreds_of_sockets_wait_together_and_each_is_served_once),
    STAGE_TEST(a_full_table_of_descriptors_only_delays_a_connection),
    STAGE_TEST(a_full_table_of_descriptors_does_not_end_a_connection),
    STAGE_TEST(when_the_main_thread_has_ended_the_others_go_on),
    STAGE_TEST_IN(within_grace_no_new_connection_picks_a_network_and_one_that_is_back_is_the_same,
                  STAGE_WORLD | STAGE_UP, world),
    STAGE_TEST_IN(a_network_that_was_lost_is_another_though_it_looks_the_same, STAGE_WORLD | STAGE_UP, brief),
};

STAGE_MAIN(config, tests)

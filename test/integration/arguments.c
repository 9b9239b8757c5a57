/* arguments - what is wrong with an argument is told as the kernel tells it: also where the library answers
 * by itself, or reads first what is to be sent. */
#include "talk.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BG CMM_LABEL_BACKGROUND

/* Not known to be nowhere, so that no compiler warns of it. */
static void *volatile nowhere = (void *)8;
static void *volatile none;

static int option(int name, void *value, socklen_t *len) {
    return cmm_getsockopt(talk_sock, SOL_SOCKET, name, value, len);
}

static void expect_pointers_are_looked_at(void) {
    struct sockaddr_in name;
    int value;
    socklen_t len = sizeof value, negative = (socklen_t)-1;
    stage_fails(option(SO_TYPE, &value, none), EFAULT);
    stage_fails(option(SO_TYPE, none, &len), EFAULT);
    stage_fails(option(SO_TYPE, &value, &negative), EINVAL);
    stage_fails(option(SO_ERROR, &value, none), EFAULT);
    stage_fails(cmm_getsockname(talk_sock, none, none), EFAULT);
    stage_fails(cmm_getsockname(talk_sock, (struct sockaddr *)&name, none), EFAULT);
    len = sizeof name;
    stage_fails(cmm_getsockname(talk_sock, none, &len), EFAULT);
    stage_fails(cmm_getsockname(talk_sock, (struct sockaddr *)&name, &negative), EINVAL);
}

static void expect_peer_pointers_are_looked_at(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name, negative = (socklen_t)-1;
    stage_fails(cmm_getpeername(talk_sock, (struct sockaddr *)&name, none), EFAULT);
    stage_fails(cmm_getpeername(talk_sock, none, &len), EFAULT);
    stage_fails(cmm_getpeername(talk_sock, (struct sockaddr *)&name, &negative), EINVAL);
}

static void who_asks_and_gives_no_room_for_the_answer_is_told_so_with_or_without_a_connection(void) {
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    expect_pointers_are_looked_at();
    stage_equal(talk_connect(BG, NULL), CMM_DEFERRED);
    expect_pointers_are_looked_at();
    expect_peer_pointers_are_looked_at();
    stage_up("wifi");
    stage_wait(talk_on("wifi"));
    expect_pointers_are_looked_at();
    expect_peer_pointers_are_looked_at();
    stage_refuse(true);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_connect(BG, NULL), ECONNREFUSED);
    expect_pointers_are_looked_at();
}

static ssize_t send_pieces(void *pieces, size_t count) {
    const struct msghdr msg = {.msg_iov = pieces, .msg_iovlen = count};
    return cmm_sendmsg(talk_sock, &msg, 0, BG, talk_note, NULL);
}

static void expect_nothing_wrong_is_sent(void) {
    struct iovec half[] = {{(void *)"good", 4}, {nowhere, 4}}, endless[] = {{(void *)"good", SIZE_MAX}};
    static struct iovec many[1025];
    for (int i = 0; i < 1025; i++)
        many[i] = (struct iovec){(void *)"x", 1};
    stage_fails(cmm_send(talk_sock, nowhere, 10, 0, BG, talk_note, NULL), EFAULT);
    stage_fails(cmm_write(talk_sock, none, 10, BG, talk_note, NULL), EFAULT);
    stage_fails(cmm_writev(talk_sock, half, 2, BG, talk_note, NULL), EFAULT);
    stage_fails(cmm_writev(talk_sock, nowhere, 2, BG, talk_note, NULL), EFAULT);
    stage_fails(cmm_sendmsg(talk_sock, nowhere, 0, BG, talk_note, NULL), EFAULT);
    stage_fails(send_pieces(endless, 1), EINVAL);
    stage_fails(send_pieces(many, 1025), EMSGSIZE);
    stage_equal(send_pieces(many, 1024), 1024);
    stage_equal(cmm_write(talk_sock, none, 0, BG, talk_note, NULL), 0);
    stage_equal(send_pieces(none, 0), 0);
    stage_equal(talk_count, 0);
}

static void what_cannot_be_read_is_not_sent(void) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    expect_nothing_wrong_is_sent();
    stage_wait(stage_received(0) == 1024);
}

static void what_cannot_be_read_is_not_kept_for_replay(void) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    expect_nothing_wrong_is_sent();
    stage_wait(stage_received(0) == 1024);
}

static int poll_for(const struct timespec *limit) {
    struct pollfd p = {.fd = talk_sock, .events = POLLIN};
    return ppoll(&p, 1, limit, NULL);
}

static int select_for(const struct timespec *limit) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(talk_sock, &in);
    return pselect(talk_sock + 1, &in, NULL, NULL, limit, NULL);
}

static void a_time_that_is_none_is_told_so(void) {
    static const struct timespec wrong[] = {{-1, 0}, {0, -1}, {0, 1000000000}};
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        stage_fails(poll_for(&wrong[i]), EINVAL);
        stage_fails(select_for(&wrong[i]), EINVAL);
    }
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void who_waits_for_a_time_is_back_no_sooner(void) {
    static const struct timespec almost = {0, 999999999};
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    const double begun = seconds();
    stage_equal(poll_for(&almost), 0);
    stage_expect(seconds() - begun >= 0.999);
}

static void on_alarm(int signo) {
    (void)signo;
}

/* An alarm that came before the call would not end it: the next one does. */
static void a_time_beyond_all_clocks_does_not_end(void) {
    static const struct timespec forever = {LONG_MAX, 999999999};
    const struct itimerval often = {{0, 20000}, {0, 20000}};
    const struct sigaction to = {.sa_handler = on_alarm};
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    sigaction(SIGALRM, &to, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    stage_fails(poll_for(&forever), EINTR);
    stage_fails(select_for(&forever), EINTR);
}

static const struct stage_test tests[] = {
    STAGE_TEST(who_asks_and_gives_no_room_for_the_answer_is_told_so_with_or_without_a_connection),
    STAGE_TEST(what_cannot_be_read_is_not_sent),
    STAGE_TEST(what_cannot_be_read_is_not_kept_for_replay),
    STAGE_TEST(a_time_that_is_none_is_told_so),
    STAGE_TEST(who_waits_for_a_time_is_back_no_sooner),
    STAGE_TEST(a_time_beyond_all_clocks_does_not_end),
};

STAGE_MAIN(talk_config, tests)

/* reconnect_timed - SO_RCVTIMEO and SO_SNDTIMEO run on while a connection is replaced: a call ends when its
 * program said, counted from where it began, however many networks are lost in it.
 * Whether it does is told by another wait that begins with it: longer than what the program allows, shorter
 * than that counted anew from the loss. */
#include "moving.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ALLOWED = 4000, LOST_AT = 2000, LONGER = 5200 };

static long in_longer_wait(void) {
    return poll(NULL, 0, LONGER);
}

static long in_read(void) {
    return read(moving_sock, moving_heard, sizeof moving_heard);
}

static long in_recvmsg(void) {
    struct iovec iov[2] = {{moving_heard, 3}, {moving_heard + 3, 100}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    return recvmsg(moving_sock, &msg, 0);
}

static long in_recv_all(void) {
    return recv(moving_sock, moving_heard, 100, MSG_WAITALL);
}

static long in_recvmsg_all(void) {
    struct iovec iov[2] = {{moving_heard, 4}, {moving_heard + 4, 100}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    return recvmsg(moving_sock, &msg, MSG_WAITALL);
}

static long in_sendmsg(void) {
    unsigned char *bytes = moving_pattern();
    struct iovec iov[2] = {{bytes, 1000}, {bytes + 1000, MOVING_LARGE - 1000}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    long n = sendmsg(moving_sock, &msg, 0);
    free(bytes);
    return n;
}

/* A thread's second call is made another way than its first. */
static long in_second_send(void) {
    stage_equal(send(moving_sock, "-", 1, 0), 1);
    return moving_in_send();
}

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void begin(long (*call)(void), int name) {
    moving_live(0);
    moving_set_timeout(name, ALLOWED);
    stage_hold(name == SO_SNDTIMEO);
    moving_begin(call);
    moving_begin(in_longer_wait);
    pthread_detach(moving_callers[1].thread); /* nobody waits for its end */
}

static void lose_late(long began) {
    stage_wait(now_ms() >= began + LOST_AT);
    moving_part();
    moving_expect_waiting();
}

static long outcome_in_time(void) {
    const long r = moving_outcome();
    stage_expect(!moving_callers[1].over);
    return r;
}

static void receives_in_time(long (*call)(void)) {
    const long began = now_ms();
    begin(call, SO_RCVTIMEO);
    lose_late(began);
    moving_find();
    stage_fails(outcome_in_time(), EAGAIN);
    stage_say(1, "later");
    stage_equal(moving_in_recv(), 5);
}

static void a_recv_ends_when_its_program_said(void) {
    receives_in_time(moving_in_recv);
}

static long in_second_recv(void) {
    stage_say(0, "early");
    stage_equal(moving_in_recv(), 5);
    return moving_in_recv();
}

static void a_second_recv_ends_when_its_program_said(void) {
    receives_in_time(in_second_recv);
}

static void a_read_ends_when_its_program_said(void) {
    receives_in_time(in_read);
}

static void a_recvmsg_ends_when_its_program_said(void) {
    receives_in_time(in_recvmsg);
}

static void all_receives_in_time(long (*call)(void)) {
    const long began = now_ms();
    begin(call, SO_RCVTIMEO);
    stage_say(0, "early");
    stage_wait(moving_available() == 0);
    lose_late(began);
    moving_find();
    stage_say(1, "late");
    stage_equal(outcome_in_time(), 9);
    stage_expect(memcmp(moving_heard, "earlylate", 9) == 0);
}

static void a_recv_that_waits_for_all_brings_what_came_in_its_time(void) {
    all_receives_in_time(in_recv_all);
}

static void a_recvmsg_that_waits_for_all_brings_what_came_in_its_time(void) {
    all_receives_in_time(in_recvmsg_all);
}

static void sends_in_time(long (*call)(void)) {
    const long began = now_ms();
    begin(call, SO_SNDTIMEO);
    stage_wait(moving_unacknowledged() > 100000);
    lose_late(began);
    const long sent = outcome_in_time();
    stage_expect(sent > 100000 && sent < MOVING_LARGE);
}

static void a_send_ends_when_its_program_said(void) {
    sends_in_time(in_second_send);
}

static void a_sendmsg_ends_when_its_program_said(void) {
    sends_in_time(in_sendmsg);
}

static void what_is_there_is_received_and_sent_at_once(void) {
    moving_live(0);
    moving_set_timeout(SO_RCVTIMEO, 600000);
    moving_set_timeout(SO_SNDTIMEO, 600000);
    moving_expect_talk(0);
    moving_part();
    moving_find();
    moving_expect_talk(1);
    moving_expect_talk(1);
}

static void a_time_given_later_holds(void) {
    moving_live(0);
    moving_expect_talk(0);
    moving_set_timeout(SO_RCVTIMEO, 300);
    stage_fails(moving_in_recv(), EAGAIN);
    moving_set_timeout(SO_RCVTIMEO, 0);
    moving_begin(moving_in_recv);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
}

static const struct stage_test tests[] = {
    MOVING_TEST(a_recv_ends_when_its_program_said),
    MOVING_TEST(a_second_recv_ends_when_its_program_said),
    MOVING_TEST(a_read_ends_when_its_program_said),
    MOVING_TEST(a_recvmsg_ends_when_its_program_said),
    MOVING_TEST(a_recv_that_waits_for_all_brings_what_came_in_its_time),
    MOVING_TEST(a_recvmsg_that_waits_for_all_brings_what_came_in_its_time),
    MOVING_TEST(a_send_ends_when_its_program_said),
    MOVING_TEST(a_sendmsg_ends_when_its_program_said),
    MOVING_TEST(what_is_there_is_received_and_sent_at_once),
    MOVING_TEST(a_time_given_later_holds),
};

STAGE_MAIN(moving_world, tests)

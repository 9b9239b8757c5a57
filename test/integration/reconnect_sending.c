/* reconnect_sending - under --on-loss reconnect who sends sees time pass, nothing else. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static long in_write(void) {
    unsigned char *bytes = moving_pattern();
    long n = write(moving_sock, bytes, MOVING_LARGE);
    free(bytes);
    return n;
}

static long in_writev(void) {
    unsigned char *bytes = moving_pattern();
    struct iovec iov[3] = {{bytes, 1000},
                           {bytes + 1000, MOVING_LARGE / 2},
                           {bytes + 1000 + MOVING_LARGE / 2, MOVING_LARGE / 2 - 1000}};
    long n = writev(moving_sock, iov, 3);
    free(bytes);
    return n;
}

static long in_sendfile(void) {
    stage_not_under_tsan("interrupts who sends when a child ends");
    unsigned char *bytes = moving_pattern();
    off_t offset = 0;
    int file = memfd_create("pattern", MFD_CLOEXEC);
    stage_equal(write(file, bytes, MOVING_LARGE), MOVING_LARGE);
    long n = sendfile(moving_sock, file, &offset, MOVING_LARGE);
    stage_equal(offset, MOVING_LARGE);
    close(file);
    free(bytes);
    return n;
}

static long in_sendmmsg(void) {
    unsigned char *bytes = moving_pattern();
    struct iovec iov[2] = {{bytes, MOVING_LARGE / 2}, {bytes + MOVING_LARGE / 2, MOVING_LARGE / 2}};
    struct mmsghdr msgs[2] = {{.msg_hdr = {.msg_iov = &iov[0], .msg_iovlen = 1}},
                              {.msg_hdr = {.msg_iov = &iov[1], .msg_iovlen = 1}}};
    int n = sendmmsg(moving_sock, msgs, 2, 0);
    free(bytes);
    return n == 2 ? (long)msgs[0].msg_len + msgs[1].msg_len : n;
}

static void sends_on(long (*call)(void)) {
    moving_live(0);
    stage_hold(true);
    moving_begin(call);
    stage_wait(moving_unacknowledged() > 100000);
    moving_move();
    stage_hold(false);
    stage_equal(moving_outcome(), MOVING_LARGE);
    moving_expect_rest();
}

#define SENDS_ON(name, call)                                                                                 \
    static void name(void) {                                                                                 \
        sends_on(call);                                                                                      \
    }
SENDS_ON(a_blocked_send_goes_on_where_the_kernel_stopped_taking_it, moving_in_send)
SENDS_ON(a_blocked_write_goes_on_where_the_kernel_stopped_taking_it, in_write)
SENDS_ON(a_blocked_writev_goes_on_where_the_kernel_stopped_taking_it, in_writev)
SENDS_ON(a_blocked_sendfile_goes_on_where_the_kernel_stopped_taking_it, in_sendfile)
SENDS_ON(a_blocked_sendmmsg_goes_on_where_the_kernel_stopped_taking_it, in_sendmmsg)

static void a_second_blocked_send_goes_on_too(void) {
    moving_live(0);
    stage_equal(send(moving_sock, "first", 5, 0), 5); /* the next ones go the direct way */
    stage_expect_text(0, "first");
    stage_hold(true);
    moving_begin(moving_in_send);
    stage_wait(moving_unacknowledged() > 100000);
    moving_move();
    stage_hold(false);
    stage_equal(moving_outcome(), MOVING_LARGE);
    stage_wait(stage_received(1) > 0 && stage_bytes(1)[stage_received(1) - 1] == moving_at(MOVING_LARGE - 1));
}

static void a_blocked_send_goes_on_from_the_second_connection_to_the_third(void) {
    moving_live(0);
    stage_hold(true);
    moving_begin(moving_in_send);
    stage_wait(moving_stuck());
    moving_move();
    stage_wait(moving_stuck());
    stage_link("cell0", false);
    stage_wait(moving_parked());
    stage_link("wifi0", true);
    stage_expect_connection(2, "10.1.0.2");
    stage_hold(false);
    stage_equal(moving_outcome(), MOVING_LARGE);
    stage_wait(moving_place(2) + stage_received(2) == MOVING_LARGE);
    for (int i = 0; i < 3; i++) {
        moving_expect_part(i, moving_place(i));
        stage_expect(i == 0 || moving_place(i) >= moving_place(i - 1) + stage_received(i - 1));
    }
}

static long in_short_send(void) {
    return send(moving_sock, "x", 1, 0);
}

static void a_send_waits_while_there_is_no_network(void) {
    moving_live(0);
    moving_part();
    moving_begin(in_short_send);
    moving_expect_waiting();
    moving_find();
    stage_equal(moving_outcome(), 1);
    stage_expect_text(1, "x");
}

static void SO_SNDTIMEO_ends_a_send_also_while_there_is_no_network(void) {
    moving_live(0);
    moving_set_timeout(SO_SNDTIMEO, 1000);
    moving_part();
    moving_begin(in_short_send);
    stage_fails(moving_outcome(), EAGAIN);
    moving_find();
    stage_wait(in_short_send() == 1);
    stage_expect_text(1, "x");
}

static void a_partial_write_is_told_as_it_was_and_the_rest_is_the_programs(void) {
    unsigned char *bytes = moving_pattern();
    moving_live(SOCK_NONBLOCK);
    stage_hold(true);
    size_t taken = 0;
    ssize_t n;
    while ((n = send(moving_sock, bytes + taken, MOVING_LARGE - taken, 0)) > 0)
        taken += (size_t)n;
    stage_fails(n, EAGAIN);
    stage_expect(taken < MOVING_LARGE);
    moving_part();
    moving_find();
    stage_hold(false);
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    while (taken < MOVING_LARGE) {
        n = send(moving_sock, bytes + taken, MOVING_LARGE - taken, 0);
        if (n > 0)
            taken += (size_t)n;
        else
            stage_wait(moving_polled(POLLOUT) == POLLOUT);
    }
    moving_expect_rest();
    free(bytes);
}

static _Atomic int pipes;

static void on_pipe(int signal) {
    (void)signal;
    pipes++;
}

static void nobody_is_told_by_SIGPIPE(void) {
    signal(SIGPIPE, on_pipe);
    sends_on(moving_in_send);
    stage_equal(pipes, 0);
}

static void both_ways_at_once_go_on(void) {
    moving_live(0);
    stage_hold(true);
    moving_begin(moving_in_send);
    moving_begin(moving_in_recv);
    stage_wait(moving_unacknowledged() > 100000);
    moving_move();
    stage_say(1, "news");
    stage_wait(moving_callers[1].over);
    stage_hold(false);
    stage_equal(moving_outcome(), MOVING_LARGE);
    stage_equal(moving_outcome(), 4);
    moving_expect_rest();
}

static void SO_SNDTIMEO_ends_a_send_that_began_before_the_loss(void) {
    moving_live(0);
    moving_set_timeout(SO_SNDTIMEO, 1500);
    stage_hold(true);
    moving_begin(moving_in_send);
    stage_wait(moving_unacknowledged() > 100000);
    moving_lose();
    const long sent = moving_outcome();
    stage_expect(sent > 100000 && sent < MOVING_LARGE);
}

static void sendfile_in_parts_goes_on_too(void) {
    unsigned char *bytes = moving_pattern();
    const int file = memfd_create("pattern", MFD_CLOEXEC);
    off_t offset = 0;
    ssize_t n, sum = 0;
    stage_equal(write(file, bytes, MOVING_LARGE), MOVING_LARGE);
    moving_live(SOCK_NONBLOCK);
    stage_hold(true);
    while ((n = sendfile(moving_sock, file, &offset, MOVING_LARGE - (size_t)offset)) > 0)
        sum += n;
    stage_equal(errno, EAGAIN);
    stage_equal(sum, offset);
    moving_part();
    stage_fails(sendfile(moving_sock, file, &offset, 1), EAGAIN);
    moving_find();
    stage_hold(false);
    while (offset < MOVING_LARGE) {
        stage_wait(moving_polled(POLLOUT) == POLLOUT);
        (void)!sendfile(moving_sock, file, &offset, MOVING_LARGE - (size_t)offset);
    }
    moving_expect_rest();
    free(bytes);
}

enum { MESSAGES = 30 };

static void sendmmsg_tells_how_many_went(void) {
    unsigned char *bytes = moving_pattern();
    struct iovec iov[MESSAGES];
    struct mmsghdr m[MESSAGES] = {0};
    for (int i = 0; i < MESSAGES; i++) {
        iov[i] = (struct iovec){bytes + i * (MOVING_LARGE / MESSAGES), MOVING_LARGE / MESSAGES};
        m[i].msg_hdr.msg_iov = &iov[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    moving_live(0);
    stage_hold(true);
    const int n = sendmmsg(moving_sock, m, MESSAGES, MSG_DONTWAIT);
    stage_expect(n > 1 && n < MESSAGES);
    moving_part();
    stage_fails(sendmmsg(moving_sock, m + n, 1, MSG_DONTWAIT), EAGAIN);
    moving_find();
    stage_hold(false);
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(sendmmsg(moving_sock, m + n, 1, MSG_DONTWAIT), 1);
    stage_wait(stage_received(1) >= 1 &&
               stage_bytes(1)[0] == moving_at((size_t)n * (MOVING_LARGE / MESSAGES)));
    free(bytes);
}

static int ends[2];

static long in_splice(void) {
    return splice(ends[0], NULL, moving_sock, NULL, 5, 0);
}

static void splice_waits_while_there_is_no_network(void) {
    stage_equal(pipe(ends), 0);
    moving_live(0);
    moving_part();
    stage_equal(write(ends[1], "piped", 5), 5);
    moving_begin(in_splice);
    moving_expect_waiting();
    moving_find();
    stage_equal(moving_outcome(), 5);
    stage_expect_text(1, "piped");
}

static unsigned char *pattern;

static void *fill_pipe(void *unused) {
    for (size_t at = 0; at < MOVING_LARGE;) {
        const ssize_t n = write(ends[1], pattern + at, MOVING_LARGE - at);
        at += n > 0 ? (size_t)n : 0;
    }
    close(ends[1]);
    return unused;
}

static long in_splices(void) {
    long moved = 0;
    for (ssize_t n; (n = splice(ends[0], NULL, moving_sock, NULL, 1 << 20, 0)) != 0; moved += n)
        if (n < 0)
            return n;
    return moved;
}

static void a_blocked_splice_goes_on_where_the_kernel_stopped_taking_it(void) {
    pthread_t filler;
    pattern = moving_pattern();
    stage_equal(pipe(ends), 0);
    stage_expect(fcntl(ends[0], F_SETPIPE_SZ, 1 << 20) > 0);
    moving_live(0);
    stage_hold(true);
    stage_equal(pthread_create(&filler, NULL, fill_pipe, NULL), 0);
    moving_begin(in_splices);
    stage_wait(moving_stuck());
    moving_expect_waiting();
    moving_part();
    moving_find();
    stage_hold(false);
    stage_equal(moving_outcome(), MOVING_LARGE);
    moving_expect_rest();
    pthread_join(filler, NULL);
    free(pattern);
}

static void to_send_nothing_does_not_wait(void) {
    moving_live(0);
    moving_part();
    stage_equal(write(moving_sock, "", 0), 0);
    stage_equal(send(moving_sock, "", 0, 0), 0);
    moving_find();
    moving_expect_talk(1);
}

/* Its program waits to hear of each send. */
static void what_sends_from_its_programs_memory_goes_on_by_no_other_connection(void) {
    const int on = 1;
    moving_live(0);
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on), 0);
    stage_equal(send(moving_sock, "x", 1, MSG_ZEROCOPY), 1);
    stage_expect_text(0, "x");
    moving_begin(moving_in_recv);
    moving_lose();
    stage_fails(moving_outcome(), ECONNRESET);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static const struct stage_test tests[] = {
    MOVING_TEST(a_blocked_send_goes_on_where_the_kernel_stopped_taking_it),
    MOVING_TEST(a_second_blocked_send_goes_on_too),
    MOVING_TEST(a_blocked_send_goes_on_from_the_second_connection_to_the_third),
    MOVING_TEST(a_blocked_write_goes_on_where_the_kernel_stopped_taking_it),
    MOVING_TEST(a_blocked_writev_goes_on_where_the_kernel_stopped_taking_it),
    MOVING_TEST(a_blocked_sendfile_goes_on_where_the_kernel_stopped_taking_it),
    MOVING_TEST(a_blocked_sendmmsg_goes_on_where_the_kernel_stopped_taking_it),
    MOVING_TEST(a_send_waits_while_there_is_no_network),
    MOVING_TEST(SO_SNDTIMEO_ends_a_send_also_while_there_is_no_network),
    MOVING_TEST(a_partial_write_is_told_as_it_was_and_the_rest_is_the_programs),
    MOVING_TEST(nobody_is_told_by_SIGPIPE),
    MOVING_TEST(both_ways_at_once_go_on),
    MOVING_TEST(SO_SNDTIMEO_ends_a_send_that_began_before_the_loss),
    MOVING_TEST(sendfile_in_parts_goes_on_too),
    MOVING_TEST(sendmmsg_tells_how_many_went),
    MOVING_TEST(what_sends_from_its_programs_memory_goes_on_by_no_other_connection),
    MOVING_TEST(to_send_nothing_does_not_wait),
    MOVING_TEST(splice_waits_while_there_is_no_network),
    MOVING_TEST(a_blocked_splice_goes_on_where_the_kernel_stopped_taking_it),
};

STAGE_MAIN(moving_world, tests)

/* beckoned - an unmodified program that waits for signals only (O_ASYNC, F_SETSIG): whatever it would be told
 * of one connection it is told of that and the next, and of nothing else. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what has been told ---- */

enum { TOLD = 64 };

static struct {
    long band;
    int fd;
} told[TOLD];
static _Atomic int ntold;

/* A whole program that does all in its handler. */
static bool reads;
static char got[64];
static volatile sig_atomic_t ngot;

static void read_all(void) {
    ssize_t n;
    while ((n = recv(moving_sock, got + ngot, sizeof got - (size_t)ngot, 0)) > 0)
        ngot += (int)n;
}

static void on_told(int number, siginfo_t *info, void *context) {
    const int error = errno;
    (void)number;
    (void)context;
    if (reads)
        read_all();
    errno = error;
    if (ntold < TOLD) {
        told[ntold].band = info->si_band;
        told[ntold].fd = info->si_fd;
    }
    ntold++;
}

static int count(short event) {
    int n = 0;
    for (int i = 0; i < ntold && i < TOLD; i++)
        n += (told[i].band & event) != 0;
    return n;
}

/* A real-time signal, which is told as often as it is raised. */
static void listen_to(int fd) {
    const struct sigaction action = {.sa_sigaction = on_told, .sa_flags = SA_SIGINFO | SA_RESTART};
    stage_equal(sigaction(SIGRTMIN + 3, &action, NULL), 0);
    stage_equal(fcntl(fd, F_SETOWN, getpid()), 0);
    stage_equal(fcntl(fd, F_SETSIG, SIGRTMIN + 3), 0);
    stage_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC), 0);
}

/* ---- streams ---- */

static void dial_waiting(int flags) {
    struct sockaddr_in to = stage_tcp();
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    moving_lose();
    moving_sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | flags, 0);
    listen_to(moving_sock);
    stage_fails(connect(moving_sock, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
}

static void a_connection_that_comes_is_told(void) {
    dial_waiting(0);
    stage_equal(ntold, 0);
    stage_link("cell0", true);
    stage_wait(count(POLLOUT) == 1);
    stage_equal(told[0].fd, moving_sock);
    stage_equal(moving_polled(POLLOUT), POLLOUT);
    stage_equal(stage_so_error(moving_sock), 0);
}

static void a_refusal_is_told(void) {
    dial_waiting(0);
    stage_refuse(true);
    stage_link("cell0", true);
    stage_wait(count(POLLERR) == 1);
    stage_equal(stage_so_error(moving_sock), ECONNREFUSED);
}

static void the_end_of_patience_is_told(void) {
    dial_waiting(0);
    stage_wait(count(POLLERR) == 1);
    stage_equal(stage_so_error(moving_sock), ETIMEDOUT);
}

static void a_move_is_not_told(void) {
    moving_live(SOCK_NONBLOCK);
    listen_to(moving_sock);
    moving_part();
    moving_find();
    stage_wait(!moving_parked()); /* by poll, which finds it full, it would ask to be told of room */
    stage_say(1, "news");
    stage_wait(ntold > 0);
    stage_equal(count(POLLIN), ntold);
    stage_equal(told[0].fd, moving_sock);
}

static void who_found_no_room_is_told_of_room_on_the_next_connection(void) {
    moving_live(SOCK_NONBLOCK);
    listen_to(moving_sock);
    moving_part();
    stage_fails(send(moving_sock, "x", 1, 0), EAGAIN);
    moving_find();
    stage_wait(count(POLLOUT) == 1);
    stage_equal(send(moving_sock, "x", 1, 0), 1);
    stage_expect_text(1, "x");
}

static void who_had_filled_the_one_before_is_told_of_room_too(void) {
    static char bytes[65536];
    moving_live(SOCK_NONBLOCK);
    stage_hold(true);
    listen_to(moving_sock);
    while (send(moving_sock, bytes, sizeof bytes, 0) > 0 || !moving_stuck())
        ;
    const int before = count(POLLOUT);
    moving_part();
    moving_find();
    stage_wait(count(POLLOUT) > before);
}

static void a_copy_that_asked_is_the_number_that_is_told(void) {
    moving_live(0);
    const int copy = dup(moving_sock);
    listen_to(copy);
    moving_part();
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_say(1, "news");
    stage_wait(ntold > 0);
    stage_equal(told[0].fd, copy);
}

static void what_is_turned_off_meanwhile_stays_off(void) {
    const int off = 0;
    moving_live(0);
    listen_to(moving_sock);
    moving_part();
    stage_equal(ioctl(moving_sock, FIOASYNC, &off), 0);
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(fcntl(moving_sock, F_GETFL) & O_ASYNC, 0);
    stage_say(1, "news");
    stage_wait(moving_polled(POLLIN) == POLLIN);
    stage_equal(ntold, 0);
}

static void a_loss_that_ends_it_is_told(void) {
    moving_live(0);
    stage_equal(send(moving_sock, "x", 1, 0), 1);
    stage_expect_text(0, "x");
    listen_to(moving_sock);
    moving_lose();
    stage_wait(count(POLLERR) > 0);
    stage_fails(moving_in_recv(), ECONNRESET);
}

static void live_on_loopback(void) {
    struct sockaddr_in to = stage_tcp();
    stage_up("wifi");
    moving_sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(moving_sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "127.0.1.1");
    stage_equal(fcntl(moving_sock, F_SETFL, O_NONBLOCK), 0);
}

/* It has left, and waits for the far end to take what is on its way. */
static bool leaves(void) {
    return moving_polled(POLLOUT) == 0;
}

static void what_still_comes_while_it_is_left_is_told(void) {
    unsigned char *bytes = moving_pattern();
    live_on_loopback();
    stage_hold(true);
    while (send(moving_sock, bytes, MOVING_LARGE, 0) > 0)
        ;
    reads = true;
    listen_to(moving_sock);
    stage_down("wifi");
    stage_wait(leaves());
    stage_say(0, "late");
    stage_wait(ngot == 4);
    stage_expect(memcmp(got, "late", 4) == 0);
    stage_equal(count(POLLIN), ntold); /* and not by what becomes of what is left */
    stage_hold(false);
    free(bytes);
}

/* ---- datagrams ---- */

static void a_datagram_socket_that_may_send_again_is_told_so(void) {
    struct sockaddr_in to = stage_udp();
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    moving_lose();
    moving_sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_equal(connect(moving_sock, (struct sockaddr *)&to, sizeof to), 0);
    listen_to(moving_sock);
    stage_fails(send(moving_sock, "x", 1, 0), EAGAIN);
    stage_link("cell0", true);
    stage_wait(count(POLLOUT) == 1);
    stage_equal(told[0].fd, moving_sock);
    stage_equal(send(moving_sock, "x", 1, 0), 1);
    stage_wait(stage_datagrams() == 1);
}

static void an_answer_by_datagram_is_told_after_a_wait_too(void) {
    a_datagram_socket_that_may_send_again_is_told_so();
    stage_echo(true);
    stage_equal(send(moving_sock, "y", 1, 0), 1);
    stage_wait(count(POLLIN) == 1);
    stage_equal(recv(moving_sock, moving_heard, sizeof moving_heard, 0), 1);
}

static const struct stage_test tests[] = {
    MOVING_TEST(a_connection_that_comes_is_told),
    MOVING_TEST(a_refusal_is_told),
    MOVING_TEST_IMPATIENT(the_end_of_patience_is_told),
    MOVING_TEST(a_move_is_not_told),
    MOVING_TEST(who_found_no_room_is_told_of_room_on_the_next_connection),
    MOVING_TEST(who_had_filled_the_one_before_is_told_of_room_too),
    MOVING_TEST(a_copy_that_asked_is_the_number_that_is_told),
    MOVING_TEST(what_is_turned_off_meanwhile_stays_off),
    STAGE_TEST_WITH(a_loss_that_ends_it_is_told, STAGE_WORLD | STAGE_PRELOAD, moving_world,
                    "CMM_LABELS=small"),
    MOVING_TEST_WITHDRAWN(what_still_comes_while_it_is_left_is_told),
    MOVING_TEST(a_datagram_socket_that_may_send_again_is_told_so),
    MOVING_TEST(an_answer_by_datagram_is_told_after_a_wait_too),
};

STAGE_MAIN(moving_world, tests)

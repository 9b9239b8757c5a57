/* limits - a program whose limit on descriptors has come to lie below the number of a socket: what goes on
 * works on, and no other connection can come under that number while the limit stands. And datagrams that
 * cannot be kept waiting. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HIGH = 300, BELOW = 200, MOMENT_MS = 200 };

static struct rlimit as_it_was;

static void limit_is_lowered(void) {
    stage_equal(getrlimit(RLIMIT_NOFILE, &as_it_was), 0);
    stage_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){BELOW, as_it_was.rlim_max}), 0);
}

static void limit_is_raised(void) {
    stage_equal(setrlimit(RLIMIT_NOFILE, &as_it_was), 0);
}

static void move_up(int fd) {
    moving_sock = dup2(fd, HIGH);
    stage_equal(moving_sock, HIGH);
    close(fd);
}

static void live_up_there(void) {
    moving_live(0);
    move_up(moving_sock);
}

static int dial(int flags) {
    struct sockaddr_in to = stage_tcp();
    move_up(socket(AF_INET, SOCK_STREAM | flags, 0));
    return connect(moving_sock, (struct sockaddr *)&to, sizeof to);
}

static ssize_t put_to(const char *text) {
    struct sockaddr_in to = stage_udp();
    return sendto(moving_sock, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to);
}

static void what_is_above_the_limit_ends_with_its_network(void) {
    live_up_there();
    limit_is_lowered();
    moving_expect_talk(0);
    moving_begin(moving_in_recv);
    moving_expect_waiting();
    moving_lose();
    stage_fails(moving_outcome(), ECONNRESET);
    stage_fails(send(moving_sock, "x", 1, MSG_NOSIGNAL), ECONNRESET);
    limit_is_raised();
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void what_waits_above_the_limit_is_connected_when_that_allows_it(void) {
    live_up_there();
    moving_part();
    limit_is_lowered();
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_polled(moving_sock, POLLIN | POLLOUT, MOMENT_MS), 0);
    stage_equal(stage_connections(), 1);
    limit_is_raised();
    stage_equal(stage_polled(moving_sock, POLLIN | POLLOUT, -1), POLLOUT);
    moving_expect_talk(1);
}

static void patience_ends_what_waits_above_the_limit_too(void) {
    int error = 0;
    socklen_t len = sizeof error;
    moving_lose();
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    limit_is_lowered();
    stage_expect(stage_polled(moving_sock, POLLOUT, -1) & POLLHUP);
    stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    stage_equal(error, ETIMEDOUT);
    limit_is_raised();
}

static void no_connection_begins_above_the_limit(void) {
    struct sockaddr_in to = stage_tcp();
    move_up(socket(AF_INET, SOCK_STREAM, 0));
    limit_is_lowered();
    stage_fails(connect(moving_sock, (struct sockaddr *)&to, sizeof to), EMFILE);
    limit_is_raised();
    stage_equal(connect(moving_sock, (struct sockaddr *)&to, sizeof to), 0);
    moving_expect_talk(0);
}

static void datagrams_go_out_above_the_limit_too(void) {
    move_up(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    moving_lose();
    stage_fails(put_to("early"), EAGAIN);
    stage_equal(stage_polled(moving_sock, POLLOUT, 0), 0);
    limit_is_lowered();
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_wait(put_to("now") == 3);
    stage_wait(stage_datagrams() == 1);
    limit_is_raised();
    stage_equal(stage_polled(moving_sock, POLLOUT, -1), POLLOUT);
    stage_equal(put_to("again"), 5);
    stage_wait(stage_datagrams() == 2);
}

static void a_childs_datagrams_go_out_above_the_limit_too(void) {
    int status;
    move_up(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    moving_lose();
    stage_fails(put_to("early"), EAGAIN);
    limit_is_lowered();
    const pid_t child = fork();
    if (!child) {
        stage_wait(put_to("now") == 3);
        _exit(0);
    }
    stage_link("cell0", true);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
    stage_wait(stage_datagrams() == 1);
}

enum { FEW = 64 };

static void nothing_is_free(void) {
    stage_equal(getrlimit(RLIMIT_NOFILE, &as_it_was), 0);
    stage_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){FEW, as_it_was.rlim_max}), 0);
    while (dup(moving_sock) >= 0)
        ;
    stage_equal(errno, EMFILE);
}

/* Told to wait, it would wait on what says that it need not. */
static void a_datagram_socket_that_cannot_be_silent_does_not_say_wait(void) {
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    moving_lose();
    moving_sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const int kept = dup(moving_sock);
    nothing_is_free();
    stage_fails(put_to("lost"), ENETUNREACH);
    stage_equal(stage_polled(moving_sock, POLLOUT, 0), POLLOUT);
    limit_is_raised();
    stage_fails(put_to("early"), EAGAIN);
    stage_equal(stage_polled(kept, POLLOUT, 0), 0);
    stage_link("cell0", true);
    stage_equal(stage_polled(moving_sock, POLLOUT, -1), POLLOUT);
    stage_equal(put_to("now"), 3);
    stage_wait(stage_datagrams() == 1);
}

static void a_datagram_socket_with_an_error_to_tell_tells_it_before_it_waits(void) {
    struct sockaddr_in nobody = stage_udp();
    nobody.sin_port = htons(9);
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    moving_sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_equal(connect(moving_sock, (struct sockaddr *)&nobody, sizeof nobody), 0);
    stage_equal(send(moving_sock, "x", 1, 0), 1);
    stage_equal(stage_polled(moving_sock, POLLIN, -1), POLLERR);
    moving_lose();
    stage_fails(send(moving_sock, "x", 1, 0), ECONNREFUSED);
    stage_fails(send(moving_sock, "x", 1, 0), EAGAIN);
    stage_equal(stage_polled(moving_sock, POLLOUT, 0), 0);
}

static const struct stage_test tests[] = {
    MOVING_TEST(what_is_above_the_limit_ends_with_its_network),
    MOVING_TEST(what_waits_above_the_limit_is_connected_when_that_allows_it),
    MOVING_TEST_IMPATIENT(patience_ends_what_waits_above_the_limit_too),
    MOVING_TEST(no_connection_begins_above_the_limit),
    MOVING_TEST(datagrams_go_out_above_the_limit_too),
    MOVING_TEST(a_childs_datagrams_go_out_above_the_limit_too),
    MOVING_TEST(a_datagram_socket_that_cannot_be_silent_does_not_say_wait),
    MOVING_TEST(a_datagram_socket_with_an_error_to_tell_tells_it_before_it_waits),
};

STAGE_MAIN(moving_world, tests)

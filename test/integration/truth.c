/* truth - what unmodified programs are told when the network is lost under a TCP stream.
 * In a world of two interfaces. By policy `fail` a stream moves silently only if no byte has passed; else
 * what had arrived is read, then it is reset: at once, in every holder. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background, large\n"
                            "[network cell]\nmatch = cell0\nlabels = small, large\n";

enum { MOMENT_MS = 200 };

static int sock = -1;

static void dial(int flags) {
    struct sockaddr_in to = stage_tcp();
    sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(sock >= 0);
    if (connect(sock, (struct sockaddr *)&to, sizeof to) < 0)
        stage_equal(errno, EINPROGRESS);
    struct pollfd p = {.fd = sock, .events = POLLOUT};
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
    stage_wait(stage_connections() > 0);
}

static void lose(const char *interface) {
    stage_link(interface, false);
}

/* A byte has passed: no silence about the loss. */
static void dial_and_talk(int flags) {
    dial(flags);
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
}

/* ---- who reads, and what came of it ---- */

static struct holder {
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic bool over;
    long result;
    int error;
} holder;

static void *reader(void *fd) {
    char text[64];
    holder.tid = gettid();
    holder.result = recv(*(int *)fd, text, sizeof text, 0);
    holder.error = errno;
    holder.over = true;
    return NULL;
}

/* The first call of a thread makes it known. */
static void *known_reader(void *fd) {
    char byte;
    (void)!recv(*(int *)fd, &byte, 1, MSG_DONTWAIT);
    return reader(fd);
}

static void *writer(void *fd) {
    static char bulk[1 << 20];
    holder.tid = gettid();
    do
        holder.result = send(*(int *)fd, bulk, sizeof bulk, 0);
    while (holder.result > 0);
    holder.error = errno;
    holder.over = true;
    return NULL;
}

static void expect_asleep(pid_t tid) {
    for (int calm = 0; calm < 50; calm = stage_asleep(tid) ? calm + 1 : 0)
        stage_pause();
}

static void hold(void *(*how)(void *), int *fd) {
    holder.tid = 0;
    holder.over = false;
    stage_equal(pthread_create(&holder.thread, NULL, how, fd), 0);
    stage_wait(holder.tid);
    expect_asleep(holder.tid);
}

static void expect_reset(void) {
    stage_wait(holder.over);
    pthread_join(holder.thread, NULL);
    errno = holder.error;
    stage_fails(holder.result, ECONNRESET);
}

static _Atomic int pipes;

static void on_pipe(int signo) {
    (void)signo;
    pipes++;
}

/* However often it is asked. */
static void expect_reset_for_good(void) {
    char byte;
    signal(SIGPIPE, on_pipe);
    for (int i = 0; i < 3; i++) {
        stage_fails(recv(sock, &byte, 1, 0), ECONNRESET);
        stage_fails(read(sock, &byte, 1), ECONNRESET);
        stage_fails(send(sock, "x", 1, 0), ECONNRESET);
        stage_fails(write(sock, "x", 1), ECONNRESET);
    }
    stage_equal(pipes, 0);
}

/* ---- moved silently ---- */

static void a_stream_that_carried_nothing_moves_silently(void) {
    dial(0);
    hold(reader, &sock);
    lose("wifi0");
    stage_expect_connection(1, "10.2.0.2");
    expect_asleep(holder.tid);
    stage_expect(!holder.over);
    stage_say(1, "welcome");
    stage_wait(holder.over);
    pthread_join(holder.thread, NULL);
    stage_equal(holder.result, 7);
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(1, "hello");
}

static void a_greeting_nobody_has_read_is_no_byte_delivered(void) {
    char text[32];
    dial(SOCK_NONBLOCK);
    stage_say(0, "welcome by wifi");
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
    lose("wifi0");
    stage_expect_connection(1, "10.2.0.2");
    stage_say(1, "welcome by cell");
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
    stage_equal(recv(sock, text, sizeof text, 0), 15);
    stage_equal(memcmp(text, "welcome by cell", 15), 0);
}

static void what_moved_silently_waits_if_there_is_no_other_network(void) {
    dial(SOCK_NONBLOCK);
    lose("cell0");
    stage_wait(stage_polled(sock, POLLOUT, 0) == 0);
    stage_fails(send(sock, "x", 1, 0), EAGAIN);
    stage_link("cell0", true);
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(1, "hello");
}

/* ---- told ---- */

static void a_blocked_receive_is_reset_at_once(void) {
    dial_and_talk(0);
    hold(reader, &sock);
    lose("wifi0");
    expect_reset();
    expect_reset_for_good();
    stage_equal(stage_connections(), 1);
}

static void a_blocked_send_is_reset_at_once(void) {
    signal(SIGPIPE, on_pipe);
    stage_hold(true);
    dial(0);
    hold(writer, &sock);
    lose("wifi0");
    expect_reset();
    expect_reset_for_good();
}

static void what_had_arrived_is_read_first(void) {
    char text[8];
    dial_and_talk(0);
    stage_say(0, "some bytes");
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
    stage_equal(recv(sock, text, 5, 0), 5);
    lose("wifi0");
    stage_wait(send(sock, "x", 1, MSG_NOSIGNAL) < 0);
    stage_equal(errno, ECONNRESET);
    stage_equal(stage_polled(sock, POLLIN, -1) & POLLIN, POLLIN);
    stage_equal(recv(sock, text, 3, 0), 3);
    stage_equal(memcmp(text, "byt", 3), 0);
    stage_equal(recv(sock, text, sizeof text, 0), 2);
    expect_reset_for_good();
}

static void polls_wake_and_tell_of_the_reset(void) {
    struct epoll_event level = {.events = EPOLLIN | EPOLLRDHUP}, edge = {.events = EPOLLIN | EPOLLET}, e;
    const int all =
        POLLIN | POLLRDHUP | POLLERR | POLLHUP; /* as by a peer's: a hang-up alone may be an end */
    dial_and_talk(SOCK_NONBLOCK);
    const int first = epoll_create1(EPOLL_CLOEXEC), second = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(first, EPOLL_CTL_ADD, sock, &level), 0);
    stage_equal(epoll_ctl(second, EPOLL_CTL_ADD, sock, &edge), 0);
    stage_equal(stage_polled(sock, POLLIN, MOMENT_MS), 0);
    lose("wifi0");
    stage_expect(stage_polled(sock, POLLIN, -1) & POLLERR);
    stage_wait(stage_polled(sock, POLLIN | POLLRDHUP, -1) == all);
    stage_equal(epoll_wait(first, &e, 1, -1), 1);
    stage_equal(e.events, EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP);
    stage_equal(epoll_wait(second, &e, 1, -1), 1);
    stage_equal(e.events, EPOLLIN | EPOLLERR | EPOLLHUP);
    stage_equal(stage_so_error(sock), ECONNRESET);
    stage_equal(stage_so_error(sock), 0);
    expect_reset_for_good();
}

static void threads_on_copies_hear_it_too(void) {
    dial_and_talk(0);
    int copy = dup(sock);
    hold(reader, &copy);
    lose("wifi0");
    expect_reset();
    expect_reset_for_good();
    sock = copy;
    expect_reset_for_good();
}

static void a_peers_end_stays_an_end(void) {
    char byte;
    dial_and_talk(0);
    stage_say(0, "ab");
    stage_finish(0);
    stage_wait(stage_polled(sock, POLLRDHUP, 0) & POLLRDHUP);
    lose("wifi0");
    stage_wait(send(sock, "x", 1, MSG_NOSIGNAL) < 0);
    stage_equal(errno, ECONNRESET);
    for (int i = 0; i < 3; i++)
        stage_expect(send(sock, "x", 1, MSG_NOSIGNAL) < 0); /* nor does the kernel take any more for it */
    stage_equal(recv(sock, &byte, 1, 0), 1);
    stage_equal(recv(sock, &byte, 1, 0), 1);
    stage_equal(recv(sock, &byte, 1, 0), 0);
}

static void a_peers_reset_is_told_as_the_kernel_tells_it(void) {
    char byte;
    signal(SIGPIPE, on_pipe);
    dial_and_talk(0);
    stage_hang_up(0);
    stage_expect(stage_polled(sock, POLLIN, -1) & POLLHUP);
    stage_fails(recv(sock, &byte, 1, 0), ECONNRESET);
    stage_equal(recv(sock, &byte, 1, 0), 0);
    stage_fails(send(sock, "x", 1, MSG_NOSIGNAL), EPIPE);
    stage_equal(pipes, 0);
    stage_fails(send(sock, "x", 1, 0), EPIPE);
    stage_equal(pipes, 1);
}

static void a_program_that_retries_goes_by_the_other_network(void) {
    dial_and_talk(0);
    hold(reader, &sock);
    lose("wifi0");
    expect_reset();
    close(sock);
    dial(0);
    stage_expect_connection(1, "10.2.0.2");
}

static void a_blip_within_grace_is_no_loss(void) {
    dial_and_talk(0);
    lose("wifi0");
    stage_link("wifi0", true);
    stage_equal(send(sock, " again", 6, 0), 6);
    stage_expect_text(0, "hello again");
}

static void after_a_half_close_there_is_still_the_truth(void) {
    dial_and_talk(0);
    stage_equal(shutdown(sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    hold(reader, &sock);
    lose("wifi0");
    expect_reset();
}

/* ---- closed elsewhere ---- */

/* The receive is back only after the close: its end is the kernel's to tell. */
static void who_receives_while_another_thread_shuts_down_and_closes_is_told_the_end(void) {
    stage_not_under_tsan("takes a close beside a receive for a mistake");
    for (int i = 0; i < 10; i++) {
        dial_and_talk(0);
        hold(i % 2 ? known_reader : reader, &sock);
        stage_equal(shutdown(sock, SHUT_RDWR), 0);
        stage_equal(close(sock), 0);
        stage_wait(holder.over);
        pthread_join(holder.thread, NULL);
        errno = holder.error;
        stage_equal(holder.result, 0);
    }
}

/* ---- holders in other processes ---- */

static pid_t forked(int (*act)(void)) {
    const pid_t child = fork();
    if (child == 0)
        _exit(act());
    return child;
}

static int exit_of(pid_t child) {
    int status = -1;
    stage_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status))
        stage_fail(__FILE__, __LINE__, "the other process died of signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static int receive(void) {
    char byte;
    return recv(sock, &byte, 1, 0) < 0 ? errno : 0;
}

static void a_blocked_child_is_reset_though_the_parent_does_nothing(void) {
    dial_and_talk(0);
    const pid_t child = forked(receive);
    expect_asleep(child);
    lose("wifi0");
    stage_equal(exit_of(child), ECONNRESET);
}

static void a_child_alone_hears_it(void) {
    dial_and_talk(0);
    const pid_t child = forked(receive);
    close(sock);
    expect_asleep(child);
    lose("wifi0");
    stage_equal(exit_of(child), ECONNRESET);
}

static void a_blocked_parent_is_reset_though_a_child_holds_it_too(void) {
    dial_and_talk(0);
    const pid_t child = forked((int (*)(void))pause);
    hold(reader, &sock);
    lose("wifi0");
    expect_reset();
    expect_reset_for_good();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* Reads what is there, slowly, then the reset. */
static int read_slowly(void) {
    char byte;
    char text[] = "some bytes";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        stage_pause();
        if (read(sock, &byte, 1) != 1 || byte != text[i])
            return 1;
    }
    return read(sock, &byte, 1) < 0 ? errno : 2;
}

static void a_childs_unread_bytes_are_not_dropped(void) {
    int go[2];
    dial_and_talk(0);
    stage_say(0, "some bytes");
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
    stage_equal(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
        char byte;
        if (read(go[0], &byte, 1) != 1)
            _exit(99);
        _exit(read_slowly());
    }
    lose("wifi0");
    stage_wait(send(sock, "x", 1, MSG_NOSIGNAL) < 0); /* this process has heard */
    stage_equal(errno, ECONNRESET);
    stage_equal(write(go[1], "x", 1), 1);
    stage_equal(exit_of(child), ECONNRESET);
}

/* A process without our library: cat, that is stopped before it reads. */
static void an_executed_program_reads_what_had_arrived_then_an_error(void) {
    int out[2], go[2], status;
    char text[64] = "";
    dial_and_talk(0);
    stage_equal(pipe(out), 0);
    stage_equal(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(sock, 0);
        dup2(out[1], 1);
        dup2(go[0], 9);
        dup2(open("/dev/null", O_WRONLY), 2);
        unsetenv("LD_PRELOAD");
        execl("/bin/sh", "sh", "-c", "read go <&9; exec cat", NULL);
        _exit(99);
    }
    close(out[1]);
    stage_say(0, "some bytes");
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
    lose("wifi0");
    stage_wait(send(sock, "x", 1, MSG_NOSIGNAL) < 0);
    stage_equal(write(go[1], "\n", 1), 1);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(read(out[0], text, sizeof text), 10);
    stage_equal(memcmp(text, "some bytes", 10), 0);
    stage_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1); /* cat: read error */
}

/* ---- how fast: told, never judged ---- */

static void with_no_grace_the_error_follows_the_link_at_once(void) {
    struct timespec a, b;
    dial_and_talk(0);
    hold(reader, &sock);
    clock_gettime(CLOCK_MONOTONIC, &a);
    lose("wifi0");
    expect_reset();
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (getenv("CMM_STAGE_VERBOSE"))
        fprintf(stderr, "%.1f ms\n",
                (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
}

static const char at_once[] =
    "[network wifi]\nmatch = wifi0\nlabels = large\n[scout]\nhold-down = 0\ngrace = 0\n";

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=large")
    TEST(a_stream_that_carried_nothing_moves_silently),
    TEST(a_greeting_nobody_has_read_is_no_byte_delivered),
    STAGE_TEST_WITH(what_moved_silently_waits_if_there_is_no_other_network, STAGE_PRELOAD | STAGE_WORLD, NULL,
                    "CMM_LABELS=small"),
    TEST(a_blocked_receive_is_reset_at_once),
    TEST(a_blocked_send_is_reset_at_once),
    TEST(what_had_arrived_is_read_first),
    TEST(polls_wake_and_tell_of_the_reset),
    TEST(threads_on_copies_hear_it_too),
    TEST(a_peers_end_stays_an_end),
    TEST(a_peers_reset_is_told_as_the_kernel_tells_it),
    TEST(a_program_that_retries_goes_by_the_other_network),
    STAGE_TEST_WITH(a_blip_within_grace_is_no_loss, STAGE_PRELOAD | STAGE_WORLD,
                    "[network wifi]\nmatch = wifi0\nlabels = large\n[scout]\nhold-down = 0\ngrace = 20\n",
                    "CMM_LABELS=large"),
    TEST(who_receives_while_another_thread_shuts_down_and_closes_is_told_the_end),
    TEST(after_a_half_close_there_is_still_the_truth),
    TEST(a_blocked_child_is_reset_though_the_parent_does_nothing),
    TEST(a_child_alone_hears_it),
    TEST(a_blocked_parent_is_reset_though_a_child_holds_it_too),
    TEST(a_childs_unread_bytes_are_not_dropped),
    TEST(an_executed_program_reads_what_had_arrived_then_an_error),
    STAGE_TEST_WITH(with_no_grace_the_error_follows_the_link_at_once, STAGE_PRELOAD | STAGE_WORLD, at_once,
                    "CMM_LABELS=large"),
};

STAGE_MAIN(world, tests)

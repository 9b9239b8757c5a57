/* reconnect_sharing - under --on-loss reconnect what is not the program's alone, or goes by a
 * FILE, is not replaced. */
#include "moving.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- shared with others ---- */

/* Stands before libc's: looking through the processes there are takes long while slow says so. */
static _Atomic bool slow, looking;

DIR *opendir(const char *path) {
    const bool held_up = slow && strcmp(path, "/proc") == 0;
    looking |= held_up;
    while (held_up && slow)
        stage_pause();
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? NULL : fdopendir(fd);
}

static void expect_failed(void) {
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, 0), ECONNRESET);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void shared_with_a_living_child_it_fails(void) {
    int ends[2];
    moving_live(0);
    stage_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (!child) {
        close(ends[1]);
        (void)!read(ends[0], moving_heard, 1);
        _exit(recv(moving_sock, moving_heard, sizeof moving_heard, 0) == -1 && errno == ECONNRESET ? 0 : 1);
    }
    moving_lose();
    expect_failed();
    int status;
    close(ends[1]);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
}

static void once_its_child_is_gone_it_goes_on(void) {
    moving_live(0);
    const pid_t child = fork();
    if (!child)
        _exit(0);
    stage_equal(waitpid(child, NULL, 0), child);
    moving_begin(moving_in_recv);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
}

static void nobody_waits_while_it_is_looked_for_who_else_holds_it(void) {
    int size = 0;
    socklen_t len = sizeof size;
    moving_live(0);
    const int other = socket(AF_INET, SOCK_STREAM, 0);
    const pid_t child = fork();
    if (!child)
        _exit(0);
    stage_equal(waitpid(child, NULL, 0), child);
    slow = true;
    stage_link("wifi0", false);
    stage_wait(looking);
    stage_equal(getsockopt(other, SOL_SOCKET, SO_SNDBUF, &size, &len), 0);
    stage_equal(send(moving_sock, "last", 4, MSG_DONTWAIT), 4);
    slow = false;
    stage_expect_connection(1, "10.2.0.2");
    moving_expect_talk(1);
}

static void what_fails_whoever_holds_it_is_told_without_a_look(void) {
    moving_live(0);
    moving_expect_talk(0);
    const pid_t child = fork();
    if (!child)
        _exit(0);
    stage_equal(waitpid(child, NULL, 0), child);
    slow = true;
    stage_link("wifi0", false);
    expect_failed();
    stage_expect(!looking);
}

/* Who switches links has children: so it is another that has not. */
static void who_has_never_had_a_child_need_not_look(void) {
    int told[2], status;
    stage_equal(pipe2(told, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (!child) {
        moving_live(0);
        slow = true;
        (void)!write(told[1], "x", 1);
        stage_expect_connection(1, "10.2.0.2");
        stage_expect(!looking);
        _exit(0);
    }
    stage_equal(read(told[0], moving_heard, 1), 1);
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
}

static int epoll;

static long in_epoll(void) {
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, -1) == 1 ? (long)event.events : -1;
}

/* As daemon() does it. */
static void a_child_that_goes_on_alone_with_a_set_hears_the_next_connection(void) {
    stage_not_under_tsan("knows the threads of a forked child no more");
    struct epoll_event event = {.events = EPOLLIN};
    int ends[2], status;
    moving_live(0);
    stage_equal(pipe2(ends, O_CLOEXEC), 0);
    epoll = epoll_create1(0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, moving_sock, &event), 0);
    const pid_t child = fork();
    if (!child) {
        close(ends[1]);
        (void)!read(ends[0], moving_heard, 1);
        moving_begin(in_epoll);
        moving_move();
        stage_say(1, "news");
        stage_equal(moving_outcome(), EPOLLIN);
        stage_equal(moving_in_recv(), 4);
        _exit(0);
    }
    stage_equal(close(epoll) | close(moving_sock), 0);
    close(ends[1]);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
}

static void a_child_that_has_closed_its_copy_does_not_count(void) {
    int ends[2], told[2];
    moving_live(0);
    stage_equal(pipe2(ends, O_CLOEXEC) | pipe2(told, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (!child) {
        close(ends[1]);
        close(moving_sock);
        (void)!write(told[1], "x", 1);
        _exit((int)read(ends[0], moving_heard, 1));
    }
    stage_equal(read(told[0], moving_heard, 1), 1);
    moving_part();
    moving_find();
    moving_expect_talk(1);
    close(ends[1]);
    waitpid(child, NULL, 0);
}

static _Atomic int signals;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void interrupt_beside_a_child(long (*call)(void)) {
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    stage_not_under_tsan("holds signals back while a call blocks");
    stage_equal(sigaction(SIGUSR1, &act, NULL), 0);
    const pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
    }
    moving_begin(call);
    moving_expect_waiting();
    stage_equal(pthread_kill(moving_callers[0].thread, SIGUSR1), 0);
    stage_wait(signals == 1);
    moving_expect_waiting();
    stage_hold(false);
    stage_say(0, "news");
    stage_expect(moving_outcome() > 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void with_SA_RESTART_a_signal_ends_no_receive_of_what_a_child_holds(void) {
    moving_live(0);
    interrupt_beside_a_child(moving_in_recv);
}

static bool is_full(void) {
    static const char bytes[100000];
    while (send(moving_sock, bytes, sizeof bytes, MSG_DONTWAIT) > 0 ||
           send(moving_sock, bytes, 1, MSG_DONTWAIT) > 0)
        ;
    return moving_stuck();
}

static long in_short_send(void) {
    return send(moving_sock, "x", 1, 0);
}

static void with_SA_RESTART_a_signal_ends_no_send_of_what_a_child_holds(void) {
    moving_live(0);
    stage_hold(true);
    stage_wait(is_full());
    interrupt_beside_a_child(in_short_send);
}

static void shared_with_a_program_that_was_spawned_it_fails(void) {
    int ends[2];
    moving_live(0);
    stage_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = vfork();
    if (!child) {
        dup2(ends[0], 0);
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    moving_lose();
    expect_failed();
    close(ends[1]);
    waitpid(child, NULL, 0);
}

static void used_through_stdio_it_fails(void) {
    moving_live(0);
    FILE *file = fdopen(moving_sock, "r+");
    stage_expect(fprintf(file, "hello\n") == 6 && fflush(file) == 0);
    stage_expect_text(0, "hello\n");
    moving_lose();
    expect_failed();
    fclose(file);
}

static void used_as_standard_output_it_fails(void) {
    moving_live(0);
    const int out = dup(1);
    stage_equal(send(moving_sock, "x", 1, 0), 1);
    stage_expect_text(0, "x");
    stage_equal(dup2(moving_sock, 1), 1);
    moving_lose();
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, 0), ECONNRESET);
    stage_equal(dup2(out, 1), 1);
    expect_failed();
}

static void a_duplicate_used_through_stdio_it_fails(void) {
    moving_live(0);
    FILE *file = fdopen(dup(moving_sock), "r+");
    stage_expect(fprintf(file, "hello\n") == 6 && fflush(file) == 0);
    stage_expect_text(0, "hello\n");
    moving_lose();
    expect_failed();
}

static void printed_to_it_fails(void) {
    moving_live(0);
    stage_equal(dprintf(moving_sock, "hello\n"), 6);
    stage_expect_text(0, "hello\n");
    moving_lose();
    expect_failed();
}

/* ---- given away ---- */

static int letter(int (*over)(int, struct msghdr *), int by, int *fd) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof *fd)];
    } control = {0};
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    msg.msg_control = &control;
    msg.msg_controllen = sizeof control;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    *c = (struct cmsghdr){CMSG_LEN(sizeof *fd), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), fd, sizeof *fd);
    const int n = over(by, &msg);
    memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return n;
}

static int by_sendmsg(int by, struct msghdr *msg) {
    return (int)sendmsg(by, msg, 0);
}

static int by_sendmmsg(int by, struct msghdr *msg) {
    struct mmsghdr m = {.msg_hdr = *msg};
    return sendmmsg(by, &m, 1, 0);
}

static int by_recvmsg(int by, struct msghdr *msg) {
    return (int)recvmsg(by, msg, 0);
}

/* To one that was there before the socket. */
static void given_away(int (*over)(int, struct msghdr *)) {
    int pair[2], told[2], none = -1;
    char byte;
    stage_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    stage_equal(pipe2(told, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (!child) {
        stage_equal(letter(by_recvmsg, pair[1], &none), 1);
        stage_equal(write(told[1], "x", 1), 1);
        pause();
    }
    moving_live(SOCK_CLOEXEC);
    int fd = moving_sock;
    stage_equal(letter(over, pair[0], &fd), 1);
    stage_equal(read(told[0], &byte, 1), 1);
    moving_lose();
    expect_failed();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void given_to_another_process_by_message_it_fails(void) {
    given_away(by_sendmsg);
}

static void given_by_one_of_several_messages_it_fails(void) {
    given_away(by_sendmmsg);
}

/* ---- without the policy ---- */

/* Without the library, which would tell it by itself, and let go before we look. */
static FILE *spawn_reader(void) {
    static char name[] = "sh", how[] = "-c", path[] = "PATH=/usr/bin:/bin",
                line[] = "while ! read go; do :; done <fifo; exec cat 2>/dev/null";
    char *const argv[] = {name, how, line, NULL}, *const environment[] = {path, NULL};
    int out[2];
    stage_equal(pipe2(out, O_CLOEXEC), 0);
    const pid_t child = vfork();
    if (!child) {
        dup2(moving_sock, 0);
        dup2(out[1], 1);
        syscall(SYS_execve, "/bin/sh", argv, environment);
        _exit(127);
    }
    close(out[1]);
    return fdopen(out[0], "r");
}

static void a_spawned_program_reads_what_had_arrived(void) {
    char line[64] = "";
    stage_equal(chdir(stage_directory()), 0);
    stage_equal(mkfifo("fifo", 0600), 0);
    moving_live(0);
    FILE *reader = spawn_reader();
    stage_say(0, "for the child\n");
    stage_wait(moving_available() == 14);
    moving_lose();
    FILE *go = fopen("fifo", "we");
    stage_expect(fputs("go\n", go) >= 0 && fclose(go) == 0);
    stage_expect(fgets(line, sizeof line, reader) && strcmp(line, "for the child\n") == 0);
    stage_expect(!fgets(line, sizeof line, reader));
}

/* It would be left with a connection that is lost and knows of nothing. */
static void an_untouched_one_that_a_spawned_program_holds_is_not_moved(void) {
    char line[64];
    stage_equal(chdir(stage_directory()), 0);
    stage_equal(mkfifo("fifo", 0600), 0);
    moving_live(0);
    FILE *reader = spawn_reader();
    moving_lose();
    FILE *go = fopen("fifo", "we");
    stage_expect(fputs("go\n", go) >= 0 && fclose(go) == 0);
    stage_expect(!fgets(line, sizeof line, reader));
    expect_failed();
}

static const struct stage_test tests[] = {
    MOVING_TEST(shared_with_a_living_child_it_fails),
    MOVING_TEST(once_its_child_is_gone_it_goes_on),
    MOVING_TEST(nobody_waits_while_it_is_looked_for_who_else_holds_it),
    MOVING_TEST(who_has_never_had_a_child_need_not_look),
    MOVING_TEST(a_child_that_goes_on_alone_with_a_set_hears_the_next_connection),
    MOVING_TEST(a_child_that_has_closed_its_copy_does_not_count),
    MOVING_TEST(with_SA_RESTART_a_signal_ends_no_receive_of_what_a_child_holds),
    MOVING_TEST(with_SA_RESTART_a_signal_ends_no_send_of_what_a_child_holds),
    MOVING_TEST(shared_with_a_program_that_was_spawned_it_fails),
    MOVING_TEST(used_through_stdio_it_fails),
    MOVING_TEST(used_as_standard_output_it_fails),
    MOVING_TEST(a_duplicate_used_through_stdio_it_fails),
    MOVING_TEST(printed_to_it_fails),
    MOVING_TEST(given_to_another_process_by_message_it_fails),
    MOVING_TEST(given_by_one_of_several_messages_it_fails),
    STAGE_TEST_WITH(what_fails_whoever_holds_it_is_told_without_a_look, STAGE_WORLD | STAGE_PRELOAD,
                    moving_world, "CMM_LABELS=small"),
    STAGE_TEST_WITH(a_spawned_program_reads_what_had_arrived, STAGE_WORLD | STAGE_PRELOAD, moving_world,
                    "CMM_LABELS=small"),
    STAGE_TEST_WITH(an_untouched_one_that_a_spawned_program_holds_is_not_moved, STAGE_WORLD | STAGE_PRELOAD,
                    moving_world, "CMM_LABELS=small"),
};

STAGE_MAIN(moving_world, tests)

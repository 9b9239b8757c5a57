/* adopted - connections that come into a program ready made: by exec in their maker's place, or by message.
 * In a world of two interfaces. Whoever made them is gone, and their network's loss is told all the same. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background, large\n"
                            "[network cell]\nmatch = cell0\nlabels = small, large\n";

/* A byte has passed: no silence about the loss. */
static int dial_and_talk(const char *device) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (device)
        stage_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)), 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(send(fd, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
    return fd;
}

static bool is_called(pid_t pid, const char *name) {
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && !fgets(text, sizeof text, f))
        text[0] = 0;
    if (f)
        fclose(f);
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, name) == 0;
}

/* A process that dials, and becomes cat. */
static pid_t cat_of_a_connection(const char *text) {
    const pid_t child = fork();
    if (child == 0) {
        const int fd = dial_and_talk(NULL);
        dup2(fd, 0);
        dup2(open(text, O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
        dup2(open("/dev/null", O_WRONLY), 2);
        close(fd);
        execlp("cat", "cat", NULL);
        _exit(99);
    }
    stage_wait(is_called(child, "cat"));
    return child;
}

static void a_program_in_its_makers_place_hears_it(void) {
    int status;
    const pid_t child = cat_of_a_connection("/dev/null");
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(1, 0));
}

static void what_had_arrived_is_read_first(void) {
    char path[] = "/tmp/cmm-adopted-XXXXXX", text[32] = "";
    int status, out = mkstemp(path);
    stage_expect(out >= 0);
    const pid_t child = cat_of_a_connection(path);
    stage_equal(kill(child, SIGSTOP), 0);
    stage_say(0, "some bytes");
    stage_finish(0);
    stage_equal(kill(child, SIGCONT), 0);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(0, 0)); /* the peer's end stays an end */
    stage_equal(read(out, text, sizeof text), 10);
    stage_equal(memcmp(text, "some bytes", 10), 0);
    unlink(path);
}

static void a_withdrawal_is_told_too(void) {
    int status;
    const pid_t child = cat_of_a_connection("/dev/null");
    stage_down("wifi");
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(1, 0));
}

extern char **environ;

/* As with Python's subprocess: between it and its starter nobody has seen which number it became. */
static void a_program_that_was_spawned_hears_it_though_its_starter_is_gone(void) {
    int status, pids[2];
    pid_t starter, child;
    stage_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    stage_equal(pipe(pids), 0);
    starter = fork();
    if (starter == 0) {
        posix_spawn_file_actions_t actions;
        char *const arguments[] = {(char *)"cat", NULL};
        const int fd = dial_and_talk(NULL);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fd, 0);
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
        if (posix_spawnp(&child, "cat", &actions, NULL, arguments, environ) != 0 ||
            write(pids[1], &child, sizeof child) != sizeof child)
            _exit(99);
        _exit(0);
    }
    stage_equal(read(pids[0], &child, sizeof child), sizeof child);
    stage_equal(waitpid(starter, &status, 0), starter);
    stage_wait(is_called(child, "cat"));
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(1, 0));
}

static pid_t cat_spawned_with(int fd) {
    pid_t child;
    posix_spawn_file_actions_t actions;
    char *const arguments[] = {(char *)"cat", NULL};
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    return posix_spawnp(&child, "cat", &actions, NULL, arguments, environ) == 0 ? child : -1;
}

static void one_of_many_is_handed_on_too(void) {
    enum { MANY = 40 };
    int status, pids[2];
    pid_t child;
    stage_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    stage_equal(pipe(pids), 0);
    const pid_t maker = fork();
    if (maker == 0) {
        struct sockaddr_in to = stage_tcp();
        int fd = -1;
        for (int i = 0; i < MANY; i++) {
            fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
            stage_equal(send(fd, "hello", 5, 0), 5);
            stage_expect_text(i, "hello");
        }
        child = cat_spawned_with(fd);
        _exit(write(pids[1], &child, sizeof child) == sizeof child ? 0 : 99);
    }
    stage_equal(read(pids[0], &child, sizeof child), sizeof child);
    stage_equal(waitpid(maker, &status, 0), maker);
    stage_wait(is_called(child, "cat"));
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(1, 0));
}

/* The shell itself has it at that number, and hands it on from there. */
static void at_whatever_number_it_is_handed_on(void) {
    int status;
    const pid_t child = fork();
    if (child == 0) {
        const int fd = dial_and_talk(NULL);
        dup2(fd, 700);
        close(fd);
        dup2(open("/dev/null", O_WRONLY), 2);
        execlp("bash", "bash", "-c", "exec cat <&700 700<&-", NULL);
        _exit(77);
    }
    stage_wait(is_called(child, "cat") || waitpid(child, &status, WNOHANG) == child);
    if (kill(child, 0) < 0)
        stage_skip("there is no bash here");
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(1, 0));
}

/* No number takes what had arrived from the other. */
static void what_has_two_numbers_is_one(void) {
    char text[32] = "";
    int status, out[2];
    stage_equal(pipe(out), 0);
    const pid_t child = fork();
    if (child == 0) {
        const int fd = dial_and_talk(NULL);
        dup2(fd, 0);
        fcntl(fd, F_SETFD, 0);
        dup2(open("/dev/null", O_WRONLY), 2);
        dup2(out[1], 1);
        execlp("sh", "sh", "-c", "kill -STOP $$; head -c 10; exec cat", NULL);
        _exit(99);
    }
    close(out[1]);
    stage_equal(waitpid(child, &status, WUNTRACED), child);
    stage_expect(WIFSTOPPED(status));
    stage_say(0, "some bytes");
    stage_equal(kill(child, SIGCONT), 0);
    stage_equal(read(out[0], text, sizeof text), 10);
    stage_equal(memcmp(text, "some bytes", 10), 0);
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(1, 0));
}

static void what_its_maker_held_besides_is_left_alone(void) {
    const struct sockaddr_in to = stage_tcp();
    int status;
    const pid_t child = fork();
    if (child == 0) {
        const int ours = dial_and_talk(NULL), own = socket(AF_INET, SOCK_STREAM, 0);
        stage_equal(setsockopt(own, SOL_SOCKET, SO_BINDTODEVICE, "wifi0", 5), 0);
        stage_equal(connect(own, (const struct sockaddr *)&to, sizeof to), 0);
        dup2(ours, 100);
        dup2(own, 101);
        dup2(open("/dev/null", O_WRONLY), 2);
        execlp("bash", "bash", "-c", "read -u 100 it; kill -STOP $$; read -u 101 it", NULL);
        _exit(77);
    }
    stage_wait(is_called(child, "bash") || waitpid(child, &status, WNOHANG) == child);
    if (kill(child, 0) < 0)
        stage_skip("there is no bash here");
    stage_link("wifi0", false);
    stage_equal(waitpid(child, &status, WUNTRACED), child);
    stage_expect(WIFSTOPPED(status)); /* told the loss */
    stage_link("wifi0", true);
    stage_wait(stage_offered("wifi"));
    stage_say(1, "yet\n");
    stage_equal(kill(child, SIGCONT), 0);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, W_EXITCODE(0, 0));
}

static void of_how_it_was_handed_on_the_program_sees_nothing(void) {
    char text[8192] = "";
    size_t len = 0;
    int out[2];
    stage_equal(pipe(out), 0);
    const pid_t child = fork();
    if (child == 0) {
        dial_and_talk(NULL);
        dup2(out[1], 1);
        execlp("env", "env", NULL);
        _exit(99);
    }
    close(out[1]);
    for (ssize_t n; (n = read(out[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    stage_equal(waitpid(child, NULL, 0), child);
    stage_expect(strstr(text, "CMM_LABELS=large"));
    stage_expect(!strstr(text, "CMM_HELD"));
}

/* ---- by message ---- */

union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
};

static void hand_over(int to, int fd) {
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    union control control = {0};
    const struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.head =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    stage_equal(sendmsg(to, &msg, 0), 1);
}

static int taken_over(int from) {
    char byte;
    struct iovec iov = {&byte, 1};
    union control control = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd;
    stage_equal(recvmsg(from, &msg, MSG_CMSG_CLOEXEC), 1);
    memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
    return fd;
}

/* As ssh gets it with ProxyUseFdpass. */
static int from_a_process_that_is_gone(const char *device) {
    int pair[2], status;
    stage_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const pid_t child = fork();
    if (child == 0) {
        hand_over(pair[0], dial_and_talk(device));
        _exit(0);
    }
    const int fd = taken_over(pair[1]);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
    return fd;
}

static void who_was_given_it_by_message_hears_it(void) {
    char byte;
    const int fd = from_a_process_that_is_gone(NULL);
    stage_link("wifi0", false);
    stage_fails(recv(fd, &byte, 1, 0), ECONNRESET);
    stage_fails(send(fd, "x", 1, 0), ECONNRESET);
}

static void what_its_maker_had_bound_is_left_alone(void) {
    char byte;
    const int fd = from_a_process_that_is_gone("wifi0");
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_fails(recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
    stage_link("wifi0", true);
    stage_wait(stage_offered("wifi"));
    stage_say(0, "y");
    stage_equal(recv(fd, &byte, 1, 0), 1);
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=large")
    TEST(a_program_in_its_makers_place_hears_it),
    TEST(a_withdrawal_is_told_too),
    TEST(what_had_arrived_is_read_first),
    TEST(a_program_that_was_spawned_hears_it_though_its_starter_is_gone),
    TEST(one_of_many_is_handed_on_too),
    TEST(at_whatever_number_it_is_handed_on),
    TEST(what_has_two_numbers_is_one),
    TEST(what_its_maker_held_besides_is_left_alone),
    TEST(of_how_it_was_handed_on_the_program_sees_nothing),
    TEST(who_was_given_it_by_message_hears_it),
    TEST(what_its_maker_had_bound_is_left_alone),
};

STAGE_MAIN(world, tests)

/* unseen - what is told, when the network is lost under a TCP stream, to those who use it past every door:
 * FILEs, what is written at a standard number, programs without the library. In a world of two interfaces, by
 * policy `fail`. What had arrived is read first; then comes an error, never an end of file, and to this
 * process never a SIGPIPE. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background, large\n"
                            "[network cell]\nmatch = cell0\nlabels = small, large\n";

static int sock = -1;
static _Atomic int pipes;

static void on_pipe(int signo) {
    (void)signo;
    pipes++;
}

static void dial(void) {
    struct sockaddr_in to = stage_tcp();
    signal(SIGPIPE, on_pipe);
    sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_wait(stage_connections() > 0);
}

/* A byte has passed: no silence about the loss. */
static void dial_and_talk(void) {
    dial();
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
}

static FILE *dial_and_open(const char *mode) {
    dial_and_talk();
    FILE *file = fdopen(sock, mode);
    stage_expect(file);
    return file;
}

static void bytes_arrive(const char *text) {
    stage_say(0, text);
    stage_equal(stage_polled(sock, POLLIN, -1), POLLIN);
}

static void lose(void) {
    stage_link("wifi0", false);
}

/* ... and this process has heard. */
static void lose_and_hear(void) {
    lose();
    stage_wait(send(sock, "x", 1, MSG_NOSIGNAL) < 0);
    stage_equal(errno, ECONNRESET);
}

/* ---- FILEs ---- */

static void expect_line(FILE *file, const char *line) {
    char got[64] = "";
    stage_expect(fgets(got, sizeof got, file) && strcmp(got, line) == 0);
}

static void expect_read_fails(FILE *file) {
    char line[64];
    stage_expect(!fgets(line, sizeof line, file));
    stage_expect(!feof(file));
    stage_equal(pipes, 0);
}

static void expect_write_fails(FILE *file, int error) {
    clearerr(file);
    stage_expect(fputs("more", file) == EOF || fflush(file) == EOF);
    stage_equal(errno, error);
    stage_equal(pipes, 0);
}

static _Atomic bool reading;

static void *file_reader(void *file) {
    static char line[64];
    reading = true;
    stage_expect(!fgets(line, sizeof line, file));
    stage_expect(!feof((FILE *)file));
    stage_expect(errno == ECONNRESET || errno == EPIPE);
    return NULL;
}

static void who_is_blocked_in_a_FILE_is_told_an_error_and_no_end_of_file(void) {
    FILE *file = dial_and_open("r+");
    pthread_t thread;
    stage_equal(pthread_create(&thread, NULL, file_reader, file), 0);
    stage_wait(reading);
    lose();
    stage_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 3; i++)
        expect_read_fails(file);
}

static void a_FILE_reads_what_had_arrived_first(void) {
    FILE *file = dial_and_open("r+");
    bytes_arrive("one\ntwo\n");
    lose_and_hear();
    expect_line(file, "one\n");
    expect_line(file, "two\n");
    expect_read_fails(file);
    stage_expect(errno == ECONNRESET || errno == EPIPE);
    for (int i = 0; i < 3; i++)
        expect_read_fails(file);
}

/* Though others have asked before it. */
static void who_writes_to_a_FILE_is_told_the_reset_and_never_by_a_signal(void) {
    FILE *file = dial_and_open("r+");
    char byte;
    int error;
    socklen_t len = sizeof error;
    lose_and_hear();
    for (int i = 0; i < 3; i++)
        stage_fails(recv(sock, &byte, 1, 0), ECONNRESET);
    stage_equal(getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len), 0); /* told already */
    stage_equal(error, 0);
    expect_write_fails(file, ECONNRESET);
    for (int i = 0; i < 3; i++)
        expect_write_fails(file, EPIPE);
    for (int i = 0; i < 3; i++)
        expect_read_fails(file);
    stage_expect(fclose(file) == 0 || errno == EPIPE);
    stage_equal(pipes, 0);
}

static void who_comes_to_write_by_a_FILE_only_afterwards_is_told_too(void) {
    dial_and_talk();
    lose_and_hear();
    for (int i = 0; i < 3; i++)
        stage_fails(dprintf(sock, "more"), i ? EPIPE : ECONNRESET);
    stage_equal(pipes, 0);
}

/* Nobody may ever read them. */
static void bytes_that_wait_to_be_read_keep_no_writer_in_the_dark(void) {
    FILE *file = dial_and_open("w");
    char text[16];
    bytes_arrive("some bytes");
    lose_and_hear();
    expect_write_fails(file, ECONNRESET);
    stage_equal(stage_polled(sock, POLLIN, -1) & POLLIN, POLLIN);
    stage_equal(recv(sock, text, sizeof text, 0), 10);
    stage_equal(memcmp(text, "some bytes", 10), 0);
    stage_fails(recv(sock, text, 1, 0), ECONNRESET);
}

/* What can be asked about it is still answered by the connection. */
static void under_a_FILE_it_still_looks_like_what_it_was(void) {
    FILE *file = dial_and_open("w");
    int type = 0;
    struct sockaddr_in own = {0};
    socklen_t len = sizeof type, ownlen = sizeof own;
    lose_and_hear();
    expect_write_fails(file, ECONNRESET);
    stage_equal(getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &len), 0);
    stage_equal(type, SOCK_STREAM);
    stage_equal(getsockname(sock, (struct sockaddr *)&own, &ownlen), 0);
    stage_equal(own.sin_family, AF_INET);
    stage_expect(stage_polled(sock, POLLIN, 0) & POLLHUP);
}

static void what_a_FILE_was_told_of_can_connect_again(void) {
    FILE *file = dial_and_open("w");
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_in to = stage_tcp();
    lose_and_hear();
    expect_write_fails(file, ECONNRESET);
    stage_equal(connect(sock, &none, sizeof none), 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(1, "10.2.0.2");
    clearerr(file);
    stage_expect(fputs("again", file) >= 0 && fflush(file) == 0);
    stage_wait(stage_received(1) >= 5);
}

/* A FILE's bytes pass by every door: the kernel's own count decides. */
static void what_a_FILE_has_written_is_not_moved(void) {
    char byte;
    dial();
    FILE *file = fdopen(sock, "r+");
    fputs("by stdio", file);
    fflush(file);
    stage_expect_text(0, "by stdio");
    lose();
    stage_fails(recv(sock, &byte, 1, 0), ECONNRESET);
    stage_equal(stage_connections(), 1);
}

/* ---- standard numbers ---- */

/* As a shell does to write to /dev/tcp: for each command anew. */
static void who_writes_where_it_is_copied_to_is_told_each_time(void) {
    char byte;
    dial_and_talk();
    lose_and_hear();
    for (int i = 0; i < 3; i++) {
        stage_equal(dup2(sock, STDOUT_FILENO), STDOUT_FILENO);
        expect_write_fails(stdout, ECONNRESET);
        expect_write_fails(stdout, EPIPE);
    }
    stage_fails(recv(sock, &byte, 1, 0), ECONNRESET);
    stage_equal(close(sock), 0);
    for (int i = 0; i < 3; i++)
        expect_write_fails(stdout, EPIPE);
}

static void who_writes_where_it_was_copied_to_before_is_told_too(void) {
    char byte;
    dial_and_talk();
    stage_equal(dup2(sock, STDOUT_FILENO), STDOUT_FILENO);
    lose_and_hear();
    expect_write_fails(stdout, ECONNRESET);
    for (int i = 0; i < 3; i++)
        expect_write_fails(stdout, EPIPE);
    stage_fails(recv(sock, &byte, 1, 0), ECONNRESET);
}

/* A shell whose commands hold the stream, too, with bytes of it unread. */
static void a_shell_is_told_by_each_of_its_commands(void) {
    stage_not_under_tsan("is not in a shell, where the library needs it");
    const pid_t child = fork();
    int status;
    if (child == 0) {
        struct sockaddr_in to = stage_tcp();
        char script[512];
        snprintf(
            script, sizeof script,
            "cd %s && exec 3<>/dev/tcp/10.9.0.1/%d && echo hello >&3 && read -r line <&3 || exit 90; "
            "until [ -e gone ]; do touch read; sleep 0.01; done; until ! echo more >&3; do sleep 0.01; done; "
            "echo more >&3 && exit 91; echo more | cat >&3 && exit 92; read -r line <&3 || exit 93; "
            "[ \"$line\" = two ] || exit 94; read -r line <&3 && exit 95; cat <&3 && exit 96; exit 7",
            stage_directory(), ntohs(to.sin_port));
        close(STDERR_FILENO);
        open("/dev/null", O_WRONLY);
        execlp("bash", "bash", "-c", script, NULL);
        _exit(errno == ENOENT ? 77 : 99);
    }
    char read_by[256], gone[256];
    snprintf(read_by, sizeof read_by, "%s/read", stage_directory());
    snprintf(gone, sizeof gone, "%s/gone", stage_directory());
    stage_wait(stage_connections() > 0 && stage_received(0) >= 6);
    stage_say(0, "one\ntwo\n");
    stage_wait(access(read_by, F_OK) == 0);
    lose();
    stage_wait(!stage_offered("wifi"));
    close(open(gone, O_CREAT | O_WRONLY, 0600));
    stage_equal(waitpid(child, &status, 0), child);
    stage_expect(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        stage_skip("there is no bash here");
    stage_equal(WEXITSTATUS(status), 7);
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=large")
    TEST(who_is_blocked_in_a_FILE_is_told_an_error_and_no_end_of_file),
    TEST(a_FILE_reads_what_had_arrived_first),
    TEST(who_writes_to_a_FILE_is_told_the_reset_and_never_by_a_signal),
    TEST(who_comes_to_write_by_a_FILE_only_afterwards_is_told_too),
    TEST(bytes_that_wait_to_be_read_keep_no_writer_in_the_dark),
    TEST(under_a_FILE_it_still_looks_like_what_it_was),
    TEST(what_a_FILE_was_told_of_can_connect_again),
    TEST(what_a_FILE_has_written_is_not_moved),
    TEST(who_writes_where_it_is_copied_to_is_told_each_time),
    TEST(who_writes_where_it_was_copied_to_before_is_told_too),
    TEST(a_shell_is_told_by_each_of_its_commands),
};

STAGE_MAIN(world, tests)

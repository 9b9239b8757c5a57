/* jumping - signal handlers of the program's that come into a call: they fork there, or jump out of it.
 * Preloaded; every test ends with the library alive. */
#include "alive.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- forks in between ---- */

static _Atomic int forks, strange;

static void fork_here(int signal) {
    int status = -1;
    (void)signal;
    const pid_t child = fork();
    if (!child)
        _exit(write(alive_sock, ".", 1) == 1 ? 0 : 1);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    strange += status != 0;
    forks++;
}

static void a_signal_handler_may_fork_wherever_it_has_interrupted_the_library(void) {
    enum { FORKS = 300 };
    alive_begin();
    signal(SIGALRM, fork_here);
    while (forks < FORKS) {
        const int until = forks + 1;
        ualarm((useconds_t)(50 + rand() % 300), 0);
        while (forks < until) {
            int error;
            socklen_t len = sizeof error;
            stage_equal(getsockopt(alive_sock, SOL_SOCKET, SO_ERROR, &error, &len), 0);
        }
    }
    stage_equal(strange, 0);
    stage_wait(stage_received(0) == FORKS);
    alive_expect();
}

/* ---- jumps out of a call, as programs do that give connect() and lookups a time by alarm() ---- */

static sigjmp_buf out;

static void jump(int signal) {
    (void)signal;
    siglongjmp(out, 1);
}

/* What was on the stack below is something else's now. */
__attribute__((noinline)) static void use_the_stack(void) {
    volatile char bytes[32768];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0x55;
}

static void leave_by_a_jump(void (*call)(int fd), int fd) {
    if (sigsetjmp(out, 1) == 0) {
        ualarm(50000, 0);
        call(fd);
        stage_fail(__FILE__, __LINE__, "the call is back");
    }
    use_the_stack();
}

static void in_connect(int fd) {
    struct sockaddr_in to = stage_tcp();
    connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void a_signal_handler_may_jump_out_of_a_connect_that_waits(void) {
    enum { TIMES = 8 };
    int fds[TIMES];
    alive_begin();
    stage_down("wifi");
    signal(SIGALRM, jump);
    for (int i = 0; i < TIMES; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        leave_by_a_jump(in_connect, fds[i]);
        if (i % 2)
            close(fds[i]);
    }
    stage_up("wifi");
    for (int i = 0; i < TIMES; i += 2) {
        stage_equal(stage_polled(fds[i], POLLOUT, -1), POLLOUT);
        close(fds[i]);
    }
    alive_expect();
}

/* The library asks a scout that does not answer yet. */
static void also_while_the_scout_is_asked_for_the_first_time(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const int mute = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", getenv("CMM_SCOUT"));
    stage_equal(bind(mute, (struct sockaddr *)&at, sizeof at), 0);
    stage_equal(listen(mute, 1), 0);
    signal(SIGALRM, jump);
    leave_by_a_jump(in_connect, socket(AF_INET, SOCK_STREAM, 0));
    close(mute);
    unlink(at.sun_path);
    stage_scout_start();
    alive_begin();
    alive_says(alive_sock, 0, "on");
}

static const struct stage_test tests[] = {
    ALIVE_TEST(a_signal_handler_may_fork_wherever_it_has_interrupted_the_library),
    ALIVE_TEST(a_signal_handler_may_jump_out_of_a_connect_that_waits),
    STAGE_TEST_WITH(also_while_the_scout_is_asked_for_the_first_time, STAGE_PRELOAD | STAGE_ALONE, NULL,
                    "CMM_RULES=127.0.0.0/8=background"),
};

STAGE_MAIN(alive_config, tests)

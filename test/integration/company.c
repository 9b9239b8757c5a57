/* company - what else there is in a captured program, beside it, and in its place: libraries that come and
 * go, setuid helpers, programs without the library, a daemon with what its maker connected. Networks come and
 * go, and nobody else hears of it. */
#include "alive.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void flap(void) {
    for (int i = 0; i < 20; i++) {
        stage_up("cell");
        stage_down("cell");
    }
}

/* Its socket waits when the library is gone. */
static void a_library_that_uses_sockets_may_come_and_go(void) {
    const struct sockaddr_in to = stage_tcp();
    const char *path = getenv("CMM_VISITOR_LIB");
    alive_begin();
    for (int i = 0; i < 5; i++) {
        const int connections = stage_connections();
        stage_down("wifi");
        void *visitor = dlopen(path, RTLD_NOW);
        stage_expect(visitor);
        int (*const dial)(const struct sockaddr_in *, int) =
            (int (*)(const struct sockaddr_in *, int))dlsym(visitor, "visitor_dial");
        const int fd = dial(&to, SOCK_NONBLOCK);
        stage_equal(dlclose(visitor), 0);
        stage_expect(!dlopen(path, RTLD_NOW | RTLD_NOLOAD));
        stage_up("wifi");
        stage_wait(send(fd, "visitor", 7, MSG_NOSIGNAL) == 7);
        stage_wait(alive_carried(connections, "visitor"));
        close(fd);
    }
    alive_expect();
}

/* ---- other programs ---- */

static int gate[2];

/* sh waits at the gate for a word, and exits as it says; its own action for a hangup is to die. */
static const char waits[] = "read word && exit $word";
static char name[] = "sh", how[] = "-c", script[sizeof waits];
static char *const arguments[] = {name, how, script, NULL};

static void prepare_gate(void) {
    strcpy(script, waits);
    stage_equal(pipe2(gate, O_CLOEXEC), 0);
}

static void expect_undisturbed(pid_t child) {
    flap();
    stage_equal(write(gate[1], "7\n", 2), 2);
    alive_ended(child, 7);
    alive_says(alive_sock, 0, "parent");
    alive_expect();
}

static pid_t spawn(const char *path) {
    posix_spawn_file_actions_t actions;
    pid_t child;
    stage_equal(posix_spawn_file_actions_init(&actions), 0);
    stage_equal(posix_spawn_file_actions_adddup2(&actions, gate[0], 0), 0);
    stage_equal(posix_spawn(&child, path, &actions, NULL, arguments, environ), 0);
    return child;
}

/* It holds the connection, too, which is not close-on-exec. */
static void a_setuid_helper_is_left_in_peace(void) {
    char path[256], copy[900];
    snprintf(path, sizeof path, "%s/helper", stage_directory());
    snprintf(copy, sizeof copy, "cp /bin/sh %s && chown 1 %s && chmod 4755 %s", path, path, path);
    if (getuid() != 0 || system(copy) != 0)
        stage_skip("only root makes another's setuid programs");
    prepare_gate();
    alive_begin();
    expect_undisturbed(spawn(path));
}

static void a_spawned_program_is_left_in_peace(void) {
    prepare_gate();
    alive_begin();
    expect_undisturbed(spawn("/bin/sh"));
}

/* Past the door, which would bring the library in: the scout has just spoken to a thread of this process. */
static void a_program_without_the_library_in_its_makers_place_is_left_in_peace(void) {
    char *const none[] = {NULL};
    int closed[2];
    char byte;
    prepare_gate();
    alive_begin();
    stage_equal(pipe2(closed, O_CLOEXEC), 0);
    const pid_t child = alive_fork();
    if (!child) {
        alive_dial(0); /* it listens to the scout */
        dup2(gate[0], 0);
        syscall(SYS_execve, "/bin/sh", arguments, none);
        _exit(99);
    }
    close(closed[1]);
    stage_equal(read(closed[0], &byte, 1), 0); /* it is in its place */
    expect_undisturbed(child);
}

/* ---- a daemon ---- */

static void what_was_connected_before_daemon_goes_on_in_it(void) {
    int told[2];
    char heard[8] = "";
    pid_t daemons = 0;
    alive_begin();
    alive_says(alive_sock, 0, "used");
    stage_equal(pipe2(told, O_CLOEXEC), 0);
    const pid_t child = alive_fork();
    if (!child) {
        if (daemon(1, 1) < 0)
            _exit(1);
        daemons = getpid();
        (void)!write(told[1], &daemons, sizeof daemons);
        const ssize_t n = recv(alive_sock, heard, sizeof heard, 0);
        (void)!write(told[1], heard, n > 0 ? (size_t)n : 0);
        (void)!write(alive_sock, "daemon", 6);
        _exit(0);
    }
    alive_ended(child, 0);
    stage_equal(close(alive_sock) | close(told[1]), 0);
    stage_equal(read(told[0], &daemons, sizeof daemons), sizeof daemons);
    stage_wait(stage_asleep(daemons));
    stage_down("wifi");
    stage_wait(stage_end(0) != STAGE_OPEN);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    stage_say(1, "news");
    stage_equal(read(told[0], heard, sizeof heard), 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
    stage_expect_text(1, "daemon");
}

static const struct stage_test tests[] = {
    ALIVE_TEST(a_library_that_uses_sockets_may_come_and_go),
    ALIVE_TEST(a_setuid_helper_is_left_in_peace),
    ALIVE_TEST(a_spawned_program_is_left_in_peace),
    ALIVE_TEST(a_program_without_the_library_in_its_makers_place_is_left_in_peace),
    ALIVE_MOVING(what_was_connected_before_daemon_goes_on_in_it),
};

STAGE_MAIN(alive_config, tests)

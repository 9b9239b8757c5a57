/* processes - what programs do with processes, threads and descriptors, and what becomes of the library's.
 * Preloaded. Whatever was done, the library is alive afterwards if a connection that waits is made when its
 * network comes: every test ends with that. */
#include "stage.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

enum { NUMBERS = 4096 };

extern char **environ;
static int sock = -1;

/* ---- a connection, and the library alive ---- */

static int dial(int flags) {
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    return fd;
}

static void live(void) {
    stage_up("wifi");
    sock = dial(0);
    stage_expect_connection(0, "127.0.1.1");
}

static void expect_text(int fd, int connection, const char *text) {
    const size_t before = stage_connections() > connection ? stage_received(connection) : 0;
    stage_equal(send(fd, text, strlen(text), 0), strlen(text));
    stage_wait(stage_received(connection) == before + strlen(text));
}

/* One of the connections from first on has carried this: others of the process may be made again, too. */
static bool carried(int first, const char *text) {
    const int count = stage_connections();
    for (int i = first; i < count; i++)
        if (stage_is_text(i, text) && stage_is_peer(i, "127.0.1.1"))
            return true;
    return false;
}

/* Only the listening thread can do this. */
static void expect_alive(void) {
    const int connections = stage_connections();
    stage_down("wifi");
    const int fd = dial(SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    stage_equal(poll(&p, 1, 20), 0);
    stage_up("wifi");
    stage_equal(poll(&p, 1, 20000), 1);
    stage_equal(send(fd, "alive", 5, 0), 5);
    stage_wait(carried(connections, "alive"));
    close(fd);
}

static void expect_exit(pid_t child, int code) {
    int status = -1;
    stage_equal(waitpid(child, &status, 0), child);
    if (status != code << 8)
        stage_fail(__FILE__, __LINE__, "the child ended with %#x, not with exit code %d", (unsigned)status,
                   code);
}

static pid_t fork_child(void) {
    const pid_t child = fork();
    if (!child)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

/* As programs do that show in ps what they are about: the room of arguments and environment is theirs. */
static void an_environment_written_over_is_remembered(void) {
    char *scout = getenv("CMM_SCOUT");
    memset(scout, 'x', strlen(scout));
    live();
    expect_alive();
}

/* ---- children ---- */

static void after_fork_both_use_the_connection(void) {
    live();
    const pid_t child = fork_child();
    if (!child) {
        expect_text(sock, 0, "child");
        _exit(0);
    }
    expect_exit(child, 0);
    expect_text(sock, 0, "parent");
    stage_equal(stage_connections(), 1);
    expect_alive();
}

static void a_forked_child_has_its_own_connections(void) {
    stage_up("wifi");
    close(dial(0));
    const pid_t child = fork_child();
    if (!child) {
        expect_alive();
        _exit(0);
    }
    expect_exit(child, 0);
    expect_alive();
}

static void a_daemon_goes_on(void) {
    live();
    const pid_t child = fork_child();
    if (!child) {
        stage_equal(daemon(1, 1), 0);
        const int fd = dial(0);
        (void)!write(fd, "daemon", 6);
        _exit(0);
    }
    expect_exit(child, 0);
    stage_expect_text(1, "daemon");
    expect_alive();
}

static void a_child_forked_twice_goes_on(void) {
    live();
    const pid_t child = fork_child();
    if (!child) {
        if (fork())
            _exit(0);
        setsid();
        (void)!write(dial(0), "twice", 5);
        _exit(0);
    }
    expect_exit(child, 0);
    stage_expect_text(1, "twice");
    expect_alive();
}

/* It makes no other call on it, and its parent, which would tell it the loss, is gone. */
static void a_child_that_only_waits_in_epoll_hears_of_the_loss(void) {
    int told[2];
    char word[4] = "";
    live();
    expect_text(sock, 0, "used");
    stage_equal(pipe(told), 0);
    struct epoll_event e = {.events = EPOLLIN};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    const pid_t first = fork_child();
    if (!first) {
        const pid_t child = fork_child();
        if (child)
            _exit(0);
        prctl(PR_SET_PDEATHSIG, 0);
        stage_equal(epoll_wait(set, &e, 1, -1), 1);
        stage_equal(write(told[1], "loss", 4), 4);
        _exit(0);
    }
    expect_exit(first, 0);
    stage_equal(close(sock) | close(set) | close(told[1]), 0);
    stage_down("wifi");
    stage_equal(read(told[0], word, 4), 4);
}

/* Its memory is the parent's. */
static void a_child_of_vfork_disturbs_nothing(void) {
    live();
    for (int i = 0; i < 20; i++) {
        const pid_t child = vfork();
        if (!child) {
            for (int fd = sock; fd < NUMBERS; fd++)
                close(fd);
            dup2(0, sock);
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        expect_exit(child, 0);
    }
    expect_text(sock, 0, "parent");
    expect_alive();
}

static void a_child_of_vfork_that_sweeps_by_close_range_disturbs_nothing(void) {
    live();
    const pid_t child = vfork();
    if (!child) {
        close_range(3, ~0U, 0);
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    expect_exit(child, 0);
    expect_text(sock, 0, "parent");
    expect_alive();
}

/* No atfork handler has run in it. */
static void a_child_of_a_raw_clone_passes_through(void) {
    live();
    for (int i = 0; i < 20; i++) {
        const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (!child) {
            struct pollfd p = {.fd = sock, .events = POLLIN};
            char bytes[4];
            bool done = send(sock, "raw", 3, 0) == 3 && poll(&p, 1, 20000) == 1 &&
                        recv(sock, bytes, 4, MSG_WAITALL) == 4 && write(sock, ".", 1) == 1;
            close(sock);
            _exit(done ? 0 : 1);
        }
        stage_say(0, "echo");
        if (i % 2)
            stage_up("cell");
        else
            stage_down("cell");
        expect_exit((pid_t)child, 0);
    }
    stage_wait(stage_received(0) == 80);
    expect_text(sock, 0, "parent");
    expect_alive();
}

static void spawned_programs_run_and_the_connection_stays(void) {
    char name[] = "true", *const argv[] = {name, NULL};
    pid_t child;
    live();
    stage_equal(posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ), 0);
    expect_exit(child, 0);
    stage_equal(posix_spawnp(&child, "true", NULL, NULL, argv, environ), 0);
    expect_exit(child, 0);
    stage_equal(system("exit 3"), 3 << 8);
    FILE *out = popen("echo said", "r");
    char line[16] = "";
    stage_expect(out && fgets(line, sizeof line, out) && strcmp(line, "said\n") == 0);
    stage_equal(pclose(out), 0);
    expect_text(sock, 0, "parent");
    expect_alive();
}

/* ---- exec ---- */

/* What a program that is started finds open, with and without the library. */
static void a_started_program_inherits_nothing_of_the_librarys(void) {
    static const char *const commands[] = {"ls -l /proc/self/fd/", "LD_PRELOAD= ls -l /proc/self/fd/"};
    live();
    stage_equal(fcntl(sock, F_SETFD, FD_CLOEXEC), 0);
    struct pollfd p = {.fd = sock, .events = POLLIN};
    stage_equal(poll(&p, 1, 1), 0); /* this thread has a wake-up descriptor */
    for (int i = 0; i < 2; i++) {
        char line[300];
        FILE *out = popen(commands[i], "r");
        while (fgets(line, sizeof line, out))
            if (strstr(line, "anon_inode") || strstr(line, "socket:") || strstr(line, "mqueue"))
                stage_fail(__FILE__, __LINE__, "inherited: %s", line);
        stage_equal(pclose(out), 0);
    }
    expect_alive();
}

static void exec_of_a_program_with_threads_leaves_no_signal_blocked(void) {
    live();
    const pid_t child = fork_child();
    if (!child) {
        dial(0); /* the child's own listening thread */
        execl("/bin/sh", "sh", "-c", "grep -q '^SigBlk:.0*$' /proc/self/status", (char *)NULL);
        _exit(127);
    }
    expect_exit(child, 0);
    expect_alive();
}

static void run_by_thunk(void *arg) {
    (void)arg;
    execl("/bin/sh", "sh", "-c", "grep -q '^SigBlk:.0*$' /proc/self/status && exit 9", (char *)NULL);
    _exit(127);
}

static void exec_in_a_thunk_has_the_signal_mask_of_the_sockets_maker(void) {
    int (*const make)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_DEFAULT, "cmm_socket");
    __typeof__(cmm_connect) *const join = (__typeof__(cmm_connect) *)dlsym(RTLD_DEFAULT, "cmm_connect");
    __typeof__(cmm_send) *const say = (__typeof__(cmm_send) *)dlsym(RTLD_DEFAULT, "cmm_send");
    struct sockaddr_in to = stage_tcp();
    stage_up("cell");
    const pid_t child = fork_child();
    if (!child) {
        const int s = make(AF_INET, SOCK_STREAM, 0);
        if (join(s, (struct sockaddr *)&to, sizeof to, CMM_LABEL_SMALL, NULL, NULL, NULL) != 0)
            _exit(1);
        if (say(s, "x", 1, 0, CMM_LABEL_LARGE, run_by_thunk, NULL) != CMM_DEFERRED)
            _exit(2);
        pause();
    }
    stage_wait(stage_connections() == 1);
    stage_up("wifi");
    expect_exit(child, 9);
    expect_alive();
}

static void a_program_that_enters_a_user_namespace_may(void) {
    const int plain = system("LD_PRELOAD= unshare -Ur true 2>/dev/null");
    live();
    stage_equal(system("unshare -Ur true 2>/dev/null"), plain);
    const pid_t child = fork_child();
    if (!child) {
        close(dial(0)); /* the listening thread runs */
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    }
    expect_exit(child, plain == 0 ? 0 : EPERM);
    expect_alive();
}

static void after_entering_a_user_namespace_the_library_listens_again(void) {
    const int plain = system("LD_PRELOAD= unshare -Ur true 2>/dev/null");
    if (plain != 0)
        return;
    live();
    const pid_t child = fork_child();
    if (!child) {
        const int fd = dial(0);
        stage_equal(unshare(CLONE_NEWUSER), 0);
        expect_text(fd, 1, "inside");
        expect_alive();
        _exit(0);
    }
    expect_exit(child, 0);
    expect_alive();
}

/* ---- seccomp ---- */

static void under_a_filter_that_kills_on_unusual_calls_it_lives(void) {
    static const int unusual[] = {
        SYS_mq_open, SYS_mq_unlink, SYS_mq_notify, SYS_ptrace,        SYS_kcmp,         SYS_bpf,
        SYS_mount,   SYS_unshare,   SYS_setns,     SYS_userfaultfd,   SYS_memfd_create, SYS_pidfd_open,
        SYS_shmget,  SYS_msgget,    SYS_semget,    SYS_inotify_init1, SYS_signalfd4,    SYS_timerfd_create};
    struct sock_filter code[64];
    unsigned short n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < sizeof unusual / sizeof *unusual; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)unusual[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, code};
    stage_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    stage_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    live();
    expect_text(sock, 0, "hello");
    expect_alive();
    const pid_t child = fork_child();
    if (!child) {
        expect_alive();
        _exit(0);
    }
    expect_exit(child, 0);
}

/* ---- threads ---- */

static _Atomic pid_t tid;

static bool asleep(void) {
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    fclose(f);
    return state == 'S';
}

static void *recv_forever(void *unused) {
    char byte;
    tid = gettid();
    while (recv(sock, &byte, 1, 0) != 0 || errno == EINTR)
        ;
    return unused;
}

static void *send_forever(void *unused) {
    static char bytes[1 << 20];
    tid = gettid();
    while (send(sock, bytes, sizeof bytes, 0) >= 0)
        ;
    return unused;
}

static void *poll_forever(void *unused) {
    struct pollfd p = {.fd = sock, .events = POLLIN};
    tid = gettid();
    while (poll(&p, 1, -1) >= 0)
        ;
    return unused;
}

static void *select_forever(void *unused) {
    fd_set in;
    tid = gettid();
    do {
        FD_ZERO(&in);
        FD_SET(sock, &in);
    } while (select(sock + 1, &in, NULL, NULL, NULL) >= 0);
    return unused;
}

static void *connect_forever(void *unused) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    tid = gettid();
    connect(fd, (struct sockaddr *)&to, sizeof to);
    return unused;
}

static void cancel_in(void *(*call)(void *)) {
    pthread_t thread;
    void *result;
    int calm = 0;
    tid = 0;
    stage_equal(pthread_create(&thread, NULL, call, NULL), 0);
    stage_wait(tid && (calm = asleep() ? calm + 1 : 0) > 20);
    stage_equal(pthread_cancel(thread), 0);
    stage_equal(pthread_join(thread, &result), 0);
    stage_expect(result == PTHREAD_CANCELED);
}

static void a_thread_can_be_cancelled_in_recv(void) {
    live();
    cancel_in(recv_forever);
    expect_text(sock, 0, "on");
    expect_alive();
}

static void a_thread_can_be_cancelled_in_send(void) {
    live();
    stage_hold(true);
    cancel_in(send_forever);
    stage_hold(false);
    expect_alive();
}

static void a_thread_can_be_cancelled_in_poll_and_select(void) {
    live();
    cancel_in(poll_forever);
    cancel_in(select_forever);
    expect_text(sock, 0, "on");
    expect_alive();
}

static void a_thread_can_be_cancelled_in_a_connect_that_waits(void) {
    live();
    stage_down("wifi");
    cancel_in(connect_forever);
    expect_alive();
}

/* With the policy reconnect the connection waits for its next network. */
static void a_thread_can_be_cancelled_while_its_connection_waits(void) {
    live();
    stage_down("wifi");
    struct pollfd p = {.fd = sock, .events = POLLOUT};
    stage_wait(poll(&p, 1, 0) == 0);
    cancel_in(recv_forever);
    cancel_in(send_forever);
    cancel_in(poll_forever);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    expect_text(sock, 1, "on");
    expect_alive();
}

static void *exit_from_here(void *unused) {
    (void)unused;
    stage_wait(tid && asleep());
    exit(7);
}

static void any_thread_can_end_the_process(void) {
    live();
    for (int i = 0; i < 5; i++) {
        const pid_t child = fork_child();
        if (!child) {
            pthread_t threads[2];
            sock = dial(0);
            pthread_create(&threads[0], NULL, recv_forever, NULL);
            pthread_create(&threads[1], NULL, exit_from_here, NULL);
            pthread_exit(NULL);
        }
        expect_exit(child, 7);
    }
    expect_alive();
}

/* ---- descriptors ---- */

static void close_range_of_everything_leaves_the_librarys(void) {
    live();
    stage_equal(close_range((unsigned)sock, ~0U, 0), 0);
    stage_fails(fcntl(sock, F_GETFD), EBADF);
    stage_wait(stage_end(0) == STAGE_EOF);
    expect_alive();
}

static void closefrom_leaves_the_librarys(void) {
    live();
    closefrom(sock);
    stage_fails(fcntl(sock, F_GETFD), EBADF);
    expect_alive();
}

static void closing_every_number_leaves_the_librarys(void) {
    live();
    for (int fd = sock; fd < NUMBERS; fd++)
        close(fd);
    expect_alive();
}

static void a_number_of_the_librarys_can_be_taken_by_dup2(void) {
    int ends[2];
    struct rlimit limit;
    stage_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int end = limit.rlim_cur < NUMBERS ? (int)limit.rlim_cur : NUMBERS;
    live();
    stage_equal(pipe(ends), 0);
    for (int fd = ends[1] + 1; fd < end; fd++) {
        if (dup2(ends[1], fd) != fd)
            stage_fail(__FILE__, __LINE__, "dup2 onto %d: %s", fd, strerror(errno));
        if (fd % 2)
            close(fd);
    }
    expect_alive();
    for (int fd = ends[1] + 1; fd < end; fd += 2)
        if (!(fd % 2))
            stage_equal(write(fd, "x", 1), 1);
}

static void a_low_limit_of_descriptors_is_the_programs_own(void) {
    char line[16] = "";
    FILE *out = popen("ulimit -n 40; LD_PRELOAD=$LD_PRELOAD sh -c 'ulimit -n'", "r");
    stage_expect(out && fgets(line, sizeof line, out) && strcmp(line, "40\n") == 0);
    pclose(out);
    live();
    expect_alive();
}

static const struct stage_test tests[] = {
#define TEST(name)   STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background")
#define MOVING(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background+reconnect")
    TEST(an_environment_written_over_is_remembered),
    TEST(after_fork_both_use_the_connection),
    TEST(a_forked_child_has_its_own_connections),
    TEST(a_daemon_goes_on),
    TEST(a_child_forked_twice_goes_on),
    TEST(a_child_that_only_waits_in_epoll_hears_of_the_loss),
    TEST(a_child_of_vfork_disturbs_nothing),
    TEST(a_child_of_vfork_that_sweeps_by_close_range_disturbs_nothing),
    TEST(a_child_of_a_raw_clone_passes_through),
    TEST(spawned_programs_run_and_the_connection_stays),
    TEST(a_started_program_inherits_nothing_of_the_librarys),
    TEST(exec_of_a_program_with_threads_leaves_no_signal_blocked),
    TEST(exec_in_a_thunk_has_the_signal_mask_of_the_sockets_maker),
    TEST(a_program_that_enters_a_user_namespace_may),
    TEST(after_entering_a_user_namespace_the_library_listens_again),
    TEST(under_a_filter_that_kills_on_unusual_calls_it_lives),
    TEST(a_thread_can_be_cancelled_in_recv),
    TEST(a_thread_can_be_cancelled_in_send),
    TEST(a_thread_can_be_cancelled_in_poll_and_select),
    TEST(a_thread_can_be_cancelled_in_a_connect_that_waits),
    MOVING(a_thread_can_be_cancelled_while_its_connection_waits),
    TEST(any_thread_can_end_the_process),
    TEST(close_range_of_everything_leaves_the_librarys),
    TEST(closefrom_leaves_the_librarys),
    TEST(closing_every_number_leaves_the_librarys),
    TEST(a_number_of_the_librarys_can_be_taken_by_dup2),
    TEST(a_low_limit_of_descriptors_is_the_programs_own),
};

STAGE_MAIN(config, tests)

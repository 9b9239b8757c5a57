/* processes - what programs do with processes, threads and descriptors, and what becomes of the library's.
 * Preloaded. Whatever was done, the library is alive afterwards if a connection that waits is made when its
 * network comes: every test ends with that. */
#include "alive.h"

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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NUMBERS = 4096 };

extern char **environ;

/* As programs do that show in ps what they are about: the room of arguments and environment is theirs. */
static void an_environment_written_over_is_remembered(void) {
    char *scout = getenv("CMM_SCOUT");
    memset(scout, 'x', strlen(scout));
    alive_begin();
    alive_expect();
}

/* ---- children ---- */

static void after_fork_both_use_the_connection(void) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        alive_says(alive_sock, 0, "child");
        _exit(0);
    }
    alive_ended(child, 0);
    alive_says(alive_sock, 0, "parent");
    stage_equal(stage_connections(), 1);
    alive_expect();
}

static void a_forked_child_has_its_own_connections(void) {
    stage_up("wifi");
    close(alive_dial(0));
    const pid_t child = alive_fork();
    if (!child) {
        alive_expect();
        _exit(0);
    }
    alive_ended(child, 0);
    alive_expect();
}

static void a_daemon_goes_on(void) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        stage_equal(daemon(1, 1), 0);
        const int fd = alive_dial(0);
        (void)!write(fd, "daemon", 6);
        _exit(0);
    }
    alive_ended(child, 0);
    stage_expect_text(1, "daemon");
    alive_expect();
}

static void a_child_forked_twice_goes_on(void) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        if (fork())
            _exit(0);
        setsid();
        (void)!write(alive_dial(0), "twice", 5);
        _exit(0);
    }
    alive_ended(child, 0);
    stage_expect_text(1, "twice");
    alive_expect();
}

/* It makes no other call on it, and its parent, which would tell it the loss, is gone. */
static void a_child_that_only_waits_in_epoll_hears_of_the_loss(void) {
    int told[2];
    char word[4] = "";
    alive_begin();
    alive_says(alive_sock, 0, "used");
    stage_equal(pipe(told), 0);
    struct epoll_event e = {.events = EPOLLIN};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, alive_sock, &e), 0);
    const pid_t first = alive_fork();
    if (!first) {
        const pid_t child = alive_fork();
        if (child)
            _exit(0);
        prctl(PR_SET_PDEATHSIG, 0);
        stage_equal(epoll_wait(set, &e, 1, -1), 1);
        stage_equal(write(told[1], "loss", 4), 4);
        _exit(0);
    }
    alive_ended(first, 0);
    stage_equal(close(alive_sock) | close(set) | close(told[1]), 0);
    stage_down("wifi");
    stage_equal(read(told[0], word, 4), 4);
}

/* Its memory is the parent's. */
static void a_child_of_vfork_disturbs_nothing(void) {
    alive_begin();
    for (int i = 0; i < 20; i++) {
        const pid_t child = vfork();
        if (!child) {
            for (int fd = alive_sock; fd < NUMBERS; fd++)
                close(fd);
            dup2(0, alive_sock);
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        alive_ended(child, 0);
    }
    alive_says(alive_sock, 0, "parent");
    alive_expect();
}

static void a_child_of_vfork_that_sweeps_by_close_range_disturbs_nothing(void) {
    alive_begin();
    const pid_t child = vfork();
    if (!child) {
        close_range(3, ~0U, 0);
        execl("/bin/true", "true", (char *)NULL);
        _exit(127);
    }
    alive_ended(child, 0);
    alive_says(alive_sock, 0, "parent");
    alive_expect();
}

/* No atfork handler has run in it. */
static void a_child_of_a_raw_clone_passes_through(void) {
    alive_begin();
    for (int i = 0; i < 20; i++) {
        const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (!child) {
            struct pollfd p = {.fd = alive_sock, .events = POLLIN};
            char bytes[4];
            bool done = send(alive_sock, "raw", 3, 0) == 3 && poll(&p, 1, -1) == 1 &&
                        recv(alive_sock, bytes, 4, MSG_WAITALL) == 4 && write(alive_sock, ".", 1) == 1;
            close(alive_sock);
            _exit(done ? 0 : 1);
        }
        stage_say(0, "echo");
        if (i % 2)
            stage_up("cell");
        else
            stage_down("cell");
        alive_ended((pid_t)child, 0);
    }
    stage_wait(stage_received(0) == 80);
    alive_says(alive_sock, 0, "parent");
    alive_expect();
}

static void spawned_programs_run_and_the_connection_stays(void) {
    char name[] = "true", *const argv[] = {name, NULL};
    pid_t child;
    alive_begin();
    stage_equal(posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ), 0);
    alive_ended(child, 0);
    stage_equal(posix_spawnp(&child, "true", NULL, NULL, argv, environ), 0);
    alive_ended(child, 0);
    stage_equal(system("exit 3"), 3 << 8);
    FILE *out = popen("echo said", "r");
    char line[16] = "";
    stage_expect(out && fgets(line, sizeof line, out) && strcmp(line, "said\n") == 0);
    stage_equal(pclose(out), 0);
    alive_says(alive_sock, 0, "parent");
    alive_expect();
}

/* ---- exec ---- */

/* What a program that is started finds open, with and without the library. */
static void a_started_program_inherits_nothing_of_the_librarys(void) {
    static const char *const commands[] = {"ls -l /proc/self/fd/", "LD_PRELOAD= ls -l /proc/self/fd/"};
    alive_begin();
    stage_equal(fcntl(alive_sock, F_SETFD, FD_CLOEXEC), 0);
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    stage_equal(poll(&p, 1, 1), 0); /* this thread has a wake-up descriptor */
    for (int i = 0; i < 2; i++) {
        char line[300];
        FILE *out = popen(commands[i], "r");
        while (fgets(line, sizeof line, out))
            if (strstr(line, "anon_inode") || strstr(line, "socket:") || strstr(line, "mqueue"))
                stage_fail(__FILE__, __LINE__, "inherited: %s", line);
        stage_equal(pclose(out), 0);
    }
    alive_expect();
}

static void exec_of_a_program_with_threads_leaves_no_signal_blocked(void) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        alive_dial(0); /* the child's own listening thread */
        execl("/bin/sh", "sh", "-c", "grep -q '^SigBlk:.0*$' /proc/self/status", (char *)NULL);
        _exit(127);
    }
    alive_ended(child, 0);
    alive_expect();
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
    const pid_t child = alive_fork();
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
    alive_ended(child, 9);
    alive_expect();
}

/* ---- seccomp ---- */

static void under_a_filter_that_kills_on_unusual_calls_it_lives(void) {
    static const int unusual[] = {SYS_mq_open,      SYS_mq_unlink,     SYS_mq_notify,    SYS_mq_timedreceive,
                                  SYS_mq_timedsend, SYS_mq_getsetattr, SYS_membarrier,   SYS_ptrace,
                                  SYS_kcmp,         SYS_bpf,           SYS_mount,        SYS_unshare,
                                  SYS_setns,        SYS_userfaultfd,   SYS_memfd_create, SYS_pidfd_open,
                                  SYS_shmget,       SYS_msgget,        SYS_semget,       SYS_inotify_init1,
                                  SYS_signalfd4,    SYS_timerfd_create};
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
    alive_begin();
    alive_says(alive_sock, 0, "hello");
    alive_expect();
    const pid_t child = alive_fork();
    if (!child) {
        alive_expect();
        _exit(0);
    }
    alive_ended(child, 0);
}

static void *dial_on(void *unused) {
    for (;;)
        close(alive_dial(0));
    return unused;
}

/* Ends while threads of its are at their first connections, and the library has just begun to listen. */
static void end_amid(int err, useconds_t moment) {
    pthread_t thread;
    dup2(err, STDERR_FILENO);
    for (int i = 0; i < 3; i++)
        pthread_create(&thread, NULL, dial_on, NULL);
    usleep(moment);
    exit(0);
}

static void who_ends_while_others_connect_hears_nothing_of_a_scout_that_is_away(void) {
    char text[256] = "";
    int ends[2];
    stage_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    fflush(NULL);
    for (int i = 0; i < 200; i++) {
        const pid_t child = alive_fork();
        if (!child)
            end_amid(ends[1], (useconds_t)(i % 40) * 250);
        alive_ended(child, 0);
    }
    stage_fails(read(ends[0], text, sizeof text - 1), EAGAIN);
}

/* ---- descriptors ---- */

static void close_range_of_everything_leaves_the_librarys(void) {
    alive_begin();
    stage_equal(close_range((unsigned)alive_sock, ~0U, 0), 0);
    stage_fails(fcntl(alive_sock, F_GETFD), EBADF);
    stage_wait(stage_end(0) == STAGE_EOF);
    alive_expect();
}

static void closefrom_leaves_the_librarys(void) {
    alive_begin();
    closefrom(alive_sock);
    stage_fails(fcntl(alive_sock, F_GETFD), EBADF);
    alive_expect();
}

static void closing_every_number_leaves_the_librarys(void) {
    alive_begin();
    for (int fd = alive_sock; fd < NUMBERS; fd++)
        close(fd);
    alive_expect();
}

static void a_number_of_the_librarys_can_be_taken_by_dup2(void) {
    int ends[2];
    struct rlimit limit;
    stage_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int end = limit.rlim_cur < NUMBERS ? (int)limit.rlim_cur : NUMBERS;
    alive_begin();
    stage_equal(pipe(ends), 0);
    for (int fd = ends[1] + 1; fd < end; fd++) {
        if (dup2(ends[1], fd) != fd)
            stage_fail(__FILE__, __LINE__, "dup2 onto %d: %s", fd, strerror(errno));
        if (fd % 2)
            close(fd);
    }
    alive_expect();
    for (int fd = ends[1] + 1; fd < end; fd += 2)
        if (!(fd % 2))
            stage_equal(write(fd, "x", 1), 1);
}

static void a_dup2_that_fails_moves_none_of_them(void) {
    enum { HIGH = 512 };
    alive_begin();
    for (int fd = HIGH; fd < NUMBERS; fd++) {
        stage_fails(dup2(-1, fd), EBADF);
        stage_fails(close(fd), EBADF);
    }
    alive_expect();
}

static pthread_barrier_t barrier;

static void *poll_before_and_after(void *unused) {
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    stage_equal(poll(&p, 1, 0), 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    stage_equal(poll(&p, 1, 10), 0);
    return unused;
}

/* More of them than there are numbers that select() knows. */
static void however_many_the_library_has_a_sweep_leaves_them(void) {
    enum { THREADS = 100, BEYOND = 1024 };
    pthread_t threads[THREADS];
    struct rlimit limit;
    stage_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 4 * BEYOND;
    if (limit.rlim_max < limit.rlim_cur || setrlimit(RLIMIT_NOFILE, &limit) < 0)
        stage_skip("descriptors are limited here");
    alive_begin();
    stage_equal(pthread_barrier_init(&barrier, NULL, THREADS + 1), 0);
    for (int i = 0; i < THREADS; i++)
        stage_equal(pthread_create(&threads[i], NULL, poll_before_and_after, NULL), 0);
    pthread_barrier_wait(&barrier);
    stage_equal(close_range(BEYOND, ~0U, 0), 0);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    alive_expect();
}

static void a_low_limit_of_descriptors_is_the_programs_own(void) {
    char line[16] = "";
    FILE *out = popen("ulimit -n 40; LD_PRELOAD=$LD_PRELOAD sh -c 'ulimit -n'", "r");
    stage_expect(out && fgets(line, sizeof line, out) && strcmp(line, "40\n") == 0);
    pclose(out);
    alive_begin();
    alive_expect();
}

/* As sandboxes of the OpenSSH kind do: one, as poll() takes no more entries than descriptors are allowed. */
static void a_program_that_allows_itself_no_more_descriptors_waits_on_those_it_has(void) {
    const struct rlimit one = {1, 1};
    alive_begin();
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    char byte;
    stage_equal(setrlimit(RLIMIT_NOFILE, &one), 0);
    stage_equal(poll(&p, 1, 20), 0);
    stage_say(0, "x");
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(recv(alive_sock, &byte, 1, 0), 1);
    alive_says(alive_sock, 0, "on");
}

static const char twins[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                            "[network twin]\naddress = 127.0.3.1\nlabels = all\n";

/* Speaking to the scout takes a descriptor: another process does it when it is told. */
static _Atomic int *begin_helper(void) {
    _Atomic int *go = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stage_expect(go != MAP_FAILED);
    if (alive_fork())
        return go;
    stage_wait(*go);
    stage_down("wifi");
    _exit(0);
}

static _Atomic bool sends;

static void *send_on(void *unused) {
    sends = true;
    stage_equal(send(alive_sock, "on", 2, 0), 2);
    return unused;
}

static void a_full_table_of_descriptors_only_delays_who_goes_on_by_another_network(void) {
    const struct rlimit some = {200, 200};
    _Atomic int *go = begin_helper();
    pthread_t thread;
    int fd, first = -1, calm = 0;
    alive_begin();
    stage_up("twin");
    stage_equal(setrlimit(RLIMIT_NOFILE, &some), 0);
    while ((fd = dup(STDIN_FILENO)) >= 0)
        first = first < 0 ? fd : first;
    *go = 1;
    stage_wait(!stage_offered("wifi"));
    stage_equal(pthread_create(&thread, NULL, send_on, NULL), 0);
    stage_wait(sends && stage_so_error(alive_sock) == 0 && ++calm > 100); /* others go on meanwhile */
    for (fd = first; fd < (int)some.rlim_cur; fd++)
        close(fd);
    pthread_join(thread, NULL);
    stage_expect_connection(1, "127.0.3.1");
    stage_expect_text(1, "on");
}

static const struct stage_test tests[] = {
#define TEST ALIVE_TEST
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
    TEST(under_a_filter_that_kills_on_unusual_calls_it_lives),
    TEST(who_ends_while_others_connect_hears_nothing_of_a_scout_that_is_away),
    TEST(close_range_of_everything_leaves_the_librarys),
    TEST(closefrom_leaves_the_librarys),
    TEST(closing_every_number_leaves_the_librarys),
    TEST(a_number_of_the_librarys_can_be_taken_by_dup2),
    TEST(however_many_the_library_has_a_sweep_leaves_them),
    TEST(a_dup2_that_fails_moves_none_of_them),
    TEST(a_low_limit_of_descriptors_is_the_programs_own),
    TEST(a_program_that_allows_itself_no_more_descriptors_waits_on_those_it_has),
    STAGE_TEST_WITH(a_full_table_of_descriptors_only_delays_who_goes_on_by_another_network, STAGE_PRELOAD,
                    twins, "CMM_RULES=127.0.0.0/8=background"),
};

STAGE_MAIN(alive_config, tests)

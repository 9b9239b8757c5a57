/* apart - programs that enter namespaces, or have a descriptor table of their own: the kernel wants them to
 * have one thread for some of that, and as far as they know they do. Preloaded; every test ends with the
 * library alive. */
#include "alive.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static void skip_unless(const char *kinds) {
    char command[100];
    snprintf(command, sizeof command, "LD_PRELOAD= unshare %s true 2>/dev/null", kinds);
    if (system(command) != 0)
        stage_skip("no namespaces of one's own here");
}

/* What a child does in a user namespace of its own, where it may. */
static void in_a_child(void (*what)(void)) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        alive_sock = alive_dial(0);
        what();
        alive_says(alive_sock, 1, "inside");
        alive_expect();
        _exit(0);
    }
    alive_ended(child, 0);
    alive_expect();
}

static void a_program_that_enters_a_user_namespace_may(void) {
    const int plain = system("LD_PRELOAD= unshare -Ur true 2>/dev/null");
    alive_begin();
    stage_equal(system("unshare -Ur true 2>/dev/null"), plain);
    const pid_t child = alive_fork();
    if (!child) {
        close(alive_dial(0)); /* the listening thread runs */
        _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    }
    alive_ended(child, plain == 0 ? 0 : EPERM);
    alive_expect();
}

static void after_entering_a_user_namespace_the_library_listens_again(void) {
    const int plain = system("LD_PRELOAD= unshare -Ur true 2>/dev/null");
    if (plain != 0)
        return;
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        const int fd = alive_dial(0);
        stage_equal(unshare(CLONE_NEWUSER), 0);
        alive_says(fd, 1, "inside");
        alive_expect();
        _exit(0);
    }
    alive_ended(child, 0);
    alive_expect();
}

static void enter_with_children(void) {
    stage_equal(unshare(CLONE_NEWUSER | CLONE_NEWPID), 0); /* no thread can be started any more */
    const pid_t first = fork();
    if (!first) {
        stage_equal(getpid(), 1);
        alive_says(alive_sock, 1, "first");
        _exit(0);
    }
    alive_ended(first, 0);
}

static void a_process_namespace_for_its_children_does_not_cut_the_library_off(void) {
    skip_unless("-Urp --fork");
    in_a_child(enter_with_children);
}

static _Atomic int hangups;

static void on_hangup(int signal) {
    (void)signal;
    hangups++;
}

/* The kernel's number for this process, outside. */
static int outer_pid(void) {
    char name[20] = "";
    stage_expect(readlink("/proc/self", name, sizeof name - 1) > 0);
    return atoi(name);
}

/* As if by chance: the listening thread's number is, outside, another thread's of the same process. */
static void be_taken_for_another(void) {
    FILE *next = fopen("/proc/sys/kernel/ns_last_pid", "we");
    stage_expect(next && fprintf(next, "%d", outer_pid() - 1) > 0 && fclose(next) == 0);
    signal(SIGHUP, on_hangup);
    alive_dial(0);
    for (int i = 0; i < 20; i++) {
        stage_up("cell");
        stage_down("cell");
    }
    stage_equal(hangups, 0);
}

static void enter_and_be_taken_for_another(void) {
    stage_equal(unshare(CLONE_NEWUSER | CLONE_NEWPID), 0);
    const pid_t first = fork();
    if (!first) {
        be_taken_for_another();
        _exit(0);
    }
    alive_ended(first, 0);
}

static void from_another_process_namespace_the_scouts_signal_hits_no_stranger(void) {
    skip_unless("-Urp --fork");
    in_a_child(enter_and_be_taken_for_another);
}

static void enter(const char *name, int kind) {
    const int there = open(name, O_RDONLY | O_CLOEXEC);
    close(alive_dial(0)); /* the listening thread runs */
    stage_equal(setns(there, kind), 0);
    close(there);
}

static void enter_mounts(void) {
    stage_equal(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
    enter("/proc/self/ns/mnt", CLONE_NEWNS);
    enter("/proc/self/ns/mnt", 0);
}

static void a_mount_namespace_can_be_entered(void) {
    skip_unless("-Urm");
    in_a_child(enter_mounts);
}

static void enter_time(void) {
    stage_equal(unshare(CLONE_NEWUSER | CLONE_NEWTIME), 0);
    enter("/proc/self/ns/time_for_children", CLONE_NEWTIME);
}

static void a_time_namespace_can_be_entered(void) {
    skip_unless("-UrT");
    in_a_child(enter_time);
}

static void enter_by_number(void) {
    stage_equal(syscall(SYS_unshare, CLONE_NEWUSER), 0);
}

static void by_the_calls_number_it_is_the_same(void) {
    skip_unless("-Ur");
    in_a_child(enter_by_number);
}

static _Atomic bool ran;

static void note(void *arg) {
    (void)arg;
    ran = true;
}

/* The thread that ran it waits for more, and would be one too many. */
static void enter_after_a_thunk(void) {
    __typeof__(cmm_socket) *const make = (__typeof__(cmm_socket) *)dlsym(RTLD_DEFAULT, "cmm_socket");
    __typeof__(cmm_connect) *const join = (__typeof__(cmm_connect) *)dlsym(RTLD_DEFAULT, "cmm_connect");
    __typeof__(cmm_send) *const say = (__typeof__(cmm_send) *)dlsym(RTLD_DEFAULT, "cmm_send");
    struct sockaddr_in to = stage_tcp();
    const int s = make(AF_INET, SOCK_STREAM, 0);
    stage_down("wifi");
    stage_equal(join(s, (struct sockaddr *)&to, sizeof to, CMM_LABEL_LARGE, NULL, NULL, NULL), CMM_DEFERRED);
    stage_equal(say(s, "x", 1, 0, CMM_LABEL_LARGE, note, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(ran);
    stage_equal(unshare(CLONE_NEWUSER), 0);
}

static void a_program_that_has_run_thunks_may_enter_a_user_namespace(void) {
    skip_unless("-Ur");
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        enter_after_a_thunk();
        alive_expect();
        _exit(0);
    }
    alive_ended(child, 0);
    alive_expect();
}

/* ---- networks of one's own ---- */

static int serve_here(void) {
    const struct sockaddr_in here = stage_tcp();
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(ioctl(fd, SIOCSIFFLAGS, &loopback), 0);
    stage_equal(bind(fd, (const struct sockaddr *)&here, sizeof here), 0);
    stage_equal(listen(fd, 1), 0);
    return fd;
}

static void enter_networks(void) {
    stage_equal(unshare(CLONE_NEWUSER), 0);
    close(alive_dial(0)); /* the listening thread runs */
    stage_equal(unshare(CLONE_NEWNET), 0);
    const int server = serve_here();
    stage_down("wifi");
    alive_dial(SOCK_NONBLOCK);
    stage_up("wifi");
    struct pollfd p = {.fd = server, .events = POLLIN};
    stage_equal(poll(&p, 1, -1), 1);
}

static void what_waits_is_connected_in_the_network_namespace_the_program_has_entered(void) {
    skip_unless("-Urn");
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        enter_networks();
        _exit(0);
    }
    alive_ended(child, 0);
    alive_expect();
}

/* ---- a table of descriptors of one's own ---- */

static void a_descriptor_table_of_its_own_is_the_librarys_too(void) {
    alive_begin();
    stage_equal(unshare(CLONE_FILES), 0);
    alive_says(alive_sock, 0, "mine");
    alive_expect();
}

static void forbid(unsigned number) {
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    stage_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    stage_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* Nor does it take more than the sweep itself: containers forbid unshare. */
static void a_sweep_that_makes_the_table_its_own_is_one_of_the_librarys_too(void) {
    alive_begin();
    forbid(SYS_unshare);
    stage_equal(close_range((unsigned)alive_sock + 1, ~0U, CLOSE_RANGE_UNSHARE), 0);
    alive_says(alive_sock, 0, "mine");
    alive_expect();
}

static _Atomic bool apart, over;

static void *go_apart(void *unused) {
    const struct sockaddr_in to = stage_tcp();
    stage_equal(unshare(CLONE_FILES), 0);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    stage_equal(close(alive_sock), 0);
    stage_equal(write(fd, "apart", 5), 5);
    apart = true;
    stage_wait(over);
    return unused;
}

static void to_a_thread_with_a_table_of_its_own_the_doors_lead_to_libc(void) {
    pthread_t thread;
    alive_begin();
    stage_equal(pthread_create(&thread, NULL, go_apart, NULL), 0);
    stage_wait(apart);
    stage_expect_text(1, "apart");
    alive_says(alive_sock, 0, "together");
    alive_expect();
    over = true;
    pthread_join(thread, NULL);
    alive_expect();
}

static void by_the_calls_numbers_the_librarys_descriptors_are_left_alone(void) {
    int ends[2];
    alive_begin();
    stage_equal(syscall(SYS_close_range, alive_sock + 1, ~0U, 0), 0);
    stage_equal(pipe(ends), 0);
    for (int fd = 256; fd < 1024; fd++)
        (void)!syscall(SYS_dup3, ends[1], fd, O_CLOEXEC);
    alive_says(alive_sock, 0, "on");
    alive_expect();
}

/* What no door sees. */
static long kernel(long number, long a) {
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11", "memory");
    return result;
#else
    (void)number, (void)a;
    stage_skip("the kernel is called by other instructions here");
#endif
}

static void what_closes_the_librarys_descriptors_past_every_door_does_not_hold_the_program_up(void) {
    alive_begin();
    for (int fd = alive_sock + 1; fd < 1024; fd++)
        kernel(SYS_close, fd);
    close(alive_dial(0)); /* the next that needs it finds out */
    alive_expect();
}

static _Atomic pid_t poller;
static _Atomic bool closed;

static void *poll_twice(void *unused) {
    struct pollfd p = {.fd = alive_sock, .events = POLLIN};
    stage_equal(poll(&p, 1, 0), 0);
    poller = gettid();
    stage_wait(closed);
    stage_equal(poll(&p, 1, -1), 1);
    return unused;
}

static void who_polls_when_its_wake_up_was_closed_past_every_door_sleeps_as_ever(void) {
    pthread_t thread;
    int calm = 0;
    alive_begin();
    stage_equal(pthread_create(&thread, NULL, poll_twice, NULL), 0);
    stage_wait(poller);
    for (int fd = alive_sock + 1; fd < 1024; fd++)
        kernel(SYS_close, fd);
    closed = true;
    stage_wait(stage_asleep(poller) && ++calm > 50);
    stage_say(0, "hello");
    pthread_join(thread, NULL);
}

static const struct stage_test tests[] = {
#define TEST ALIVE_TEST
    TEST(a_program_that_enters_a_user_namespace_may),
    TEST(after_entering_a_user_namespace_the_library_listens_again),
    TEST(a_process_namespace_for_its_children_does_not_cut_the_library_off),
    TEST(from_another_process_namespace_the_scouts_signal_hits_no_stranger),
    TEST(a_mount_namespace_can_be_entered),
    TEST(a_time_namespace_can_be_entered),
    TEST(by_the_calls_number_it_is_the_same),
    TEST(a_program_that_has_run_thunks_may_enter_a_user_namespace),
    TEST(what_waits_is_connected_in_the_network_namespace_the_program_has_entered),
    TEST(a_descriptor_table_of_its_own_is_the_librarys_too),
    TEST(a_sweep_that_makes_the_table_its_own_is_one_of_the_librarys_too),
    TEST(to_a_thread_with_a_table_of_its_own_the_doors_lead_to_libc),
    TEST(what_closes_the_librarys_descriptors_past_every_door_does_not_hold_the_program_up),
    TEST(who_polls_when_its_wake_up_was_closed_past_every_door_sleeps_as_ever),
    TEST(by_the_calls_numbers_the_librarys_descriptors_are_left_alone),
};

STAGE_MAIN(alive_config, tests)

/* waiting - unmodified programs wait for their network: silent in every way of waiting, then at work.
 * Preloaded, on networks that are addresses of the loopback interface; a rule takes its destinations in. What
 * the kernel itself says of a descriptor is asked past every hook. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define LOOPBACK "CMM_RULES=127.0.0.0/8=background"

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

enum { MOMENT_MS = 200, TCP_LISTENING = 10 };

static _Atomic int sock = -1;

/* ---- past the hooks ---- */

/* What lies under the number: the state of its TCP, or -1. */
static int kernel_state(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    long r;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = (long)&info;
    register long r8 __asm__("r8") = (long)&len;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(SYS_getsockopt), "D"(fd), "S"(IPPROTO_TCP), "d"(TCP_INFO), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
#else
    r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
#endif
    return r < 0 ? -1 : info.tcpi_state;
}

static bool parked(void) {
    return kernel_state(sock) == TCP_LISTENING;
}

/* ---- a connect ---- */

static int dial(int flags) {
    struct sockaddr_in to = stage_tcp();
    sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(sock >= 0);
    return connect(sock, (struct sockaddr *)&to, sizeof to);
}

static int dial_again(void) {
    struct sockaddr_in to = stage_tcp();
    return connect(sock, (struct sockaddr *)&to, sizeof to);
}

/* ---- a thread in one call ---- */

static struct caller {
    pthread_t thread;
    long result;
    int error;
    _Atomic pid_t tid;
    _Atomic bool over;
} caller;

static void begin(void *(*call)(void *), void *arg) {
    caller.tid = 0;
    caller.over = false;
    stage_equal(pthread_create(&caller.thread, NULL, call, arg), 0);
    stage_wait(caller.tid);
}

static long done(long result) {
    caller.result = result;
    caller.error = errno;
    caller.over = true;
    return 0;
}

static long outcome(void) {
    stage_wait(caller.over);
    pthread_join(caller.thread, NULL);
    errno = caller.error;
    return caller.result;
}

/* It sleeps, and goes on sleeping. */
static void expect_waiting(void) {
    int calm = 0;
    stage_wait_begins();
    while (calm < 50) {
        if (caller.over || stage_late())
            stage_fail(__FILE__, __LINE__, "it does not wait: %ld, %s", caller.result,
                       strerror(caller.error));
        calm = stage_asleep(caller.tid) ? calm + 1 : 0;
        stage_pause();
    }
}

static void *blocking_dial(void *unused) {
    (void)unused;
    caller.tid = (pid_t)syscall(SYS_gettid);
    done(dial(0));
    return NULL;
}

/* ---- streams ---- */

static void a_blocking_connect_waits_for_its_network(void) {
    begin(blocking_dial, NULL);
    expect_waiting();
    stage_expect(parked());
    stage_equal(stage_connections(), 0);
    stage_up("cell"); /* offers other labels */
    expect_waiting();
    stage_up("wifi");
    stage_equal(outcome(), 0);
    stage_expect_connection(0, "127.0.1.1");
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
}

static void a_non_blocking_connect_is_in_progress_until_its_network_comes(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(stage_so_error(sock), 0);
    stage_fails(dial_again(), EALREADY);
    stage_fails(send(sock, "x", 1, MSG_NOSIGNAL), EAGAIN);
    char byte;
    stage_fails(recv(sock, &byte, 1, 0), EAGAIN);
    stage_fails(dial_again(), EALREADY);
    stage_up("wifi");
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(stage_so_error(sock), 0);
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "hello");
}

static void connect_called_again_tells_what_the_kernel_would(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_fails(dial_again(), EALREADY);
    stage_up("wifi");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(dial_again(), 0);
    stage_fails(dial_again(), EISCONN);
}

static void a_refusal_is_told_once_when_the_network_has_come(void) {
    stage_refuse(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_up("wifi");
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_equal(stage_so_error(sock), ECONNREFUSED);
    stage_equal(stage_so_error(sock), 0);
    stage_refuse(false);
    stage_fails(dial_again(), EINPROGRESS); /* as Linux lets one try again */
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLOUT);
    stage_equal(stage_so_error(sock), 0);
    stage_expect_connection(0, "127.0.1.1");
}

/* /proc/net/tcp has a line a socket: its place, the address (as the machine writes a word) and more. */
static void what_waits_takes_no_port_from_the_machine(void) {
    char line[256];
    unsigned address = 0, port = 0;
    unsigned long inode = 0;
    struct stat st;
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(fstat(sock, &st), 0);
    FILE *f = fopen("/proc/net/tcp", "re");
    while (inode != st.st_ino && fgets(line, sizeof line, f))
        sscanf(line, "%*d: %x:%x %*x:%*x %*x %*x:%*x %*x:%*x %*x %*u %*u %lu", &address, &port, &inode);
    fclose(f);
    stage_equal(inode, st.st_ino);
    stage_expect(port && (ntohl(address) & 0xffc00000) == 0x7f400000);
    stage_up("wifi");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_expect_connection(0, "127.0.1.1");
}

/* ---- silence ---- */

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int select_on(int timeout_ms, bool *ret_writable) {
    fd_set rd, wr, ex;
    struct timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    FD_ZERO(&rd);
    FD_ZERO(&wr);
    FD_ZERO(&ex);
    FD_SET(sock, &rd);
    FD_SET(sock, &wr);
    FD_SET(sock, &ex);
    int n = select(sock + 1, &rd, &wr, &ex, timeout_ms < 0 ? NULL : &limit);
    *ret_writable = n > 0 && FD_ISSET(sock, &wr);
    return n;
}

enum { SETS = 3 };
static const uint32_t modes[SETS] = {0, EPOLLET, EPOLLONESHOT};
static int sets[SETS];

static void watch_by_epoll(void) {
    for (int i = 0; i < SETS; i++) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | modes[i],
                                .data.u64 = 40 + (uint64_t)i};
        sets[i] = epoll_create1(EPOLL_CLOEXEC);
        stage_equal(epoll_ctl(sets[i], EPOLL_CTL_ADD, sock, &e), 0);
    }
}

static void expect_silence(void) {
    struct epoll_event e;
    bool writable;
    const double before = cpu_seconds();
    stage_equal(stage_polled(sock, POLLIN | POLLOUT | POLLPRI, MOMENT_MS), 0);
    stage_equal(select_on(MOMENT_MS, &writable), 0);
    for (int i = 0; i < SETS; i++)
        stage_equal(epoll_wait(sets[i], &e, 1, MOMENT_MS), 0);
    stage_expect(cpu_seconds() - before < 0.5 * (2 + SETS) * MOMENT_MS / 1000);
}

static void expect_writable(void) {
    struct epoll_event e;
    bool writable;
    for (int i = 0; i < SETS; i++) {
        stage_equal(epoll_wait(sets[i], &e, 1, -1), 1);
        stage_equal(e.events, EPOLLOUT);
        stage_equal(e.data.u64, 40 + i);
    }
    stage_equal(stage_polled(sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(select_on(-1, &writable), 1);
    stage_expect(writable);
    stage_equal(epoll_wait(sets[0], &e, 1, 0), 1); /* level: again */
    stage_equal(epoll_wait(sets[2], &e, 1, 0), 0); /* one shot: not again */
}

static void what_waits_is_silent_in_poll_select_and_epoll(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    watch_by_epoll();
    expect_silence();
    stage_up("wifi");
    expect_writable();
}

/* getdtablesize() is what many pass, and a set that ends long before. */
static void a_set_is_read_no_further_than_the_kernel_reads_it(void) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fd_set *wr = (fd_set *)(void *)(at + page - sizeof(fd_set));
    struct timeval limit = {0, 1000};
    stage_expect(at != MAP_FAILED);
    stage_equal(munmap(at + page, page), 0);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    FD_ZERO(wr);
    FD_SET(sock, wr);
    stage_equal(select(1 << 20, NULL, wr, NULL, &limit), 0);
    int ends[2];
    stage_equal(pipe(ends), 0);
    FD_ZERO(wr);
    FD_SET(ends[1], wr);
    stage_equal(select(1 << 20, NULL, wr, NULL, NULL),
                1); /* the kernel's own: our descriptors have not made its table longer */
    FD_ZERO(wr);
    FD_SET(sock, wr);
    stage_up("wifi");
    stage_equal(select(1 << 20, NULL, wr, NULL, NULL), 1);
    stage_expect(FD_ISSET(sock, wr));
}

/* Watched before connect() is called, as most loops do not. */
static void a_watch_from_before_connect_stays(void) {
    struct sockaddr_in to = stage_tcp();
    struct epoll_event e;
    sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    watch_by_epoll();
    stage_equal(epoll_wait(sets[0], &e, 1, 0), 1); /* the kernel's word on a fresh socket */
    stage_equal(e.events & EPOLLHUP, EPOLLHUP);
    stage_fails(connect(sock, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    for (int i = 0; i < 2; i++)
        stage_equal(epoll_wait(sets[i], &e, 1, MOMENT_MS), 0);
    stage_up("wifi");
    for (int i = 0; i < 2; i++) {
        stage_equal(epoll_wait(sets[i], &e, 1, -1), 1);
        stage_equal(e.events, EPOLLOUT);
    }
}

static void a_slow_handshake_is_silent_too(void) {
    stage_crowd(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    watch_by_epoll();
    stage_up("wifi");
    stage_fails(dial_again(), EALREADY);
    expect_silence();
    stage_equal(stage_so_error(sock), 0);
    stage_fails(dial_again(), EALREADY);
    stage_crowd(false);
    expect_writable();
    stage_equal(stage_so_error(sock), 0);
}

static void *poller(void *unused) {
    (void)unused;
    caller.tid = (pid_t)syscall(SYS_gettid);
    done(stage_polled(sock, POLLIN | POLLOUT, -1));
    return NULL;
}

static void *selecter(void *unused) {
    bool writable = false;
    (void)unused;
    caller.tid = (pid_t)syscall(SYS_gettid);
    int n = select_on(-1, &writable);
    done(n == 1 && writable ? POLLOUT : -1);
    return NULL;
}

static void *epoller(void *set) {
    struct epoll_event e = {0};
    caller.tid = (pid_t)syscall(SYS_gettid);
    int n = epoll_wait(*(int *)set, &e, 1, -1);
    done(n == 1 ? (long)e.events : -1);
    return NULL;
}

/* Asleep before the network comes, across a handshake that is slow. */
static void sleeper_wakes(void *(*sleeper)(void *), void *arg) {
    begin(sleeper, arg);
    expect_waiting();
    stage_crowd(true);
    stage_up("wifi");
    expect_waiting();
    stage_crowd(false);
    stage_equal(outcome(), POLLOUT);
}

static void a_thread_asleep_in_poll_wakes_when_it_is_connected(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    sleeper_wakes(poller, NULL);
}

static void a_thread_asleep_in_select_wakes_when_it_is_connected(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    sleeper_wakes(selecter, NULL);
}

static void threads_asleep_in_epoll_wake_when_it_is_connected(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    watch_by_epoll();
    sleeper_wakes(epoller, &sets[0]);
    struct epoll_event e;
    stage_equal(epoll_wait(sets[1], &e, 1, -1), 1);
    stage_equal(epoll_wait(sets[2], &e, 1, -1), 1);
}

static void duplicates_wait_and_connect_together(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    const int copy = dup(sock);
    stage_equal(stage_polled(sock, POLLOUT, MOMENT_MS), 0);
    stage_up("wifi");
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    close(sock);
    sock = copy;
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(send(copy, "by the copy", 11, 0), 11);
    stage_expect_text(0, "by the copy");
}

/* ---- what a program sees of a socket that waits ---- */

static void options_and_flags_are_the_programs_own(void) {
    const int on = 1;
    int value = -1;
    socklen_t len = sizeof value;
    struct sockaddr_in to = stage_tcp();
    sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    stage_equal(setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    stage_fails(connect(sock, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    for (int round = 0; round < 2; round++) {
        stage_equal(fcntl(sock, F_GETFD), FD_CLOEXEC);
        stage_equal(fcntl(sock, F_GETFL), O_RDWR | O_NONBLOCK);
        stage_equal(getsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        stage_equal(value, 1);
        stage_equal(getsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        stage_equal(value, 1);
        stage_equal(getsockopt(sock, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
        stage_equal(value, 0);
        if (round)
            break;
        struct sockaddr_in name;
        socklen_t namelen = sizeof name;
        stage_fails(getpeername(sock, (struct sockaddr *)&name, &namelen), ENOTCONN);
        struct tcp_info info = {0};
        len = sizeof info;
        stage_equal(getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
        stage_equal(info.tcpi_state, 2); /* SYN_SENT */
        len = sizeof value;
        stage_up("wifi");
        stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    }
    struct sockaddr_in name;
    socklen_t namelen = sizeof name;
    stage_equal(getpeername(sock, (struct sockaddr *)&name, &namelen), 0);
    stage_equal(name.sin_port, to.sin_port);
}

static void a_socket_that_waits_can_be_closed(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(close(sock), 0);
    stage_fails(fcntl(sock, F_GETFD), EBADF);
    stage_up("wifi");
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_expect_connection(0, "127.0.1.1");
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
    stage_equal(stage_connections(), 1);
}

/* ---- patience ---- */

static void patience_ends_a_blocking_connect(void) {
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    stage_fails(dial(0), ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    stage_expect(ended.tv_sec - begun.tv_sec + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9 >= 0.3);
    stage_equal(stage_connections(), 0);
    stage_equal(stage_so_error(sock), 0);
}

static void patience_ends_a_non_blocking_connect(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_equal(stage_so_error(sock), ETIMEDOUT);
    stage_equal(stage_so_error(sock), 0);
}

/* ---- the program's own life goes on ---- */

static _Atomic int alarms;

static void on_alarm(int signo) {
    (void)signo;
    alarms++;
}

static void every_10_ms(int flags) {
    const struct itimerval often = {{0, 10000}, {0, 10000}};
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = flags};
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

/* Only the thread that connects hears alarms. */
static void *dial_with_alarms(void *unused) {
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    return blocking_dial(unused);
}

static void block_alarms(void) {
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
}

static void timers_and_signals_of_the_program_run_on(void) {
    stage_not_under_tsan("holds signals back while a call blocks");
    block_alarms();
    every_10_ms(SA_RESTART);
    begin(dial_with_alarms, NULL);
    stage_wait(alarms > 10);
    stage_expect(!caller.over);
    stage_up("wifi");
    stage_equal(outcome(), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void a_handler_without_SA_RESTART_interrupts_connect(void) {
    block_alarms();
    every_10_ms(0);
    begin(dial_with_alarms, NULL);
    stage_fails(outcome(), EINTR);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    stage_equal(stage_polled(sock, POLLOUT, 0), 0);
    stage_up("wifi"); /* what was begun goes on, as Linux has it */
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(stage_so_error(sock), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void the_program_never_hears_of_the_scouts_hangups(void) {
    alarms = 0;
    signal(SIGHUP, on_alarm);
    begin(blocking_dial, NULL);
    expect_waiting();
    for (int i = 0; i < 20; i++) {
        stage_up("cell");
        stage_down("cell");
    }
    stage_up("wifi");
    stage_equal(outcome(), 0);
    stage_equal(alarms, 0);
    raise(SIGHUP);
    stage_equal(alarms, 1);
}

static void threads_get_stacks_of(size_t size) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    stage_equal(pthread_attr_setstacksize(&attr, size), 0);
    stage_equal(pthread_setattr_default_np(&attr), 0);
    pthread_attr_destroy(&attr);
}

/* Nobody could ever tell it of a network. */
static void a_connect_for_which_the_library_gets_no_thread_says_so_and_the_next_works(void) {
    threads_get_stacks_of((size_t)1 << 47);
    stage_fails(dial(0), EAGAIN);
    threads_get_stacks_of((size_t)1 << 20);
    stage_up("wifi");
    stage_equal(dial_again(), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static const struct stage_test tests[] = {
#define TEST(name)          STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, LOOPBACK)
#define TEST_PATIENCE(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, LOOPBACK " CMM_PATIENCE=0.3")
    TEST(a_blocking_connect_waits_for_its_network),
    TEST(a_non_blocking_connect_is_in_progress_until_its_network_comes),
    TEST(connect_called_again_tells_what_the_kernel_would),
    TEST(a_refusal_is_told_once_when_the_network_has_come),
    TEST(what_waits_takes_no_port_from_the_machine),
    TEST(what_waits_is_silent_in_poll_select_and_epoll),
    TEST(a_set_is_read_no_further_than_the_kernel_reads_it),
    TEST(a_watch_from_before_connect_stays),
    TEST(a_slow_handshake_is_silent_too),
    TEST(a_thread_asleep_in_poll_wakes_when_it_is_connected),
    TEST(a_thread_asleep_in_select_wakes_when_it_is_connected),
    TEST(threads_asleep_in_epoll_wake_when_it_is_connected),
    TEST(duplicates_wait_and_connect_together),
    TEST(options_and_flags_are_the_programs_own),
    TEST(a_socket_that_waits_can_be_closed),
    TEST_PATIENCE(patience_ends_a_blocking_connect),
    TEST_PATIENCE(patience_ends_a_non_blocking_connect),
    TEST(timers_and_signals_of_the_program_run_on),
    TEST(a_handler_without_SA_RESTART_interrupts_connect),
    TEST(a_connect_for_which_the_library_gets_no_thread_says_so_and_the_next_works),
    TEST(the_program_never_hears_of_the_scouts_hangups),
};

STAGE_MAIN(config, tests)

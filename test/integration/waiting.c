/* waiting - unmodified programs wait for their network, then are at work; meanwhile their own life goes on.
 * Preloaded, on networks that are addresses of the loopback interface; a rule takes its destinations in. What
 * the kernel itself says of a descriptor is asked past every hook. */
#include "dialing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { MOMENT_MS = 200, TCP_LISTENING = 10 };

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
    return kernel_state(dialing_sock) == TCP_LISTENING;
}

/* ---- streams ---- */

static void a_blocking_connect_waits_for_its_network(void) {
    dialing_begin(dialing_blocking, NULL);
    dialing_expect_waiting();
    stage_expect(parked());
    stage_equal(stage_connections(), 0);
    stage_up("cell"); /* offers other labels */
    dialing_expect_waiting();
    stage_up("wifi");
    stage_equal(dialing_outcome(), 0);
    stage_expect_connection(0, "127.0.1.1");
    stage_equal(send(dialing_sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
}

static void a_non_blocking_connect_is_in_progress_until_its_network_comes(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(stage_so_error(dialing_sock), 0);
    stage_fails(dialing_again(), EALREADY);
    stage_fails(send(dialing_sock, "x", 1, MSG_NOSIGNAL), EAGAIN);
    char byte;
    stage_fails(recv(dialing_sock, &byte, 1, 0), EAGAIN);
    stage_fails(dialing_again(), EALREADY);
    stage_up("wifi");
    stage_equal(stage_polled(dialing_sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(stage_so_error(dialing_sock), 0);
    stage_equal(send(dialing_sock, "hello", 5, 0), 5);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "hello");
}

static void connect_called_again_tells_what_the_kernel_would(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_fails(dialing_again(), EALREADY);
    stage_up("wifi");
    stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    stage_equal(dialing_again(), 0);
    stage_fails(dialing_again(), EISCONN);
}

static void a_refusal_is_told_once_when_the_network_has_come(void) {
    stage_refuse(true);
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_up("wifi");
    stage_expect(stage_polled(dialing_sock, POLLOUT, -1) & POLLERR);
    stage_equal(stage_so_error(dialing_sock), ECONNREFUSED);
    stage_equal(stage_so_error(dialing_sock), 0);
    stage_refuse(false);
    stage_fails(dialing_again(), ECONNABORTED); /* as Linux lets one try again */
    stage_fails(dialing_again(), EINPROGRESS);
    stage_expect(stage_polled(dialing_sock, POLLOUT, -1) & POLLOUT);
    stage_equal(stage_so_error(dialing_sock), 0);
    stage_expect_connection(0, "127.0.1.1");
}

/* /proc/net/tcp has a line a socket: its place, the address (as the machine writes a word) and more. Where
 * other programs' come and go while it is read one may be passed over. */
static bool in_kernels_table(ino_t wanted, unsigned *ret_address, unsigned *ret_port) {
    char line[256];
    unsigned long inode = 0;
    FILE *f = fopen("/proc/net/tcp", "re");
    while (inode != wanted && fgets(line, sizeof line, f))
        sscanf(line, "%*d: %x:%x %*x:%*x %*x %*x:%*x %*x:%*x %*x %*u %*u %lu", ret_address, ret_port, &inode);
    fclose(f);
    return inode == wanted;
}

static void what_waits_takes_no_port_from_the_machine(void) {
    unsigned address = 0, port = 0;
    struct stat st;
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(fstat(dialing_sock, &st), 0);
    stage_wait(in_kernels_table(st.st_ino, &address, &port));
    stage_expect(port && (ntohl(address) & 0xffc00000) == 0x7f400000);
    stage_up("wifi");
    stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    stage_expect_connection(0, "127.0.1.1");
}

/* ---- what a program sees of a socket that waits ---- */

static void duplicates_wait_and_connect_together(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    const int copy = dup(dialing_sock);
    stage_equal(stage_polled(dialing_sock, POLLOUT, MOMENT_MS), 0);
    stage_up("wifi");
    stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    close(dialing_sock);
    dialing_sock = copy;
    stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    stage_equal(send(copy, "by the copy", 11, 0), 11);
    stage_expect_text(0, "by the copy");
}

static int number(unsigned long request) {
    int value = -1;
    stage_equal(ioctl(dialing_sock, request, &value), 0);
    return value;
}

static void options_and_flags_are_the_programs_own(void) {
    const int on = 1;
    int value = -1;
    socklen_t len = sizeof value;
    struct sockaddr_in to = stage_tcp();
    dialing_sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    stage_equal(setsockopt(dialing_sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    stage_fails(connect(dialing_sock, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(setsockopt(dialing_sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    for (int round = 0; round < 2; round++) {
        stage_equal(fcntl(dialing_sock, F_GETFD), FD_CLOEXEC);
        stage_equal(fcntl(dialing_sock, F_GETFL), O_RDWR | O_NONBLOCK);
        stage_equal(getsockopt(dialing_sock, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        stage_equal(value, 1);
        stage_equal(getsockopt(dialing_sock, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        stage_equal(value, 1);
        stage_equal(getsockopt(dialing_sock, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
        stage_equal(value, 0);
        if (round)
            break;
        struct sockaddr_in name;
        socklen_t namelen = sizeof name;
        stage_fails(getpeername(dialing_sock, (struct sockaddr *)&name, &namelen), ENOTCONN);
        struct tcp_info info = {0};
        len = sizeof info;
        stage_equal(getsockopt(dialing_sock, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
        stage_equal(info.tcpi_state, 2); /* SYN_SENT */
        stage_equal(number(FIONREAD), 0);
        stage_equal(number(SIOCOUTQ), 0);
        stage_equal(number(SIOCOUTQNSD), 0);
        len = sizeof value;
        stage_up("wifi");
        stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    }
    struct sockaddr_in name;
    socklen_t namelen = sizeof name;
    stage_equal(getpeername(dialing_sock, (struct sockaddr *)&name, &namelen), 0);
    stage_equal(name.sin_port, to.sin_port);
}

static void a_socket_that_waits_can_be_closed(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(close(dialing_sock), 0);
    stage_fails(fcntl(dialing_sock, F_GETFD), EBADF);
    stage_up("wifi");
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    stage_expect_connection(0, "127.0.1.1");
    stage_equal(send(dialing_sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
    stage_equal(stage_connections(), 1);
}

/* ---- patience ---- */

static void patience_ends_a_blocking_connect(void) {
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    stage_fails(dialing_connect(0), ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    stage_expect(ended.tv_sec - begun.tv_sec + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9 >= 0.3);
    stage_equal(stage_connections(), 0);
    stage_equal(stage_so_error(dialing_sock), 0);
}

static void patience_ends_a_non_blocking_connect(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(dialing_sock, POLLOUT, -1) & POLLERR);
    stage_equal(stage_so_error(dialing_sock), ETIMEDOUT);
    stage_equal(stage_so_error(dialing_sock), 0);
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
    return dialing_blocking(unused);
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
    dialing_begin(dial_with_alarms, NULL);
    stage_wait(alarms > 10);
    stage_expect(!dialing_caller.over);
    stage_up("wifi");
    stage_equal(dialing_outcome(), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void a_handler_without_SA_RESTART_interrupts_connect(void) {
    block_alarms();
    every_10_ms(0);
    dialing_begin(dial_with_alarms, NULL);
    stage_fails(dialing_outcome(), EINTR);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    stage_equal(stage_polled(dialing_sock, POLLOUT, 0), 0);
    stage_up("wifi"); /* what was begun goes on, as Linux has it */
    stage_equal(stage_polled(dialing_sock, POLLOUT, -1), POLLOUT);
    stage_equal(stage_so_error(dialing_sock), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void the_program_never_hears_of_the_scouts_hangups(void) {
    alarms = 0;
    signal(SIGHUP, on_alarm);
    dialing_begin(dialing_blocking, NULL);
    dialing_expect_waiting();
    for (int i = 0; i < 20; i++) {
        stage_up("cell");
        stage_down("cell");
    }
    stage_up("wifi");
    stage_equal(dialing_outcome(), 0);
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
    stage_fails(dialing_connect(0), EAGAIN);
    threads_get_stacks_of((size_t)1 << 20);
    stage_up("wifi");
    stage_equal(dialing_again(), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static const struct stage_test tests[] = {
    DIALING_TEST(a_blocking_connect_waits_for_its_network),
    DIALING_TEST(a_non_blocking_connect_is_in_progress_until_its_network_comes),
    DIALING_TEST(connect_called_again_tells_what_the_kernel_would),
    DIALING_TEST(a_refusal_is_told_once_when_the_network_has_come),
    DIALING_TEST(what_waits_takes_no_port_from_the_machine),
    DIALING_TEST(duplicates_wait_and_connect_together),
    DIALING_TEST(options_and_flags_are_the_programs_own),
    DIALING_TEST(a_socket_that_waits_can_be_closed),
    DIALING_TEST_IMPATIENT(patience_ends_a_blocking_connect),
    DIALING_TEST_IMPATIENT(patience_ends_a_non_blocking_connect),
    DIALING_TEST(timers_and_signals_of_the_program_run_on),
    DIALING_TEST(a_handler_without_SA_RESTART_interrupts_connect),
    DIALING_TEST(a_connect_for_which_the_library_gets_no_thread_says_so_and_the_next_works),
    DIALING_TEST(the_program_never_hears_of_the_scouts_hangups),
};

STAGE_MAIN(dialing_config, tests)

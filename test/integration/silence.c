/* silence - what waits for its network is silent in poll, select and epoll, and a program asleep in them
 * wakes when it is connected. Preloaded, on networks that are addresses of the loopback interface. */
#include "dialing.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MOMENT_MS = 200 };

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
    FD_SET(dialing_sock, &rd);
    FD_SET(dialing_sock, &wr);
    FD_SET(dialing_sock, &ex);
    int n = select(dialing_sock + 1, &rd, &wr, &ex, timeout_ms < 0 ? NULL : &limit);
    *ret_writable = n > 0 && FD_ISSET(dialing_sock, &wr);
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
        stage_equal(epoll_ctl(sets[i], EPOLL_CTL_ADD, dialing_sock, &e), 0);
    }
}

static void expect_silence(void) {
    struct epoll_event e;
    bool writable;
    const double before = cpu_seconds();
    stage_equal(stage_polled(dialing_sock, POLLIN | POLLOUT | POLLPRI, MOMENT_MS), 0);
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
    stage_equal(stage_polled(dialing_sock, POLLIN | POLLOUT, -1), POLLOUT);
    stage_equal(select_on(-1, &writable), 1);
    stage_expect(writable);
    stage_equal(epoll_wait(sets[0], &e, 1, 0), 1); /* level: again */
    stage_equal(epoll_wait(sets[2], &e, 1, 0), 0); /* one shot: not again */
}

static void what_waits_is_silent_in_poll_select_and_epoll(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
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
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    FD_ZERO(wr);
    FD_SET(dialing_sock, wr);
    stage_equal(select(1 << 20, NULL, wr, NULL, &limit), 0);
    int ends[2];
    stage_equal(pipe(ends), 0);
    FD_ZERO(wr);
    FD_SET(ends[1], wr);
    stage_equal(select(1 << 20, NULL, wr, NULL, NULL),
                1); /* the kernel's own: our descriptors have not made its table longer */
    FD_ZERO(wr);
    FD_SET(dialing_sock, wr);
    stage_up("wifi");
    stage_equal(select(1 << 20, NULL, wr, NULL, NULL), 1);
    stage_expect(FD_ISSET(dialing_sock, wr));
}

/* Watched before connect() is called, as most loops do not. */
static void a_watch_from_before_connect_stays(void) {
    struct sockaddr_in to = stage_tcp();
    struct epoll_event e;
    dialing_sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    watch_by_epoll();
    stage_equal(epoll_wait(sets[0], &e, 1, 0), 1); /* the kernel's word on a fresh socket */
    stage_equal(e.events & EPOLLHUP, EPOLLHUP);
    stage_fails(connect(dialing_sock, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
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
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    watch_by_epoll();
    stage_up("wifi");
    stage_fails(dialing_again(), EALREADY);
    expect_silence();
    stage_equal(stage_so_error(dialing_sock), 0);
    stage_fails(dialing_again(), EALREADY);
    stage_crowd(false);
    expect_writable();
    stage_equal(stage_so_error(dialing_sock), 0);
}

static void *poller(void *unused) {
    (void)unused;
    dialing_caller.tid = gettid();
    dialing_done(stage_polled(dialing_sock, POLLIN | POLLOUT, -1));
    return NULL;
}

static void *selecter(void *unused) {
    bool writable = false;
    (void)unused;
    dialing_caller.tid = gettid();
    int n = select_on(-1, &writable);
    dialing_done(n == 1 && writable ? POLLOUT : -1);
    return NULL;
}

static void *epoller(void *set) {
    struct epoll_event e = {0};
    dialing_caller.tid = gettid();
    int n = epoll_wait(*(int *)set, &e, 1, -1);
    dialing_done(n == 1 ? (long)e.events : -1);
    return NULL;
}

/* Asleep before the network comes, across a handshake that is slow. */
static void sleeper_wakes(void *(*sleeper)(void *), void *arg) {
    dialing_begin(sleeper, arg);
    dialing_expect_waiting();
    stage_crowd(true);
    stage_up("wifi");
    dialing_expect_waiting();
    stage_crowd(false);
    stage_equal(dialing_outcome(), POLLOUT);
}

static void a_thread_asleep_in_poll_wakes_when_it_is_connected(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    sleeper_wakes(poller, NULL);
}

static void a_thread_asleep_in_select_wakes_when_it_is_connected(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    sleeper_wakes(selecter, NULL);
}

static void threads_asleep_in_epoll_wake_when_it_is_connected(void) {
    stage_fails(dialing_connect(SOCK_NONBLOCK), EINPROGRESS);
    watch_by_epoll();
    sleeper_wakes(epoller, &sets[0]);
    struct epoll_event e;
    stage_equal(epoll_wait(sets[1], &e, 1, -1), 1);
    stage_equal(epoll_wait(sets[2], &e, 1, -1), 1);
}

static const struct stage_test tests[] = {
    DIALING_TEST(what_waits_is_silent_in_poll_select_and_epoll),
    DIALING_TEST(a_set_is_read_no_further_than_the_kernel_reads_it),
    DIALING_TEST(a_watch_from_before_connect_stays),
    DIALING_TEST(a_slow_handshake_is_silent_too),
    DIALING_TEST(a_thread_asleep_in_poll_wakes_when_it_is_connected),
    DIALING_TEST(a_thread_asleep_in_select_wakes_when_it_is_connected),
    DIALING_TEST(threads_asleep_in_epoll_wake_when_it_is_connected),
};

STAGE_MAIN(dialing_config, tests)

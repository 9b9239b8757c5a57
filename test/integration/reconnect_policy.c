/* reconnect_policy - unmodified programs under --on-loss reconnect: their connection is replaced by another
 * one, and they see time pass, nothing else. Preloaded, in a world whose links go down; between the loss of
 * one network and the coming of the other lies a gap, so that nobody is saved by a quick handshake. Withdrawn
 * networks are addresses of loopback. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = all\nmetric = 200\n";
static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = all\n";

enum { CALLERS = 8, CALM = 30, LARGE = 3 << 20, TCP_LISTENING = 10 };

static int sock = -1;
static char heard[256];

/* ---- threads in one call each ---- */

struct caller {
    pthread_t thread;
    long (*call)(void);
    long result;
    int error;
    _Atomic pid_t tid;
    _Atomic bool over;
};

static struct caller callers[CALLERS];
static int ncallers, back;

static void *run(void *arg) {
    struct caller *c = arg;
    c->tid = gettid();
    errno = 0;
    c->result = c->call();
    c->error = errno;
    c->over = true;
    return NULL;
}

static bool asleep(const struct caller *c) {
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)c->tid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    fclose(f);
    return state == 'S';
}

/* All of them sleep, and go on sleeping. */
static void expect_waiting(void) {
    int calm = 0;
    stage_wait_begins();
    while (calm < CALM) {
        bool all = true;
        for (int i = back; i < ncallers; i++) {
            if (callers[i].over || stage_late())
                stage_fail(__FILE__, __LINE__, "call %d does not wait: %ld, %s", i, callers[i].result,
                           strerror(callers[i].error));
            all = all && asleep(&callers[i]);
        }
        calm = all ? calm + 1 : 0;
        stage_pause();
    }
}

static void begin(long (*call)(void)) {
    struct caller *c = &callers[ncallers++];
    c->call = call;
    stage_equal(pthread_create(&c->thread, NULL, run, c), 0);
    stage_wait(c->tid);
}

/* The oldest caller is back. */
static long outcome(void) {
    struct caller *c = &callers[back++];
    stage_wait(c->over);
    pthread_join(c->thread, NULL);
    errno = c->error;
    return c->result;
}

/* ---- one connection and the next ---- */

static void live(int flags) {
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.events = POLLOUT};
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    p.fd = sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(connect(sock, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    stage_equal(poll(&p, 1, -1), 1);
    stage_expect_connection(0, "10.1.0.2");
}

/* Past the hooks: there is no connection under the number. */
static bool parked(void) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    long r = -1;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = (long)&info;
    register long r8 __asm__("r8") = (long)&len;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(SYS_getsockopt), "D"(sock), "S"(IPPROTO_TCP), "d"(TCP_INFO), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
#else
    struct pollfd p = {.fd = sock, .events = POLLOUT};
    return poll(&p, 1, 0) == 0;
#endif
    return r == 0 && info.tcpi_state == TCP_LISTENING;
}

static void lose(void) {
    stage_link("cell0", false);
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi") && !stage_offered("cell"));
}

/* It is lost, and waits. */
static void part(void) {
    lose();
    stage_wait(parked());
}

static void find(void) {
    stage_link("cell0", true);
    stage_expect_connection(1, "10.2.0.2");
}

/* Everybody who is in a call sleeps through it. */
static void move(void) {
    expect_waiting();
    part();
    expect_waiting();
    find();
    expect_waiting();
}

static int available(void) {
    int bytes = -1;
    stage_equal(ioctl(sock, FIONREAD, &bytes), 0);
    return bytes;
}

static int unacknowledged(void) {
    int bytes = -1;
    stage_equal(ioctl(sock, SIOCOUTQ, &bytes), 0);
    return bytes;
}

static int polled(short events) {
    struct pollfd p = {.fd = sock, .events = events};
    int n = poll(&p, 1, 0);
    return n < 0 ? n : p.revents;
}

/* The connection there is now carries both ways. */
static void expect_talk(int connection) {
    stage_say(connection, "answer");
    stage_equal(recv(sock, heard, 6, MSG_WAITALL), 6);
    stage_expect(memcmp(heard, "answer", 6) == 0);
    const size_t before = stage_received(connection);
    stage_equal(send(sock, "question", 8, 0), 8);
    stage_wait(stage_received(connection) == before + 8);
}

/* ---- receiving ---- */

static long in_recv(void) {
    return recv(sock, heard, sizeof heard, 0);
}

static long in_read(void) {
    return read(sock, heard, sizeof heard);
}

static long in_readv(void) {
    struct iovec iov[2] = {{heard, 2}, {heard + 2, sizeof heard - 2}};
    return readv(sock, iov, 2);
}

static long in_recvmsg(void) {
    struct iovec iov = {heard, sizeof heard};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return recvmsg(sock, &msg, 0);
}

static long in_recvfrom(void) {
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    return recvfrom(sock, heard, sizeof heard, 0, (struct sockaddr *)&from, &len);
}

static long in_peek(void) {
    return recv(sock, heard, sizeof heard, MSG_PEEK);
}

static long in_recv_all(void) {
    return recv(sock, heard, 8, MSG_WAITALL);
}

static void receives_on(long (*call)(void)) {
    live(0);
    begin(call);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void a_thread_blocked_in_recv_receives_from_the_next_connection(void) {
    receives_on(in_recv);
    expect_talk(1);
}

static void a_thread_blocked_in_read_receives_from_the_next_connection(void) {
    receives_on(in_read);
}

static void a_thread_blocked_in_readv_receives_from_the_next_connection(void) {
    receives_on(in_readv);
}

static void a_thread_blocked_in_recvmsg_receives_from_the_next_connection(void) {
    receives_on(in_recvmsg);
}

static void a_thread_blocked_in_recvfrom_receives_from_the_next_connection(void) {
    receives_on(in_recvfrom);
}

static void a_thread_that_peeks_sees_the_next_connections_bytes_and_leaves_them(void) {
    receives_on(in_peek);
    stage_equal(in_recv(), 4);
}

static void a_recv_that_waits_for_all_gets_the_rest_from_the_next_connection(void) {
    live(0);
    begin(in_recv_all);
    stage_say(0, "half");
    stage_wait(available() == 0);
    move();
    stage_say(1, "rest");
    stage_equal(outcome(), 8);
    stage_expect(memcmp(heard, "halfrest", 8) == 0);
}

static void two_threads_blocked_on_one_descriptor_both_go_on(void) {
    live(0);
    begin(in_recv);
    begin(in_recv);
    move();
    stage_say(1, "one");
    stage_wait(callers[0].over || callers[1].over);
    stage_say(1, "two");
    stage_equal(outcome(), 3);
    stage_equal(outcome(), 3);
}

static void MSG_DONTWAIT_finds_nothing_to_read_while_there_is_no_network(void) {
    live(0);
    part();
    stage_fails(recv(sock, heard, sizeof heard, MSG_DONTWAIT), EAGAIN);
    find();
    stage_wait(recv(sock, heard, sizeof heard, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    stage_say(1, "news");
    stage_wait(recv(sock, heard, sizeof heard, MSG_DONTWAIT) == 4);
}

static void a_non_blocking_socket_finds_nothing_to_do_while_there_is_no_network(void) {
    live(SOCK_NONBLOCK);
    part();
    stage_wait(polled(POLLOUT) == 0);
    stage_fails(recv(sock, heard, sizeof heard, 0), EAGAIN);
    stage_fails(send(sock, "x", 1, 0), EAGAIN);
    stage_equal(fcntl(sock, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    find();
    stage_wait(polled(POLLOUT) == POLLOUT);
    stage_equal(send(sock, "later", 5, 0), 5);
    stage_expect_text(1, "later");
}

static void set_timeout(int name, int ms) {
    struct timeval limit = {ms / 1000, ms % 1000 * 1000};
    stage_equal(setsockopt(sock, SOL_SOCKET, name, &limit, sizeof limit), 0);
}

static void SO_RCVTIMEO_ends_a_receive_also_while_there_is_no_network(void) {
    live(0);
    set_timeout(SO_RCVTIMEO, 300);
    part();
    begin(in_recv);
    stage_fails(outcome(), EAGAIN);
    find();
    begin(in_recv);
    stage_fails(outcome(), EAGAIN);
    stage_say(1, "news");
    stage_wait(in_recv() == 4);
}

static void SO_RCVTIMEO_ends_a_receive_that_began_before_the_loss(void) {
    live(0);
    set_timeout(SO_RCVTIMEO, 1500);
    begin(in_recv);
    lose();
    stage_fails(outcome(), EAGAIN);
    stage_equal(stage_connections(), 1);
}

/* ---- what had arrived, what was sent ---- */

static void what_had_arrived_unread_is_read_before_the_next_connections_bytes(void) {
    live(0);
    stage_say(0, "unread");
    stage_wait(available() == 6);
    part();
    stage_equal(polled(POLLIN | POLLOUT), POLLIN);
    stage_equal(available(), 6);
    stage_equal(in_peek(), 6);
    find();
    stage_say(1, "news");
    stage_equal(polled(POLLIN) & POLLIN, POLLIN);
    stage_equal(in_recv(), 6);
    stage_expect(memcmp(heard, "unread", 6) == 0);
    stage_equal(in_recv(), 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void what_was_sent_is_not_sent_again(void) {
    live(0);
    stage_equal(send(sock, "arrived.", 8, 0), 8);
    stage_wait(unacknowledged() == 0);
    stage_swallow("wifi0", true, false);
    stage_equal(send(sock, "swallowed.", 10, 0), 10);
    part();
    find();
    stage_equal(send(sock, "after.", 6, 0), 6);
    stage_expect_text(1, "after.");
    stage_expect(stage_is_text(0, "arrived."));
}

/* ---- sending ---- */

/* A pattern that tells every byte's place. */
static unsigned char at(size_t i) {
    return (unsigned char)(i * 131 + (i >> 8) * 29 + (i >> 16));
}

static unsigned char *pattern(void) {
    unsigned char *bytes = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = at(i);
    return bytes;
}

static long in_send(void) {
    unsigned char *bytes = pattern();
    long n = send(sock, bytes, LARGE, 0);
    free(bytes);
    return n;
}

static long in_write(void) {
    unsigned char *bytes = pattern();
    long n = write(sock, bytes, LARGE);
    free(bytes);
    return n;
}

static long in_writev(void) {
    unsigned char *bytes = pattern();
    struct iovec iov[3] = {
        {bytes, 1000}, {bytes + 1000, LARGE / 2}, {bytes + 1000 + LARGE / 2, LARGE / 2 - 1000}};
    long n = writev(sock, iov, 3);
    free(bytes);
    return n;
}

static long in_sendfile(void) {
    unsigned char *bytes = pattern();
    off_t offset = 0;
    int file = memfd_create("pattern", MFD_CLOEXEC);
    stage_equal(write(file, bytes, LARGE), LARGE);
    long n = sendfile(sock, file, &offset, LARGE);
    stage_equal(offset, LARGE);
    close(file);
    free(bytes);
    return n;
}

static long in_sendmmsg(void) {
    unsigned char *bytes = pattern();
    struct iovec iov[2] = {{bytes, LARGE / 2}, {bytes + LARGE / 2, LARGE / 2}};
    struct mmsghdr msgs[2] = {{.msg_hdr = {.msg_iov = &iov[0], .msg_iovlen = 1}},
                              {.msg_hdr = {.msg_iov = &iov[1], .msg_iovlen = 1}}};
    int n = sendmmsg(sock, msgs, 2, 0);
    free(bytes);
    return n == 2 ? (long)msgs[0].msg_len + msgs[1].msg_len : n;
}

/* Connection 1 goes on with what connection 0's kernel never took: bytes in order to the end, none twice
 * that had arrived. */
static void expect_rest(void) {
    stage_wait(stage_received(1) > 0 && stage_bytes(1)[stage_received(1) - 1] == at(LARGE - 1) &&
               stage_received(0) + stage_received(1) <= LARGE);
    const size_t first = stage_received(0), second = stage_received(1), from = LARGE - second;
    stage_expect(first <= from);
    for (size_t i = 0; i < first; i++)
        if (stage_bytes(0)[i] != at(i))
            stage_fail(__FILE__, __LINE__, "byte %zu of connection 0 is wrong", i);
    for (size_t i = 0; i < second; i++)
        if (stage_bytes(1)[i] != at(from + i))
            stage_fail(__FILE__, __LINE__, "byte %zu of connection 1 is wrong", i);
}

static void sends_on(long (*call)(void)) {
    live(0);
    stage_hold(true);
    begin(call);
    stage_wait(unacknowledged() > 100000);
    move();
    stage_hold(false);
    stage_equal(outcome(), LARGE);
    expect_rest();
}

#define SENDS_ON(name, call)                                                                                 \
    static void name(void) {                                                                                 \
        sends_on(call);                                                                                      \
    }
SENDS_ON(a_blocked_send_goes_on_where_the_kernel_stopped_taking_it, in_send)
SENDS_ON(a_blocked_write_goes_on_where_the_kernel_stopped_taking_it, in_write)
SENDS_ON(a_blocked_writev_goes_on_where_the_kernel_stopped_taking_it, in_writev)
SENDS_ON(a_blocked_sendfile_goes_on_where_the_kernel_stopped_taking_it, in_sendfile)
SENDS_ON(a_blocked_sendmmsg_goes_on_where_the_kernel_stopped_taking_it, in_sendmmsg)

static void a_second_blocked_send_goes_on_too(void) {
    live(0);
    stage_equal(send(sock, "first", 5, 0), 5); /* the next ones go the direct way */
    stage_expect_text(0, "first");
    stage_hold(true);
    begin(in_send);
    stage_wait(unacknowledged() > 100000);
    move();
    stage_hold(false);
    stage_equal(outcome(), LARGE);
    stage_wait(stage_received(1) > 0 && stage_bytes(1)[stage_received(1) - 1] == at(LARGE - 1));
}

static long in_short_send(void) {
    return send(sock, "x", 1, 0);
}

static void a_send_waits_while_there_is_no_network(void) {
    live(0);
    part();
    begin(in_short_send);
    expect_waiting();
    find();
    stage_equal(outcome(), 1);
    stage_expect_text(1, "x");
}

static void SO_SNDTIMEO_ends_a_send_also_while_there_is_no_network(void) {
    live(0);
    set_timeout(SO_SNDTIMEO, 300);
    part();
    begin(in_short_send);
    stage_fails(outcome(), EAGAIN);
    find();
    stage_wait(in_short_send() == 1);
    stage_expect_text(1, "x");
}

static void a_partial_write_is_told_as_it_was_and_the_rest_is_the_programs(void) {
    unsigned char *bytes = pattern();
    live(SOCK_NONBLOCK);
    stage_hold(true);
    size_t taken = 0;
    ssize_t n;
    while ((n = send(sock, bytes + taken, LARGE - taken, 0)) > 0)
        taken += (size_t)n;
    stage_fails(n, EAGAIN);
    stage_expect(taken < LARGE);
    part();
    find();
    stage_hold(false);
    stage_wait(polled(POLLOUT) == POLLOUT);
    while (taken < LARGE) {
        n = send(sock, bytes + taken, LARGE - taken, 0);
        if (n > 0)
            taken += (size_t)n;
        else
            stage_wait(polled(POLLOUT) == POLLOUT);
    }
    expect_rest();
    free(bytes);
}

static _Atomic int pipes;

static void on_pipe(int signal) {
    (void)signal;
    pipes++;
}

static void nobody_is_told_by_SIGPIPE(void) {
    signal(SIGPIPE, on_pipe);
    sends_on(in_send);
    stage_equal(pipes, 0);
}

/* ---- waiting for readiness ---- */

static long in_poll(void) {
    struct pollfd p = {.fd = sock, .events = POLLIN};
    return poll(&p, 1, -1) == 1 ? p.revents : -1;
}

static long in_ppoll(void) {
    struct pollfd p = {.fd = sock, .events = POLLIN};
    sigset_t none;
    sigemptyset(&none);
    return ppoll(&p, 1, NULL, &none) == 1 ? p.revents : -1;
}

static long in_select(void) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(sock, &in);
    return select(sock + 1, &in, NULL, NULL, NULL) == 1 && FD_ISSET(sock, &in) ? POLLIN : -1;
}

static long in_pselect(void) {
    fd_set in;
    sigset_t none;
    FD_ZERO(&in);
    FD_SET(sock, &in);
    sigemptyset(&none);
    return pselect(sock + 1, &in, NULL, NULL, NULL, &none) == 1 && FD_ISSET(sock, &in) ? POLLIN : -1;
}

static void becomes_readable(long (*call)(void)) {
    live(0);
    begin(call);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), POLLIN);
    stage_equal(in_recv(), 4);
}

#define BECOMES_READABLE(name, call)                                                                         \
    static void name(void) {                                                                                 \
        becomes_readable(call);                                                                              \
    }
BECOMES_READABLE(a_thread_blocked_in_poll_hears_the_next_connection, in_poll)
BECOMES_READABLE(a_thread_blocked_in_ppoll_hears_the_next_connection, in_ppoll)
BECOMES_READABLE(a_thread_blocked_in_select_hears_the_next_connection, in_select)
BECOMES_READABLE(a_thread_blocked_in_pselect_hears_the_next_connection, in_pselect)

static void polls_time_runs_out_also_while_there_is_no_network(void) {
    struct pollfd p = {.events = POLLIN | POLLOUT};
    fd_set in;
    live(0);
    p.fd = sock;
    part();
    stage_wait(polled(POLLOUT) == 0);
    stage_equal(poll(&p, 1, 50), 0);
    FD_ZERO(&in);
    FD_SET(sock, &in);
    stage_equal(select(sock + 1, &in, NULL, NULL, &(struct timeval){0, 50000}), 0);
    stage_equal(stage_connections(), 1);
}

static int epoll;
static struct epoll_event seen[4];

static void watch(uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = 0x1234567890};
    epoll = epoll_create1(0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event), 0);
}

static long in_epoll(void) {
    int n = epoll_wait(epoll, seen, 4, -1);
    return n == 1 && seen[0].data.u64 == 0x1234567890 ? (long)seen[0].events : -n;
}

static void a_thread_blocked_in_epoll_wait_hears_the_next_connection(void) {
    live(0);
    watch(EPOLLIN);
    begin(in_epoll);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), EPOLLIN);
    stage_equal(in_epoll(), EPOLLIN);
    stage_equal(in_recv(), 4);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, sock, NULL), 0);
    stage_fails(epoll_ctl(epoll, EPOLL_CTL_DEL, sock, NULL), ENOENT);
}

static void an_edge_of_the_next_connection_is_told_once(void) {
    live(0);
    watch(EPOLLIN | EPOLLET);
    begin(in_epoll);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), EPOLLIN);
    stage_equal(epoll_wait(epoll, seen, 4, 100), 0);
    stage_equal(in_recv(), 4);
    stage_say(1, "more");
    stage_equal(epoll_wait(epoll, seen, 4, -1), 1);
}

static void a_one_shot_that_has_not_fired_fires_for_the_next_connection_once(void) {
    live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    begin(in_epoll);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), EPOLLIN);
    stage_equal(epoll_wait(epoll, seen, 4, 100), 0);
}

static void a_one_shot_that_has_fired_stays_disarmed(void) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 0x1234567890};
    live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "old");
    stage_equal(in_epoll(), EPOLLIN);
    stage_equal(in_recv(), 3);
    part();
    find();
    stage_say(1, "news");
    stage_wait(available() == 4);
    stage_equal(epoll_wait(epoll, seen, 4, 50), 0);
    stage_finish(1);
    stage_wait(polled(POLLRDHUP) & POLLRDHUP);
    stage_equal(epoll_wait(epoll, seen, 4, 50), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_MOD, sock, &event), 0);
    stage_equal(in_epoll(), EPOLLIN);
}

static void a_disarmed_one_shot_hears_no_reset_either(void) {
    live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    stage_say(0, "old");
    stage_equal(in_epoll(), EPOLLIN);
    stage_equal(in_recv(), 3);
    part();
    find();
    stage_wait(polled(POLLOUT) == POLLOUT);
    stage_hang_up(1);
    stage_wait(polled(POLLIN) & POLLHUP);
    stage_equal(epoll_wait(epoll, seen, 4, 50), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, sock, NULL), 0);
}

static void what_had_arrived_is_an_event_of_epoll_and_select_too(void) {
    fd_set in;
    live(0);
    watch(EPOLLIN);
    stage_say(0, "unread");
    stage_wait(available() == 6);
    part();
    stage_equal(in_epoll(), EPOLLIN);
    FD_ZERO(&in);
    FD_SET(sock, &in);
    stage_equal(select(sock + 1, &in, NULL, NULL, NULL), 1);
    stage_equal(in_recv(), 6);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
    find();
    stage_wait(polled(POLLOUT) == POLLOUT);
    stage_equal(epoll_wait(epoll, seen, 4, 0), 0);
}

static void a_thread_that_waits_to_write_goes_on_with_the_next_connection(void) {
    unsigned char *bytes = pattern();
    live(SOCK_NONBLOCK);
    const int small = 65536;
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    stage_hold(true);
    while (send(sock, bytes, LARGE, 0) > 0 || polled(POLLOUT))
        ;
    watch(EPOLLOUT | EPOLLET);
    begin(in_epoll);
    expect_waiting();
    part();
    expect_waiting();
    find();
    stage_equal(outcome(), EPOLLOUT);
    stage_hold(false);
    free(bytes);
}

/* ---- duplicates ---- */

static int copy;

static long in_recv_of_the_copy(void) {
    return recv(copy, heard, sizeof heard, 0);
}

static void duplicates_move_together(void) {
    live(0);
    copy = dup(sock);
    const int second = fcntl(sock, F_DUPFD_CLOEXEC, 100), third = dup2(sock, 200);
    begin(in_recv_of_the_copy);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), 4);
    stage_equal(fcntl(second, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    stage_equal(fcntl(copy, F_GETFD) & FD_CLOEXEC, 0);
    stage_equal(send(second, "a", 1, 0), 1);
    stage_equal(write(third, "b", 1), 1);
    close(sock);
    stage_equal(send(copy, "c", 1, 0), 1);
    stage_expect_text(1, "abc");
    stage_equal(close(copy) | close(second) | close(third), 0);
    stage_wait(stage_end(1) == STAGE_EOF);
}

/* ---- ends ---- */

static void a_half_closed_connection_is_not_replaced(void) {
    live(0);
    stage_equal(shutdown(sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_say(0, "half");
    stage_wait(available() == 4);
    begin(in_recv);
    stage_equal(outcome(), 4);
    begin(in_recv);
    lose();
    stage_fails(outcome(), ECONNRESET);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void a_peers_end_of_file_is_no_loss(void) {
    live(0);
    stage_say(0, "last");
    stage_finish(0);
    stage_wait(polled(POLLRDHUP) & POLLRDHUP);
    lose();
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(in_recv(), 4);
    stage_equal(in_recv(), 0);
    stage_equal(stage_connections(), 1);
}

static long in_close_after_loss(void) {
    return recv(sock, heard, sizeof heard, 0);
}

static void a_socket_that_waits_for_its_next_connection_can_be_closed(void) {
    live(0);
    part();
    begin(in_close_after_loss);
    expect_waiting();
    stage_equal(close(sock), 0);
    stage_equal(outcome(), -1);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void names_flags_and_options_are_as_before(void) {
    struct sockaddr_in peer, far = stage_tcp();
    socklen_t len = sizeof peer;
    int one = 1, value = 0;
    live(0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
    stage_equal(fcntl(sock, F_SETFD, FD_CLOEXEC), 0);
    part();
    for (int i = 0; i < 2; i++) {
        len = sizeof peer;
        stage_equal(getpeername(sock, (struct sockaddr *)&peer, &len), 0);
        stage_expect(peer.sin_port == far.sin_port && peer.sin_addr.s_addr == far.sin_addr.s_addr);
        len = sizeof value;
        stage_equal(getsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
        stage_equal(value, 1);
        stage_equal(getsockopt(sock, SOL_SOCKET, SO_ERROR, &value, &len), 0);
        stage_equal(value, 0);
        stage_equal(fcntl(sock, F_GETFD), FD_CLOEXEC);
        if (!i)
            find();
    }
    expect_talk(1);
}

static void it_moves_as_often_as_its_networks_do(void) {
    live(0);
    begin(in_recv);
    for (int i = 1; i <= 6; i++) {
        stage_link(i % 2 ? "wifi0" : "cell0", false);
        stage_link(i % 2 ? "cell0" : "wifi0", true);
        stage_expect_connection(i, i % 2 ? "10.2.0.2" : "10.1.0.2");
        expect_waiting();
    }
    stage_say(6, "news");
    stage_equal(outcome(), 4);
}

/* ---- shared with others ---- */

static void expect_failed(void) {
    stage_fails(recv(sock, heard, sizeof heard, 0), ECONNRESET);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void shared_with_a_living_child_it_fails(void) {
    int ends[2];
    live(0);
    stage_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (!child) {
        close(ends[1]);
        (void)!read(ends[0], heard, 1);
        _exit(recv(sock, heard, sizeof heard, 0) == -1 && errno == ECONNRESET ? 0 : 1);
    }
    lose();
    expect_failed();
    int status;
    close(ends[1]);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
}

static void once_its_child_is_gone_it_goes_on(void) {
    live(0);
    const pid_t child = fork();
    if (!child)
        _exit(0);
    stage_equal(waitpid(child, NULL, 0), child);
    begin(in_recv);
    move();
    stage_say(1, "news");
    stage_equal(outcome(), 4);
}

static void a_child_that_has_closed_its_copy_does_not_count(void) {
    int ends[2], told[2];
    live(0);
    stage_equal(pipe2(ends, O_CLOEXEC) | pipe2(told, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (!child) {
        close(ends[1]);
        close(sock);
        (void)!write(told[1], "x", 1);
        _exit((int)read(ends[0], heard, 1));
    }
    stage_equal(read(told[0], heard, 1), 1);
    part();
    find();
    expect_talk(1);
    close(ends[1]);
    waitpid(child, NULL, 0);
}

static void shared_with_a_program_that_was_spawned_it_fails(void) {
    int ends[2];
    live(0);
    stage_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = vfork();
    if (!child) {
        dup2(ends[0], 0);
        execl("/bin/cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    lose();
    expect_failed();
    close(ends[1]);
    waitpid(child, NULL, 0);
}

static void used_through_stdio_it_fails(void) {
    live(0);
    FILE *file = fdopen(sock, "r+");
    stage_expect(fprintf(file, "hello\n") == 6 && fflush(file) == 0);
    stage_expect_text(0, "hello\n");
    lose();
    expect_failed();
    fclose(file);
}

static void used_as_standard_output_it_fails(void) {
    live(0);
    const int out = dup(1);
    stage_equal(send(sock, "x", 1, 0), 1);
    stage_expect_text(0, "x");
    stage_equal(dup2(sock, 1), 1);
    lose();
    stage_fails(recv(sock, heard, sizeof heard, 0), ECONNRESET);
    stage_equal(dup2(out, 1), 1);
    expect_failed();
}

/* ---- withdrawn ---- */

static void live_on_loopback(int flags) {
    struct sockaddr_in to = stage_tcp();
    const int small = 65536;
    stage_receive_buffer(small);
    stage_up("wifi");
    stage_up("cell");
    sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    stage_equal(fcntl(sock, F_SETFL, flags), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static void a_withdrawn_network_is_left_and_nothing_is_lost(void) {
    unsigned char *bytes = pattern();
    live_on_loopback(O_NONBLOCK);
    stage_hold(true);
    size_t taken = 0;
    ssize_t n;
    while ((n = send(sock, bytes + taken, LARGE - taken, 0)) > 0)
        taken += (size_t)n;
    stage_say(0, "unread");
    stage_down("wifi");
    stage_hold(false);
    stage_expect_connection(1, "127.0.2.1");
    stage_wait(stage_received(0) == taken && stage_end(0) == STAGE_EOF);
    stage_wait(polled(POLLOUT) & POLLOUT);
    stage_equal(fcntl(sock, F_SETFL, 0), 0);
    stage_equal(in_recv(), 6);
    stage_equal(send(sock, bytes + taken, LARGE - taken, 0), LARGE - (long)taken);
    expect_rest();
    stage_equal(stage_received(0) + stage_received(1), LARGE);
    free(bytes);
}

static void a_thread_blocked_in_recv_sleeps_through_a_withdrawal(void) {
    live_on_loopback(0);
    begin(in_recv);
    expect_waiting();
    stage_down("cell");
    stage_down("wifi");
    expect_waiting();
    stage_up("cell");
    stage_expect_connection(1, "127.0.2.1");
    expect_waiting();
    stage_say(1, "news");
    stage_equal(outcome(), 4);
}

static void a_blocked_send_sleeps_through_a_withdrawal(void) {
    live_on_loopback(0);
    stage_hold(true);
    begin(in_send);
    expect_waiting();
    stage_down("wifi");
    stage_hold(false);
    stage_equal(outcome(), LARGE);
    expect_rest();
    stage_equal(stage_received(0) + stage_received(1), LARGE);
}

static void unasked_nothing_goes_on(void) {
    live_on_loopback(0);
    stage_equal(send(sock, "x", 1, 0), 1);
    stage_expect_text(0, "x");
    stage_down("wifi");
    stage_fails(recv(sock, heard, sizeof heard, 0), ECONNRESET);
    stage_equal(stage_connections(), 1);
}

static const struct stage_test tests[] = {
#define TEST(name)                                                                                           \
    STAGE_TEST_WITH(name, STAGE_WORLD | STAGE_PRELOAD, world, "CMM_LABELS=small CMM_ON_LOSS=reconnect")
#define WITHDRAWN(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=small+reconnect")
    TEST(a_thread_blocked_in_recv_receives_from_the_next_connection),
    TEST(a_thread_blocked_in_read_receives_from_the_next_connection),
    TEST(a_thread_blocked_in_readv_receives_from_the_next_connection),
    TEST(a_thread_blocked_in_recvmsg_receives_from_the_next_connection),
    TEST(a_thread_blocked_in_recvfrom_receives_from_the_next_connection),
    TEST(a_thread_that_peeks_sees_the_next_connections_bytes_and_leaves_them),
    TEST(a_recv_that_waits_for_all_gets_the_rest_from_the_next_connection),
    TEST(two_threads_blocked_on_one_descriptor_both_go_on),
    TEST(MSG_DONTWAIT_finds_nothing_to_read_while_there_is_no_network),
    TEST(a_non_blocking_socket_finds_nothing_to_do_while_there_is_no_network),
    TEST(SO_RCVTIMEO_ends_a_receive_also_while_there_is_no_network),
    TEST(SO_RCVTIMEO_ends_a_receive_that_began_before_the_loss),
    TEST(what_had_arrived_unread_is_read_before_the_next_connections_bytes),
    TEST(what_was_sent_is_not_sent_again),
    TEST(a_blocked_send_goes_on_where_the_kernel_stopped_taking_it),
    TEST(a_second_blocked_send_goes_on_too),
    TEST(a_blocked_write_goes_on_where_the_kernel_stopped_taking_it),
    TEST(a_blocked_writev_goes_on_where_the_kernel_stopped_taking_it),
    TEST(a_blocked_sendfile_goes_on_where_the_kernel_stopped_taking_it),
    TEST(a_blocked_sendmmsg_goes_on_where_the_kernel_stopped_taking_it),
    TEST(a_send_waits_while_there_is_no_network),
    TEST(SO_SNDTIMEO_ends_a_send_also_while_there_is_no_network),
    TEST(a_partial_write_is_told_as_it_was_and_the_rest_is_the_programs),
    TEST(nobody_is_told_by_SIGPIPE),
    TEST(a_thread_blocked_in_poll_hears_the_next_connection),
    TEST(a_thread_blocked_in_ppoll_hears_the_next_connection),
    TEST(a_thread_blocked_in_select_hears_the_next_connection),
    TEST(a_thread_blocked_in_pselect_hears_the_next_connection),
    TEST(polls_time_runs_out_also_while_there_is_no_network),
    TEST(a_thread_blocked_in_epoll_wait_hears_the_next_connection),
    TEST(an_edge_of_the_next_connection_is_told_once),
    TEST(a_one_shot_that_has_not_fired_fires_for_the_next_connection_once),
    TEST(a_one_shot_that_has_fired_stays_disarmed),
    TEST(a_disarmed_one_shot_hears_no_reset_either),
    TEST(what_had_arrived_is_an_event_of_epoll_and_select_too),
    TEST(a_thread_that_waits_to_write_goes_on_with_the_next_connection),
    TEST(duplicates_move_together),
    TEST(a_half_closed_connection_is_not_replaced),
    TEST(a_peers_end_of_file_is_no_loss),
    TEST(a_socket_that_waits_for_its_next_connection_can_be_closed),
    TEST(names_flags_and_options_are_as_before),
    TEST(it_moves_as_often_as_its_networks_do),
    TEST(shared_with_a_living_child_it_fails),
    TEST(once_its_child_is_gone_it_goes_on),
    TEST(a_child_that_has_closed_its_copy_does_not_count),
    TEST(shared_with_a_program_that_was_spawned_it_fails),
    TEST(used_through_stdio_it_fails),
    TEST(used_as_standard_output_it_fails),
    WITHDRAWN(a_withdrawn_network_is_left_and_nothing_is_lost),
    WITHDRAWN(a_thread_blocked_in_recv_sleeps_through_a_withdrawal),
    WITHDRAWN(a_blocked_send_sleeps_through_a_withdrawal),
    STAGE_TEST_WITH(unasked_nothing_goes_on, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=small"),
};

STAGE_MAIN(config, tests)

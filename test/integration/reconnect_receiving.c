/* reconnect_receiving - under --on-loss reconnect who receives sees time pass, nothing else. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static long in_read(void) {
    return read(moving_sock, moving_heard, sizeof moving_heard);
}

static long in_readv(void) {
    struct iovec iov[2] = {{moving_heard, 2}, {moving_heard + 2, sizeof moving_heard - 2}};
    return readv(moving_sock, iov, 2);
}

static long in_recvmsg(void) {
    struct iovec iov = {moving_heard, sizeof moving_heard};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return recvmsg(moving_sock, &msg, 0);
}

static long in_recvfrom(void) {
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    return recvfrom(moving_sock, moving_heard, sizeof moving_heard, 0, (struct sockaddr *)&from, &len);
}

static long in_peek(void) {
    return recv(moving_sock, moving_heard, sizeof moving_heard, MSG_PEEK);
}

static long in_recv_all(void) {
    return recv(moving_sock, moving_heard, 8, MSG_WAITALL);
}

static void receives_on(long (*call)(void)) {
    moving_live(0);
    moving_begin(call);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
    stage_expect(memcmp(moving_heard, "news", 4) == 0);
}

static void a_thread_blocked_in_recv_receives_from_the_next_connection(void) {
    receives_on(moving_in_recv);
    moving_expect_talk(1);
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
    stage_equal(moving_in_recv(), 4);
}

static void a_recv_that_waits_for_all_gets_the_rest_from_the_next_connection(void) {
    moving_live(0);
    moving_begin(in_recv_all);
    stage_say(0, "half");
    stage_wait(moving_available() == 0);
    moving_move();
    stage_say(1, "rest");
    stage_equal(moving_outcome(), 8);
    stage_expect(memcmp(moving_heard, "halfrest", 8) == 0);
}

/* A thread's first call goes by a way of its own. */
static long in_second_recv_all(void) {
    const long first = recv(moving_sock, moving_heard, 1, 0);
    return first == 1 ? in_recv_all() : first;
}

static void the_second_recv_that_waits_for_all_does_so_too(void) {
    moving_live(0);
    moving_begin(in_second_recv_all);
    stage_say(0, "1half");
    stage_wait(moving_available() == 0);
    moving_move();
    stage_say(1, "rest");
    stage_equal(moving_outcome(), 8);
    stage_expect(memcmp(moving_heard, "halfrest", 8) == 0);
}

static long in_recv_of_its_own(void) {
    char heard[16];
    return recv(moving_sock, heard, sizeof heard, 0);
}

static void two_threads_blocked_on_one_descriptor_both_go_on(void) {
    moving_live(0);
    moving_begin(in_recv_of_its_own);
    moving_begin(in_recv_of_its_own);
    moving_move();
    stage_say(1, "one");
    stage_wait(moving_callers[0].over || moving_callers[1].over);
    stage_say(1, "two");
    stage_equal(moving_outcome(), 3);
    stage_equal(moving_outcome(), 3);
}

static void MSG_DONTWAIT_finds_nothing_to_read_while_there_is_no_network(void) {
    moving_live(0);
    moving_part();
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, MSG_DONTWAIT), EAGAIN);
    moving_find();
    stage_wait(recv(moving_sock, moving_heard, sizeof moving_heard, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    stage_say(1, "news");
    stage_wait(recv(moving_sock, moving_heard, sizeof moving_heard, MSG_DONTWAIT) == 4);
}

static void a_non_blocking_socket_finds_nothing_to_do_while_there_is_no_network(void) {
    moving_live(SOCK_NONBLOCK);
    moving_part();
    stage_wait(moving_polled(POLLOUT) == 0);
    stage_fails(recv(moving_sock, moving_heard, sizeof moving_heard, 0), EAGAIN);
    stage_fails(send(moving_sock, "x", 1, 0), EAGAIN);
    stage_equal(fcntl(moving_sock, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(send(moving_sock, "later", 5, 0), 5);
    stage_expect_text(1, "later");
}

static void RWF_NOWAIT_finds_nothing_to_do_while_there_is_no_network(void) {
    struct iovec piece = {moving_heard, 4};
    moving_live(0);
    stage_say(0, "old");
    stage_wait(moving_available() == 3);
    moving_part();
    stage_equal(preadv2(moving_sock, &piece, 1, -1, RWF_NOWAIT), 3);
    stage_fails(preadv2(moving_sock, &piece, 1, -1, RWF_NOWAIT), EAGAIN);
    stage_fails(pwritev2(moving_sock, &piece, 1, -1, RWF_NOWAIT), EAGAIN);
}

static void SO_RCVTIMEO_ends_a_receive_also_while_there_is_no_network(void) {
    moving_live(0);
    moving_set_timeout(SO_RCVTIMEO, 300);
    moving_part();
    moving_begin(moving_in_recv);
    stage_fails(moving_outcome(), EAGAIN);
    moving_find();
    moving_begin(moving_in_recv);
    stage_fails(moving_outcome(), EAGAIN);
    stage_say(1, "news");
    stage_wait(moving_in_recv() == 4);
}

static void SO_RCVTIMEO_ends_a_receive_that_began_before_the_loss(void) {
    moving_live(0);
    moving_set_timeout(SO_RCVTIMEO, 1500);
    moving_begin(moving_in_recv);
    moving_lose();
    stage_fails(moving_outcome(), EAGAIN);
    stage_equal(stage_connections(), 1);
}

static void to_read_nothing_does_not_wait_for_something(void) {
    char none;
    struct iovec nothing = {&none, 0}, *volatile nowhere = NULL;
    moving_live(0);
    stage_say(0, "early");
    stage_equal(moving_in_recv(), 5); /* from now on receives are as fast as may be */
    stage_equal(read(moving_sock, &none, 0), 0);
    stage_equal(readv(moving_sock, &nothing, 1), 0);
    stage_fails(readv(moving_sock, nowhere, 1), EFAULT);
}

/* ---- what had arrived, what was sent ---- */

static void what_had_arrived_unread_is_read_before_the_next_connections_bytes(void) {
    moving_live(0);
    stage_say(0, "unread");
    stage_wait(moving_available() == 6);
    moving_part();
    stage_equal(moving_polled(POLLIN | POLLOUT), POLLIN);
    stage_equal(moving_available(), 6);
    stage_equal(in_peek(), 6);
    moving_find();
    stage_say(1, "news");
    stage_equal(moving_polled(POLLIN) & POLLIN, POLLIN);
    stage_equal(recv(moving_sock, moving_heard, 4, 0), 4);
    stage_expect(memcmp(moving_heard, "unre", 4) == 0);
    stage_equal(moving_in_recv(), 6);
    stage_expect(memcmp(moving_heard, "adnews", 6) == 0);
}

static void a_connection_does_not_wait_for_the_first_bytes_to_send(void) {
    struct sockaddr_in to = stage_tcp();
    int on = 1;
    socklen_t len = sizeof on;
    stage_shell("echo 5 > /proc/sys/net/ipv4/tcp_fastopen"); /* as if the far end had been met before */
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    moving_sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(setsockopt(moving_sock, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on), 0);
    stage_equal(connect(moving_sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "10.1.0.2");
    on = 0;
    stage_equal(getsockopt(moving_sock, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, &len), 0);
    stage_equal(on, 1);
    moving_begin(moving_in_recv);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
}

static void what_was_sent_is_not_sent_again(void) {
    moving_live(0);
    stage_equal(send(moving_sock, "arrived.", 8, 0), 8);
    stage_wait(moving_unacknowledged() == 0);
    stage_swallow("wifi0", true, false);
    stage_equal(send(moving_sock, "swallowed.", 10, 0), 10);
    moving_part();
    moving_find();
    stage_equal(send(moving_sock, "after.", 6, 0), 6);
    stage_expect_text(1, "after.");
    stage_expect(stage_is_text(0, "arrived."));
}

static long in_recvmsg_all(void) {
    struct iovec iov[2] = {{moving_heard, 3}, {moving_heard + 3, 5}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    return recvmsg(moving_sock, &msg, MSG_WAITALL);
}

static void a_recvmsg_that_waits_for_all_gets_the_rest_from_the_next_connection(void) {
    moving_live(0);
    moving_begin(in_recvmsg_all);
    stage_say(0, "half");
    stage_wait(moving_available() == 0);
    moving_move();
    stage_say(1, "rest");
    stage_equal(moving_outcome(), 8);
    stage_expect(memcmp(moving_heard, "halfrest", 8) == 0);
}

/* ---- what ends the wait ---- */

static void patience_ends_a_receive_for_good(void) {
    moving_live(0);
    moving_part();
    stage_fails(moving_in_recv(), ETIMEDOUT);
    stage_fails(moving_in_recv(), ETIMEDOUT);
    stage_fails(send(moving_sock, "x", 1, 0), ETIMEDOUT);
    stage_link("cell0", true);
    stage_wait(stage_offered("cell"));
    stage_equal(stage_connections(), 1);
}

static void patience_ends_a_poll(void) {
    struct pollfd p = {.events = POLLIN};
    int error = 0;
    socklen_t len = sizeof error;
    moving_live(SOCK_NONBLOCK);
    p.fd = moving_sock;
    moving_part();
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    stage_equal(error, ETIMEDOUT);
}

/* Never an end of file, which nobody has sent. */
static void refused_at_the_next_it_is_reset(void) {
    moving_live(0);
    moving_begin(moving_in_recv);
    moving_part();
    stage_refuse(true);
    stage_link("cell0", true);
    stage_fails(moving_outcome(), ECONNRESET);
    stage_fails(moving_in_recv(), ECONNRESET);
    stage_fails(send(moving_sock, "x", 1, MSG_NOSIGNAL), ECONNRESET);
}

static _Atomic int signals;

static void on_signal(int signal) {
    (void)signal;
    signals++;
}

static void signal_while_it_waits(int flags) {
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = flags};
    stage_equal(sigaction(SIGUSR1, &act, NULL), 0);
    moving_live(0);
    moving_begin(moving_in_recv);
    moving_part();
    moving_expect_waiting();
    stage_equal(pthread_kill(moving_callers[0].thread, SIGUSR1), 0);
    stage_wait(signals == 1);
}

static void a_signal_interrupts_the_wait_for_the_next_connection(void) {
    signal_while_it_waits(0);
    stage_fails(moving_outcome(), EINTR);
    moving_find();
    moving_expect_talk(1);
}

static void with_SA_RESTART_a_signal_does_not(void) {
    stage_not_under_tsan("holds signals back while a call blocks");
    signal_while_it_waits(SA_RESTART);
    moving_expect_waiting();
    moving_find();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
}

static void what_is_shut_down_for_receiving_stays_so(void) {
    moving_live(0);
    stage_equal(shutdown(moving_sock, SHUT_RD), 0);
    stage_equal(moving_in_recv(), 0);
    moving_part();
    stage_equal(moving_in_recv(), 0);
    moving_find();
    stage_wait(moving_polled(POLLOUT) == POLLOUT);
    stage_equal(moving_in_recv(), 0);
    stage_equal(send(moving_sock, "still", 5, 0), 5);
    stage_expect_text(1, "still");
}

static void a_socket_of_IPv6_goes_on_too(void) {
    const struct sockaddr_in far = stage_tcp();
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = far.sin_port};
    to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&to.sin6_addr.s6_addr[12], &far.sin_addr, 4);
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    moving_sock = socket(AF_INET6, SOCK_STREAM, 0);
    stage_equal(connect(moving_sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "10.1.0.2");
    moving_begin(moving_in_recv);
    moving_move();
    stage_say(1, "news");
    stage_equal(moving_outcome(), 4);
    moving_expect_talk(1);
}

static int ends[2];

static long in_splice(void) {
    return splice(moving_sock, NULL, ends[1], NULL, 5, 0);
}

static void a_thread_blocked_in_splice_moves_bytes_of_the_next_connection(void) {
    stage_equal(pipe(ends), 0);
    moving_live(0);
    moving_begin(in_splice);
    moving_move();
    stage_say(1, "piped");
    stage_equal(moving_outcome(), 5);
    stage_equal(read(ends[0], moving_heard, 5), 5);
    stage_expect(memcmp(moving_heard, "piped", 5) == 0);
}

/* As a proxy of one thread does it, whose other end is slow. */
static void splice_takes_what_the_pipe_has_room_for(void) {
    enum { SAID = 200000 };
    static unsigned char said[SAID], heard[SAID];
    ssize_t n, got = 0;
    for (int i = 0; i < SAID; i++)
        said[i] = moving_at((size_t)i);
    stage_equal(pipe(ends), 0);
    moving_live(SOCK_NONBLOCK);
    stage_say_bytes(0, said, SAID);
    stage_wait(moving_available() > 100000);
    while (got < SAID) {
        bool full = false;
        while (!full) {
            n = splice(moving_sock, NULL, ends[1], NULL, 65536, SPLICE_F_NONBLOCK);
            full = n < 0 && errno == EAGAIN;
            stage_expect(n > 0 || full);
        }
        int piped = 0;
        stage_equal(ioctl(ends[0], FIONREAD, &piped), 0);
        if (!piped) {
            stage_wait(moving_available() > 0); /* the far end may be slow */
            continue;
        }
        n = read(ends[0], heard + got, 1000); /* it keeps some */
        stage_expect(n > 0);
        got += n;
    }
    stage_expect(memcmp(heard, said, SAID) == 0);
}

static struct mmsghdr messages[2];

static long in_recvmmsg(void) {
    static struct iovec iov[2] = {{moving_heard, 4}, {moving_heard + 4, 4}};
    for (int i = 0; i < 2; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    return recvmmsg(moving_sock, messages, 2, 0, NULL);
}

static void a_thread_blocked_in_recvmmsg_gets_all_it_waits_for(void) {
    moving_live(0);
    moving_begin(in_recvmmsg);
    stage_say(0, "half");
    stage_wait(moving_available() == 0);
    moving_move();
    stage_say(1, "rest");
    stage_equal(moving_outcome(), 2);
    stage_equal(messages[0].msg_len, 4);
    stage_equal(messages[1].msg_len, 4);
    stage_expect(memcmp(moving_heard, "halfrest", 8) == 0);
}

static void nothing_urgent_and_nothing_at_all_is_not_waited_for(void) {
    struct iovec none[2] = {{moving_heard, 0}, {NULL, 0}};
    moving_live(0);
    moving_part();
    stage_equal(read(moving_sock, moving_heard, 0), 0);
    stage_equal(readv(moving_sock, none, 2), 0);
    stage_fails(recv(moving_sock, moving_heard, 1, MSG_OOB), EINVAL);
    stage_fails(recv(moving_sock, moving_heard, 1, MSG_ERRQUEUE), EAGAIN);
    moving_find();
    moving_expect_talk(1);
    moving_set_timeout(SO_RCVTIMEO, 60000);
    stage_fails(recv(moving_sock, moving_heard, 1, MSG_ERRQUEUE), EAGAIN);
}

static const struct stage_test tests[] = {
    MOVING_TEST(a_thread_blocked_in_recv_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_read_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_readv_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_recvmsg_receives_from_the_next_connection),
    MOVING_TEST(a_thread_blocked_in_recvfrom_receives_from_the_next_connection),
    MOVING_TEST(a_thread_that_peeks_sees_the_next_connections_bytes_and_leaves_them),
    MOVING_TEST(a_recv_that_waits_for_all_gets_the_rest_from_the_next_connection),
    MOVING_TEST(the_second_recv_that_waits_for_all_does_so_too),
    MOVING_TEST(two_threads_blocked_on_one_descriptor_both_go_on),
    MOVING_TEST(MSG_DONTWAIT_finds_nothing_to_read_while_there_is_no_network),
    MOVING_TEST(a_non_blocking_socket_finds_nothing_to_do_while_there_is_no_network),
    MOVING_TEST(RWF_NOWAIT_finds_nothing_to_do_while_there_is_no_network),
    MOVING_TEST(to_read_nothing_does_not_wait_for_something),
    MOVING_TEST(SO_RCVTIMEO_ends_a_receive_also_while_there_is_no_network),
    MOVING_TEST(SO_RCVTIMEO_ends_a_receive_that_began_before_the_loss),
    MOVING_TEST(what_had_arrived_unread_is_read_before_the_next_connections_bytes),
    MOVING_TEST(a_connection_does_not_wait_for_the_first_bytes_to_send),
    MOVING_TEST(what_was_sent_is_not_sent_again),
    MOVING_TEST(a_recvmsg_that_waits_for_all_gets_the_rest_from_the_next_connection),
    MOVING_TEST_IMPATIENT(patience_ends_a_receive_for_good),
    MOVING_TEST_IMPATIENT(patience_ends_a_poll),
    MOVING_TEST(refused_at_the_next_it_is_reset),
    MOVING_TEST(a_signal_interrupts_the_wait_for_the_next_connection),
    MOVING_TEST(with_SA_RESTART_a_signal_does_not),
    MOVING_TEST(what_is_shut_down_for_receiving_stays_so),
    MOVING_TEST(a_socket_of_IPv6_goes_on_too),
    MOVING_TEST(a_thread_blocked_in_recvmmsg_gets_all_it_waits_for),
    MOVING_TEST(a_thread_blocked_in_splice_moves_bytes_of_the_next_connection),
    MOVING_TEST(splice_takes_what_the_pipe_has_room_for),
    MOVING_TEST(nothing_urgent_and_nothing_at_all_is_not_waited_for),
};

STAGE_MAIN(moving_world, tests)

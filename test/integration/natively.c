/* natively - while its network stays, what a program is told on a socket that goes by a label is what Linux
 * tells: results, errno, events, options. Preloaded, in a world of two interfaces. What the campaign `differ'
 * has found. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = large\n"
                            "[network cell]\nmatch = cell0\nlabels = small\n";

enum { BEFORE = 4711 }; /* an errno that nobody tells */

static int sock = -1;
static _Atomic int signals;

static void count_signal(int signo) {
    (void)signo;
    signals++;
}

static void handle(int signo) {
    const struct sigaction action = {.sa_handler = count_signal};
    stage_equal(sigaction(signo, &action, NULL), 0);
}

static int dial_again(void) {
    struct sockaddr_in to = stage_tcp();
    return connect(sock, (struct sockaddr *)&to, sizeof to);
}

static int dial(int flags) {
    sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    return dial_again();
}

static int dial_datagrams(int family) {
    struct sockaddr_in to = stage_udp();
    sock = socket(family, SOCK_DGRAM, 0);
    return connect(sock, (struct sockaddr *)&to, sizeof to);
}

/* A child has had it, too. */
static void share(void) {
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    stage_equal(waitpid(child, NULL, 0), child);
}

/* ---- a thread that is inside a call ---- */

static struct {
    pthread_t thread;
    _Atomic pid_t tid;
    long result;
    int error;
} caller;

static void *calls(void *call) {
    caller.tid = gettid();
    errno = 0;
    caller.result = (*(long (**)(void))call)();
    caller.error = errno;
    return NULL;
}

static void begin(long (**call)(void)) {
    caller.tid = 0;
    stage_equal(pthread_create(&caller.thread, NULL, calls, call), 0);
    stage_wait(caller.tid);
    for (int calm = 0; calm < 50; calm = stage_asleep(caller.tid) ? calm + 1 : 0)
        stage_pause();
}

static long join(void) {
    pthread_join(caller.thread, NULL);
    errno = caller.error;
    return caller.result;
}

/* ---- errno ---- */

#define expect_untouched(call, result)                                                                       \
    do {                                                                                                     \
        errno = BEFORE;                                                                                      \
        stage_equal(call, result);                                                                           \
        stage_equal(errno, BEFORE);                                                                          \
    } while (0)

static long receive(void) {
    char text[8];
    return recv(sock, text, sizeof text, 0);
}

static void a_call_that_goes_well_leaves_errno(void) {
    long (*call)(void) = receive;
    struct pollfd p;
    struct timeval now = {0, 0};
    char text[8];
    struct iovec piece = {text, 2};
    struct mmsghdr parts[2] = {{.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}},
                               {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}}};
    fd_set set;
    int line[2];
    expect_untouched(dial(0), 0);
    p = (struct pollfd){.fd = sock, .events = POLLOUT};
    expect_untouched(poll(&p, 1, 0), 1);
    FD_ZERO(&set);
    FD_SET(sock, &set);
    expect_untouched(select(sock + 1, NULL, &set, NULL, &now), 1);
    stage_equal(pipe(line), 0);
    stage_equal(write(line[1], "x", 1), 1);
    expect_untouched(splice(line[0], NULL, sock, NULL, 1, 0), 1);
    stage_expect_connection(0, "10.1.0.2");
    stage_say(0, "ab");
    p.events = POLLIN;
    stage_equal(poll(&p, 1, -1), 1);
    expect_untouched(recvmmsg(sock, parts, 2, MSG_DONTWAIT, NULL), 1);
    share();
    begin(&call);
    stage_say(0, "cd");
    stage_equal(join(), 2);
    stage_equal(errno, 0);
}

static struct pollfd polled;

static long poll_long(void) {
    return poll(&polled, 1, -1);
}

static void an_interrupted_poll_says_that_nothing_is_ready(void) {
    long (*call)(void) = poll_long;
    handle(SIGUSR1);
    stage_equal(dial(0), 0);
    polled = (struct pollfd){.fd = sock, .events = POLLIN, .revents = POLLHUP};
    begin(&call);
    pthread_kill(caller.thread, SIGUSR1);
    stage_fails(join(), EINTR);
    stage_equal(polled.revents, 0);
}

/* ---- connecting ---- */

static void expect_never_connected(void) {
    char byte;
    stage_equal(stage_polled(sock, POLLIN | POLLOUT | POLLRDHUP, 0), POLLOUT | POLLHUP);
    stage_fails(recv(sock, &byte, 1, 0), ENOTCONN);
}

static void a_refused_connect_leaves_a_socket_that_never_was_connected(void) {
    stage_refuse(true);
    stage_fails(dial(0), ECONNREFUSED);
    expect_never_connected();
    stage_fails(dial_again(), ECONNREFUSED);
    expect_never_connected();
    stage_equal(listen(sock, 1), 0);
}

static void the_connect_after_a_refusal_tells_of_it(void) {
    stage_refuse(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_fails(dial_again(), ECONNREFUSED);
    expect_never_connected();
    stage_fails(dial_again(), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_equal(stage_so_error(sock), ECONNREFUSED);
    stage_fails(dial_again(), ECONNABORTED);
    stage_refuse(false);
    stage_fails(dial_again(), EINPROGRESS);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_expect_text(0, "hello");
}

static void the_connect_after_a_refusal_tells_of_it_wherever_it_leads(void) {
    struct sockaddr_in to = stage_tcp();
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = to.sin_port};
    inet_pton(AF_INET6, "::ffff:10.9.0.1", &mapped.sin6_addr);
    stage_refuse(true);
    sock = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(sock, (struct sockaddr *)&mapped, sizeof mapped), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_fails(connect(sock, (struct sockaddr *)&to, sizeof to), ECONNREFUSED);
    expect_never_connected();
    stage_fails(connect(sock, (struct sockaddr *)&to, sizeof to), EINVAL);
}

static void a_reset_that_connect_tells_of_leaves_such_a_socket_too(void) {
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_equal(stage_polled(sock, POLLOUT, -1), POLLOUT);
    stage_expect_connection(0, "10.1.0.2");
    stage_hang_up(0);
    stage_expect(stage_polled(sock, POLLIN, -1) & POLLERR);
    stage_fails(dial_again(), ECONNRESET);
    expect_never_connected();
    stage_equal(listen(sock, 1), 0);
}

static void what_is_asked_for_aside_leaves_a_refusal_to_be_told(void) {
    char byte;
    stage_refuse(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_fails(recv(sock, &byte, 1, MSG_OOB), EINVAL);
    stage_equal(stage_so_error(sock), ECONNREFUSED);
}

static void what_is_asked_for_aside_does_not_wait_in_a_shared_socket_either(void) {
    char byte;
    stage_equal(dial(0), 0);
    share();
    stage_fails(recv(sock, &byte, 1, MSG_ERRQUEUE), EAGAIN);
    stage_fails(recv(sock, &byte, 1, MSG_OOB), EINVAL);
}

static void what_is_left_alone_is_so_by_all_its_numbers(void) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.1.0.2")};
    socklen_t len = sizeof own;
    const int listener = socket(AF_INET, SOCK_STREAM, 0), copy = dup(listener);
    stage_equal(listen(listener, 1), 0);
    sock = copy;
    stage_fails(dial_again(), EISCONN);
    stage_equal(getsockname(listener, (struct sockaddr *)&own, &len), 0);
    own.sin_addr.s_addr = inet_addr("10.1.0.2");
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sock = dup(fd);
    stage_equal(connect(fd, (struct sockaddr *)&own, sizeof own), 0);
    stage_fails(dial_again(), EISCONN);
}

/* Which Linux takes, as it does the structure before it had a scope. */
static void an_address_without_a_scope_goes_by_its_label(void) {
    const struct sockaddr_in far = stage_tcp();
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = far.sin_port};
    inet_pton(AF_INET6, "::ffff:10.9.0.1", &to.sin6_addr);
    sock = socket(AF_INET6, SOCK_STREAM, 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, offsetof(struct sockaddr_in6, sin6_scope_id)), 0);
    stage_expect_connection(0, "10.2.0.2");
}

/* ---- datagrams ---- */

static void an_address_that_is_none_is_refused_of_a_stream_too(void) {
    char none[200] = {0};
    stage_equal(dial(0), 0);
    stage_fails(sendto(sock, "x", 1, 0, (struct sockaddr *)(void *)none, sizeof none), EINVAL);
}

static void an_address_of_no_length_is_refused_of_datagrams(void) {
    struct sockaddr_in to = stage_udp();
    stage_equal(dial_datagrams(AF_INET), 0);
    stage_fails(sendto(sock, "x", 1, 0, (struct sockaddr *)&to, 0), EINVAL);
}

static void a_connect_that_fails_leaves_datagrams_their_peer(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in far = stage_udp(), peer;
    socklen_t len = sizeof here;
    char text[8];
    const int other = socket(AF_INET, SOCK_DGRAM, 0);
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(bind(other, (struct sockaddr *)&here, sizeof here), 0);
    stage_equal(getsockname(other, (struct sockaddr *)&here, &len), 0);
    stage_equal(connect(sock, (struct sockaddr *)&here, sizeof here), 0);
    stage_fails(connect(sock, (struct sockaddr *)&far, sizeof far),
                EINVAL); /* from 127.0.0.1 no way leads there */
    stage_equal(send(sock, "hello", 5, 0), 5);
    stage_equal(recv(other, text, sizeof text, 0), 5);
    len = sizeof peer;
    stage_equal(getpeername(sock, (struct sockaddr *)&peer, &len), 0);
    stage_equal(peer.sin_port, here.sin_port);
}

static void the_peer_of_a_socket_for_ipv6_is_an_address_of_ipv6(void) {
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    stage_equal(dial_datagrams(AF_INET6), 0);
    stage_equal(getpeername(sock, (struct sockaddr *)&peer, &len), 0);
    stage_equal(len, sizeof peer);
    stage_expect(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
}

static void to_write_no_piece_is_to_send_no_datagram(void) {
    struct iovec none[2] = {{NULL, 0}, {NULL, 0}};
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(writev(sock, none, 0), 0);
    stage_equal(writev(sock, none, 2), 0);
    stage_fails(write(sock, "", 0), EDESTADDRREQ);
}

static void more_pieces_than_the_kernel_takes_are_refused(void) {
    struct iovec piece = {NULL, 0};
    struct msghdr msg = {.msg_iov = &piece, .msg_iovlen = (size_t)-1};
    struct mmsghdr many = {.msg_hdr = msg};
    stage_equal(dial(0), 0);
    share();
    stage_fails(sendmsg(sock, &msg, 0), EMSGSIZE);
    stage_fails(recvmsg(sock, &msg, 0), EMSGSIZE);
    stage_fails(sendmmsg(sock, &many, 1, 0), EMSGSIZE);
    stage_fails(recvmmsg(sock, &many, 1, 0, NULL), EMSGSIZE);
}

/* ---- bytes moved by a pipe ---- */

static int line[2];

static long splice_in(void) {
    return splice(sock, NULL, line[1], NULL, 10, SPLICE_F_NONBLOCK);
}

static void whether_splice_waits_for_a_socket_is_the_sockets_choice(void) {
    long (*call)(void) = splice_in;
    stage_equal(dial(0), 0);
    stage_equal(pipe(line), 0);
    begin(&call);
    stage_expect_connection(0, "10.1.0.2");
    stage_say(0, "hello");
    stage_equal(join(), 5);
    fcntl(sock, F_SETFL, O_NONBLOCK);
    stage_fails(splice_in(), EAGAIN);
}

static void what_is_spliced_to_a_listening_socket_is_refused_by_any_of_its_numbers(void) {
    handle(SIGPIPE);
    sock = socket(AF_INET, SOCK_STREAM, 0);
    const int copy = dup(sock);
    stage_equal(listen(sock, 1), 0);
    stage_equal(pipe(line), 0);
    stage_equal(write(line[1], "x", 1), 1);
    stage_fails(splice(line[0], NULL, copy, NULL, 1, 0), EPIPE);
    stage_equal(signals, 1);
}

static void datagrams_spliced_after_the_end_raise_no_signal(void) {
    handle(SIGPIPE);
    stage_equal(dial_datagrams(AF_INET), 0);
    stage_equal(pipe(line), 0);
    stage_equal(write(line[1], "x", 1), 1);
    stage_equal(shutdown(sock, SHUT_WR), 0);
    stage_fails(splice(line[0], NULL, sock, NULL, 1, 0), EPIPE);
    stage_equal(signals, 0);
}

/* ---- options and sets ---- */

static void expect_chose_nothing(int level, int name, socklen_t len) {
    char value[16] = "untouched";
    stage_equal(getsockopt(sock, level, name, value, &len), 0);
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
        stage_equal(len, 0);
    else
        stage_equal(*(int *)(void *)value, 0);
}

static void the_interface_of_a_label_is_no_choice_of_the_programs(void) {
    stage_equal(dial(0), 0);
    expect_chose_nothing(SOL_SOCKET, SO_BINDTODEVICE, 16);
    expect_chose_nothing(SOL_SOCKET, SO_BINDTODEVICE, 4);
    expect_chose_nothing(SOL_SOCKET, 62 /* SO_BINDTOIFINDEX */, 16);
    stage_equal(dial_datagrams(AF_INET), 0);
    expect_chose_nothing(IPPROTO_IP, IP_UNICAST_IF, 16);
    char device[16] = "";
    socklen_t len = (socklen_t)-1;
    stage_fails(getsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, device, &len), EINVAL);
    len = sizeof device;
    sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, "cell0", 5), 0);
    stage_equal(getsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
    stage_expect(strcmp(device, "cell0") == 0);
}

static void what_an_option_makes_of_nothing_is_remembered(void) {
    int class = -1;
    socklen_t len = sizeof class;
    sock = socket(AF_INET6, SOCK_DGRAM, 0);
    stage_equal(setsockopt(sock, IPPROTO_IPV6, IPV6_TCLASS, NULL, sizeof class), 0);
    stage_equal(getsockopt(sock, IPPROTO_IPV6, IPV6_TCLASS, &class, &len), 0);
    stage_equal(class, 0);
}

static void an_error_is_told_by_a_set_until_it_is_asked_for(void) {
    struct epoll_event e = {.events = EPOLLOUT};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    stage_refuse(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    stage_equal(epoll_wait(set, &e, 1, 0), 1);
    stage_equal(e.events, EPOLLOUT | EPOLLERR | EPOLLHUP);
    stage_equal(stage_so_error(sock), ECONNREFUSED);
    stage_equal(epoll_wait(set, &e, 1, 0), 1);
    stage_equal(e.events, EPOLLOUT | EPOLLHUP);
}

static void an_error_asked_for_without_room_is_still_to_be_told(void) {
    int error;
    socklen_t len = (socklen_t)-1;
    stage_refuse(true);
    stage_fails(dial(SOCK_NONBLOCK), EINPROGRESS);
    stage_expect(stage_polled(sock, POLLOUT, -1) & POLLERR);
    stage_fails(getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len), EINVAL);
    stage_equal(stage_so_error(sock), ECONNREFUSED);
}

static void a_copy_that_is_refused_replaces_nothing(void) {
    const int other = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(dial(0), 0);
    stage_fails(dup3(other, sock, 1), EINVAL);
    expect_chose_nothing(SOL_SOCKET, SO_BINDTODEVICE, 16); /* it is still looked after */
}

/* Its registration has fired before it was connected, and stands in the set no more. */
static void a_set_refuses_what_it_does_not_know(void) {
    struct epoll_event e = {.events = EPOLLOUT | EPOLLONESHOT};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &e), 0);
    stage_equal(epoll_wait(set, &e, 1, 0), 1);
    stage_equal(dial_again(), 0);
    stage_fails(epoll_ctl(set, 9, sock, &e), EINVAL);
}

#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD | STAGE_UP, NULL, "CMM_LABELS=large")

static const struct stage_test tests[] = {
    TEST(a_call_that_goes_well_leaves_errno),
    TEST(an_interrupted_poll_says_that_nothing_is_ready),
    TEST(a_refused_connect_leaves_a_socket_that_never_was_connected),
    TEST(the_connect_after_a_refusal_tells_of_it),
    TEST(the_connect_after_a_refusal_tells_of_it_wherever_it_leads),
    TEST(a_reset_that_connect_tells_of_leaves_such_a_socket_too),
    STAGE_TEST_WITH(an_address_without_a_scope_goes_by_its_label, STAGE_PRELOAD | STAGE_WORLD | STAGE_UP,
                    NULL, "CMM_LABELS=small"),
    TEST(what_is_asked_for_aside_leaves_a_refusal_to_be_told),
    TEST(what_is_asked_for_aside_does_not_wait_in_a_shared_socket_either),
    TEST(an_address_that_is_none_is_refused_of_a_stream_too),
    TEST(an_address_of_no_length_is_refused_of_datagrams),
    TEST(a_connect_that_fails_leaves_datagrams_their_peer),
    TEST(the_peer_of_a_socket_for_ipv6_is_an_address_of_ipv6),
    TEST(to_write_no_piece_is_to_send_no_datagram),
    TEST(more_pieces_than_the_kernel_takes_are_refused),
    TEST(whether_splice_waits_for_a_socket_is_the_sockets_choice),
    TEST(what_is_spliced_to_a_listening_socket_is_refused_by_any_of_its_numbers),
    TEST(datagrams_spliced_after_the_end_raise_no_signal),
    TEST(the_interface_of_a_label_is_no_choice_of_the_programs),
    TEST(what_an_option_makes_of_nothing_is_remembered),
    TEST(an_error_is_told_by_a_set_until_it_is_asked_for),
    TEST(an_error_asked_for_without_room_is_still_to_be_told),
    TEST(a_copy_that_is_refused_replaces_nothing),
    TEST(what_is_left_alone_is_so_by_all_its_numbers),
    TEST(a_set_refuses_what_it_does_not_know),
};

STAGE_MAIN(world, tests)

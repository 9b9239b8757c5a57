/* doors_one_by_one - names of libc's whose arrival shows in what becomes of the socket: made, bound, closed,
 * copied, past every door or before any. */
#include "door_calls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = small\n";

static char room[64];

/* ---- sockets made, bound, closed and copied ---- */

static void only_sockets_made_by_socket_are_managed(void) {
    struct sockaddr_in to = stage_tcp();
    int fd = DOOR_CALL(door_libcs("socket"), int, (int, int, int), (AF_INET, SOCK_STREAM, 0));
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(syscall(SYS_connect, fd, &to, sizeof to), EINPROGRESS);
    stage_expect(!door_writable(fd));
    stage_equal(stage_connections(), 1);
}

static in_port_t port_of(int fd) {
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    stage_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    return own.sin_port;
}

/* No rule takes it in: it is left alone. */
static void bind_leaves_a_socket_alone(void) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(door_find("bind")->use(door_ours("bind"), fd), 0);
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINVAL); /* from 127.0.0.1, says the kernel */
}

/* To a port below 1024, that libc looks for. */
static void bindresvport_leaves_a_socket_alone(void) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(bindresvport(fd, NULL), 0);
    const in_port_t port = port_of(fd);
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(port_of(fd), port);
    stage_expect_connection(0, "10.1.0.2");
}

static void bind_and_listen_arrive(void) {
    struct sockaddr_in to = stage_tcp(), any = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(door_find("bind")->use(door_ours("bind"), fd), 0);
    const in_port_t port = port_of(fd);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(port_of(fd), port); /* kept, while it waits, too */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS); /* no bind */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(listen(fd, 5), 0);
    stage_equal(door_find("getsockopt")->use(door_ours("getsockopt"), fd), 1);
    stage_equal(door_find("getsockname")->use(door_ours("getsockname"), fd), 1);
}

/* Whatever closes a socket that waits, no connection is made for it. */
static void closed_by(const char *name) {
    int fd = door_waiting();
    if (strcmp(name, "syscall") == 0)
        stage_equal(syscall(SYS_close, fd), 0);
    else if (strcmp(name, "dup2") == 0)
        stage_equal(dup2(2, fd), fd);
    else if (strcmp(name, "dup3") == 0)
        stage_equal(dup3(2, fd, O_CLOEXEC), fd);
    else if (strcmp(name, "fclose") == 0)
        stage_equal(fclose(fdopen(fd, "r+")), 0);
    else if (strcmp(name, "closefrom") == 0)
        DOOR_CALL(door_ours("closefrom"), void, (int), (fd));
    else
        stage_equal(door_find(name)->use(door_ours(name), fd), 0);
    const int next = door_waiting(), before = stage_connections();
    stage_up("wifi");
    stage_wait(door_writable(next));
    stage_equal(send(next, name, strlen(name), 0), strlen(name));
    stage_wait(stage_connections() > before && stage_received(before) == strlen(name));
    if (stage_connections() != before + 1)
        stage_fail(__FILE__, __LINE__, "%s: a connection was made for nobody", name);
    stage_down("wifi");
    close(next);
}

static void every_way_of_closing_ends_the_wait(void) {
    static const char *const ways[] = {"close",   "__close", "close_range", "closefrom",
                                       "syscall", "dup2",    "dup3",        "fclose"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        closed_by(ways[i]);
}

static void every_kind_of_copy_is_connected(void) {
    int fd = door_waiting(), copies[8];
    copies[0] = dup(fd);
    copies[1] = dup2(fd, 150);
    copies[2] = dup3(fd, 151, O_CLOEXEC);
    copies[3] = fcntl(fd, F_DUPFD, 152);
    copies[4] = fcntl(fd, F_DUPFD_CLOEXEC, 160);
    copies[5] = DOOR_CALL(door_ours("fcntl64"), int, (int, int, ...), (fd, F_DUPFD, 170));
    copies[6] = DOOR_CALL(door_ours("__fcntl"), int, (int, int, ...), (fd, F_DUPFD, 180));
    copies[7] = DOOR_CALL(door_ours("__dup2"), int, (int, int), (fd, 190));
    stage_up("wifi");
    for (int i = 0; i < 8; i++)
        stage_wait(door_writable(copies[i]));
    stage_equal(fcntl(copies[4], F_GETFD), FD_CLOEXEC);
    stage_equal(fcntl(copies[3], F_GETFD), 0);
}

static void options_set_while_waiting_stay(void) {
    int fd = door_waiting(), value = 0;
    socklen_t len = sizeof value;
    stage_equal(door_find("setsockopt")->use(door_ours("setsockopt"), fd), 0);
    stage_up("wifi");
    stage_wait(door_writable(fd));
    stage_equal(DOOR_CALL(door_libcs("getsockopt"), int, (int, int, int, void *, socklen_t *),
                          (fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len)),
                0);
    stage_equal(value, 1);
}

static void shutdown_ends_a_wait(void) {
    int fd = door_waiting(), value = -1;
    socklen_t len = sizeof value;
    stage_equal(shutdown(fd, SHUT_RDWR), 0);
    stage_expect(door_find("poll")->use(door_ours("poll"), fd) & POLLHUP);
    stage_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), 0);
    stage_equal(value, ECONNRESET);
}

/* Of a datagram socket that waits without ever having had a way. */
static void getpeername_arrives(void) {
    struct sockaddr_in to = stage_udp();
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(door_find("getpeername")->use(door_ours("getpeername"), fd), 0);
    stage_fails(door_find("getpeername")->use(door_libcs("getpeername"), fd), ENOTCONN);
}

static int by_list(const char *name, int fd, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n =
        strcmp(name, "vdprintf") == 0
            ? DOOR_CALL(door_ours(name), int, (int, const char *, va_list), (fd, format, args))
            : DOOR_CALL(door_ours(name), int, (int, int, const char *, va_list), (fd, 1, format, args));
    va_end(args);
    return n;
}

static int printed(const char *name, int fd) {
    if (strcmp(name, "dprintf") == 0)
        return DOOR_CALL(door_ours(name), int, (int, const char *, ...), (fd, "%d", 7));
    if (strcmp(name, "__dprintf_chk") == 0)
        return DOOR_CALL(door_ours(name), int, (int, int, const char *, ...), (fd, 1, "%d", 7));
    if (strcmp(name, "fdopen") == 0)
        return fputc('7', fdopen(fd, "r+")) == '7' && fflush(NULL) == 0;
    return by_list(name, fd, "%d", 7);
}

/* By policy a stream that a FILE uses is not moved. */
static void every_way_to_a_FILE_is_noticed(void) {
    static const char *const ways[] = {"fdopen", "dprintf", "__dprintf_chk", "vdprintf", "__vdprintf_chk"};
    struct sockaddr_in to = stage_tcp();
    char byte;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        stage_up("wifi");
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        stage_equal(send(fd, "x", 1, 0), 1);
        stage_equal(printed(ways[i], fd), 1);
        stage_down("wifi");
        if (recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno != ECONNRESET)
            stage_fail(__FILE__, __LINE__, "%s is not noticed: %m", ways[i]);
    }
}

/* ---- syscall ---- */

static void syscall_forwards_six_arguments(void) {
    const long page = sysconf(_SC_PAGESIZE);
    int file = memfd_create("pages", 0);
    stage_equal(ftruncate(file, 3 * page), 0);
    stage_equal(pwrite(file, "third", 5, 2 * page), 5);
    char *at =
        (char *)syscall(SYS_mmap, 0L, page, 1L /* PROT_READ */, 1L /* MAP_SHARED */, (long)file, 2 * page);
    stage_expect(at != (char *)-1);
    stage_equal(memcmp(at, "third", 5), 0);
    stage_fails(syscall(SYS_close, -1), EBADF);
    stage_fails(syscall(100000), ENOSYS);
}

static void syscall_takes_the_numbers_of_sockets(void) {
    struct sockaddr_in to = stage_tcp();
    struct iovec one_byte = {room, 1};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &one_byte, .msg_iovlen = 1}};
    int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(syscall(SYS_connect, fd, &to, sizeof to), EINPROGRESS);
    stage_fails(syscall(SYS_sendto, fd, "x", 1L, 0L, NULL, 0L), EAGAIN);
    stage_fails(syscall(SYS_sendmsg, fd, &m.msg_hdr, 0L), EAGAIN);
    stage_fails(syscall(SYS_sendmmsg, fd, &m, 1L, 0L), EAGAIN);
    stage_fails(syscall(SYS_recvfrom, fd, room, 1L, 0L, NULL, NULL), EAGAIN);
    stage_fails(syscall(SYS_recvmsg, fd, &m.msg_hdr, 0L), EAGAIN);
    stage_equal(syscall(SYS_shutdown, fd, SHUT_RDWR), 0);
    stage_equal(syscall(SYS_close, fd), 0);
    stage_fails(fcntl(fd, F_GETFD), EBADF);
}

/* ---- numbers closed past every door ---- */

static void raw_close(int fd) {
#if defined(__x86_64__)
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(SYS_close), "D"(fd) : "rcx", "r11", "memory");
#else
    DOOR_CALL(door_libcs("close"), int, (int), (fd));
#endif
}

static int opened_file(void) {
    return memfd_create("file", 0);
}

static int opened_pipe(void) {
    int pair[2];
    stage_equal(pipe(pair), 0);
    stage_equal(DOOR_CALL(door_libcs("write"), ssize_t, (int, const void *, size_t), (pair[1], "p", 1)), 1);
    return pair[0];
}

static int opened_pair(void) {
    int pair[2];
    stage_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    stage_equal(DOOR_CALL(door_libcs("write"), ssize_t, (int, const void *, size_t), (pair[1], "p", 1)), 1);
    return pair[0];
}

static int live_socket(void) {
    struct sockaddr_in to = stage_tcp();
    stage_up("wifi");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(send(fd, "x", 1, 0), 1);
    stage_equal(send(fd, "x", 1, 0), 1); /* the direct way now */
    return fd;
}

static void used_again(int fd, int (*opened)(void)) {
    char byte;
    raw_close(fd);
    stage_equal(opened(), fd);
    if (opened == opened_file) {
        stage_equal(write(fd, "file", 4), 4);
        stage_equal(lseek(fd, 0, SEEK_SET), 0);
        stage_equal(read(fd, &byte, 1), 1);
        stage_equal(byte, 'f');
        stage_fails(send(fd, "x", 1, 0), ENOTSOCK);
    } else {
        stage_equal(read(fd, &byte, 1), 1);
        stage_equal(byte, 'p');
    }
}

static void a_number_closed_unseen_and_used_again_is_libcs(void) {
    int (*const all[])(void) = {opened_file, opened_pipe, opened_pair};
    for (size_t i = 0; i < 3; i++) {
        used_again(live_socket(), all[i]);
        stage_down("wifi");
        used_again(door_waiting(), all[i]);
        used_again(socket(AF_INET, SOCK_STREAM, 0), all[i]);
    }
}

static void what_took_the_number_is_not_touched_when_networks_change(void) {
    int live = live_socket();
    raw_close(live);
    stage_equal(opened_pair(), live);
    stage_down("wifi");
    int waits = door_waiting();
    raw_close(waits);
    stage_equal(opened_file(), waits);
    int before = stage_connections(), next = door_waiting();
    stage_up("wifi");
    stage_wait(door_writable(next));
    stage_equal(DOOR_CALL(door_ours("read"), ssize_t, (int, void *, size_t), (live, room, 1)), 1);
    stage_equal(room[0], 'p');
    stage_equal(write(waits, "file", 4), 4);
    stage_wait(stage_connections() == before + 1);
}

/* Twice, and its record would stand for two sockets at a time. */
static void a_handshake_whose_number_was_closed_unseen_is_let_go_once(void) {
    stage_up("wifi");
    stage_crowd(true);
    raw_close(door_waiting());
    stage_crowd(false);
    stage_wait(stage_end(0) != STAGE_OPEN);
    stage_down("wifi");
    const int first = door_waiting(), second = door_waiting();
    stage_up("wifi");
    stage_wait(door_writable(first) && door_writable(second));
    close(second);
    stage_equal(send(first, "x", 1, 0), 1);
    stage_wait(stage_connections() == 3 && stage_is_text(stage_is_text(1, "x") ? 1 : 2, "x"));
}

static void an_accepted_or_received_number_is_nobodys(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    stage_equal(listen(listener, 5), 0);
    stage_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    for (int i = 0; i < 2; i++) {
        int caller = DOOR_CALL(door_libcs("socket"), int, (int, int, int), (AF_INET, SOCK_STREAM, 0));
        stage_equal(connect(caller, (struct sockaddr *)&at, sizeof at), 0);
        int stale = door_waiting();
        raw_close(stale);
        stage_equal(i ? accept4(listener, NULL, NULL, 0) : accept(listener, NULL, NULL), stale);
        stage_equal(send(stale, "hello", 5, 0), 5);
        stage_equal(recv(caller, room, sizeof room, 0), 5);
    }
}

/* ---- calls before anything has begun ---- */

/* A library whose malloc calls syscall(), as jemalloc's does, before any constructor: see early.c. */
static void calls_before_constructors_are_the_kernels(void) {
    const char *early = getenv("CMM_EARLY_LIB"), *us = getenv("CMM_PRELOAD_LIB");
    stage_expect(early && us);
    stage_shell(
        "export CMM_LABELS=background; LD_PRELOAD=%s:%s /bin/true; a=$?; LD_PRELOAD=%s:%s /bin/true; b=$?; "
        "test $a$b = 4243 || test $a$b = 4342",
        early, us, us, early);
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background")
#define TEST_MOVING(name)                                                                                    \
    STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background+reconnect")
    TEST(only_sockets_made_by_socket_are_managed),
    STAGE_TEST_WITH(bind_leaves_a_socket_alone, STAGE_PRELOAD | STAGE_WORLD, world, "CMM_LABELS=small"),
    STAGE_TEST_WITH(bindresvport_leaves_a_socket_alone, STAGE_PRELOAD | STAGE_WORLD, world,
                    "CMM_LABELS=small"),
    TEST(bind_and_listen_arrive),
    TEST(every_way_of_closing_ends_the_wait),
    TEST(every_kind_of_copy_is_connected),
    TEST(options_set_while_waiting_stay),
    TEST(shutdown_ends_a_wait),
    TEST(getpeername_arrives),
    TEST_MOVING(every_way_to_a_FILE_is_noticed),
    TEST(syscall_forwards_six_arguments),
    TEST(syscall_takes_the_numbers_of_sockets),
    TEST(a_number_closed_unseen_and_used_again_is_libcs),
    TEST(what_took_the_number_is_not_touched_when_networks_change),
    TEST(a_handshake_whose_number_was_closed_unseen_is_let_go_once),
    TEST(an_accepted_or_received_number_is_nobodys),
    TEST(calls_before_constructors_are_the_kernels),
};

STAGE_MAIN(config, tests)

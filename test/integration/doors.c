/* doors - a call by any name of libc's that the library takes arrives there, and is libc's own elsewhere.
 * Each name is called by the address the program gets, and again by libc's own: on a socket that waits the
 * two differ, which is the proof; on what is not managed they do not. The list of names is that of
 * exports.map. */
#include "stage.h"

#include <arpa/inet.h>
#include <dlfcn.h>
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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

typedef long any_function(void);

/* ---- the two of a name ---- */

static void *found(void *handle, const char *name) {
    void *f = dlsym(handle, name);
    if (!f)
        stage_fail(__FILE__, __LINE__, "there is no %s", name);
    return f;
}

static void *ours(const char *name) {
    return found(RTLD_DEFAULT, name);
}

static void *libcs(const char *name) {
    static void *libc;
    if (!libc)
        libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    stage_expect(libc);
    return found(libc, name);
}

#define CALL(f, result, types, arguments) (((result(*) types)(f))arguments)

/* ---- one call of each on a descriptor ---- */

static char room[64];
static struct iovec one_byte = {room, 1};
static struct msghdr message = {.msg_iov = &one_byte, .msg_iovlen = 1};

static long use_write(void *f, int fd) {
    return CALL(f, ssize_t, (int, const void *, size_t), (fd, "x", 1));
}

static long use_send(void *f, int fd) {
    return CALL(f, ssize_t, (int, const void *, size_t, int), (fd, "x", 1, MSG_NOSIGNAL));
}

static long use_sendto(void *f, int fd) {
    return CALL(f, ssize_t, (int, const void *, size_t, int, const void *, socklen_t),
                (fd, "x", 1, 0, NULL, 0));
}

static long use_sendmsg(void *f, int fd) {
    return CALL(f, ssize_t, (int, const struct msghdr *, int), (fd, &message, 0));
}

static long use_sendmmsg(void *f, int fd) {
    struct mmsghdr m = {.msg_hdr = message};
    return CALL(f, int, (int, struct mmsghdr *, unsigned, int), (fd, &m, 1, 0));
}

static long use_vector(void *f, int fd) {
    return CALL(f, ssize_t, (int, const struct iovec *, int), (fd, &one_byte, 1));
}

static long use_sendfile(void *f, int fd) {
    off_t at = 0;
    int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    long r = CALL(f, ssize_t, (int, int, off_t *, size_t), (fd, in, &at, 1));
    const int error = errno;
    close(in);
    errno = error;
    return r;
}

static long use_splice(void *f, int fd) {
    int pair[2];
    stage_equal(pipe(pair), 0);
    stage_equal(syscall(SYS_write, pair[1], "x", 1), 1);
    long r = CALL(f, ssize_t, (int, void *, int, void *, size_t, unsigned), (pair[0], NULL, fd, NULL, 1, 0));
    const int error = errno;
    close(pair[0]);
    close(pair[1]);
    errno = error;
    return r;
}

static long use_read(void *f, int fd) {
    return CALL(f, ssize_t, (int, void *, size_t), (fd, room, 1));
}

static long use_read_chk(void *f, int fd) {
    return CALL(f, ssize_t, (int, void *, size_t, size_t), (fd, room, 1, sizeof room));
}

static long use_recv(void *f, int fd) {
    return CALL(f, ssize_t, (int, void *, size_t, int), (fd, room, 1, 0));
}

static long use_recv_chk(void *f, int fd) {
    return CALL(f, ssize_t, (int, void *, size_t, size_t, int), (fd, room, 1, sizeof room, 0));
}

static long use_recvfrom(void *f, int fd) {
    return CALL(f, ssize_t, (int, void *, size_t, int, void *, void *), (fd, room, 1, 0, NULL, NULL));
}

static long use_recvfrom_chk(void *f, int fd) {
    return CALL(f, ssize_t, (int, void *, size_t, size_t, int, void *, void *),
                (fd, room, 1, sizeof room, 0, NULL, NULL));
}

static long use_recvmsg(void *f, int fd) {
    struct msghdr m = message;
    return CALL(f, ssize_t, (int, struct msghdr *, int), (fd, &m, 0));
}

static long use_recvmmsg(void *f, int fd) {
    struct mmsghdr m = {.msg_hdr = message};
    return CALL(f, int, (int, struct mmsghdr *, unsigned, int, void *), (fd, &m, 1, 0, NULL));
}

static long use_connect(void *f, int fd) {
    struct sockaddr_in to = stage_tcp();
    return CALL(f, int, (int, const void *, socklen_t), (fd, &to, sizeof to));
}

static long use_getsockname(void *f, int fd) {
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    int r = CALL(f, int, (int, void *, socklen_t *), (fd, &name, &len));
    return r < 0 ? r : name.sin_family == AF_INET && name.sin_port != 0;
}

static long use_getsockopt(void *f, int fd) {
    int value = -1;
    socklen_t len = sizeof value;
    int r = CALL(f, int, (int, int, int, void *, socklen_t *), (fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len));
    return r < 0 ? r : value;
}

static long use_ioctl(void *f, int fd) {
    int there = 0;
    int r = CALL(f, int, (int, unsigned long, ...), (fd, FIONREAD, &there));
    return r < 0 ? r : there;
}

static long use_shutdown(void *f, int fd) {
    return CALL(f, int, (int, int), (fd, SHUT_RDWR));
}

static long use_listen(void *f, int fd) {
    return CALL(f, int, (int, int), (fd, 5));
}

static long use_bind(void *f, int fd) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return CALL(f, int, (int, const void *, socklen_t), (fd, &at, sizeof at));
}

static long use_accept(void *f, int fd) {
    return CALL(f, int, (int, void *, socklen_t *), (fd, NULL, NULL));
}

static long use_accept4(void *f, int fd) {
    return CALL(f, int, (int, void *, socklen_t *, int), (fd, NULL, NULL, SOCK_CLOEXEC));
}

static long use_getpeername(void *f, int fd) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    return CALL(f, int, (int, void *, socklen_t *), (fd, &name, &len));
}

static long use_setsockopt(void *f, int fd) {
    const int on = 1;
    return CALL(f, int, (int, int, int, const void *, socklen_t),
                (fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
}

static long use_close(void *f, int fd) {
    return CALL(f, int, (int), (fd));
}

static long use_close_range(void *f, int fd) {
    return CALL(f, int, (unsigned, unsigned, int), ((unsigned)fd, (unsigned)fd, 0));
}

static long use_dup(void *f, int fd) {
    return CALL(f, int, (int), (fd)) < 0 ? -1 : 0;
}

static long use_dup2(void *f, int fd) {
    return CALL(f, int, (int, int), (fd, 190));
}

static long use_dup3(void *f, int fd) {
    return CALL(f, int, (int, int, int), (fd, 190, O_CLOEXEC));
}

static long use_fcntl(void *f, int fd) {
    return CALL(f, int, (int, int, ...), (fd, F_DUPFD, 190)) < 0 ? -1 : 0;
}

static long use_poll(void *f, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = CALL(f, int, (struct pollfd *, nfds_t, int), (&p, 1, 0));
    return n < 0 ? n : p.revents;
}

static long use_poll_chk(void *f, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = CALL(f, int, (struct pollfd *, nfds_t, int, size_t), (&p, 1, 0, sizeof p));
    return n < 0 ? n : p.revents;
}

static long use_ppoll(void *f, int fd) {
    const struct timespec zero = {0, 0};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = CALL(f, int, (struct pollfd *, nfds_t, const void *, const void *), (&p, 1, &zero, NULL));
    return n < 0 ? n : p.revents;
}

static long use_ppoll_chk(void *f, int fd) {
    const struct timespec zero = {0, 0};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = CALL(f, int, (struct pollfd *, nfds_t, const void *, const void *, size_t),
                 (&p, 1, &zero, NULL, sizeof p));
    return n < 0 ? n : p.revents;
}

static long use_select(void *f, int fd) {
    struct timeval zero = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    if (fd >= 0)
        FD_SET(fd, &set);
    return CALL(f, int, (int, fd_set *, fd_set *, fd_set *, struct timeval *),
                (fd + 1, &set, NULL, NULL, &zero));
}

static long use_pselect(void *f, int fd) {
    const struct timespec zero = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    if (fd >= 0)
        FD_SET(fd, &set);
    return CALL(f, int, (int, fd_set *, fd_set *, fd_set *, const void *, const void *),
                (fd + 1, &set, NULL, NULL, &zero, NULL));
}

static long use_epoll_ctl(void *f, int fd) {
    struct epoll_event e = {.events = EPOLLIN};
    int set = epoll_create1(EPOLL_CLOEXEC);
    long r = CALL(f, int, (int, int, int, void *), (set, EPOLL_CTL_ADD, fd, &e));
    const int error = errno;
    syscall(SYS_close, set);
    errno = error;
    return r;
}

static long use_epoll_wait(void *f, int set) {
    struct epoll_event e;
    return CALL(f, int, (int, void *, int, int), (set, &e, 1, 0));
}

static long use_epoll_pwait(void *f, int set) {
    struct epoll_event e;
    return CALL(f, int, (int, void *, int, int, const void *), (set, &e, 1, 0, NULL));
}

static long use_epoll_pwait2(void *f, int set) {
    const struct timespec zero = {0, 0};
    struct epoll_event e;
    return CALL(f, int, (int, void *, int, const void *, const void *), (set, &e, 1, &zero, NULL));
}

static long use_fdopen(void *f, int fd) {
    FILE *file = CALL(f, FILE *, (int, const char *), (fd, "r+"));
    return file ? 0 : -1;
}

/* ---- the doors ---- */

enum proof {
    BY_ERROR,    /* on a socket that waits the answer is `waiting', not the kernel's on what lies there */
    BY_KEPT,     /* bytes the library keeps are readable */
    BY_ONE_SHOT, /* what has fired stays disarmed when the connection moves */
    BY_TEST,     /* a test of its own below */
};

static const struct door {
    const char *name;
    long (*use)(void *f, int fd);
    enum proof proof;
    int waiting; /* BY_ERROR: negative errno, or the result */
} doors[] = {
    {"write", use_write, BY_ERROR, -EAGAIN},
    {"__write", use_write, BY_ERROR, -EAGAIN},
    {"send", use_send, BY_ERROR, -EAGAIN},
    {"__send", use_send, BY_ERROR, -EAGAIN},
    {"sendto", use_sendto, BY_ERROR, -EAGAIN},
    {"sendmsg", use_sendmsg, BY_ERROR, -EAGAIN},
    {"sendmmsg", use_sendmmsg, BY_ERROR, -EAGAIN},
    {"writev", use_vector, BY_ERROR, -EAGAIN},
    {"sendfile", use_sendfile, BY_ERROR, -EAGAIN},
    {"sendfile64", use_sendfile, BY_ERROR, -EAGAIN},
    {"splice", use_splice, BY_ERROR, -EAGAIN},
    {"read", use_read, BY_ERROR, -EAGAIN},
    {"__read", use_read, BY_ERROR, -EAGAIN},
    {"__read_chk", use_read_chk, BY_ERROR, -EAGAIN},
    {"recv", use_recv, BY_ERROR, -EAGAIN},
    {"__recv_chk", use_recv_chk, BY_ERROR, -EAGAIN},
    {"recvfrom", use_recvfrom, BY_ERROR, -EAGAIN},
    {"__recvfrom_chk", use_recvfrom_chk, BY_ERROR, -EAGAIN},
    {"recvmsg", use_recvmsg, BY_ERROR, -EAGAIN},
    {"recvmmsg", use_recvmmsg, BY_ERROR, -EAGAIN},
    {"readv", use_vector, BY_ERROR, -EAGAIN},
    {"connect", use_connect, BY_ERROR, -EALREADY},
    {"__connect", use_connect, BY_ERROR, -EALREADY},
    {"getsockname", use_getsockname, BY_ERROR, 0},
    {"getsockopt", use_getsockopt, BY_ERROR, 0},
    {"ioctl", use_ioctl, BY_ERROR, 0},
    {"poll", use_poll, BY_KEPT, 0},
    {"__poll", use_poll, BY_KEPT, 0},
    {"__poll_chk", use_poll_chk, BY_KEPT, 0},
    {"ppoll", use_ppoll, BY_KEPT, 0},
    {"__ppoll_chk", use_ppoll_chk, BY_KEPT, 0},
    {"select", use_select, BY_KEPT, 0},
    {"pselect", use_pselect, BY_KEPT, 0},
    {"epoll_wait", use_epoll_wait, BY_ONE_SHOT, 0},
    {"epoll_pwait", use_epoll_pwait, BY_ONE_SHOT, 0},
    {"epoll_pwait2", use_epoll_pwait2, BY_ONE_SHOT, 0},
    {"epoll_ctl", use_epoll_ctl, BY_TEST, 0},
    {"socket", NULL, BY_TEST, 0},
    {"syscall", NULL, BY_TEST, 0},
    {"bind", use_bind, BY_TEST, 0},
    {"listen", use_listen, BY_TEST, 0},
    {"accept", use_accept, BY_TEST, 0},
    {"accept4", use_accept4, BY_TEST, 0},
    {"shutdown", use_shutdown, BY_TEST, 0},
    {"setsockopt", use_setsockopt, BY_TEST, 0},
    {"getpeername", use_getpeername, BY_TEST, 0},
    {"close", use_close, BY_TEST, 0},
    {"__close", use_close, BY_TEST, 0},
    {"close_range", use_close_range, BY_TEST, 0},
    {"closefrom", NULL, BY_TEST, 0},
    {"dup", use_dup, BY_TEST, 0},
    {"dup2", use_dup2, BY_TEST, 0},
    {"dup3", use_dup3, BY_TEST, 0},
    {"fcntl", use_fcntl, BY_TEST, 0},
    {"fcntl64", use_fcntl, BY_TEST, 0},
    {"fdopen", use_fdopen, BY_TEST, 0},
    {"fclose", NULL, BY_TEST, 0},
    {"setns", NULL, BY_TEST, 0}, /* in `processes' */
    {"unshare", NULL, BY_TEST, 0},
    {"getaddrinfo", NULL, BY_TEST, 0},
    {"gethostbyname", NULL, BY_TEST, 0},
    {"gethostbyname2", NULL, BY_TEST, 0},
    {"gethostbyname_r", NULL, BY_TEST, 0},
    {"gethostbyname2_r", NULL, BY_TEST, 0},
};

enum { DOORS = sizeof doors / sizeof *doors };

static const struct door *door_find(const char *name) {
    for (size_t i = 0; i < DOORS; i++)
        if (strcmp(doors[i].name, name) == 0)
            return &doors[i];
    return NULL;
}

static void every_name_the_library_takes_is_tried_here(void) {
    const char *map = getenv("CMM_EXPORTS_MAP");
    char line[256];
    bool listed = false;
    int count = 0;
    FILE *f = map ? fopen(map, "re") : NULL;
    stage_expect(f);
    while (fgets(line, sizeof line, f) && line[0] == '#') {
        for (char *word = strtok(line, "# \n"); listed && word; word = strtok(NULL, " \n"), count++)
            if (!door_find(word))
                stage_fail(__FILE__, __LINE__, "%s is not", word);
        listed |= strstr(line, "interposed:") != NULL;
    }
    fclose(f);
    stage_expect(count > 50);
}

/* ---- what is not managed ---- */

/* A byte is there to read, and nothing blocks. */
static int open_thing(int kind, int *ret_other) {
    int pair[2] = {-1, -1};
    *ret_other = -1;
    switch (kind) {
    case 0:
        return -1;
    case 1:
        return 200; /* nothing is open there */
    case 2:
        stage_equal(pipe2(pair, O_NONBLOCK), 0);
        break;
    case 3:
        stage_equal(pipe2(pair, O_NONBLOCK), 0);
        *ret_other = pair[0];
        return pair[1];
    case 4:
        stage_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        break;
    case 5:
        return memfd_create("file", 0);
    case 6:
        return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    case 7:
        return socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0);
    default:
        return epoll_create1(0);
    }
    stage_equal(syscall(SYS_write, pair[1], "x", 1), 1);
    *ret_other = pair[1];
    return pair[0];
}

enum { THINGS = 9 };

static void close_thing(int fd, int other) {
    if (fd >= 0)
        syscall(SYS_close, fd);
    if (other >= 0)
        syscall(SYS_close, other);
    syscall(SYS_close, 190);
}

static long tried(const struct door *d, void *f, int kind, int *ret_error) {
    int other, fd = open_thing(kind, &other);
    errno = 0;
    long r = d->use(f, fd);
    *ret_error = r < 0 ? errno : 0;
    close_thing(fd, other);
    return r;
}

static void result_and_errno_are_libcs_on_what_is_not_managed(void) {
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < DOORS; i++)
        for (int kind = 0; doors[i].use && kind < THINGS; kind++) {
            int theirs, mine;
            long r = tried(&doors[i], libcs(doors[i].name), kind, &theirs);
            long s = tried(&doors[i], ours(doors[i].name), kind, &mine);
            if (r != s || theirs != mine)
                stage_fail(__FILE__, __LINE__, "%s on thing %d: %ld (%s), libc's %ld (%s)", doors[i].name,
                           kind, s, strerror(mine), r, strerror(theirs));
        }
}

/* ---- what is ---- */

static int waiting_socket(void) {
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    return fd;
}

static bool writable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return CALL(libcs("poll"), int, (struct pollfd *, nfds_t, int), (&p, 1, 0)) == 1 && p.revents == POLLOUT;
}

static void calls_on_a_socket_that_waits_arrive(void) {
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < DOORS; i++) {
        const struct door *d = &doors[i];
        if (d->proof != BY_ERROR)
            continue;
        int fd = waiting_socket();
        long r = d->use(ours(d->name), fd);
        if ((r < 0 ? -errno : r) != d->waiting)
            stage_fail(__FILE__, __LINE__, "%s: %ld (%m)", d->name, r);
        r = d->use(libcs(d->name), fd);
        if ((r < 0 ? -errno : r) == d->waiting)
            stage_fail(__FILE__, __LINE__, "%s: libc's own says the same; this proves nothing", d->name);
        close(fd);
    }
}

/* Live on wifi, a byte has arrived; then wifi is withdrawn, and the byte moves into the library. */
static int socket_with_a_kept_byte(void) {
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.events = POLLIN};
    const int i = stage_connections();
    stage_up("wifi");
    p.fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(p.fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(i, "127.0.1.1");
    stage_say(i, "k");
    stage_equal(poll(&p, 1, -1), 1);
    stage_down("wifi");
    stage_wait(use_poll(libcs("poll"), p.fd) == 0);
    return p.fd;
}

static void waits_know_of_bytes_the_library_keeps(void) {
    int fd = socket_with_a_kept_byte();
    for (size_t i = 0; i < DOORS; i++) {
        if (doors[i].proof != BY_KEPT)
            continue;
        if (doors[i].use(ours(doors[i].name), fd) <= 0)
            stage_fail(__FILE__, __LINE__, "%s sees nothing", doors[i].name);
        stage_equal(doors[i].use(libcs(doors[i].name), fd), 0);
    }
}

static void epoll_ctl_arrives(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 5};
    int fd = socket_with_a_kept_byte(), set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    stage_equal(use_epoll_wait(libcs("epoll_wait"), set), 1);
    char byte;
    stage_equal(recv(fd, &byte, 1, 0), 1);
    stage_equal(use_epoll_wait(libcs("epoll_wait"), set), 0);
    stage_equal(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL), 0);
    stage_fails(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL), ENOENT);
}

/* A one-shot registration fires by f; then the connection is made, and the kernel is asked again. */
static long fires_again(const struct door *d, void *f) {
    struct epoll_event e = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = 9};
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    stage_equal(d->use(f, set), 1);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_up("wifi");
    stage_wait(writable(fd));
    long r = use_epoll_wait(libcs("epoll_wait"), set);
    stage_down("wifi");
    close(fd);
    close(set);
    return r;
}

static void epoll_waits_arrive(void) {
    for (size_t i = 0; i < DOORS; i++)
        if (doors[i].proof == BY_ONE_SHOT) {
            stage_equal(fires_again(&doors[i], ours(doors[i].name)), 0);
            stage_equal(fires_again(&doors[i], libcs(doors[i].name)), 1);
        }
}

/* ---- sockets made, bound, closed and copied ---- */

static void only_sockets_made_by_socket_are_managed(void) {
    struct sockaddr_in to = stage_tcp();
    int fd = CALL(libcs("socket"), int, (int, int, int), (AF_INET, SOCK_STREAM, 0));
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(syscall(SYS_connect, fd, &to, sizeof to), EINPROGRESS);
    stage_expect(!writable(fd));
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
    stage_equal(use_bind(ours("bind"), fd), 0);
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINVAL); /* from 127.0.0.1, says the kernel */
}

static void bind_and_listen_arrive(void) {
    struct sockaddr_in to = stage_tcp(), any = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(use_bind(ours("bind"), fd), 0);
    const in_port_t port = port_of(fd);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(port_of(fd), port); /* kept, while it waits, too */
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS); /* no bind */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(listen(fd, 5), 0);
    stage_equal(use_getsockopt(ours("getsockopt"), fd), 1);
    stage_equal(use_getsockname(ours("getsockname"), fd), 1);
}

/* Whatever closes a socket that waits, no connection is made for it. */
static void closed_by(const char *name) {
    int fd = waiting_socket();
    if (strcmp(name, "syscall") == 0)
        stage_equal(syscall(SYS_close, fd), 0);
    else if (strcmp(name, "dup2") == 0)
        stage_equal(dup2(2, fd), fd);
    else if (strcmp(name, "dup3") == 0)
        stage_equal(dup3(2, fd, O_CLOEXEC), fd);
    else if (strcmp(name, "fclose") == 0)
        stage_equal(fclose(fdopen(fd, "r+")), 0);
    else if (strcmp(name, "closefrom") == 0)
        CALL(ours("closefrom"), void, (int), (fd));
    else
        stage_equal(door_find(name)->use(ours(name), fd), 0);
    const int next = waiting_socket(), before = stage_connections();
    stage_up("wifi");
    stage_wait(writable(next));
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
    int fd = waiting_socket(), copies[6];
    copies[0] = dup(fd);
    copies[1] = dup2(fd, 150);
    copies[2] = dup3(fd, 151, O_CLOEXEC);
    copies[3] = fcntl(fd, F_DUPFD, 152);
    copies[4] = fcntl(fd, F_DUPFD_CLOEXEC, 160);
    copies[5] = CALL(ours("fcntl64"), int, (int, int, ...), (fd, F_DUPFD, 170));
    stage_up("wifi");
    for (int i = 0; i < 6; i++)
        stage_wait(writable(copies[i]));
    stage_equal(fcntl(copies[4], F_GETFD), FD_CLOEXEC);
    stage_equal(fcntl(copies[3], F_GETFD), 0);
}

static void options_set_while_waiting_stay(void) {
    int fd = waiting_socket(), value = 0;
    socklen_t len = sizeof value;
    stage_equal(use_setsockopt(ours("setsockopt"), fd), 0);
    stage_up("wifi");
    stage_wait(writable(fd));
    stage_equal(CALL(libcs("getsockopt"), int, (int, int, int, void *, socklen_t *),
                     (fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len)),
                0);
    stage_equal(value, 1);
}

static void shutdown_ends_a_wait(void) {
    int fd = waiting_socket(), value = -1;
    socklen_t len = sizeof value;
    stage_equal(shutdown(fd, SHUT_RDWR), 0);
    stage_expect(use_poll(ours("poll"), fd) & POLLHUP);
    stage_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), 0);
    stage_equal(value, ECONNRESET);
}

/* Of a datagram socket that waits without ever having had a way. */
static void getpeername_arrives(void) {
    struct sockaddr_in to = stage_udp();
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(use_getpeername(ours("getpeername"), fd), 0);
    stage_fails(use_getpeername(libcs("getpeername"), fd), ENOTCONN);
}

/* By policy a stream that a FILE uses is not moved. */
static void fdopen_is_noticed(void) {
    struct sockaddr_in to = stage_tcp();
    char byte;
    stage_up("wifi");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_equal(send(fd, "x", 1, 0), 1);
    stage_expect(fdopen(fd, "r+"));
    stage_down("wifi");
    stage_fails(recv(fd, &byte, 1, 0), ECONNRESET);
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
    struct mmsghdr m = {.msg_hdr = message};
    int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(syscall(SYS_connect, fd, &to, sizeof to), EINPROGRESS);
    stage_fails(syscall(SYS_sendto, fd, "x", 1L, 0L, NULL, 0L), EAGAIN);
    stage_fails(syscall(SYS_sendmsg, fd, &message, 0L), EAGAIN);
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
    CALL(libcs("close"), int, (int), (fd));
#endif
}

static int opened_file(void) {
    return memfd_create("file", 0);
}

static int opened_pipe(void) {
    int pair[2];
    stage_equal(pipe(pair), 0);
    stage_equal(CALL(libcs("write"), ssize_t, (int, const void *, size_t), (pair[1], "p", 1)), 1);
    return pair[0];
}

static int opened_pair(void) {
    int pair[2];
    stage_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    stage_equal(CALL(libcs("write"), ssize_t, (int, const void *, size_t), (pair[1], "p", 1)), 1);
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
        used_again(waiting_socket(), all[i]);
        used_again(socket(AF_INET, SOCK_STREAM, 0), all[i]);
    }
}

static void what_took_the_number_is_not_touched_when_networks_change(void) {
    int live = live_socket();
    raw_close(live);
    stage_equal(opened_pair(), live);
    stage_down("wifi");
    int waits = waiting_socket();
    raw_close(waits);
    stage_equal(opened_file(), waits);
    int before = stage_connections(), next = waiting_socket();
    stage_up("wifi");
    stage_wait(writable(next));
    stage_equal(use_read(ours("read"), live), 1);
    stage_equal(room[0], 'p');
    stage_equal(write(waits, "file", 4), 4);
    stage_wait(stage_connections() == before + 1);
}

static void an_accepted_or_received_number_is_nobodys(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    stage_equal(listen(listener, 5), 0);
    stage_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    for (int i = 0; i < 2; i++) {
        int caller = CALL(libcs("socket"), int, (int, int, int), (AF_INET, SOCK_STREAM, 0));
        stage_equal(connect(caller, (struct sockaddr *)&at, sizeof at), 0);
        int stale = waiting_socket();
        raw_close(stale);
        stage_equal(i ? accept4(listener, NULL, NULL, 0) : accept(listener, NULL, NULL), stale);
        stage_equal(send(stale, "hello", 5, 0), 5);
        stage_equal(recv(caller, room, sizeof room, 0), 5);
    }
}

/* ---- names ---- */

static _Atomic pid_t tid;
static _Atomic bool over;

static long found_by(const char *name) {
    static char buf[1024];
    struct addrinfo *list = NULL;
    struct hostent host, *result = NULL;
    int error = 0;
    if (strcmp(name, "getaddrinfo") == 0)
        return getaddrinfo("waits.example", "80", NULL, &list);
    if (strcmp(name, "gethostbyname") == 0)
        return gethostbyname("waits.example") ? 0 : h_errno;
    if (strcmp(name, "gethostbyname2") == 0)
        return gethostbyname2("waits.example", AF_INET) ? 0 : h_errno;
    if (strcmp(name, "gethostbyname_r") == 0)
        gethostbyname_r("waits.example", &host, buf, sizeof buf, &result, &error);
    else
        gethostbyname2_r("waits.example", AF_INET, &host, buf, sizeof buf, &result, &error);
    return result ? 0 : error;
}

static _Atomic long answer;

static void *look_up(void *name) {
    tid = (pid_t)syscall(SYS_gettid);
    answer = found_by(name);
    over = true;
    return NULL;
}

static bool asleep(void) {
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    if (f)
        fclose(f);
    return state == 'S';
}

static void expect_lookup_waits(void) {
    for (int calm = 0; calm < 50; calm = asleep() ? calm + 1 : 0)
        stage_pause();
    stage_expect(!over);
}

static void begin_lookup(pthread_t *thread, const char *name) {
    tid = 0;
    over = false;
    stage_equal(pthread_create(thread, NULL, look_up, (void *)name), 0);
    stage_wait(tid);
}

/* The test's own files, which need not be there: nobody else is asked. */
static void own_files(const char *hosts, const char *switched) {
    stage_shell(
        "cd %s && { cp -rP /etc etc 2>/dev/null; cd etc && rm -f hosts nsswitch.conf resolv.conf; } && "
        "echo '%s' >hosts && echo 'hosts: %s' >nsswitch.conf && "
        "printf 'nameserver 10.9.0.1\noptions timeout:1 attempts:1\n' >resolv.conf && "
        "mount --bind . /etc",
        stage_directory(), hosts, switched);
}

static void name_lookups_wait_for_the_default_labels(void) {
    const char *const names[] = {"getaddrinfo", "gethostbyname", "gethostbyname2", "gethostbyname_r",
                                 "gethostbyname2_r"};
    struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST}, *list;
    own_files("10.9.0.1 waits.example", "files");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pthread_t thread;
        stage_shell("ip link set cell0 down");
        stage_wait(!stage_offered("cell"));
        begin_lookup(&thread, names[i]);
        expect_lookup_waits();
        stage_equal(getaddrinfo("10.9.0.1", "80", NULL, &list), 0);
        stage_equal(getaddrinfo("10.9.0.1", "80", &numeric, &list), 0);
        stage_expect(gethostbyname("localhost") || h_errno != TRY_AGAIN);
        stage_expect(gethostbyname("10.9.0.1"));
        stage_link("cell0", true);
        stage_wait(over);
        stage_equal(answer, 0);
        pthread_join(thread, NULL);
    }
}

/* Its server never answers, and meanwhile the network goes. */
static void a_lookup_whose_network_goes_waits_again(void) {
    pthread_t thread;
    own_files("127.0.0.1 localhost", "files dns");
    stage_swallow("wifi0", true, false);
    stage_swallow("cell0", true, false);
    stage_wait(stage_offered("cell"));
    begin_lookup(&thread, "getaddrinfo");
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
    expect_lookup_waits();
    stage_shell("sleep 2"); /* longer than the resolver waits: it has failed once */
    expect_lookup_waits();
    stage_shell("echo 10.9.0.1 waits.example >>%s/etc/hosts", stage_directory());
    stage_link("cell0", true);
    stage_wait(over);
    stage_equal(answer, 0);
    pthread_join(thread, NULL);
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

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = small\n";

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background")
#define TEST_MOVING(name)                                                                                    \
    STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background+reconnect")
    TEST(every_name_the_library_takes_is_tried_here),
    TEST(result_and_errno_are_libcs_on_what_is_not_managed),
    TEST(calls_on_a_socket_that_waits_arrive),
    TEST_MOVING(waits_know_of_bytes_the_library_keeps),
    TEST_MOVING(epoll_ctl_arrives),
    TEST(epoll_waits_arrive),
    TEST(only_sockets_made_by_socket_are_managed),
    STAGE_TEST_WITH(bind_leaves_a_socket_alone, STAGE_PRELOAD | STAGE_WORLD, world, "CMM_LABELS=small"),
    TEST(bind_and_listen_arrive),
    TEST(every_way_of_closing_ends_the_wait),
    TEST(every_kind_of_copy_is_connected),
    TEST(options_set_while_waiting_stay),
    TEST(shutdown_ends_a_wait),
    TEST(getpeername_arrives),
    TEST_MOVING(fdopen_is_noticed),
    TEST(syscall_forwards_six_arguments),
    TEST(syscall_takes_the_numbers_of_sockets),
    TEST(a_number_closed_unseen_and_used_again_is_libcs),
    TEST(what_took_the_number_is_not_touched_when_networks_change),
    TEST(an_accepted_or_received_number_is_nobodys),
    TEST(calls_before_constructors_are_the_kernels),
    STAGE_TEST_WITH(a_lookup_whose_network_goes_waits_again, STAGE_PRELOAD | STAGE_WORLD, world,
                    "CMM_LABELS=small"),
    STAGE_TEST_WITH(name_lookups_wait_for_the_default_labels, STAGE_PRELOAD | STAGE_WORLD, world,
                    "CMM_LABELS=small"),
};

STAGE_MAIN(config, tests)

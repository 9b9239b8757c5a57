/* door_calls - the names of libc's that the library takes, and one call of each. */
#include "door_calls.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- the two of a name ---- */

static void *found(void *handle, const char *name) {
    void *f = dlsym(handle, name);
    if (!f)
        stage_fail(__FILE__, __LINE__, "there is no %s", name);
    return f;
}

void *door_ours(const char *name) {
    return found(RTLD_DEFAULT, name);
}

void *door_libcs(const char *name) {
    static void *libc;
    if (!libc)
        libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    stage_expect(libc);
    return found(libc, name);
}

/* ---- one call of each on a descriptor ---- */

static char room[64];
static struct iovec one_byte = {room, 1};
static struct msghdr message = {.msg_iov = &one_byte, .msg_iovlen = 1};

static long use_write(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, const void *, size_t), (fd, "x", 1));
}

static long use_send(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, const void *, size_t, int), (fd, "x", 1, MSG_NOSIGNAL));
}

static long use_sendto(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, const void *, size_t, int, const void *, socklen_t),
                     (fd, "x", 1, 0, NULL, 0));
}

static long use_sendmsg(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, const struct msghdr *, int), (fd, &message, 0));
}

static long use_sendmmsg(void *f, int fd) {
    struct mmsghdr m = {.msg_hdr = message};
    return DOOR_CALL(f, int, (int, struct mmsghdr *, unsigned, int), (fd, &m, 1, 0));
}

static long use_vector(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, const struct iovec *, int), (fd, &one_byte, 1));
}

static long use_vector_at(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, const struct iovec *, int, off_t, int), (fd, &one_byte, 1, -1, 0));
}

static long use_sendfile(void *f, int fd) {
    off_t at = 0;
    int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    long r = DOOR_CALL(f, ssize_t, (int, int, off_t *, size_t), (fd, in, &at, 1));
    const int error = errno;
    close(in);
    errno = error;
    return r;
}

static long use_splice(void *f, int fd) {
    int pair[2];
    stage_equal(pipe(pair), 0);
    stage_equal(syscall(SYS_write, pair[1], "x", 1), 1);
    long r =
        DOOR_CALL(f, ssize_t, (int, void *, int, void *, size_t, unsigned), (pair[0], NULL, fd, NULL, 1, 0));
    const int error = errno;
    close(pair[0]);
    close(pair[1]);
    errno = error;
    return r;
}

static long use_read(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, void *, size_t), (fd, room, 1));
}

static long use_read_chk(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, void *, size_t, size_t), (fd, room, 1, sizeof room));
}

static long use_recv(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, void *, size_t, int), (fd, room, 1, 0));
}

static long use_recv_chk(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, void *, size_t, size_t, int), (fd, room, 1, sizeof room, 0));
}

static long use_recvfrom(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, void *, size_t, int, void *, void *), (fd, room, 1, 0, NULL, NULL));
}

static long use_recvfrom_chk(void *f, int fd) {
    return DOOR_CALL(f, ssize_t, (int, void *, size_t, size_t, int, void *, void *),
                     (fd, room, 1, sizeof room, 0, NULL, NULL));
}

static long use_recvmsg(void *f, int fd) {
    struct msghdr m = message;
    return DOOR_CALL(f, ssize_t, (int, struct msghdr *, int), (fd, &m, 0));
}

static long use_recvmmsg(void *f, int fd) {
    struct mmsghdr m = {.msg_hdr = message};
    return DOOR_CALL(f, int, (int, struct mmsghdr *, unsigned, int, void *), (fd, &m, 1, 0, NULL));
}

static long use_connect(void *f, int fd) {
    struct sockaddr_in to = stage_tcp();
    return DOOR_CALL(f, int, (int, const void *, socklen_t), (fd, &to, sizeof to));
}

static long use_getsockname(void *f, int fd) {
    struct sockaddr_in name = {0};
    socklen_t len = sizeof name;
    int r = DOOR_CALL(f, int, (int, void *, socklen_t *), (fd, &name, &len));
    return r < 0 ? r : name.sin_family == AF_INET && name.sin_port != 0;
}

static long use_getsockopt(void *f, int fd) {
    int value = -1;
    socklen_t len = sizeof value;
    int r = DOOR_CALL(f, int, (int, int, int, void *, socklen_t *),
                      (fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len));
    return r < 0 ? r : value;
}

static long use_ioctl(void *f, int fd) {
    int there = 0;
    int r = DOOR_CALL(f, int, (int, unsigned long, ...), (fd, FIONREAD, &there));
    return r < 0 ? r : there;
}

static long use_shutdown(void *f, int fd) {
    return DOOR_CALL(f, int, (int, int), (fd, SHUT_RDWR));
}

static long use_listen(void *f, int fd) {
    return DOOR_CALL(f, int, (int, int), (fd, 5));
}

static long use_bind(void *f, int fd) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return DOOR_CALL(f, int, (int, const void *, socklen_t), (fd, &at, sizeof at));
}

static long use_accept(void *f, int fd) {
    return DOOR_CALL(f, int, (int, void *, socklen_t *), (fd, NULL, NULL));
}

static long use_accept4(void *f, int fd) {
    return DOOR_CALL(f, int, (int, void *, socklen_t *, int), (fd, NULL, NULL, SOCK_CLOEXEC));
}

static long use_getpeername(void *f, int fd) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    return DOOR_CALL(f, int, (int, void *, socklen_t *), (fd, &name, &len));
}

static long use_setsockopt(void *f, int fd) {
    const int on = 1;
    return DOOR_CALL(f, int, (int, int, int, const void *, socklen_t),
                     (fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
}

static long use_close(void *f, int fd) {
    return DOOR_CALL(f, int, (int), (fd));
}

static long use_close_range(void *f, int fd) {
    return DOOR_CALL(f, int, (unsigned, unsigned, int), ((unsigned)fd, (unsigned)fd, 0));
}

static long use_dup(void *f, int fd) {
    return DOOR_CALL(f, int, (int), (fd)) < 0 ? -1 : 0;
}

static long use_dup2(void *f, int fd) {
    return DOOR_CALL(f, int, (int, int), (fd, 190));
}

static long use_dup3(void *f, int fd) {
    return DOOR_CALL(f, int, (int, int, int), (fd, 190, O_CLOEXEC));
}

static long use_fcntl(void *f, int fd) {
    return DOOR_CALL(f, int, (int, int, ...), (fd, F_DUPFD, 190)) < 0 ? -1 : 0;
}

static long use_poll(void *f, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = DOOR_CALL(f, int, (struct pollfd *, nfds_t, int), (&p, 1, 0));
    return n < 0 ? n : p.revents;
}

static long use_poll_chk(void *f, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = DOOR_CALL(f, int, (struct pollfd *, nfds_t, int, size_t), (&p, 1, 0, sizeof p));
    return n < 0 ? n : p.revents;
}

static long use_ppoll(void *f, int fd) {
    const struct timespec zero = {0, 0};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = DOOR_CALL(f, int, (struct pollfd *, nfds_t, const void *, const void *), (&p, 1, &zero, NULL));
    return n < 0 ? n : p.revents;
}

static long use_ppoll_chk(void *f, int fd) {
    const struct timespec zero = {0, 0};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = DOOR_CALL(f, int, (struct pollfd *, nfds_t, const void *, const void *, size_t),
                      (&p, 1, &zero, NULL, sizeof p));
    return n < 0 ? n : p.revents;
}

static long use_select(void *f, int fd) {
    struct timeval zero = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    if (fd >= 0)
        FD_SET(fd, &set);
    return DOOR_CALL(f, int, (int, fd_set *, fd_set *, fd_set *, struct timeval *),
                     (fd + 1, &set, NULL, NULL, &zero));
}

static long use_pselect(void *f, int fd) {
    const struct timespec zero = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    if (fd >= 0)
        FD_SET(fd, &set);
    return DOOR_CALL(f, int, (int, fd_set *, fd_set *, fd_set *, const void *, const void *),
                     (fd + 1, &set, NULL, NULL, &zero, NULL));
}

static long use_epoll_ctl(void *f, int fd) {
    struct epoll_event e = {.events = EPOLLIN};
    int set = epoll_create1(EPOLL_CLOEXEC);
    long r = DOOR_CALL(f, int, (int, int, int, void *), (set, EPOLL_CTL_ADD, fd, &e));
    const int error = errno;
    syscall(SYS_close, set);
    errno = error;
    return r;
}

static long use_epoll_wait(void *f, int set) {
    struct epoll_event e;
    return DOOR_CALL(f, int, (int, void *, int, int), (set, &e, 1, 0));
}

static long use_epoll_pwait(void *f, int set) {
    struct epoll_event e;
    return DOOR_CALL(f, int, (int, void *, int, int, const void *), (set, &e, 1, 0, NULL));
}

static long use_epoll_pwait2(void *f, int set) {
    const struct timespec zero = {0, 0};
    struct epoll_event e;
    return DOOR_CALL(f, int, (int, void *, int, const void *, const void *), (set, &e, 1, &zero, NULL));
}

static long use_fdopen(void *f, int fd) {
    FILE *file = DOOR_CALL(f, FILE *, (int, const char *), (fd, "r+"));
    return file ? 0 : -1;
}

/* ---- the doors ---- */

const struct door doors[DOORS] = {
    {"write", use_write, DOOR_BY_ERROR, -EAGAIN},
    {"__write", use_write, DOOR_BY_ERROR, -EAGAIN},
    {"send", use_send, DOOR_BY_ERROR, -EAGAIN},
    {"__send", use_send, DOOR_BY_ERROR, -EAGAIN},
    {"sendto", use_sendto, DOOR_BY_ERROR, -EAGAIN},
    {"sendmsg", use_sendmsg, DOOR_BY_ERROR, -EAGAIN},
    {"sendmmsg", use_sendmmsg, DOOR_BY_ERROR, -EAGAIN},
    {"writev", use_vector, DOOR_BY_ERROR, -EAGAIN},
    {"pwritev2", use_vector_at, DOOR_BY_ERROR, -EAGAIN},
    {"pwritev64v2", use_vector_at, DOOR_BY_ERROR, -EAGAIN},
    {"sendfile", use_sendfile, DOOR_BY_ERROR, -EAGAIN},
    {"sendfile64", use_sendfile, DOOR_BY_ERROR, -EAGAIN},
    {"splice", use_splice, DOOR_BY_ERROR, -EAGAIN},
    {"read", use_read, DOOR_BY_ERROR, -EAGAIN},
    {"__read", use_read, DOOR_BY_ERROR, -EAGAIN},
    {"__read_chk", use_read_chk, DOOR_BY_ERROR, -EAGAIN},
    {"recv", use_recv, DOOR_BY_ERROR, -EAGAIN},
    {"__recv_chk", use_recv_chk, DOOR_BY_ERROR, -EAGAIN},
    {"recvfrom", use_recvfrom, DOOR_BY_ERROR, -EAGAIN},
    {"__recvfrom_chk", use_recvfrom_chk, DOOR_BY_ERROR, -EAGAIN},
    {"recvmsg", use_recvmsg, DOOR_BY_ERROR, -EAGAIN},
    {"recvmmsg", use_recvmmsg, DOOR_BY_ERROR, -EAGAIN},
    {"readv", use_vector, DOOR_BY_ERROR, -EAGAIN},
    {"preadv2", use_vector_at, DOOR_BY_ERROR, -EAGAIN},
    {"preadv64v2", use_vector_at, DOOR_BY_ERROR, -EAGAIN},
    {"connect", use_connect, DOOR_BY_ERROR, -EALREADY},
    {"__connect", use_connect, DOOR_BY_ERROR, -EALREADY},
    {"getsockname", use_getsockname, DOOR_BY_ERROR, 0},
    {"getsockopt", use_getsockopt, DOOR_BY_ERROR, 0},
    {"ioctl", use_ioctl, DOOR_BY_ERROR, 0},
    {"poll", use_poll, DOOR_BY_KEPT, 0},
    {"__poll", use_poll, DOOR_BY_KEPT, 0},
    {"__poll_chk", use_poll_chk, DOOR_BY_KEPT, 0},
    {"ppoll", use_ppoll, DOOR_BY_KEPT, 0},
    {"__ppoll_chk", use_ppoll_chk, DOOR_BY_KEPT, 0},
    {"select", use_select, DOOR_BY_KEPT, 0},
    {"__select", use_select, DOOR_BY_KEPT, 0},
    {"pselect", use_pselect, DOOR_BY_KEPT, 0},
    {"epoll_wait", use_epoll_wait, DOOR_BY_ONE_SHOT, 0},
    {"epoll_pwait", use_epoll_pwait, DOOR_BY_ONE_SHOT, 0},
    {"epoll_pwait2", use_epoll_pwait2, DOOR_BY_ONE_SHOT, 0},
    {"epoll_ctl", use_epoll_ctl, DOOR_BY_TEST, 0},
    {"socket", NULL, DOOR_BY_TEST, 0},
    {"syscall", NULL, DOOR_BY_TEST, 0},
    {"bind", use_bind, DOOR_BY_TEST, 0},
    {"bindresvport", NULL, DOOR_BY_TEST, 0},
    {"listen", use_listen, DOOR_BY_TEST, 0},
    {"accept", use_accept, DOOR_BY_TEST, 0},
    {"accept4", use_accept4, DOOR_BY_TEST, 0},
    {"shutdown", use_shutdown, DOOR_BY_TEST, 0},
    {"setsockopt", use_setsockopt, DOOR_BY_TEST, 0},
    {"getpeername", use_getpeername, DOOR_BY_TEST, 0},
    {"close", use_close, DOOR_BY_TEST, 0},
    {"__close", use_close, DOOR_BY_TEST, 0},
    {"close_range", use_close_range, DOOR_BY_TEST, 0},
    {"closefrom", NULL, DOOR_BY_TEST, 0},
    {"dup", use_dup, DOOR_BY_TEST, 0},
    {"dup2", use_dup2, DOOR_BY_TEST, 0},
    {"__dup2", use_dup2, DOOR_BY_TEST, 0},
    {"dup3", use_dup3, DOOR_BY_TEST, 0},
    {"fcntl", use_fcntl, DOOR_BY_TEST, 0},
    {"__fcntl", use_fcntl, DOOR_BY_TEST, 0},
    {"fcntl64", use_fcntl, DOOR_BY_TEST, 0},
    {"fdopen", use_fdopen, DOOR_BY_TEST, 0},
    {"fclose", NULL, DOOR_BY_TEST, 0},
    {"dprintf", NULL, DOOR_BY_TEST, 0},
    {"__dprintf_chk", NULL, DOOR_BY_TEST, 0},
    {"vdprintf", NULL, DOOR_BY_TEST, 0},
    {"__vdprintf_chk", NULL, DOOR_BY_TEST, 0},
    {"setns", NULL, DOOR_BY_TEST, 0}, /* in `processes' */
    {"unshare", NULL, DOOR_BY_TEST, 0},
    {"execl", NULL, DOOR_BY_TEST, 0}, /* these in `execs' */
    {"execle", NULL, DOOR_BY_TEST, 0},
    {"execlp", NULL, DOOR_BY_TEST, 0},
    {"execv", NULL, DOOR_BY_TEST, 0},
    {"execve", NULL, DOOR_BY_TEST, 0},
    {"execveat", NULL, DOOR_BY_TEST, 0},
    {"execvp", NULL, DOOR_BY_TEST, 0},
    {"execvpe", NULL, DOOR_BY_TEST, 0},
    {"fexecve", NULL, DOOR_BY_TEST, 0},
    {"posix_spawn", NULL, DOOR_BY_TEST, 0},
    {"posix_spawnp", NULL, DOOR_BY_TEST, 0},
    {"popen", NULL, DOOR_BY_TEST, 0},
    {"system", NULL, DOOR_BY_TEST, 0},
    {"getaddrinfo", NULL, DOOR_BY_TEST, 0},
    {"gethostbyname", NULL, DOOR_BY_TEST, 0},
    {"gethostbyname2", NULL, DOOR_BY_TEST, 0},
    {"gethostbyname_r", NULL, DOOR_BY_TEST, 0},
    {"gethostbyname2_r", NULL, DOOR_BY_TEST, 0},
    {"gethostbyaddr", NULL, DOOR_BY_TEST, 0},
    {"gethostbyaddr_r", NULL, DOOR_BY_TEST, 0},
    {"getnameinfo", NULL, DOOR_BY_TEST, 0},
    {"res_query", NULL, DOOR_BY_TEST, 0},
    {"res_search", NULL, DOOR_BY_TEST, 0},
    {"res_nquery", NULL, DOOR_BY_TEST, 0},
    {"res_nsearch", NULL, DOOR_BY_TEST, 0},
};

_Static_assert(sizeof doors / sizeof *doors == DOORS, "the header counts them");

const struct door *door_find(const char *name) {
    for (size_t i = 0; i < DOORS; i++)
        if (strcmp(doors[i].name, name) == 0)
            return &doors[i];
    return NULL;
}

/* ---- one that waits ---- */

int door_waiting(void) {
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    return fd;
}

bool door_writable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return DOOR_CALL(door_libcs("poll"), int, (struct pollfd *, nfds_t, int), (&p, 1, 0)) == 1 &&
           p.revents == POLLOUT;
}

/* real - libc's own functions, whatever is interposed above them. The only dlsym of the shim.
 *
 * Every entry works from the first instruction on: until real_init() has looked a name up, the entry looks it
 * up itself and goes on. Nothing here allocates, locks or changes errno beyond what the function called does.
 */
#ifndef CMM_REAL_H
#define CMM_REAL_H

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <resolv.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* X(result, name, parameters, arguments) */
#define REAL_FUNCTIONS(X)                                                                                    \
    X(int, socket, (int family, int type, int protocol), (family, type, protocol))                           \
    X(int, connect, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len))                       \
    X(int, bind, (int fd, const struct sockaddr *to, socklen_t len), (fd, to, len))                          \
    X(int, bindresvport, (int fd, struct sockaddr_in *to), (fd, to))                                         \
    X(int, listen, (int fd, int backlog), (fd, backlog))                                                     \
    X(int, accept, (int fd, struct sockaddr *from, socklen_t *len), (fd, from, len))                         \
    X(int, accept4, (int fd, struct sockaddr *from, socklen_t *len, int flags), (fd, from, len, flags))      \
    X(int, close, (int fd), (fd))                                                                            \
    X(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags))                    \
    X(void, closefrom, (int first), (first))                                                                 \
    X(int, shutdown, (int fd, int how), (fd, how))                                                           \
    X(int, dup, (int fd), (fd))                                                                              \
    X(int, dup2, (int from, int to), (from, to))                                                             \
    X(int, dup3, (int from, int to, int flags), (from, to, flags))                                           \
    X(int, fcntl, (int fd, int command, void *arg), (fd, command, arg))                                      \
    X(int, fcntl64, (int fd, int command, void *arg), (fd, command, arg))                                    \
    X(int, ioctl, (int fd, unsigned long request, void *arg), (fd, request, arg))                            \
    X(int, setsockopt, (int fd, int level, int name, const void *val, socklen_t len),                        \
      (fd, level, name, val, len))                                                                           \
    X(int, getsockopt, (int fd, int level, int name, void *val, socklen_t *len),                             \
      (fd, level, name, val, len))                                                                           \
    X(int, getsockname, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))                    \
    X(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), (fd, addr, len))                    \
    X(ssize_t, send, (int fd, const void *buf, size_t len, int flags), (fd, buf, len, flags))                \
    X(ssize_t, sendto,                                                                                       \
      (int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen),          \
      (fd, buf, len, flags, to, tolen))                                                                      \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))                     \
    X(int, sendmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags), (fd, msgs, count, flags))    \
    X(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len))                                 \
    X(ssize_t, writev, (int fd, const struct iovec *iov, int count), (fd, iov, count))                       \
    X(ssize_t, pwritev2, (int fd, const struct iovec *iov, int count, off64_t at, int flags),                \
      (fd, iov, count, at, flags))                                                                           \
    X(ssize_t, sendfile, (int out, int in, off_t *offset, size_t len), (out, in, offset, len))               \
    X(ssize_t, sendfile64, (int out, int in, off64_t *offset, size_t len), (out, in, offset, len))           \
    X(ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))                      \
    X(ssize_t, recvfrom,                                                                                     \
      (int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen),                 \
      (fd, buf, len, flags, from, fromlen))                                                                  \
    X(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))                           \
    X(int, recvmmsg, (int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout),    \
      (fd, msgs, count, flags, timeout))                                                                     \
    X(ssize_t, read, (int fd, void *buf, size_t len), (fd, buf, len))                                        \
    X(ssize_t, readv, (int fd, const struct iovec *iov, int count), (fd, iov, count))                        \
    X(ssize_t, preadv2, (int fd, const struct iovec *iov, int count, off64_t at, int flags),                 \
      (fd, iov, count, at, flags))                                                                           \
    X(int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))                    \
    X(int, ppoll, (struct pollfd * fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask), \
      (fds, count, timeout, mask))                                                                           \
    X(int, select, (int count, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout),                 \
      (count, rd, wr, ex, timeout))                                                                          \
    X(int, pselect,                                                                                          \
      (int count, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *timeout, const sigset_t *mask), \
      (count, rd, wr, ex, timeout, mask))                                                                    \
    X(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *event), (epfd, op, fd, event))          \
    X(int, epoll_wait, (int epfd, struct epoll_event *events, int max, int timeout),                         \
      (epfd, events, max, timeout))                                                                          \
    X(int, epoll_pwait, (int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask),  \
      (epfd, events, max, timeout, mask))                                                                    \
    X(int, epoll_pwait2,                                                                                     \
      (int epfd, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask), \
      (epfd, events, max, timeout, mask))                                                                    \
    X(int, execve, (const char *path, char *const argv[], char *const env[]), (path, argv, env))             \
    X(int, execvpe, (const char *file, char *const argv[], char *const env[]), (file, argv, env))            \
    X(int, fexecve, (int fd, char *const argv[], char *const env[]), (fd, argv, env))                        \
    X(int, execveat, (int fd, const char *path, char *const argv[], char *const env[], int flags),           \
      (fd, path, argv, env, flags))                                                                          \
    X(int, posix_spawn,                                                                                      \
      (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,                             \
       const posix_spawnattr_t *attributes, char *const argv[], char *const env[]),                          \
      (pid, path, actions, attributes, argv, env))                                                           \
    X(int, posix_spawnp,                                                                                     \
      (pid_t * pid, const char *file, const posix_spawn_file_actions_t *actions,                             \
       const posix_spawnattr_t *attributes, char *const argv[], char *const env[]),                          \
      (pid, file, actions, attributes, argv, env))                                                           \
    X(int, system, (const char *command), (command))                                                         \
    X(FILE *, popen, (const char *command, const char *mode), (command, mode))                               \
    X(FILE *, fdopen, (int fd, const char *mode), (fd, mode))                                                \
    X(int, vdprintf, (int fd, const char *format, va_list args), (fd, format, args))                         \
    X(int, __vdprintf_chk, (int fd, int flag, const char *format, va_list args), (fd, flag, format, args))   \
    X(int, unshare, (int flags), (flags))                                                                    \
    X(int, setns, (int fd, int kind), (fd, kind))                                                            \
    X(int, fclose, (FILE * file), (file))                                                                    \
    X(struct hostent *, gethostbyname, (const char *name), (name))                                           \
    X(int, gethostbyname_r,                                                                                  \
      (const char *name, struct hostent *host, char *buf, size_t len, struct hostent **ret_host,             \
       int *ret_error),                                                                                      \
      (name, host, buf, len, ret_host, ret_error))                                                           \
    X(int, gethostbyname2_r,                                                                                 \
      (const char *name, int family, struct hostent *host, char *buf, size_t len, struct hostent **ret_host, \
       int *ret_error),                                                                                      \
      (name, family, host, buf, len, ret_host, ret_error))                                                   \
    X(ssize_t, splice, (int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags),       \
      (in, in_at, out, out_at, len, flags))                                                                  \
    X(struct hostent *, gethostbyname2, (const char *name, int family), (name, family))                      \
    X(struct hostent *, gethostbyaddr, (const void *address, socklen_t len, int family),                     \
      (address, len, family))                                                                                \
    X(int, gethostbyaddr_r,                                                                                  \
      (const void *address, socklen_t addrlen, int family, struct hostent *host, char *buf, size_t len,      \
       struct hostent **ret_host, int *ret_error),                                                           \
      (address, addrlen, family, host, buf, len, ret_host, ret_error))                                       \
    X(int, getnameinfo,                                                                                      \
      (const struct sockaddr *address, socklen_t addrlen, char *host, socklen_t hostlen, char *service,      \
       socklen_t servicelen, int flags),                                                                     \
      (address, addrlen, host, hostlen, service, servicelen, flags))                                         \
    X(int, res_query, (const char *name, int class, int type, unsigned char *answer, int len),               \
      (name, class, type, answer, len))                                                                      \
    X(int, res_search, (const char *name, int class, int type, unsigned char *answer, int len),              \
      (name, class, type, answer, len))                                                                      \
    X(int, res_nquery,                                                                                       \
      (res_state state, const char *name, int class, int type, unsigned char *answer, int len),              \
      (state, name, class, type, answer, len))                                                               \
    X(int, res_nsearch,                                                                                      \
      (res_state state, const char *name, int class, int type, unsigned char *answer, int len),              \
      (state, name, class, type, answer, len))                                                               \
    X(int, getaddrinfo,                                                                                      \
      (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list),     \
      (node, service, hints, ret_list))

struct real {
#define REAL_POINTER(result, name, parameters, arguments) result(*name) parameters;
    REAL_FUNCTIONS(REAL_POINTER)
#undef REAL_POINTER
};

extern struct real real __attribute__((visibility("hidden")));

/* Looks everything up. Called by whoever comes first, and by the constructor where others may come behind us;
 * again does no harm. */
void real_init(void);

/* The shim in the loader's list of objects; NULL: a loader that keeps none for debuggers. Not while another
 * thread may be unloading something. */
struct link_map;
const struct link_map *real_us(void);

/* Libc's names are looked for here before they are in libc: by programs, or by what is preloaded before us
 * and asks who is next. Loaded by dlopen we come after libc. */
bool real_first(void);

/* The library that takes connect() between us and libc, by its path, or NULL. A sanitizer only looks on. */
const char *real_behind(void);

/* The kernel itself, without libc: usable before everything, also where `syscall' is interposed. */
long real_syscall(long number, long a, long b, long c, long d, long e, long f);

#endif

/* libcmm.h - say what kind of traffic a program sends; the machine decides which network carries it and when.
 *
 * Labels name a kind of traffic and travel as a bit set. A network matches labels L when it offers every
 * label in L. A call that finds no matching network can leave a thunk (a resume handler and its argument),
 * which runs once when one appears. See cmm(7) and libcmm(3).
 *
 * Unless said otherwise, calls return 0 or a count, or CMM_FAILED with errno set:
 *   EBADF not a cmm socket, ENOTCONN no cmm_connect yet, EISCONN connected before, EINVAL unknown label bits
 *   or a bad argument, ETIMEDOUT patience over, ECANCELED closed while waiting, ENETUNREACH no listed network
 *   can ever reach that address family.
 * Every call may be made from any thread, from handlers and from thunks; none from a signal handler.
 */
#ifndef LIBCMM_H
#define LIBCMM_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct timespec; /* the standard's own headers may be without it */

#ifdef __cplusplus
extern "C" {
#endif

/* Intents: granted by the scout's policy. */
#define CMM_LABEL_RED        0x01UL
#define CMM_LABEL_BLUE       0x02UL
#define CMM_LABEL_ONDEMAND   0x04UL
#define CMM_LABEL_BACKGROUND 0x08UL
#define CMM_LABEL_SMALL      0x10UL
#define CMM_LABEL_LARGE      0x20UL
/* What the network is like: derived by the scout. Bits 32..63 are free for names in its configuration. */
#define CMM_LABEL_UNMETERED 0x100UL
#define CMM_LABEL_WIRED     0x200UL
#define CMM_LABEL_WIFI      0x400UL
#define CMM_LABEL_CELLULAR  0x800UL

#define CMM_FAILED         (-1) /* real failure, errno says which */
#define CMM_DEFERRED       (-2) /* no matching network: the thunk is stored */
#define CMM_THUNK_EXECUTED (-3) /* matching network, socket was on another: reconnected, thunk run */
#define CMM_SIGNAL         SIGHUP

#define CMM_DISPATCH_THREAD 0 /* the library's working threads run handlers and thunks (default) */
#define CMM_DISPATCH_MANUAL 1 /* cmm_dispatch() runs them */

/* A real file descriptor: poll, select, epoll and fcntl work on it. */
typedef int mc_socket_t;

/* A thunk's code. The argument belongs to the handler once it runs. */
typedef void (*resume_handler_t)(void *arg);

/* Called for every (re)connection with the socket, the labels of this connection and cmm_connect's arg.
 * In it the calling thread's I/O and options on sock act on the new connection. Non-zero fails the attempt
 * with ECONNABORTED. It must not wait for a thread that uses the socket. */
typedef int (*connection_event_cb_t)(mc_socket_t sock, unsigned long labels, void *arg);

/* ---- Sockets ---- */

/* As socket(2), for AF_INET and AF_INET6. The descriptor is the caller's: cmm_close() it. */
mc_socket_t cmm_socket(int family, int type, int protocol);

/* Connects by a network that matches labels; later reconnects go to the same address. The address is copied;
 * the handlers (either may be NULL) and arg must stay valid until the socket is closed. pre_reconnect runs
 * after socket() and before connect(), post_reconnect after connect() and before any thunk, also the first
 * time. 0, or CMM_DEFERRED when there is no matching network yet (or, non-blocking, the handshake is under
 * way): the connection is made when there is one and sends may follow at once. A second call: EISCONN. */
int cmm_connect(mc_socket_t sock, const struct sockaddr *addr, socklen_t addrlen, unsigned long labels,
                connection_event_cb_t pre_reconnect, connection_event_cb_t post_reconnect, void *arg);

/* Labeled sends. Matching network and the socket is connected on it: the underlying call's result; the thunk
 * is ignored. Matching network, but the socket is elsewhere: reconnect, run the thunk, CMM_THUNK_EXECUTED. No
 * matching network: the thunk is stored, CMM_DEFERRED. With a NULL handler the call waits instead and sends
 * (non-blocking: EAGAIN). On CMM_FAILED arg stays the caller's. Never raises SIGPIPE. MSG_OOB, MSG_ZEROCOPY:
 * EOPNOTSUPP. */
ssize_t cmm_send(mc_socket_t sock, const void *buf, size_t len, int flags, unsigned long labels,
                 resume_handler_t handler, void *arg);
ssize_t cmm_write(mc_socket_t sock, const void *buf, size_t len, unsigned long labels,
                  resume_handler_t handler, void *arg);
ssize_t cmm_writev(mc_socket_t sock, const struct iovec *iov, int count, unsigned long labels,
                   resume_handler_t handler, void *arg);
ssize_t cmm_sendmsg(mc_socket_t sock, const struct msghdr *msg, int flags, unsigned long labels,
                    resume_handler_t handler, void *arg);

/* As recv(2) and read(2); they wait while the socket has no connection (non-blocking: EAGAIN), as long as its
 * patience has it. 0 is the peer's end of file, never a loss. */
ssize_t cmm_recv(mc_socket_t sock, void *buf, size_t len, int flags);
ssize_t cmm_read(mc_socket_t sock, void *buf, size_t len);

/* As setsockopt(2); remembered and replayed on every reconnection. */
int cmm_setsockopt(mc_socket_t sock, int level, int name, const void *val, socklen_t len);
int cmm_getsockopt(mc_socket_t sock, int level, int name, void *val, socklen_t *len);
int cmm_getpeername(mc_socket_t sock, struct sockaddr *addr, socklen_t *len);
int cmm_getsockname(mc_socket_t sock, struct sockaddr *addr, socklen_t *len);

/* The plain calls, for old sources. */
int cmm_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int cmm_select(int nfds, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout);

/* As shutdown(2). After SHUT_WR the socket is not moved any more. */
int cmm_shutdown(mc_socket_t sock, int how);

/* Drops the connection (or the failed attempt) and keeps options, handlers and thunks; cmm_connect again.
 * What waits on the socket fails with ENOTCONN; what had arrived, or was kept for replay, is given up. */
int cmm_reset(mc_socket_t sock);

/* Closes; stored thunks are dropped without running. Cancel with a deleter first to free their arguments. */
int cmm_close(mc_socket_t sock);

/* ---- Thunks and waiting ---- */

/* 0 when a send with these labels would go out now by some network, else CMM_DEFERRED with the thunk stored
 * (NULL handler: nothing stored), or CMM_FAILED. Never waits, never connects. */
int cmm_check_label(mc_socket_t sock, unsigned long labels, resume_handler_t handler, void *arg);

/* Cancels every stored thunk of that socket with that handler (NULL: all), calls deleter (may be NULL) on
 * each argument and returns how many. A thunk already running is neither counted nor waited for. */
int cmm_thunk_cancel(mc_socket_t sock, resume_handler_t handler, void (*deleter)(void *arg));

/* How many thunks are stored. */
int cmm_thunk_count(mc_socket_t sock);

/* Streams: bytes of the connection that was lost or left last that the peer never acknowledged, from
 * pre_reconnect of the next one on; 0: none, or no connection was lost yet. Datagrams: 0. */
ssize_t cmm_unacked(mc_socket_t sock);

/* on: the library keeps unacknowledged sends (whole calls, bounded by the send buffer) and sends them again
 * first thing after post_reconnect. At least once: a message is repeated only if its acknowledgement was
 * lost. */
int cmm_set_replay(mc_socket_t sock, int on);

/* The longest that a call without thunk waits for a network (never for the peer): copied; zero: not at all;
 * NULL, and at first: for ever. */
int cmm_set_patience(mc_socket_t sock, const struct timespec *patience);

/* ---- Labels ---- */

/* "background,large", "none", "bit32", or names of the scout's configuration. 0, or -1 with EINVAL. */
int cmm_labels_parse(const char *names, unsigned long *labels);

/* Writes the names, comma-separated, as snprintf does: always ends in a NUL if len > 0; the length it needs.
 */
int cmm_labels_format(unsigned long labels, char *buf, size_t len);

/* What unlabeled calls get (plain sockets only in preloaded programs). 0, or -1 with EINVAL. */
int cmm_set_default_labels(unsigned long labels);
unsigned long cmm_get_default_labels(void);

/* ---- Networks ---- */

struct cmm_network {
    char name[32];        /* of the scout's configuration, or the interface's */
    unsigned ifindex;     /* of the interface that has it; 0: unknown */
    unsigned long labels; /* what it offers */
    unsigned long id;     /* its identity: a network that was lost and returns has another */
};

/* Fills at most max of the networks usable now; returns how many there are. */
int cmm_networks(struct cmm_network *networks, int max);

/* The network this socket is connected on. 0, or CMM_FAILED with ENOTCONN. */
int cmm_socket_network(mc_socket_t sock, struct cmm_network *network);

/* ---- Event loops ---- */

/* CMM_DISPATCH_THREAD or CMM_DISPATCH_MANUAL, before the first cmm_socket (else EBUSY). */
int cmm_set_dispatch(int mode);

/* A descriptor that polls readable while something is ready to run. The library's: do not close it. */
int cmm_dispatch_fd(void);

/* Runs the handlers and thunks that are ready, in the caller's thread. How many; nested: 0. */
int cmm_dispatch(void);

#ifdef __cplusplus
}
#endif

#endif

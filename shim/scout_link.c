/* scout_link - the shim's wire to the scout: subscription socket, mailbox queue, bell.
 *
 * The listening thread comes in, and now and then a thread of the program (labels, a first open); the caller
 * owns the link, there is no lock. Runs inside other people's processes: no allocation, nothing trusted that
 * was received, every wait bounded by one deadline. Deliberately absent: retrying, threads, signals, and any
 * idea of what a network is.
 */
#include "scout_link.h"

#include "lift.h"
#include "place.h"
#include "real.h"
#include "self.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 1000,
    BURST = 64, /* messages looked at in one call, so that a flood cannot hold the thread */
    MAX_ERRNO = 4095,
};

/* ---- descriptors ---- */

/* A thread of the program that is cancelled in here would leave a descriptor behind. */
static int hold_cancel(void) {
    int old = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    return old;
}

static void release_cancel(int old) {
    pthread_setcancelstate(old, &old);
}

/* ---- waiting ---- */

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static int left_ms(int64_t deadline) {
    int64_t left = deadline - now_ms();
    return left > 0 ? (int)left : 0;
}

static int wait_readable(int sock, int64_t deadline) {
    for (;;) {
        struct pollfd p = {sock, POLLIN, 0};
        int n = real.poll(&p, 1, left_ms(deadline));
        if (n > 0)
            return 0;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* ---- connecting ---- */

/* A full backlog blocks until there is room, but only with a send timeout: a thousand subscribers come at
 * once when a scout returns, and a non-blocking connect would know no better than to try again. */
static int connect_until(int sock, const struct sockaddr_un *to, int64_t deadline) {
    for (;;) {
        int left = left_ms(deadline);
        struct timeval t = {left / 1000, left % 1000 * 1000};
        if (left == 0)
            return -ETIMEDOUT;
        if (real.setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) != 0)
            return -errno;
        if (real.connect(sock, (const struct sockaddr *)to, sizeof *to) == 0)
            return 0;
        if (errno != EINTR)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
    }
}

/* Out of the way at once: a number among the program's own that it closes meanwhile, as daemons do with all
 * there are, and uses again, would be taken for ours. */
static int connect_at(const struct sockaddr_un *to, int64_t deadline) {
    int sock = lift(real.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (sock < 0)
        return -errno;
    int r = connect_until(sock, to, deadline);
    if (r == 0 && !place_peer_trusted(sock))
        r = -EPERM;
    if (r == 0 && real.fcntl(sock, F_SETFL, (void *)(long)O_NONBLOCK) != 0)
        r = -errno;
    if (r == 0)
        return sock;
    lift_close(sock);
    return r;
}

/* The first scout that answers and may be believed, or the most telling error. */
static int connect_first(const char *name, int64_t deadline) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int err = -ENOENT;
    for (int i = 0;; i++) {
        int r = place_candidate(name, i, to.sun_path, sizeof to.sun_path);
        if (r == 0)
            return err;
        if (r > 0)
            r = connect_at(&to, deadline);
        if (r >= 0)
            return r;
        if (r != -ENOENT)
            err = r;
    }
}

static int send_message(int sock, const void *msg, size_t len) {
    ssize_t n = real.send(sock, msg, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -EAGAIN : -EPIPE;
    return (size_t)n == len ? 0 : -EPIPE;
}

/* ---- the first reply ---- */

/* How many descriptors came along; the last is in *ret_fd, or -1, the others are closed. */
static int take_fds(struct msghdr *m, int *ret_fd) {
    int count = 0;
    *ret_fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + CMSG_LEN(sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
            lift_drop(ret_fd);
            memcpy(ret_fd, CMSG_DATA(c) + at, sizeof *ret_fd);
            count++;
        }
    }
    return count;
}

/* One packet, or -EAGAIN, or -EPIPE. Its length is beyond the buffer if it was too long. ret_lost:
 * descriptors were sent that cannot be had, too many or more than this process has room for. */
static ssize_t receive_packet(int sock, void *buf, size_t len, int *ret_fd, int *ret_lost) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {buf, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    m.msg_control = &control;
    m.msg_controllen = sizeof control;
    ssize_t n = real.recvmsg(sock, &m, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
    *ret_lost = take_fds(&m, ret_fd) > 1 || (m.msg_flags & MSG_CTRUNC);
    return n ? n : -EPIPE;
}

static int is_mailbox(int fd) {
    struct mq_attr attr;
    return mq_getattr(fd, &attr) == 0 && attr.mq_msgsize == (long)sizeof(struct wire_snapshot);
}

static int done_error(const struct wire_done *d) {
    return d->error > 0 && d->error <= MAX_ERRNO ? -d->error : -EPROTO;
}

/* 1: taken over; 0: wait on; -EBADMSG: a mailbox was meant for us but cannot be used. */
static int take_reply(struct scout_link *l, union wire_message *p, size_t len, int *fd, int lost,
                      struct wire_snapshot *ret_first) {
    int type = len <= sizeof *p ? wire_check(p, len) : 0;
    if (type == WIRE_DONE)
        return done_error(&p->done);
    if (type != WIRE_SNAPSHOT) {
        l->dropped++;
        return 0;
    }
    if (lost || (*fd >= 0 && !is_mailbox(*fd)))
        return -EBADMSG;
    l->queue = *fd;
    *fd = -1;
    memcpy(ret_first, p, len);
    return 1;
}

static int await_reply(struct scout_link *l, int64_t deadline, struct wire_snapshot *ret_first) {
    union wire_message p;
    int r;
    do {
        int fd = -1;
        int lost = 0;
        r = wait_readable(l->sock, deadline);
        if (r < 0)
            return r;
        ssize_t n = receive_packet(l->sock, &p, sizeof p, &fd, &lost);
        if (n > 0)
            r = take_reply(l, &p, (size_t)n, &fd, lost, ret_first);
        else if (n != -EAGAIN)
            r = (int)n;
        lift_drop(&fd);
    } while (r == 0);
    return r < 0 ? r : 0;
}

/* To a scout of another process namespace our thread's number may be that of another one. */
static bool counts_as_we_do(int sock) {
    struct ucred scout = {0};
    socklen_t len = sizeof scout;
    return real.getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &scout, &len) == 0 && scout.pid != 0;
}

static int subscribe(struct scout_link *l, const char *name, pid_t tid, uint32_t flags, int64_t deadline,
                     struct wire_snapshot *ret_first) {
    struct wire_subscribe s = {.header = {WIRE_VERSION, WIRE_SUBSCRIBE, sizeof s}, .flags = flags};
    strncpy(s.program, program_invocation_short_name, sizeof s.program - 1);
    int r = connect_first(name, deadline);
    if (r < 0)
        return r;
    l->sock = r;
    s.tid = counts_as_we_do(l->sock) ? (uint32_t)tid : 0;
    r = send_message(l->sock, &s, sizeof s);
    if (r == 0)
        r = await_reply(l, deadline, ret_first);
    if (r < 0)
        scout_link_close(l);
    return r;
}

int scout_link_open(struct scout_link *l, const char *name, pid_t tid, struct wire_snapshot *ret_first) {
    int cancel = hold_cancel();
    int64_t deadline = now_ms() + PATIENCE_MS;
    const uint32_t wish = self_filtered() ? 0 : WIRE_WANT_QUEUE;
    int r = subscribe(l, name, tid, wish, deadline, ret_first);
    /* No room for one more descriptor, or a sandbox without message queues: the socket will do. */
    if (r == -EBADMSG && wish)
        r = subscribe(l, name, tid, 0, deadline, ret_first);
    if (r == 0 && l->queue >= 0)
        l->queue = lift(l->queue);
    release_cancel(cancel);
    return r;
}

void scout_link_close(struct scout_link *l) {
    lift_drop(&l->sock);
    lift_drop(&l->queue);
}

/* ---- afterwards ---- */

/* Never O_NONBLOCK: that belongs to the description all subscribers' copies share with the scout. A time that
 * has long passed does the same. */
static int receive_queue(struct scout_link *l, struct wire_snapshot *ret) {
    const struct timespec past = {0, 0};
    for (int i = 0; l->queue >= 0 && i < BURST; i++) {
        ssize_t n = mq_timedreceive(l->queue, (char *)ret, sizeof *ret, NULL, &past);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ETIMEDOUT || errno == EAGAIN ? 0 : -EPIPE;
        if (wire_check(ret, (size_t)n) == WIRE_SNAPSHOT)
            return 1;
        l->dropped++;
    }
    return 0;
}

static int receive_socket(struct scout_link *l, struct wire_snapshot *ret) {
    for (int i = 0; i < BURST; i++) {
        ssize_t n = real.recv(l->sock, ret, sizeof *ret, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN ? 0 : -EPIPE;
        int type = (size_t)n <= sizeof *ret ? wire_check(ret, (size_t)n) : 0;
        if (type == WIRE_SNAPSHOT)
            return 1;
        l->released |= type == WIRE_RELEASE;
        l->dropped += type != WIRE_RELEASE;
    }
    return 0;
}

int scout_link_receive(struct scout_link *l, struct wire_snapshot *ret) {
    int r = receive_queue(l, ret);
    if (r == 0)
        r = receive_socket(l, ret);
    /* A last word may have gone into the mailbox after we had looked there and before the end. */
    if (r == -EPIPE && receive_queue(l, ret) == 1)
        r = 1;
    return r;
}

int scout_link_report(struct scout_link *l, struct wire_report *report) {
    report->header = (struct wire_header){WIRE_VERSION, WIRE_REPORT, sizeof *report};
    if (report->count > WIRE_WANTS)
        report->count = WIRE_WANTS;
    return l->sock < 0 ? -EPIPE : send_message(l->sock, report, sizeof *report);
}

/* ---- the bell ---- */

static int bell_at(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_uid == 0 || st.st_uid == geteuid()))
        return fd;
    real.close(fd);
    return -EPERM;
}

int scout_link_bell(const char *name) {
    char path[PLACE_MAX];
    char bell[PLACE_MAX];
    int cancel = hold_cancel();
    int fd = -ENOENT;
    for (int i = 0, r; fd < 0 && (r = place_candidate(name, i, path, sizeof path)) != 0; i++) {
        if (r > 0)
            r = place_bell(path, bell, sizeof bell);
        r = r < 0 ? r : bell_at(bell);
        if (r != -ENOENT)
            fd = r;
    }
    if (fd >= 0)
        fd = lift(fd);
    release_cancel(cancel);
    return fd;
}

/* ---- the labels ---- */

/* 0 once the scout is done, with *ret_got if it named them; else -errno. */
static int await_labels(int sock, int64_t deadline, struct label_names *ret, int *ret_got) {
    union wire_message p;
    for (;;) {
        int r = wait_readable(sock, deadline);
        if (r < 0)
            return r;
        ssize_t n = real.recv(sock, &p, sizeof p, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return -EPIPE;
        int type = (size_t)n <= sizeof p ? wire_check(&p, (size_t)n) : 0;
        if (type == WIRE_DONE)
            return p.done.error ? done_error(&p.done) : 0;
        if (type == WIRE_LABELS) {
            memcpy(ret->name, p.labels.names, sizeof ret->name);
            *ret_got = 1;
        }
    }
}

_Static_assert(sizeof(((struct label_names *)0)->name) == sizeof(((struct wire_labels *)0)->names),
               "same table");

int scout_link_labels(const char *name, struct label_names *ret) {
    const struct wire_ask ask = {{WIRE_VERSION, WIRE_ASK, sizeof ask}, WIRE_ASK_LABELS, 0};
    int cancel = hold_cancel();
    int64_t deadline = now_ms() + PATIENCE_MS;
    int got = 0;
    int sock = connect_first(name, deadline);
    int r = sock < 0 ? sock : send_message(sock, &ask, sizeof ask);
    if (r == 0)
        r = await_labels(sock, deadline, ret, &got);
    if (r == 0 && !got)
        r = -EPROTO;
    lift_drop(&sock);
    release_cancel(cancel);
    return r;
}

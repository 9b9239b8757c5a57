/* socket_calls - the calls on a managed socket that are no I/O.
 * Each takes the lock for the whole of its short work. Options and flags reach both what is under the number
 * and the connection being made; what a program can ask about its socket is answered as if that connection
 * were there already. */
#include "socket_calls.h"
#include "carry.h"
#include "datagram.h"
#include "flow.h"
#include "leave.h"
#include "lift.h"
#include "link.h"
#include "reconnect.h"
#include "run.h"
#include "stream.h"
#include "swap.h"
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The record with the lock taken, or NULL without it. */
static struct sock *enter(int fd) {
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s)
        lock_drop();
    return s;
}

static struct sock *enter_labeled(int fd) {
    struct sock *s = enter(fd);
    if (!s || s->kind == SOCK_LABELED)
        return s;
    lock_drop();
    return NULL;
}

/* What a call on fd acts on. */
static int described(const struct sock *s, int fd) {
    return s->aside ? datagram_number(s, fd) : s->buried ? swap_number(s, fd) : flow_number(s, fd);
}

/* Captured and not connected by us: what is under the number is the program's own. */
static bool untouched(const struct sock *s) {
    return s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH;
}

int socket_new(int family, int type, int protocol) {
    const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (family != AF_INET && family != AF_INET6)
        return -EAFNOSUPPORT;
    shim_claim();
    int fd = real.socket(family, type, protocol);
    if (fd < 0)
        return -errno;
    lock_take();
    struct sock *s = sock_new(fd, SOCK_LABELED, family, kind, protocol);
    if (s) {
        shim.used = true;
        pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
        int old = swap_out(s); /* silent from the beginning */
        if (old >= 0)
            lift_close(old);
        talk_report();
    }
    lock_drop();
    if (!s)
        real.close(fd);
    return s ? fd : -ENOMEM;
}

/* ---- options and flags ---- */

/* A placeholder knows only what a stream knows: others ask and try on a socket of their own kind. */
static int scratch(struct sock *s) {
    const bool real_one =
        sock_stream(s) || s->kind == SOCK_CAPTURED || s->state == LIFE_LIVE || s->state == LIFE_DEAD;
    return real_one ? -1 : swap_fresh(s, NULL);
}

static int set_elsewhere(const struct sock *s, int level, int name, const void *val, socklen_t len, int r) {
    const int plain = carry_stand_in(s, level, name, r);
    if (plain < 0)
        return r;
    r = real.setsockopt(plain, level, name, val, len) < 0 ? -errno : 0;
    lift_close(plain);
    return r;
}

static int get_elsewhere(const struct sock *s, int level, int name, void *val, socklen_t *len, int r) {
    const int plain = carry_stand_in(s, level, name, r);
    if (plain < 0)
        return r;
    r = real.getsockopt(plain, level, name, val, len) < 0 ? -errno : 0;
    lift_close(plain);
    return r;
}

/* Who has given calls a time may not have had one before. */
static void review_ways(struct sock *s, int level, int name) {
    if (level == SOL_SOCKET && name == SO_SNDTIMEO && sock_stream(s))
        atomic_store(&s->clear, WAY_SHUT);
    if (level == SOL_SOCKET && name == SO_RCVTIMEO && atomic_load(&s->direct))
        swap_review(s);
}

int socket_set_option(int fd, int level, int name, const void *val, socklen_t len) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    const int number = described(s, fd);
    const int trial = number == fd ? scratch(s) : -1;
    int r = real.setsockopt(trial >= 0 ? trial : number, level, name, val, len) < 0 ? -errno : 0;
    if (trial >= 0)
        lift_close(trial);
    if (r < 0)
        r = set_elsewhere(s, level, name, val, len, r);
    if (r == 0 && number == fd && s->hidden >= 0 && s->state != LIFE_MOVING)
        real.setsockopt(s->hidden, level, name, val, len);
    if (r == 0)
        r = options_put(&s->options, level, name, val, len);
    review_ways(s, level, name);
    lock_drop();
    return r;
}

/* What a placeholder would answer about itself. */
static bool answer(const struct sock *s, int level, int name, int *ret) {
    if (level != SOL_SOCKET)
        return false;
    if (name == SO_TYPE)
        *ret = s->type;
    else if (name == SO_DOMAIN)
        *ret = s->family;
    else if (name == SO_PROTOCOL)
        *ret = s->protocol ? s->protocol : sock_stream(s) ? IPPROTO_TCP : IPPROTO_UDP;
    else if (name == SO_ACCEPTCONN)
        *ret = 0;
    else
        return false;
    return true;
}

/* A placeholder listens; the program is told what it would be doing. */
static bool connecting(const struct sock *s) {
    return s->state == LIFE_WAITING || life_attempting(s->state);
}

/* The kernel tells an error once, and we have heard it first. */
static int take_error(struct sock *s, int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    if (s->kind == SOCK_LABELED)
        return s->error;
    if (!s->cut) /* else it is left to holders that no door sees */
        real.getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    error = s->untold ? s->untold : error;
    s->untold = 0;
    return error;
}

/* Of the connection that the program knows of. */
static void set_state(const struct sock *s, unsigned char *state) {
    if (connecting(s))
        *state = s->lived ? TCP_ESTABLISHED : TCP_SYN_SENT;
    else
        *state = (unsigned char)carry_state(s, *state);
}

/* As the kernel does: with room for less, the beginning. */
static int hand_value(int value, void *val, socklen_t *len) {
    if (!len || !val)
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    if (*len > sizeof value)
        *len = sizeof value;
    memcpy(val, &value, *len);
    return 0;
}

int socket_get_option(int fd, int level, int name, void *val, socklen_t *len) {
    int value, r;
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    const int number = described(s, fd);
    if (number == fd && answer(s, level, name, &value)) {
        r = hand_value(value, val, len);
    } else if ((number == fd || s->buried) && s->state == LIFE_DEAD && level == SOL_SOCKET &&
               name == SO_ERROR) {
        r = hand_value(take_error(s, fd), val, len);
    } else {
        const int trial = number == fd ? scratch(s) : -1;
        r = real.getsockopt(trial >= 0 ? trial : number, level, name, val, len) < 0 ? -errno : 0;
        if (trial >= 0)
            lift_close(trial);
        if (r < 0)
            r = get_elsewhere(s, level, name, val, len, r);
        if (r == 0 && number == fd && level == IPPROTO_TCP && name == TCP_INFO && *len)
            set_state(s, val);
    }
    lock_drop();
    return r;
}

int socket_set_flags(int fd, long flags) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    int r = real.fcntl(fd, F_SETFL, (void *)flags) < 0 ? -errno : 0;
    const int number = described(s, fd);
    if (r == 0 && number != fd)
        real.fcntl(number, F_SETFL, (void *)flags);
    lock_drop();
    return r;
}

int socket_set_nonblocking(int fd, int on) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    int r = real.ioctl(fd, FIONBIO, &on) < 0 ? -errno : 0;
    const int number = described(s, fd);
    if (r == 0 && number != fd)
        real.ioctl(number, FIONBIO, &on);
    lock_drop();
    return r;
}

int socket_unread(int fd, int *ret_bytes) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    const int number = described(s, fd);
    int there = 0;
    if (s->state == LIFE_LIVE || s->state == LIFE_DEAD || number != fd || untouched(s))
        real.ioctl(number, FIONREAD, &there);
    if (there == 1 && carry_wanted(s))
        there = (int)stream_unread(number); /* Multipath TCP counts an end as a byte */
    if ((number == fd || s->aside || s->buried) && s->unread.first)
        there = sock_stream(s) ? there + (int)s->unread.bytes : (int)s->unread.first->len;
    *ret_bytes = there;
    lock_drop();
    return 0;
}

/* Of what is not connected yet the kernel says 0, but of a placeholder that it makes no sense. */
int socket_unsent(int fd, unsigned long request, int *ret_bytes) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    const int number = described(s, fd);
    int r = 0;
    if (s->state == LIFE_LIVE || s->state == LIFE_DEAD || number != fd || untouched(s))
        r = real.ioctl(number, request, ret_bytes) < 0 ? -errno : 0;
    else if (s->state == LIFE_MOVING)
        *ret_bytes = sock_stream(s) ? (int)stream_unacked(s->hidden, true) : 0;
    else
        *ret_bytes = (int)s->sent.bytes; /* it will be sent again */
    lock_drop();
    return r;
}

/* ---- names ---- */

static int hand_out(const void *from, socklen_t size, struct sockaddr *addr, socklen_t *len) {
    if (!len || !addr)
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    memcpy(addr, from, *len < size ? *len : size);
    *len = size;
    return 0;
}

int socket_peer_name(int fd, struct sockaddr *addr, socklen_t *len) {
    int r;
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    if (!s->tolen && s->kind == SOCK_LABELED)
        r = -ENOTCONN;
    else if (s->tolen && (s->kind == SOCK_LABELED || !sock_stream(s) || (s->lived && connecting(s))))
        r = hand_out(&s->to, s->tolen, addr, len);
    else
        r = real.getpeername(described(s, fd), addr, len) < 0 ? -errno : 0;
    lock_drop();
    return r;
}

/* A placeholder's own port is nobody's business. */
int socket_own_name(int fd, struct sockaddr *addr, socklen_t *len) {
    const struct sockaddr_storage none = {0};
    struct sock *s = enter(fd);
    int r;
    if (!s)
        return -EBADF;
    const int number = described(s, fd);
    if (number != fd || s->state == LIFE_LIVE || s->state == LIFE_DEAD || untouched(s)) {
        r = real.getsockname(number, addr, len) < 0 ? -errno : 0;
    } else if (s->hidden >= 0 && s->state != LIFE_MOVING) {
        r = real.getsockname(s->hidden, addr, len) < 0 ? -errno : 0;
    } else {
        struct sockaddr_storage own = none;
        own.ss_family = (sa_family_t)s->family;
        ((struct sockaddr_in6 *)&own)->sin6_port = s->port; /* where IPv4 has it, too */
        r = hand_out(&own, s->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6),
                     addr, len);
    }
    lock_drop();
    return r;
}

int socket_network(int fd, struct wire_network *ret) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    const struct wire_network *n = NULL;
    if (s->state == LIFE_LIVE || self_frame(s))
        n = net_find(&shim.nets, s->net);
    if (n)
        *ret = *n;
    lock_drop();
    return n ? 0 : -ENOTCONN;
}

/* ---- ends ---- */

/* What was connected and has ended one of its sides goes on with the other; a handshake is given up, as Linux
 * does. */
static void stop_waiting(struct sock *s, int how) {
    s->deaf |= s->lived && how != SHUT_WR;
    s->sealed |= s->lived && how != SHUT_RD;
    if (how == SHUT_RDWR || !s->lived)
        reconnect_give_up(s, ECONNRESET);
    if (s->deaf && s->state == LIFE_DEAD)
        s->untold = 0; /* it was asked for */
    reconnect_announce(s);
    self_wake_all();
}

int socket_shutdown(int fd, int how) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    const int number = described(s, fd);
    int r;
    if (number == fd && s->kind == SOCK_LABELED && s->state != LIFE_LIVE && s->state != LIFE_DEAD)
        r = -ENOTCONN;
    else if (s->kind == SOCK_CAPTURED && connecting(s)) {
        stop_waiting(s, how);
        lock_drop();
        return 0;
    } else
        r = real.shutdown(number, how) < 0 ? -errno : 0;
    s->deaf |= r == 0 && how == SHUT_RD;
    if (r == 0 && how != SHUT_RD) {
        s->sealed = true;
        atomic_store(&s->clear, WAY_SHUT);
        reconnect_consider(s);
    }
    lock_drop();
    return r;
}

int socket_reset(int fd) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    reconnect_reset(s);
    lock_drop();
    return 0;
}

static void take_away(struct sock *s, int fd) {
    const bool last = sock_forget(s, fd);
    if (last)
        reconnect_close(s);
    sock_put(s);
}

bool socket_holds(int fd) {
    if (getpid() != shim.owner)
        return false; /* the lock, too, is the owner's */
    struct sock *s = enter(fd);
    if (!s)
        return false;
    const bool holds = swap_holds(s, fd);
    if (!holds)
        take_away(s, fd);
    lock_drop();
    return holds;
}

/* The number is gone whether or not the thread is cancelled in the kernel's close. */
static void let_go(void *record) {
    lock_take();
    sock_put(record);
    lock_drop();
}

int socket_close(int fd) {
    struct sock *s = enter(fd);
    if (!s)
        return -EBADF;
    sock_get(s);
    if (s->nfds == 1 && s->kind == SOCK_LABELED)
        leave_recall(s);
    take_away(s, fd);
    const bool last = s->state == LIFE_CLOSED;
    /* A last duplicate wakes who is blocked on the description; others still hold it otherwise. */
    if (last && !s->shared && s->kind == SOCK_LABELED)
        real.shutdown(fd, SHUT_RD);
    lock_drop();
    int r;
    pthread_cleanup_push(let_go, s);
    r = real.close(fd) < 0 ? -errno : 0;
    pthread_cleanup_pop(1);
    return r;
}

void socket_make_way(int fd) {
    lock_take();
    const int other = lift_owns(fd) ? lift_away(fd) : -1;
    if (other >= 0) {
        self_moved(fd, other);
        link_moved(fd, other);
        run_moved(fd, other);
        for (struct sock *s = sock_first(); s; s = s->next) {
            s->hidden = s->hidden == fd ? other : s->hidden;
            s->ready_fd = s->ready_fd == fd ? other : s->ready_fd;
            s->own = s->own == fd ? other : s->own;
        }
    }
    lock_drop();
}

void socket_gone(int fd) {
    struct sock *s = enter(fd);
    if (!s)
        return;
    take_away(s, fd);
    lock_drop();
}

void socket_is_file(int fd, bool reads, bool writes) {
    struct sock *s = enter(fd);
    if (!s)
        return;
    s->file_reads |= reads;
    s->file_writes |= writes;
    if (s->state == LIFE_DEAD && !stream_finished(fd))
        leave_cut_off(s, wait_now_ms());
    lock_drop();
}

void socket_given(int fd) {
    struct sock *s = enter(fd);
    if (!s)
        return;
    s->given = true;
    lock_drop();
}

/* A copy made while another connection came under the number is of the one that is gone. */
static void copy_again(const struct sock *s, int fd, int copy) {
    if (swap_holds(s, copy) || !swap_holds(s, fd))
        return;
    const int flags = real.fcntl(copy, F_GETFD, NULL);
    real.dup3(fd, copy, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
}

void socket_copied(int fd, int copy) {
    struct sock *s = enter(fd);
    if (!s)
        return;
    copy_again(s, fd, copy);
    s->redirected |= copy <= STDERR_FILENO;
    if (!leave_copied(s, copy))
        sock_alias(s, copy);
    lock_drop();
}

/* ---- thunks and settings ---- */

int socket_cancel(int fd, void (*handler)(void *), struct thunk **ret_list) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    *ret_list = thunk_take_all(&s->thunks, handler);
    wait_wake(&s->waiters);
    talk_report();
    lock_drop();
    return 0;
}

int socket_thunk_count(int fd) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    int count = (int)s->thunks.count;
    lock_drop();
    return count;
}

ssize_t socket_unacked(int fd) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    ssize_t bytes = s->unacked;
    lock_drop();
    return bytes;
}

int socket_set_replay(int fd, bool on) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    s->replay = on;
    atomic_store(&s->clear, WAY_SHUT);
    if (!on && !s->unsent) /* else its sender does */
        stash_finish(&s->sent);
    lock_drop();
    return 0;
}

int socket_set_patience(int fd, const struct timespec *patience) {
    struct sock *s = enter_labeled(fd);
    if (!s)
        return -EBADF;
    s->patient = !patience;
    if (patience)
        s->patience = *patience;
    lock_drop();
    return 0;
}

/* socket_calls - the calls on a managed socket that are no I/O: made, named, ended, copied; its thunks.
 * Each takes the lock for the whole of its short work. A name is answered as if the connection that is being
 * made were there already. Deliberately absent: options and flags (socket_options). */
#include "socket_calls.h"
#include "call.h"
#include "datagram.h"
#include "flow.h"
#include "leave.h"
#include "lift.h"
#include "link.h"
#include "reconnect.h"
#include "run.h"
#include "socket_entry.h"
#include "stream.h"
#include "swap.h"
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

int socket_number(const struct sock *s, int fd) {
    return s->aside ? datagram_number(s, fd) : s->buried ? swap_number(s, fd) : flow_number(s, fd);
}

bool socket_true(const struct sock *s, int fd, int number) {
    const bool untouched = s->kind == SOCK_CAPTURED && s->state == LIFE_FRESH;
    return number != fd || s->state == LIFE_LIVE || s->state == LIFE_DEAD || untouched;
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
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    if (!s->tolen && s->kind == SOCK_LABELED)
        r = -ENOTCONN;
    else if (s->kind == SOCK_CAPTURED && !sock_stream(s) &&
             real.getpeername(socket_number(s, fd), addr, len) == 0)
        r = 0; /* an IPv6 socket may have been given an IPv4 address */
    else if (s->tolen && (s->kind == SOCK_LABELED || !sock_stream(s) || (s->lived && socket_connecting(s))))
        r = hand_out(&s->to, s->tolen, addr, len);
    else
        r = real.getpeername(socket_number(s, fd), addr, len) < 0 ? -errno : 0;
    lock_drop();
    return r;
}

/* A placeholder's own port is nobody's business. */
int socket_own_name(int fd, struct sockaddr *addr, socklen_t *len) {
    const struct sockaddr_storage none = {0};
    struct sock *s = call_enter(fd);
    int r;
    if (!s)
        return -EBADF;
    const int number = socket_number(s, fd);
    if (socket_true(s, fd, number)) {
        r = real.getsockname(number, addr, len) < 0 ? -errno : 0;
    } else if (s->lived && s->waslen) {
        r = hand_out(&s->was, s->waslen, addr, len);
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
    struct sock *s = call_enter_labeled(fd);
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
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    const int number = socket_number(s, fd);
    int r;
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
        r = -EINVAL;
    else if (number == fd && s->kind == SOCK_LABELED && s->state != LIFE_LIVE && s->state != LIFE_DEAD)
        r = -ENOTCONN;
    else if (s->kind == SOCK_CAPTURED && socket_connecting(s)) {
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
    struct sock *s = call_enter_labeled(fd);
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
    struct sock *s = call_enter(fd);
    if (!s)
        return false;
    const bool holds = swap_holds(s, fd);
    if (!holds)
        take_away(s, fd);
    lock_drop();
    return holds;
}

/* Roused, they find nothing under the number. */
static void rouse_from(struct sock *s, int fd) {
    if (self_nobody_in(s))
        return;
    const int nothing = real.socket(s->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (nothing >= 0 && real.dup3(nothing, fd, O_CLOEXEC) >= 0 && self_rouse(s))
        self_quiesce(s, SELF_ROUSED_MS);
    if (nothing >= 0)
        real.close(nothing);
}

/* Its last number goes: who is blocked on the description is woken. What the kernel has taken goes out all
 * the same. */
static void let_end(struct sock *s, int fd) {
    if (s->nfds == 1 && s->kind == SOCK_LABELED)
        leave_recall(s);
    take_away(s, fd);
    if (s->state != LIFE_CLOSED || s->kind != SOCK_LABELED || !swap_holds(s, fd))
        return;
    if (s->shared)
        rouse_from(s, fd);
    else
        real.shutdown(fd, SHUT_RDWR);
}

int socket_close(int fd) {
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    sock_get(s);
    let_end(s, fd);
    lock_drop();
    int r;
    pthread_cleanup_push(call_let_go, s); /* the number is gone in any case */
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
    struct sock *s = call_enter(fd);
    if (!s)
        return;
    take_away(s, fd);
    lock_drop();
}

void socket_covered(int fd) {
    struct sock *s = call_enter(fd);
    if (!s)
        return;
    sock_get(s);
    let_end(s, fd);
    sock_put(s);
    lock_drop();
}

void socket_let_alone(int fd) {
    struct sock *s = call_enter(fd);
    if (!s)
        return;
    sock_get(s);
    while (s->nfds)
        take_away(s, s->fds[0]);
    sock_put(s);
    lock_drop();
}

void socket_is_file(int fd, bool reads, bool writes) {
    struct sock *s = call_enter(fd);
    if (!s)
        return;
    s->file_reads |= reads;
    s->file_writes |= writes;
    if (s->state == LIFE_DEAD && !stream_finished(fd))
        leave_cut_off(s, wait_now_ms());
    lock_drop();
}

void socket_given(int fd) {
    struct sock *s = call_enter(fd);
    if (!s)
        return;
    s->given = true;
    lock_drop();
}

/* A copy made while another connection came under the number is of the one that is gone. */
static void copy_again(const struct sock *s, int fd, int copy) {
    if (!swap_holds(s, copy) && swap_holds(s, fd))
        swap_put(fd, copy);
}

void socket_copied(int fd, int copy) {
    struct sock *s = call_enter(fd);
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
    struct sock *s = call_enter_labeled(fd);
    if (!s)
        return -EBADF;
    *ret_list = thunk_take_all(&s->thunks, handler);
    wait_wake(&s->waiters);
    talk_report();
    lock_drop();
    return 0;
}

int socket_thunk_count(int fd) {
    struct sock *s = call_enter_labeled(fd);
    if (!s)
        return -EBADF;
    int count = (int)s->thunks.count;
    lock_drop();
    return count;
}

ssize_t socket_unacked(int fd) {
    struct sock *s = call_enter_labeled(fd);
    if (!s)
        return -EBADF;
    ssize_t bytes = s->unacked;
    lock_drop();
    return bytes;
}

int socket_set_replay(int fd, bool on) {
    struct sock *s = call_enter_labeled(fd);
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
    struct sock *s = call_enter_labeled(fd);
    if (!s)
        return -EBADF;
    s->patient = !patience;
    if (patience)
        s->patience = *patience;
    lock_drop();
    return 0;
}

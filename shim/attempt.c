/* attempt - makes one connection for a socket: by a network, past its handlers, to under the number or to the
 * next try.
 * A step is one transition of life, made in one piece with the lock held; the listening thread, or who waits,
 * brings it on when the kernel has answered, and run when a handler is back. Deliberately absent: when one is
 * due, and for which labels (reconnect); user code (run). */
#include "attempt.h"
#include "beckon.h"
#include "carry.h"
#include "choose.h"
#include "fresh.h"
#include "lift.h"
#include "link.h"
#include "reconnect.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

enum {
    YOUNG_MS = 10000, /* a network is so young: unreachable there means not yet */
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 1000,
};

static bool was_connected(const struct sock *s) {
    return s->kind == SOCK_CAPTURED && s->lived;
}

/* What is under the number polls as a failed one, too, once it does not listen any more. */
static void fail_in_place(struct sock *s, int hidden) {
    swap_wake(s->fds[0]);
    lift_close(hidden);
    self_wake_all();
}

/* The failed connection itself goes under the number: it polls as a failed one does. Asked for data it tells
 * of an end of file, which nobody has sent: for who has been connected it is cut. */
void attempt_failed(struct sock *s, int error) {
    int hidden = s->hidden;
    s->hidden = -1;
    if (was_connected(s))
        sock_cut(s);
    if (hidden >= 0 && swap_may(s))
        swap_in(s, hidden);
    else if (hidden >= 0)
        fail_in_place(s, hidden);
    sock_failed(s, error);
    reconnect_dead(s, error);
    beckon(s, BECKON_ANOTHER);
}

/* A round: each network that matches is tried once, then all rest until it is due. */
void attempt_back_off(struct sock *s) {
    const uint64_t now_ms = wait_now_ms();
    if (!s->backoff_ms || s->due <= now_ms) {
        s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : BACKOFF_MIN_MS;
        if (s->backoff_ms > BACKOFF_MAX_MS)
            s->backoff_ms = BACKOFF_MAX_MS;
        link_due(s, now_ms + s->backoff_ms);
        s->navoid = 0;
    }
    if (s->navoid < SOCK_AVOID)
        s->avoid[s->navoid] = s->net;
    s->navoid++;
}

void attempt_absent(struct sock *s) {
    if (!sock_turn(s, LIFE_ABSENT))
        return;
    lift_drop(&s->hidden);
    s->attempt++;
    s->net = 0;
    if (s->give_up_at)
        link_give_up(s, s->give_up_at + wait_now_ms() - s->attempt_at);
    reconnect_consider(s);
}

bool attempt_unreachable(int error) {
    return error == ENETUNREACH || error == EHOSTUNREACH || error == ETIMEDOUT || error == ENETDOWN ||
           error == EADDRNOTAVAIL || error == ENODEV || error == EHOSTDOWN;
}

bool attempt_usable(const struct sock *s) {
    return !s->net || net_works(net_find(&shim.nets, s->net));
}

/* Unreachable by a network that is young or going is no answer of the peer's. */
static bool not_yet(const struct sock *s, int error) {
    const struct wire_network *n = net_find(&shim.nets, s->net);
    if (swap_lacks(error))
        return s->lived || self.helping != s; /* who asks for a first connection is told */
    if (!attempt_unreachable(error))
        return false;
    if (!s->on_labels)
        return shim.nets.spoken && error != ETIMEDOUT;
    if (!n || n->state != WIRE_NET_UP || choose_misses(n))
        return true;
    return net_age(n, (uint32_t)s->attempt_at) < YOUNG_MS;
}

static void attempt_error(struct sock *s, int error) {
    if (!not_yet(s, error)) {
        attempt_failed(s, was_connected(s) ? ECONNRESET : error);
        return;
    }
    attempt_back_off(s);
    attempt_absent(s);
}

/* With the kernel's choice the source address tells which network it is. */
static uint64_t carrier(const struct sock *s, int fd) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    const bool four = s->family == AF_INET;
    if (real.getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return 0;
    const void *address = four ? (const void *)&((struct sockaddr_in *)&at)->sin_addr
                               : (const void *)&((struct sockaddr_in6 *)&at)->sin6_addr;
    for (uint32_t i = 0; i < shim.nets.now.count; i++) {
        const struct wire_network *n = &shim.nets.now.networks[i];
        if (n->family == s->family && memcmp(n->address, address, four ? 4 : 16) == 0)
            return net_id(n, choose_family(s));
    }
    return 0;
}

/* Who helps has begun this very step, and looked. */
static bool may_come(const struct sock *s) {
    return self.helping == s || swap_may(s);
}

static void live(struct sock *s) {
    int hidden = s->hidden;
    if (!may_come(s)) {
        attempt_error(s, EMFILE);
        return;
    }
    if (!sock_turn(s, LIFE_RESENT))
        return;
    if (!s->net)
        s->net = carrier(s, hidden);
    s->hidden = -1;
    s->attempt++;
    s->backoff_ms = 0;
    s->due = 0;
    s->give_up_at = 0;
    s->navoid = 0;
    s->wanted = false;
    s->shared = false;
    if (was_connected(s))
        real.connect(hidden, (struct sockaddr *)&s->to, s->tolen); /* as its program did with the first one */
    s->lived = true;
    carry_begin(s, hidden);
    if (s->deaf)
        real.shutdown(hidden, SHUT_RD);
    if (s->sealed)
        real.shutdown(hidden, SHUT_WR);
    swap_in(s, hidden);
    beckon(s, BECKON_ANOTHER);
    reconnect_proceed(s);
}

static void resend(struct sock *s) {
    size_t at = 0;
    for (struct stash_chunk *c = s->replay ? s->sent.first : NULL; c; at += c->len, c = c->next) {
        while (s->resent < at + c->len) {
            size_t from = s->resent > at ? s->resent - at : 0;
            ssize_t n = real.send(s->hidden, c->bytes + from, c->len - from, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN) {
                link_await(s);
                return;
            }
            if (n < 0) {
                attempt_error(s, errno);
                return;
            }
            s->resent += (size_t)n;
        }
    }
    live(s);
}

static void greeted(struct sock *s) {
    s->resent = 0;
    if (sock_turn(s, LIFE_GREETED))
        resend(s);
}

/* The handler uses the connection as its program would: with its flags. */
static void connected(struct sock *s) {
    if (!sock_turn(s, LIFE_CONNECTED))
        return;
    if (!s->post) {
        greeted(s);
        return;
    }
    const long flags = s->nfds ? real.fcntl(s->fds[0], F_GETFL, NULL) : -1;
    if (flags >= 0)
        beckon_flags(s->hidden, flags);
    reconnect_announce(s);
}

static void told(struct sock *s) {
    int error = 0;
    socklen_t len = sizeof error;
    if (real.getsockopt(s->hidden, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error)
        attempt_error(s, error);
    else
        connected(s);
}

/* True: the peer has answered, or the kernel has given up. */
static bool answered(struct sock *s) {
    struct pollfd p = {.fd = s->hidden, .events = POLLOUT};
    if (real.poll(&p, 1, 0) <= 0)
        return false;
    if (p.revents == POLLOUT)
        connected(s);
    else
        told(s);
    return true;
}

static void prepared(struct sock *s) {
    if (!sock_turn(s, LIFE_PREPARED))
        return;
    if (real.connect(s->hidden, (struct sockaddr *)&s->to, s->tolen) == 0)
        connected(s);
    else if (errno != EINPROGRESS)
        attempt_error(s, errno);
    else if (self.helping == s && answered(s))
        ; /* a peer on this machine does before connect() is back: who is about to wait for it need not */
    else {
        link_await(s);
        wait_wake(&s->waiters); /* who waited for a network waits for the peer from here on */
    }
}

void attempt_begin(struct sock *s, uint64_t labels, const struct wire_network *n) {
    if (!sock_turn(s, LIFE_BEGIN))
        return;
    s->net = n ? net_id(n, choose_family(s)) : 0;
    s->on_labels = labels;
    s->broken = false;
    s->attempt++;
    s->attempt_at = wait_now_ms();
    s->hidden = s->spare >= 0 || swap_may(s) ? fresh_socket(s, n) : -EMFILE;
    if (s->hidden < 0) {
        int error = -s->hidden;
        s->hidden = -1;
        attempt_error(s, error);
    } else if (s->pre) {
        reconnect_announce(s);
    } else {
        prepared(s);
    }
}

/* The peer hears the end of what the handler would not have; nothing that has come by it is the program's. */
static void refused_by_handler(struct sock *s) {
    lift_drop(&s->hidden);
    reconnect_give_up(s, ECONNABORTED);
}

void attempt_handler_done(struct sock *s, unsigned attempt, int hidden, int rc) {
    if (s->attempt != attempt || !life_attempting(s->state)) {
        lift_close(hidden); /* closed or reset meanwhile, or forked: the attempt is nobody's */
        reconnect_announce(s);
        return;
    }
    s->hidden = hidden;
    if (s->broken || !attempt_usable(s))
        attempt_absent(s);
    else if (rc)
        refused_by_handler(s);
    else if (s->state == LIFE_PREPARING)
        prepared(s);
    else
        greeted(s);
}

/* By the time the lock was had for it, it may be of an attempt that is over. */
void attempt_event(struct sock *s) {
    if (s->hidden < 0)
        return;
    sock_get(s);
    if (s->state == LIFE_RESENDING)
        resend(s);
    else if (s->state == LIFE_CONNECTING && !answered(s))
        link_await(s);
    sock_put(s);
}

/* leave - ends a connection without losing what it held.
 * What had arrived unread moves into the record, what the peer never acknowledged is counted (and kept, with
 * replay on), and whoever is blocked on the old description is woken by its end. Runs with the lock held, on
 * any thread. Deliberately absent: what comes next, which reconnect decides. */
#include "leave.h"
#include "beckon.h"
#include "carry.h"
#include "fresh.h"
#include "holder.h"
#include "lift.h"
#include "link.h"
#include "stream.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>

enum { DRAIN_MS = 2000, LACKING_MS = 100, UNREAD_MS = 60000, EXPIRING_MS = 50 };

static void leave_dead(struct sock *s, int error) {
    if (sock_turn(s, LIFE_FAILED))
        s->error = s->untold = error;
    s->attempt++;
    atomic_store(&s->clear, WAY_SHUT);
}

static size_t unacked_of(const struct sock *s, int fd, bool fin) {
    return sock_stream(s) ? stream_unacked(fd, fin) : 0;
}

/* What the connection that is left still held. */
static void settle_account(struct sock *s, size_t unacked) {
    s->unacked = (ssize_t)unacked;
    if (s->replay)
        stash_trim(&s->sent, (size_t)s->unacked + s->unsent);
    s->unsent = 0;
}

/* A shared description is left in peace, unless a thread of ours is blocked on it and cannot be roused:
 * nothing else would wake it, and the connection is lost to the others too. */
static void drop_connection(struct sock *s, int old, bool fin) {
    const bool alone = swap_collect(s, old);
    settle_account(s, unacked_of(s, old, fin));
    if (s->shared && alone)
        lift_close(old);
    else
        swap_abort(old);
}

/* A peer's end of file or reset is its word, not the network's: such a connection is not made again. */
static bool peer_has_ended(const struct sock *s) {
    return sock_stream(s) && stream_ended(s->fds[0]);
}

static bool is_output(int number) {
    return number == STDOUT_FILENO || number == STDERR_FILENO;
}

/* By a FILE, the program's own or one at a standard number. */
static bool is_read_unseen(const struct sock *s) {
    bool unseen = s->file_reads;
    for (unsigned i = 0; i < s->nfds; i++)
        unseen |= s->fds[i] == STDIN_FILENO;
    return unseen;
}

static bool is_written_unseen(const struct sock *s) {
    bool unseen = s->file_writes;
    for (unsigned i = 0; i < s->nfds; i++)
        unseen |= is_output(s->fds[i]);
    return unseen;
}

/* As a shell does to write there; once more for each command. */
bool leave_copied(const struct sock *s, int copy) {
    return s->cut && s->state == LIFE_DEAD && is_output(copy) && swap_mark(copy);
}

/* A fork shares the description until the child has gone or closed it; a spawned program has what is not
 * close-on-exec, and anybody what was sent by message. */
static bool may_share(const struct sock *s) {
    bool inherited = false;
    for (unsigned i = 0; i < s->nfds; i++)
        inherited |= !(real.fcntl(s->fds[i], F_GETFD, NULL) & FD_CLOEXEC);
    return s->shared || s->given || (inherited && !holder_childless());
}

static bool shared_now(const struct sock *s) {
    return s->nfds && may_share(s) && holder_elsewhere(s->fds[0], s->shared);
}

bool leave_asks(const struct sock *s) {
    const int fd = s->nfds ? s->fds[0] : -1;
    return fd >= 0 && may_share(s) &&
           (s->policy == RULES_POLICY_RECONNECT || stream_untouched(fd) || stream_unread(fd) ||
            stream_ended(fd));
}

/* AF_UNSPEC wakes every holder with an error and drops what is unread. Somebody whose calls no door sees
 * must be given time to read it first. */
static void cut_off(struct sock *s, uint64_t now_ms) {
    const int fd = s->fds[0];
    const bool theirs = s->shared || is_read_unseen(s);
    s->due = 0;
    if (!theirs) {
        swap_take(s, fd);
    } else if (stream_unread(fd) && now_ms < s->drain_until) {
        const uint64_t spent = UNREAD_MS - (s->drain_until - now_ms);
        link_due(s, now_ms + (spent < 100 ? 2 : spent < 5000 ? 20 : 500));
        return;
    } else if (carry_expires(s, now_ms)) {
        link_due(s, now_ms + EXPIRING_MS);
        return;
    }
    swap_wake(fd);
    /* Who only reads is better served by the connection itself, whose reads never tell of an end of file. */
    if (is_written_unseen(s))
        swap_bury(s);
    self_wake_all();
}

void leave_cut_off(struct sock *s, uint64_t now_ms) {
    if (s->cut && !s->buried && s->nfds)
        cut_off(s, now_ms);
}

/* No other connection may follow: what had arrived is read, then the reset. The description stays, so that
 * every holder hears it. */
static void end_in_place(struct sock *s) {
    if (!s->nfds)
        return;
    s->unacked = (ssize_t)stream_unacked(s->fds[0], s->sealed);
    swap_turn_away(s);
    leave_dead(s, ECONNRESET);
    sock_cut(s);
    s->drain_until = wait_now_ms() + UNREAD_MS;
    if (s->kind == SOCK_CAPTURED) {
        if (stream_unread(s->fds[0]))
            s->shared = shared_now(s);
        cut_off(s, wait_now_ms());
    } else {
        if (!swap_collect(s, s->fds[0]) || !s->shared)
            swap_wake(s->fds[0]);
    }
    self_wake_all();
}

/* The peer's end has arrived and stays to be read; only who sends hears of the loss. Where our own end had
 * gone before there was nothing left to lose: the kernel tells the rest. */
static void end_behind_peer(struct sock *s) {
    const bool over = stream_closed(s->fds[0]) && !stream_aborted(s->fds[0]);
    leave_dead(s, ECONNRESET);
    s->deaf |= stream_finished(s->fds[0]) || (over && !stream_failed(s->fds[0]));
    if (s->kind == SOCK_LABELED)
        return;
    if (over) {
        s->untold = 0;
        return;
    }
    sock_cut(s);
    swap_turn_away(s);
    /* Else the next write of one whose calls no door sees, or who has not heard yet, would raise a signal. */
    if (!is_written_unseen(s) && !shared_now(s))
        real.shutdown(s->fds[0], SHUT_WR);
    self_wake_all();
}

/* What the kernel does for this connection the next would not go on with: it encrypts what is written, which
 * would go out plain; or tells of each send when its memory is free, counted from the beginning. */
static bool is_tied(const struct sock *s) {
    const struct option *told = options_find(&s->options, SOL_SOCKET, SO_ZEROCOPY);
    int on = 0;
    if (told && told->len >= sizeof on)
        memcpy(&on, told->value, sizeof on);
    return on || options_find(&s->options, IPPROTO_TCP, TCP_ULP);
}

/* A captured stream is never spliced unasked: only one that reconnects by policy, and is nobody else's, may
 * go on elsewhere. */
static bool may_follow(struct sock *s) {
    if (s->kind == SOCK_LABELED || !sock_stream(s))
        return true;
    if (s->policy != RULES_POLICY_RECONNECT || s->file_reads || s->file_writes || s->redirected || is_tied(s))
        return false;
    s->shared = shared_now(s);
    return !s->shared;
}

/* What wakes a thread that is blocked on it is simpler where there is no other holder any more. */
void leave_recall(struct sock *s) {
    if (s->shared && s->nfds && !self_nobody_in(s))
        s->shared = shared_now(s);
}

static void drop_moving(struct sock *s) {
    int old = s->hidden;
    s->hidden = -1;
    s->due = 0;
    s->net = 0;
    s->lost_at = atomic_load(&s->swaps);
    drop_connection(s, old, !s->shared);
    sock_turn(s, LIFE_LOST);
}

/* Where a descriptor is lacking the connection stays as it is, and is looked at again. */
static int cannot_leave(struct sock *s, int error) {
    if (!swap_lacks(error)) {
        leave_dead(s, error);
        return 0;
    }
    link_due(s, wait_now_ms() + LACKING_MS);
    return -error;
}

/* What it was called is what it is called, as long as it waits for the next. */
static void keep_name(struct sock *s, int old) {
    s->waslen = sizeof s->was;
    if (s->kind != SOCK_CAPTURED || real.getsockname(old, (struct sockaddr *)&s->was, &s->waslen) < 0)
        s->waslen = 0;
}

int leave_lost(struct sock *s) {
    if (s->state == LIFE_MOVING) {
        drop_moving(s);
        return 0;
    }
    if (s->state != LIFE_LIVE)
        return 0;
    if (peer_has_ended(s)) {
        end_behind_peer(s);
        return 0;
    }
    const bool follows = may_follow(s), fresh = !follows && stream_untouched(s->fds[0]) && !shared_now(s);
    if (s->sealed || (!follows && !fresh) || !swap_may(s)) {
        end_in_place(s);
        return 0;
    }
    int old = swap_out(s);
    if (old < 0)
        return cannot_leave(s, -old);
    beckon_leave(s, old);
    keep_name(s, old);
    sock_turn(s, LIFE_LOST);
    s->lost_at = atomic_load(&s->swaps);
    s->net = 0;
    s->attempt++;
    if (s->kind == SOCK_CAPTURED && !s->patient)
        link_give_up(s, wait_end(&s->patience));
    if (fresh) {
        swap_abort(old); /* a greeting nobody has read: the next connection brings its own */
        return 0;
    }
    if (!s->shared)
        real.shutdown(old, SHUT_RDWR);
    drop_connection(s, old, !s->shared);
    return 0;
}

static bool left(struct sock *s, size_t unacked) {
    settle_account(s, unacked);
    s->due = 0;
    s->net = 0;
    return sock_turn(s, LIFE_DRAINED);
}

/* The peer has all of it, and nobody is inside a call on it, who would have to be woken. */
static bool is_delivered(const struct sock *s) {
    return !is_read_unseen(s) && self_nobody_in(s) && unacked_of(s, s->fds[0], false) == 0;
}

/* There is nothing to wait for: the connection need not be kept aside. */
static void take_leave(struct sock *s) {
    if (sock_stream(s))
        real.shutdown(s->fds[0], SHUT_WR);
    swap_take(s, s->fds[0]);
    left(s, 0);
}

int leave_for(struct sock *s, uint64_t labels) {
    if (!may_follow(s))
        return leave_lost(s);
    if (s->sealed)
        return 0;
    if (peer_has_ended(s)) {
        end_behind_peer(s);
        return 0;
    }
    leave_recall(s);
    const bool stands = self.helping == s && !s->shared && swap_stand(s), done = stands && is_delivered(s);
    const int old = done ? fresh_reserve(s) : stands ? swap_copy(s) : swap_out(s);
    if (old < 0) {
        s->standing = false;
        return cannot_leave(s, -old);
    }
    sock_turn(s, LIFE_LEAVE);
    s->want = labels;
    s->wanted = true;
    s->attempt++;
    if (done) {
        take_leave(s);
        return 0;
    }
    beckon_leave(s, old);
    keep_name(s, old);
    s->hidden = old;
    s->drain_until = wait_now_ms() + DRAIN_MS;
    if (sock_stream(s) && !s->shared)
        real.shutdown(old, SHUT_WR);
    if (s->shared)
        self_rouse(s); /* who is blocked in sending would feed it on */
    link_due(s, wait_now_ms());
    return 0;
}

/* SIOCOUTQ has no event: it is looked at again and again, ever less often. */
bool leave_drain(struct sock *s, uint64_t now_ms) {
    const bool fin = sock_stream(s) && !s->shared;
    int old = s->hidden;
    size_t unacked = unacked_of(s, old, fin);
    if (unacked && now_ms < s->drain_until && !stream_closed(old)) {
        uint64_t spent = DRAIN_MS - (s->drain_until - now_ms);
        link_due(s, now_ms + (spent < 10 ? 1 : spent < 100 ? 4 : 20));
        swap_gather(s, old);
        return false;
    }
    s->hidden = -1;
    swap_collect(s, old);
    unacked = unacked ? unacked_of(s, old, fin) : 0;
    if (unacked && !s->shared)
        swap_abort(old);
    else
        lift_close(old);
    return left(s, unacked);
}

/* reconnect - brings a socket from one connection to the next: when, and for which labels.
 * Each step is one transition of life, made in one piece with the lock held: nothing here blocks. Threads
 * that wait, the working threads and the listening thread all come in here; who comes next finds the state
 * the last one left. Deliberately absent: how a connection is made (attempt) and left (leave), user code
 * (run) and descriptors (swap). */
#include "reconnect.h"
#include "attempt.h"
#include "beckon.h"
#include "carry.h"
#include "datagram.h"
#include "fresh.h"
#include "leave.h"
#include "lift.h"
#include "link.h"
#include "run.h"
#include "swap.h"
#include "talk.h"

#include <errno.h>

enum { SETTLING_MS = 100 }; /* a route that comes late is looked for so often */

/* Where no placeholder can be had now, there is a next time. */
static void settle(struct sock *s) {
    swap_settle(s);
    if (!s->standing || s->due)
        return;
    link_due(s, wait_now_ms() + SETTLING_MS);
}

void reconnect_announce(struct sock *s) {
    settle(s);
    swap_review(s);
    wait_wake(&s->waiters);
    run_schedule(s);
    talk_report();
}

void reconnect_dead(struct sock *s, int error) {
    if (!sock_turn(s, LIFE_FAILED))
        return;
    s->error = error;
    s->attempt++;
    s->due = 0;
    s->wanted = false;
    atomic_store(&s->clear, WAY_SHUT);
    reconnect_announce(s);
}

static bool begin_for(struct sock *s, uint64_t labels) {
    const struct wire_network *n;
    if (choose_network(s, labels, &n) <= 0)
        return false;
    if (n && !net_is(n, s->pass))
        s->pass = 0;
    attempt_begin(s, labels, n);
    return true;
}

/* Whoever lets a lookup go means what it is for. */
static bool begin_released(struct sock *s) {
    if (!shim.name_released || s->kind != SOCK_CAPTURED)
        return false;
    const struct wire_network *n = net_pick(&shim.nets, 0, choose_family(s));
    shim.name_released = false;
    s->pass = n ? net_id(n, choose_family(s)) : 0;
    return n && begin_for(s, atomic_load(&s->labels));
}

/* First what was asked for, then the oldest thunk that can run, then who waits, then what it had. */
static bool seek(struct sock *s) {
    if (s->wanted && begin_for(s, s->want))
        return true;
    struct thunk_set *set = choose_thunks(s);
    if (set && begin_for(s, set->labels))
        return true;
    for (struct waiter *w = s->waiters.first; w; w = w->next)
        if (w->of.network && begin_for(s, w->of.labels))
            return true;
    return begin_for(s, atomic_load(&s->labels)) || begin_released(s);
}

/* Leaving begins with a look: often everything is acknowledged already. */
static void drain(struct sock *s, uint64_t now_ms) {
    if (leave_drain(s, now_ms))
        reconnect_consider(s);
}

static int leave(struct sock *s, uint64_t labels) {
    s->backoff_ms = 0;
    int r = leave_for(s, labels);
    if (s->state == LIFE_MOVING)
        drain(s, wait_now_ms());
    else if (s->state == LIFE_WAITING)
        reconnect_proceed(s);
    else
        reconnect_announce(s);
    settle(s);
    return r;
}

static void lost(struct sock *s) {
    s->backoff_ms = 0;
    leave_lost(s);
    if (s->state == LIFE_WAITING)
        reconnect_consider(s);
    else
        reconnect_announce(s);
}

/* A stream waits out what its network suffers; for a datagram the kernel's "no way" is the first to tell. */
bool reconnect_unreachable(struct sock *s, int error) {
    const struct wire_network *n = net_find(&shim.nets, s->net);
    const bool up = n && n->state == WIRE_NET_UP;
    const uint64_t net = s->net;
    if (net && !up && error == ECONNRESET && (!n || n->state == WIRE_NET_DOWN)) {
        lost(s); /* no peer can have said so: another process has given up the lost connection */
        return s->state != LIFE_LIVE;
    }
    if (!attempt_unreachable(error) || !s->on_labels || (up && (sock_stream(s) || error == EHOSTUNREACH)))
        return false;
    leave_lost(s);
    if (s->state == LIFE_WAITING) {
        s->net = net;
        attempt_back_off(s);
        s->net = 0;
    }
    if (s->state == LIFE_LIVE)
        return false;
    reconnect_consider(s);
    return true;
}

int reconnect_for(struct sock *s, uint64_t labels) {
    if (s->state == LIFE_LIVE)
        return leave(s, labels);
    if (s->state == LIFE_WAITING)
        begin_for(s, labels);
    return 0;
}

static void tick(struct sock *s, uint64_t now_ms) {
    beckon_tell(s);
    if (s->give_up_at && s->give_up_at <= now_ms && s->state == LIFE_WAITING) {
        s->give_up_at = 0;
        reconnect_give_up(s, ETIMEDOUT);
    }
    if (!s->due || s->due > now_ms)
        return;
    s->due = 0;
    settle(s);
    if (s->state == LIFE_MOVING)
        drain(s, now_ms);
    else if (s->state == LIFE_DEAD)
        leave_cut_off(s, now_ms);
    else if (s->state == LIFE_CONNECTING || s->state == LIFE_RESENDING)
        link_await(s);
    else
        reconnect_consider(s);
}

void reconnect_tick(struct sock *s, uint64_t now_ms) {
    sock_get(s);
    tick(s, now_ms);
    sock_put(s);
}

/* A live connection whose network went, was withdrawn or no longer offers its labels goes too; one whose
 * oldest thunk needs another network leaves for it, unless user code is running, which may yet send. */
static void review_live(struct sock *s) {
    const struct wire_network *n = net_find(&shim.nets, s->net);
    const uint64_t labels = atomic_load(&s->labels);
    if (s->carried && carry_on(s)) {
        reconnect_announce(s);
        return;
    }
    if (s->adrift) {
        s->adrift = false;
        s->join_until = 0;
        lost(s);
        return;
    }
    if (s->net && (!n || n->state == WIRE_NET_DOWN)) {
        lost(s);
        return;
    }
    if (n && labels && (n->state == WIRE_NET_WITHDRAWN || !choose_suits(s, n, labels)) &&
        !choose_stays(s, s->on_labels)) {
        leave(s, labels);
        return;
    }
    struct thunk_set *set = s->user_depth ? NULL : choose_thunks(s);
    if (set && !choose_stays(s, set->labels))
        leave(s, set->labels);
    else
        reconnect_announce(s);
}

/* What polls must see an end: a socket that was never connected polls as one that failed. */
void reconnect_give_up(struct sock *s, int error) {
    if (s->state != LIFE_WAITING && !life_attempting(s->state))
        return;
    if (s->hidden < 0)
        s->hidden = fresh_socket(s, NULL);
    if (s->hidden >= 0)
        real.shutdown(s->hidden, SHUT_RDWR);
    else
        s->hidden = -1;
    attempt_failed(s, error);
}

/* A program that knows nothing of labels is told what can never be, so that it tries the other family; what
 * may be settling yet is looked at again. */
static void keep_waiting(struct sock *s) {
    const uint64_t labels = atomic_load(&s->labels);
    const struct wire_network *n;
    uint32_t settling;
    if (s->kind == SOCK_CAPTURED && !s->lived && choose_network(s, labels, &n) == -ENETUNREACH) {
        reconnect_give_up(s, ENETUNREACH);
        return;
    }
    settling = choose_settling(s, labels);
    if (settling && !s->due)
        link_due(s, wait_now_ms() + (settling < SETTLING_MS ? settling : SETTLING_MS));
    reconnect_announce(s);
}

/* What the handler waits for on that connection will not come. */
static void overtake_handler(struct sock *s) {
    if (!s->broken)
        swap_wake(s->lent);
    s->broken = true;
}

static void consider(struct sock *s) {
    switch ((enum life)s->state) {
    case LIFE_WAITING:
        if (!seek(s))
            keep_waiting(s);
        break;
    case LIFE_PREPARING:
    case LIFE_CONNECTING:
    case LIFE_GREETING:
    case LIFE_RESENDING:
        if (attempt_usable(s))
            reconnect_announce(s);
        else if (s->in_handler)
            overtake_handler(s);
        else
            attempt_absent(s);
        break;
    case LIFE_MOVING:
        if (s->net) {
            const struct wire_network *n = net_find(&shim.nets, s->net);
            if (!n || n->state == WIRE_NET_DOWN)
                lost(s);
        }
        break;
    case LIFE_LIVE:
        review_live(s);
        break;
    case LIFE_FRESH:
        if (s->kind == SOCK_CAPTURED && !sock_stream(s))
            datagram_review(s);
        reconnect_announce(s);
        break;
    case LIFE_DEAD:
        reconnect_announce(s);
        break;
    case LIFE_CLOSED:
    case LIFE_STATES:
        break;
    }
}

void reconnect_proceed(struct sock *s) {
    if (s->nfds)
        consider(s);
    else
        reconnect_close(s);
}

/* What happens to a socket must not happen to what has taken its number unseen. */
void reconnect_consider(struct sock *s) {
    if (s->state == LIFE_CLOSED)
        return;
    sock_get(s);
    swap_purge(s);
    reconnect_proceed(s);
    sock_put(s);
}

static bool waits(const struct sock *s) {
    const struct waiter *w = s->waiters.first;
    while (w && !w->of.network)
        w = w->next;
    return w || s->state == LIFE_WAITING || s->aside || s->thunks.count;
}

/* Better the network it is on than another: what waits may be a thunk only. */
void reconnect_release(struct sock *s) {
    const struct wire_network *here = net_find(&shim.nets, s->net);
    if (!waits(s))
        return;
    if (!here || !net_usable(here, choose_family(s)))
        here = net_pick(&shim.nets, 0, choose_family(s));
    s->pass = here ? net_id(here, choose_family(s)) : 0;
    s->due = s->state == LIFE_WAITING ? 0 : s->due;
    reconnect_consider(s);
}

/* What the connection that is being left had accepted still goes to the peer, as after any close; an end of
 * file wakes who is blocked on it. An attempt carries nothing yet. */
static void drop_hidden(struct sock *s) {
    if (s->hidden < 0)
        return;
    if (s->state == LIFE_MOVING && !s->shared)
        real.shutdown(s->hidden, SHUT_RDWR);
    if (s->state == LIFE_MOVING)
        lift_close(s->hidden);
    else
        swap_abort(s->hidden);
    s->hidden = -1;
}

static void forget_attempt(struct sock *s) {
    drop_hidden(s);
    if (s->lent >= 0)
        swap_wake(s->lent);
    s->attempt++;
    s->due = 0;
    s->wanted = s->in_round = false;
    atomic_store(&s->clear, WAY_SHUT);
    atomic_store(&s->direct, WAY_SHUT);
}

void reconnect_reset(struct sock *s) {
    const bool out = s->state == LIFE_FRESH || s->state == LIFE_WAITING || life_attempting(s->state) ||
                     s->state == LIFE_MOVING;
    leave_recall(s);
    int old = out && !s->standing ? -1 : swap_out(s);
    forget_attempt(s);
    if (old >= 0) {
        beckon_leave(s, old);
        if (!s->shared)
            real.shutdown(old, SHUT_RDWR);
        else if (self_rouse(s))
            self_quiesce(s, SELF_ROUSED_MS);
        lift_close(old);
    } else if (!out && !s->shared && s->nfds) {
        swap_wake(s->fds[0]); /* it is dropped, though no placeholder can be had */
    }
    s->backoff_ms = 0;
    s->net = 0;
    s->navoid = 0;
    s->error = 0;
    s->sealed = s->deaf = s->cut = false;
    s->shared = false;
    s->tolen = 0;
    s->unsent = 0;
    s->resets++;
    stash_finish(&s->unread);
    stash_finish(&s->sent);
    sock_turn(s, LIFE_RESET);
    reconnect_announce(s);
}

void reconnect_close(struct sock *s) {
    forget_attempt(s);
    lift_drop(&s->ready_fd);
    lift_drop(&s->own);
    sock_turn(s, LIFE_CLOSE);
    atomic_fetch_add(&s->swaps, 1);
    thunk_finish(&s->thunks);
    wait_wake(&s->waiters);
    talk_report();
}

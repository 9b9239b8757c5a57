/* link - the listening thread.
 * One epoll over the mailbox queue, the subscription, connecting sockets and a kick from the other threads;
 * all timers are its timeout. All signals are blocked on it, the scout's SIGHUP included, which stays
 * pending: there nobody else sees it, and the next adds nothing. Taking it back might take the program's
 * instead, as a change to SIG_IGN empties every pending set in between. The lock is held while it works and
 * dropped while it waits or looks for a scout. Deliberately absent: user code, and waiting for anything else.
 */
#include "link.h"
#include "attempt.h"
#include "holder.h"
#include "last.h"
#include "leave.h"
#include "lift.h"
#include "log.h"
#include "reconnect.h"
#include "run.h"
#include "scout_link.h"
#include "tell.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    REPORT_MS = 50,
    SEEK_MIN_MS = 50,
    SEEK_MAX_MS = 2000,
    ASK_AGAIN_MS = 1000,
    AWAIT_AGAIN_MS = 20,
    JITTER_MS = 40,
};

/* What an event is about; any other value is a socket's record. */
enum { ABOUT_KICK = 1, ABOUT_QUEUE, ABOUT_SOCKET, ABOUT_BELL };

static struct scout_link wire = SCOUT_LINK_NONE;
static struct scout_link found = SCOUT_LINK_NONE; /* the thread's own, until it is the wire */
static int epoll = -1, kick = -1, bell = -1;
static bool running, kicked;
static _Atomic bool asked; /* read without the lock, too */
static bool lapsed;        /* the parent's thread, not yet replaced in this child */
static pid_t thread_id;
static bool resting; /* it is to end for a moment */
static pthread_t thread;
static struct wait_list starting; /* who waits for the thread, or for the first asking to be over */

static uint64_t seek_at, sought_at; /* ms; seek_at 0: not by itself */
static unsigned seek_ms;
static bool rang; /* the bell was opened since: try once more */

static uint64_t look_at; /* ms: no socket's time comes earlier; 0: none has one */

static bool report_due;
static uint64_t reported_at;
static bool reported_something;

static char telling[TELL_TEXT] = TELL_NOTHING; /* for -v */
static bool untold;

/* ---- what others ask of it ---- */

/* The program has closed our numbers past every door, and what has them now is its own. The thread, if it
 * waits, waits for ever. */
static void start_again(void) {
    int *const all[] = {&epoll, &kick, &bell, &wire.sock, &wire.queue};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        lift_forget(*all[i]);
        *all[i] = -1;
    }
    kicked = false;
    asked = false;
    lapsed = link_begin() < 0;
    wait_wake(&starting);
}

void link_kick(void) {
    const uint64_t one = 1;
    const int saved = errno;
    if (!running || kicked || pthread_equal(thread, pthread_self()))
        return;
    kicked = true;
    if (real.write(kick, &one, sizeof one) < 0 && errno == EBADF)
        start_again();
    errno = saved;
}

static void look_by(uint64_t at_ms) {
    if (!at_ms || (look_at && look_at <= at_ms))
        return;
    look_at = at_ms;
    link_kick();
}

void link_due(struct sock *s, uint64_t at_ms) {
    s->due = at_ms;
    look_by(at_ms);
}

void link_give_up(struct sock *s, uint64_t at_ms) {
    s->give_up_at = at_ms;
    look_by(at_ms);
}

/* Where the kernel has no room for it now, it is asked again a little later. */
void link_await(struct sock *s) {
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data.ptr = s};
    int r = real.epoll_ctl(epoll, EPOLL_CTL_ADD, s->hidden, &event);
    if (r < 0 && errno == EEXIST)
        r = real.epoll_ctl(epoll, EPOLL_CTL_MOD, s->hidden, &event);
    if (r < 0)
        link_due(s, wait_now_ms() + AWAIT_AGAIN_MS);
}

void link_report(void) {
    if (report_due)
        return;
    report_due = true;
    link_kick();
}

bool link_reports(void) {
    return report_due;
}

void link_seek_scout(void) {
    if (wire.sock >= 0 || seek_at)
        return;
    seek_at = sought_at + ASK_AGAIN_MS;
    link_kick();
}

/* ---- the scout's word ---- */

static bool is_lost(const struct sock *s, const struct wire_snapshot *next) {
    for (uint32_t i = 0; i < next->count; i++)
        if (net_is(&next->networks[i], s->net))
            return next->networks[i].state != WIRE_NET_UP && next->networks[i].state != WIRE_NET_GRACE;
    return true;
}

/* Who else holds what is about to be lost is looked for without the lock. */
static void look_ahead(const struct wire_snapshot *next) {
    bool asked_for = false;
    for (const struct sock *s = sock_first(); s && !asked_for; s = s->next)
        asked_for =
            s->kind == SOCK_CAPTURED && s->state == LIFE_LIVE && s->net && is_lost(s, next) && leave_asks(s);
    if (!asked_for)
        return;
    lock_drop();
    struct holders *h = holder_ahead();
    lock_take();
    holder_take(h);
}

static bool watch(int fd, uint64_t about) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = about};
    return real.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void apply(const struct wire_snapshot *s) {
    for (struct sock *at = sock_first(); at; at = at->next)
        atomic_store(&at->clear, WAY_SHUT);
    net_apply(&shim.nets, s);
    for (struct sock *at = sock_first(), *next; at; at = next) {
        next = at->next;
        if (at->state == LIFE_WAITING)
            at->due = 0; /* every change is worth an attempt */
        reconnect_consider(at);
    }
    wait_wake(&shim.lookups);
}

/* Many programs lose the same scout at once, and are not to come back all at once. Not by rand(), whose
 * sequence is the program's. */
static uint64_t jitter(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint32_t)(thread_id ^ now.tv_nsec) * 2654435761u >> 16) % JITTER_MS;
}

static void scout_gone(void) {
    scout_link_close(&wire);
    seek_ms = SEEK_MIN_MS;
    seek_at = wait_now_ms() + jitter();
}

/* Somebody has said that what waits here may go by any network, this once. */
static void release(void) {
    wire.released = false;
    shim.releases++;
    for (struct sock *at = sock_first(), *next; at; at = next) {
        next = at->next;
        reconnect_release(at);
    }
    wait_wake(&shim.lookups);
}

/* The newest state is all that counts: older ones still in line are skipped. */
static void hear(void) {
    struct wire_snapshot last, newer;
    bool heard = false;
    int r;
    while ((r = scout_link_receive(&wire, &newer)) > 0) {
        if (!heard || newer.generation >= last.generation)
            last = newer;
        heard = true;
    }
    if (heard) {
        look_ahead(&last);
        apply(&last);
    }
    if (wire.released)
        release();
    if (r < 0)
        scout_gone();
}

static bool anything_waits(void) {
    for (struct sock *s = sock_first(); s; s = s->next)
        if (s->state == LIFE_WAITING || s->aside || s->waiters.first || s->thunks.count)
            return true;
    return shim.lookups.first != NULL;
}

static void listen_for_bell(void) {
    if (bell < 0) {
        bell = lift(scout_link_bell(shim.scout));
        if (bell >= 0) {
            (void)watch(bell, ABOUT_BELL);
            rang = true;
        }
    }
}

/* Called and returns with the lock held; looks without it. */
static void seek(void) {
    struct wire_snapshot first;
    const pid_t tid = (pid_t)real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
    lock_drop();
    int r = scout_link_open(&found, shim.scout, tid, &first);
    lock_take();
    sought_at = wait_now_ms();
    seek_at = 0;
    if (r == 0) {
        seek_ms = SEEK_MIN_MS;
        wire = found;
        found = SCOUT_LINK_NONE;
        const bool heard =
            watch(wire.sock, ABOUT_SOCKET) && (wire.queue < 0 || watch(wire.queue, ABOUT_QUEUE));
        if (bell >= 0)
            lift_close(bell);
        bell = -1;
        report_due = true;
        look_ahead(&first);
        apply(&first);
        if (!heard)
            scout_gone(); /* its next word would not be: it is asked anew */
        return;
    }
    listen_for_bell();
    if (rang) {
        rang = false;
        seek_at = sought_at; /* a scout that came before the bell was open has rung in vain */
    } else if (anything_waits()) {
        seek_ms = seek_ms ? seek_ms : SEEK_MIN_MS;
        seek_at = sought_at + seek_ms + jitter();
        seek_ms = seek_ms * 2 > SEEK_MAX_MS ? SEEK_MAX_MS : seek_ms * 2;
    }
}

/* ---- the report ---- */

static void want(struct wire_report *r, uint64_t labels, uint64_t since_ms, unsigned count) {
    for (uint32_t i = 0; i < r->count; i++)
        if (r->wants[i].labels == labels) {
            r->wants[i].count += count;
            if (since_ms < r->wants[i].since_ms)
                r->wants[i].since_ms = since_ms;
            return;
        }
    if (r->count < WIRE_WANTS)
        r->wants[r->count++] = (struct wire_want){.labels = labels, .since_ms = since_ms, .count = count};
}

/* Who was woken in vain waits no less long for that. */
static uint64_t since_of(const struct sock *s, const struct waiter *w) {
    const bool waits = s->state == LIFE_WAITING || s->aside;
    return waits && s->waiting_since < w->of.since_ms ? s->waiting_since : w->of.since_ms;
}

static void describe(struct wire_report *r, const struct sock *s) {
    r->sockets++;
    r->thunks += s->thunks.count;
    for (const struct waiter *w = s->waiters.first; w; w = w->next)
        if (w->of.network)
            want(r, w->of.labels, since_of(s, w), 1);
    for (const struct thunk_set *set = s->thunks.sets; set; set = set->next)
        if (set->count)
            want(r, set->labels, s->waiting_since, set->count);
    if ((s->state == LIFE_WAITING || s->aside) && !s->waiters.first && !s->thunks.count)
        want(r, atomic_load(&s->labels), s->waiting_since, 1);
    if (s->adrift)
        want(r, 0, s->waiting_since, 1);
}

/* With the lock; said without it. */
static void tell(const struct wire_report *r) {
    char text[TELL_TEXT];
    if (!log_wants(LOG_INFO))
        return;
    tell_waiting(r, &shim.nets, wire.sock >= 0, &shim.names, text);
    untold |= strcmp(text, telling) != 0;
    strcpy(telling, text);
}

static void send_report(uint64_t now) {
    struct wire_report r = {0};
    report_due = false;
    for (const struct sock *s = sock_first(); s; s = s->next)
        describe(&r, s);
    for (const struct waiter *w = shim.lookups.first; w; w = w->next)
        want(&r, w->of.labels, w->of.since_ms, 1);
    memcpy(r.left, shim.left, sizeof r.left);
    tell(&r);
    if (wire.sock < 0)
        return;
    const bool something = r.sockets || r.count || r.left[0][0]; /* a lookup waits without a socket */
    if (!something && !reported_something)
        return;
    reported_something = something;
    reported_at = now;
    if (scout_link_report(&wire, &r) == -EAGAIN)
        report_due = true;
}

/* ---- the thread ---- */

static void sooner(uint64_t *earliest, uint64_t at) {
    if (at && (!*earliest || at < *earliest))
        *earliest = at;
}

/* All of them are gone through only when some time has come: there may be many. */
static void tick(uint64_t now) {
    look_at = 0;
    for (struct sock *s = sock_first(), *after; s; s = after) {
        after = s->next;
        reconnect_tick(s, now);
    }
    for (struct sock *s = sock_first(); s; s = s->next) {
        sooner(&look_at, s->due);
        if (s->state == LIFE_WAITING)
            sooner(&look_at, s->give_up_at);
    }
}

/* Does what is due and says when to come back: ms, 0 for never. */
static uint64_t work_timers(void) {
    uint64_t now = wait_now_ms(), next = 0;
    if (wire.sock < 0 && !seek_at && anything_waits())
        seek_at = sought_at + SEEK_MIN_MS;
    if (wire.sock < 0 && seek_at && seek_at <= now)
        seek();
    if (look_at && look_at <= now)
        tick(now);
    sooner(&next, look_at);
    if (report_due && now - reported_at >= REPORT_MS)
        send_report(now);
    if (report_due)
        sooner(&next, (wire.sock < 0 ? 0 : now + REPORT_MS));
    sooner(&next, wait_expire(now));
    sooner(&next, run_overdue(now));
    sooner(&next, last_look(now));
    if (wire.sock < 0)
        sooner(&next, seek_at);
    return next;
}

static void handle(const struct epoll_event *event) {
    uint64_t count;
    switch (event->data.u64) {
    case ABOUT_KICK:
        (void)!real.read(kick, &count, sizeof count);
        kicked = false;
        break;
    case ABOUT_QUEUE:
    case ABOUT_SOCKET:
        if (wire.sock >= 0)
            hear();
        break;
    case ABOUT_BELL:
        if (bell >= 0)
            lift_close(bell);
        bell = -1;
        seek_at = wait_now_ms() + jitter();
        break;
    default:
        attempt_event(event->data.ptr);
        break;
    }
}

static int timeout_until(uint64_t at) {
    uint64_t now = wait_now_ms();
    if (!at)
        return -1;
    return at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now);
}

static void *listen_to_scout(void *unused) {
    struct epoll_event events[EVENTS];
    const pid_t owner = shim.owner;
    (void)unused;
    self.ours = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    lock_take();
    thread_id = (pid_t)real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
    wait_wake(&starting);
    if (!resting) { /* else nobody has been asked yet */
        seek();
        asked = true;
    }
    wait_wake(&starting);
    while (shim.owner == owner && !resting && pthread_equal(thread, pthread_self())) {
        uint64_t next = work_timers();
        const bool news = untold;
        const int number = epoll;
        untold = false;
        lock_drop();
        if (news)
            log_say(LOG_INFO, "%s", telling); /* only this thread writes it */
        int n = real.epoll_wait(epoll, events, EVENTS, timeout_until(next));
        const bool failed = n < 0 && errno != EINTR;
        lock_take();
        const bool lost = failed && epoll == number; /* else it has just made way, see link_moved */
        if (lost && pthread_equal(thread, pthread_self()))
            start_again();
        for (int i = 0; i < n; i++)
            handle(&events[i]);
    }
    lock_drop();
    return NULL;
}

static void close_own(void) {
    int *const own[] = {&epoll, &kick, &bell};
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) {
        if (*own[i] >= 0)
            lift_close(*own[i]);
        *own[i] = -1;
    }
}

static int open_own(void) {
    epoll = lift(epoll_create1(EPOLL_CLOEXEC));
    if (epoll >= 0)
        kick = lift(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return epoll < 0 || kick < 0 ? -errno : 0;
}

/* Another attempt may have more luck, so nothing is left of one that fails. */
int link_begin(void) {
    pthread_attr_t attr;
    sigset_t every, before;
    shim_claim();
    int r = open_own();
    if (r < 0) {
        close_own();
        return r;
    }
    if (!watch(kick, ABOUT_KICK)) {
        close_own();
        return -ENOMEM;
    }
    look_at = 1; /* what is due of a parent's sockets is to be found */
    for (struct sock *s = sock_first(); s; s = s->next)
        if (s->hidden >= 0 && (s->state == LIFE_CONNECTING || s->state == LIFE_RESENDING))
            link_await(s);
    sigfillset(&every);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    running = true;
    thread_id = 0;
    r = pthread_create(&thread, &attr, listen_to_scout, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    running = r == 0;
    if (!running)
        close_own();
    return -r;
}

int link_start(void) {
    int r = 0;
    lock_take();
    if (!running)
        r = link_begin();
    lock_drop();
    return r;
}

/* No handler's interruption ends it; that takes a jump. */
static int await_thread(void) {
    const struct wait w = {.abandon = NULL};
    const int r = wait_on(&starting, &w);
    return r == -EINTR ? 0 : r;
}

int link_need(void) {
    int r = 0;
    if (asked)
        return 0;
    lock_take();
    if (!running)
        r = link_begin();
    while (r == 0 && running && !asked)
        r = await_thread();
    lock_drop();
    return r;
}

void link_moved(int from, int to) {
    int *const all[] = {&epoll, &kick, &bell, &wire.sock, &wire.queue, &found.sock, &found.queue};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        if (*all[i] == from)
            *all[i] = to;
}

void link_resume(void) {
    if (!__atomic_load_n(&lapsed, __ATOMIC_RELAXED) || !sock_first() || getpid() != shim.owner)
        return;
    __atomic_store_n(&lapsed, false, __ATOMIC_RELAXED);
    link_need();
}

void link_lapse(void) {
    lapsed = true;
}

static void let_go(void) {
    scout_link_close(&wire);
    scout_link_close(&found);
    close_own();
    lapsed |= running;
    running = kicked = report_due = false;
    asked = false;
    seek_at = 0;
}

void link_forked(void) {
    let_go();
    starting.first = NULL;
}

bool link_rest(int limit_ms) {
    lock_take();
    if (!running || pthread_equal(thread, pthread_self())) {
        lock_drop();
        return false;
    }
    resting = true;
    link_kick();
    while (!thread_id) /* it has only just been started */
        await_thread();
    const pid_t tid = thread_id;
    lock_drop();
    if (!self_await_end(tid, limit_ms))
        return false;
    lock_take();
    let_go();
    lapsed = resting = false;
    lock_drop();
    return true;
}

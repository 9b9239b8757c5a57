/* link - the listening thread.
 * One epoll over what talk listens to, connecting sockets and a kick from the other threads; all timers are
 * its timeout. All signals are blocked on it, the scout's SIGHUP included, which stays
 * pending: there nobody else sees it, and the next adds nothing. Taking it back might take the program's
 * instead, as a change to SIG_IGN empties every pending set in between. The lock is held while it works and
 * dropped while it waits or looks for a scout. Deliberately absent: user code, and waiting for anything else.
 */
#include "link.h"
#include "attempt.h"
#include "last.h"
#include "lift.h"
#include "log.h"
#include "reconnect.h"
#include "run.h"
#include "talk.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    EVENTS = 64,
    AWAIT_AGAIN_MS = 20,
};

static _Atomic int epoll = -1; /* read without the lock, too */
static int kick = -1;
static bool running, kicked;
static _Atomic bool asked; /* read without the lock, too */
static bool lapsed;        /* the parent's thread, not yet replaced in this child */
static pid_t thread_id;
static bool resting; /* it is to end for a moment */
static pthread_t thread;
static struct wait_list starting; /* who waits for the thread, or for the first asking to be over */

static uint64_t look_at; /* ms: no socket's time comes earlier; 0: none has one */

/* ---- what others ask of it ---- */

/* The program has closed our numbers past every door, and what has them now is its own. The thread, if it
 * waits, waits for ever. */
static void start_again(void) {
    lift_forget(epoll);
    lift_forget(kick);
    epoll = -1;
    kick = -1;
    talk_forget();
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

void link_look(void) {
    look_by(1);
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

bool link_listen(int fd, enum link_about about) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = about};
    return real.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
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
    talk_look(now);
    if (look_at && look_at <= now)
        tick(now);
    sooner(&next, look_at);
    sooner(&next, talk_say(now));
    sooner(&next, wait_expire(now));
    sooner(&next, run_overdue(now));
    sooner(&next, last_look(now));
    return next;
}

static void handle(const struct epoll_event *event) {
    uint64_t count;
    switch (event->data.u64) { /* else a socket's record */
    case LINK_KICK:
        (void)!real.read(kick, &count, sizeof count);
        kicked = false;
        break;
    case LINK_SCOUT:
        talk_hear();
        break;
    case LINK_BELL:
        talk_bell();
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
        talk_open();
        asked = true;
    }
    wait_wake(&starting);
    while (shim.owner == owner && !resting && pthread_equal(thread, pthread_self())) {
        uint64_t next = work_timers();
        const char *news = talk_news();
        const int number = epoll;
        lock_drop();
        if (news)
            log_say(LOG_INFO, "%s", news);
        int n = real.epoll_wait(number, events, EVENTS, timeout_until(next));
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
    int fd = epoll;
    lift_drop(&fd);
    epoll = fd;
    lift_drop(&kick);
}

static int open_own(void) {
    epoll = lift(epoll_create1(EPOLL_CLOEXEC));
    if (epoll >= 0)
        kick = lift(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return epoll < 0 || kick < 0 ? -errno : 0;
}

/* Another attempt may have more luck, so nothing is left of one that fails. */
int link_begin(void) {
    shim_claim();
    int r = open_own();
    if (r < 0) {
        close_own();
        return r;
    }
    if (!link_listen(kick, LINK_KICK)) {
        close_own();
        return -ENOMEM;
    }
    look_at = 1; /* what is due of a parent's sockets is to be found */
    for (struct sock *s = sock_first(); s; s = s->next)
        if (s->hidden >= 0 && (s->state == LIFE_CONNECTING || s->state == LIFE_RESENDING))
            link_await(s);
    running = true;
    thread_id = 0;
    r = self_start(&thread, listen_to_scout, NULL);
    running = r == 0;
    if (!running)
        close_own();
    return r;
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
    if (epoll == from)
        epoll = to;
    if (kick == from)
        kick = to;
    talk_moved(from, to);
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
    talk_end();
    close_own();
    lapsed |= running;
    running = kicked = false;
    asked = false;
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

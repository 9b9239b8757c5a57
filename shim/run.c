/* run - runs reconnect handlers and thunks.
 * Sockets with something ready stand in one list; working threads take them one by one, each with its
 * socket's signal mask. A thread in user code may stay there for ever: when the list has waited a moment and
 * nobody is free, another thread is started. The lock is held but around user code. Deliberately absent: the
 * listening thread, which never runs any. */
#include "run.h"
#include "attempt.h"
#include "lift.h"
#include "link.h"
#include "reconnect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { IDLE_SECONDS = 10, OVERDUE_MS = 5, DISPATCH_LIMIT = 100000, ROUND_LIMIT = 10000, IDLERS = 64 };

static struct sock *ready_first, **ready_end = &ready_first;
static unsigned workers;
static struct idler {
    pid_t thread;
    struct idler *next;
} * idlers; /* those who wait for work */
static bool finishing;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static uint64_t overdue_at; /* ms; 0: nobody is waited for */
static int dispatch_fd = -1;

/* ---- what is ready ---- */

enum ready { READY_NOTHING, READY_HANDLER, READY_THUNK };

static enum ready ready(struct sock *s) {
    const bool before = s->state == LIFE_PREPARING && s->pre;
    const bool after = s->state == LIFE_GREETING && s->post;
    if (before || after)
        return READY_HANDLER;
    if (s->user_depth || !s->thunks.count || (s->state != LIFE_LIVE && s->state != LIFE_DEAD))
        return READY_NOTHING;
    struct thunk_set *set = choose_thunks(s);
    return set && (s->state == LIFE_DEAD || choose_stays(s, set->labels)) ? READY_THUNK : READY_NOTHING;
}

static bool mine(const struct sock *s) {
    return !s->user_depth || pthread_equal(s->user, pthread_self());
}

bool run_inside(const struct sock *s) {
    struct frame *f = self_frame(s);
    return f && f->hidden < 0;
}

bool run_must_queue(struct sock *s, uint64_t labels) {
    if (run_inside(s))
        return false;
    return (s->in_thunk && s->thunk_labels == labels) || thunk_find(&s->thunks, labels);
}

/* ---- user code ---- */

/* One stretch of user code: also how it is left when the thread ends in it. */
struct stretch {
    struct frame frame;
    struct sock *sock;
    unsigned attempt;
    int rc;
    sigset_t mask; /* to restore */
};

static void enter(struct stretch *t, struct sock *s, int hidden) {
    t->sock = s;
    t->frame.up = self.frames;
    t->frame.sock = s;
    t->frame.hidden = hidden;
    t->frame.owner = shim.owner;
    atomic_store(&s->clear, WAY_SHUT); /* nobody overtakes a thunk */
    self.frames = &t->frame;
    sock_get(s);
    s->user = pthread_self();
    s->user_depth++;
    lock_drop();
    if (self.ours)
        pthread_sigmask(SIG_SETMASK, &s->mask, &t->mask);
}

static void leave(struct stretch *t) {
    struct sock *s = t->sock;
    if (self.ours)
        pthread_sigmask(SIG_SETMASK, &t->mask, NULL);
    lock_take();
    self.frames = t->frame.up;
    if (s->user_depth)
        s->user_depth--;
}

static void handler_left(struct stretch *t) {
    struct sock *s = t->sock;
    leave(t);
    s->in_handler = false;
    s->lent = -1;
    attempt_handler_done(s, t->attempt, t->frame.hidden, t->rc);
    wait_wake(&s->waiters);
    sock_put(s);
}

/* The thread ends in user code: nobody comes back for the lock nor for the caller's hold on the socket. */
static void handler_cut_off(void *stretch) {
    struct stretch *t = stretch;
    handler_left(t);
    sock_put(t->sock);
    lock_drop();
}

bool run_handler(struct sock *s) {
    if (ready(s) != READY_HANDLER || !mine(s))
        return false;
    struct stretch t = {.attempt = s->attempt, .rc = ECANCELED};
    const sock_handler handler = s->state == LIFE_PREPARING ? s->pre : s->post;
    const unsigned long labels = s->on_labels;
    const int fd = s->fds[0], hidden = s->hidden;
    void *arg = s->arg;
    s->in_handler = true;
    s->lent = hidden;
    s->hidden = -1;
    pthread_cleanup_push(handler_cut_off, &t);
    enter(&t, s, hidden);
    t.rc = handler(fd, labels, arg);
    pthread_cleanup_pop(0);
    handler_left(&t);
    return true;
}

static void thunk_left(struct stretch *t) {
    struct sock *s = t->sock;
    leave(t);
    if (!s->user_depth)
        s->in_thunk = false;
    reconnect_consider(s);
    sock_put(s);
}

static void thunk_cut_off(void *stretch) {
    struct stretch *t = stretch;
    thunk_left(t);
    sock_put(t->sock);
    lock_drop();
}

void run_now(struct sock *s, uint64_t labels, void (*handler)(void *), void *arg) {
    struct stretch t = {.frame.labels = labels, .frame.front = thunk_run_begins(&s->thunks).turn};
    s->in_thunk = true;
    s->thunk_labels = labels;
    pthread_cleanup_push(thunk_cut_off, &t);
    enter(&t, s, -1);
    handler(arg);
    pthread_cleanup_pop(0);
    thunk_left(&t);
}

struct deferred {
    void (*handler)(void *);
    void *arg;
};

static struct deferred take(struct sock *s, struct thunk_set *set) {
    struct thunk *t = thunk_take(&s->thunks, set);
    const struct deferred d = {t->handler, t->arg};
    thunk_free(t);
    return d;
}

/* Between two thunks of a set nothing is reconsidered but whether the second may run, too: not if anything
 * has happened to the connection, nor while another socket has something ready. */
static bool take_next(struct stretch *t, struct deferred *ret) {
    struct sock *s = t->sock;
    struct thunk_set *set = NULL;
    lock_take_shortly();
    if (shim.owner == t->frame.owner && !ready_first)
        set = thunk_find(&s->thunks, t->frame.labels);
    if (set && (s->state == LIFE_DEAD || choose_stays(s, t->frame.labels))) {
        *ret = take(s, set);
        t->frame.front = thunk_run_begins(&s->thunks).turn;
    } else {
        set = NULL;
    }
    lock_drop_shortly();
    return set != NULL;
}

/* How many it ran. */
static int run_round(struct sock *s, int limit) {
    struct thunk_set *set = ready(s) == READY_THUNK ? choose_thunks(s) : NULL;
    volatile int count = 0;
    if (!set)
        return 0;
    struct stretch t = {.frame.labels = set->labels, .frame.front = thunk_run_begins(&s->thunks).turn};
    struct deferred d = take(s, set);
    s->in_round = s->in_thunk = true;
    s->round = s->thunk_labels = set->labels;
    pthread_cleanup_push(thunk_cut_off, &t);
    enter(&t, s, -1);
    do
        d.handler(d.arg);
    while (++count < limit && take_next(&t, &d));
    pthread_cleanup_pop(0);
    thunk_left(&t);
    return count;
}

bool run_thunk(struct sock *s) {
    return run_round(s, 1) > 0;
}

/* ---- who runs it ---- */

static struct sock *take_ready(void) {
    struct sock *s = ready_first;
    if (!s)
        return NULL;
    ready_first = s->next_ready;
    if (!ready_first)
        ready_end = &ready_first;
    s->next_ready = NULL;
    s->queued = false;
    return s;
}

static void push_ready(struct sock *s) {
    if (s->queued)
        return;
    sock_get(s);
    s->queued = true;
    s->next_ready = NULL;
    *ready_end = s;
    ready_end = &s->next_ready;
}

/* What is ready afterwards is on the list already: run_schedule has put it there. */
static int serve(struct sock *s, int limit) {
    const int count = run_handler(s) ? 1 : run_round(s, limit);
    sock_put(s);
    return count;
}

/* In a child forked inside a thunk there are no working threads to count, and nothing more of ours to run. */
static void worker_over(void *owner) {
    lock_take();
    if (shim.owner == *(const pid_t *)owner)
        workers--;
    lock_drop();
}

static int await_work(void) {
    struct idler me = {(pid_t)real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0), idlers}, **at = &idlers;
    struct timespec until;
    if (finishing)
        return ETIMEDOUT;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_SECONDS;
    idlers = &me;
    int r = lock_wait(&work, &until);
    while (*at != &me)
        at = &(*at)->next;
    *at = me.next;
    return finishing ? ETIMEDOUT : r;
}

static void work_on(pid_t owner) {
    lock_take();
    while (shim.owner == owner) {
        struct sock *s = take_ready();
        const bool timed = overdue_at; /* the listening thread looks again by then */
        overdue_at = 0;
        if (s) {
            if (ready_first && !idlers) {
                overdue_at = wait_now_ms() + OVERDUE_MS;
                if (!timed)
                    link_kick();
            }
            serve(s, ROUND_LIMIT);
            continue;
        }
        if (await_work() == ETIMEDOUT && !ready_first)
            break;
    }
    lock_drop();
}

static void *worker(void *unused) {
    pid_t owner = shim.owner;
    (void)unused;
    self.ours = true;
    pthread_cleanup_push(worker_over, &owner);
    work_on(owner);
    pthread_cleanup_pop(1);
    return NULL;
}

static int start_worker(void) {
    pthread_t thread;
    const int r = self_start(&thread, worker, NULL);
    workers += r == 0;
    return r;
}

static void call_worker(void) {
    if (idlers) {
        pthread_cond_signal(&work);
    } else if (!workers && start_worker() == 0) {
        return;
    } else if (!overdue_at) {
        overdue_at = wait_now_ms() + OVERDUE_MS;
        link_kick();
    }
}

uint64_t run_overdue(uint64_t now_ms) {
    if (!overdue_at || overdue_at > now_ms)
        return overdue_at;
    overdue_at = 0;
    if (!ready_first)
        return 0;
    if (idlers)
        pthread_cond_signal(&work);
    else if (start_worker() < 0 || ready_first->next_ready)
        overdue_at = now_ms + OVERDUE_MS;
    return overdue_at;
}

static bool someone_helps(const struct sock *s) {
    for (const struct waiter *w = s->waiters.first; w; w = w->next)
        if (w->of.helps)
            return true;
    return false;
}

void run_schedule(struct sock *s) {
    /* With user code running on it, it comes here again when that is done; a waiting thunk helps itself. */
    if (s->user_depth || s->queued)
        return;
    const enum ready what = ready(s);
    if (what == READY_NOTHING)
        return;
    if (what == READY_HANDLER && (self.helping == s || someone_helps(s)))
        return;
    push_ready(s);
    if (!shim.manual) {
        call_worker();
    } else if (dispatch_fd >= 0) {
        const uint64_t one = 1;
        (void)!real.write(dispatch_fd, &one, sizeof one);
    }
}

int run_dispatch(void) {
    int count = 0;
    if (self.frames)
        return 0;
    lock_take();
    for (struct sock *s; count < DISPATCH_LIMIT && (s = take_ready());)
        count += serve(s, DISPATCH_LIMIT - count);
    if (!ready_first && dispatch_fd >= 0) {
        uint64_t counted;
        (void)!real.read(dispatch_fd, &counted, sizeof counted);
    }
    lock_drop();
    return count;
}

int run_dispatch_fd(void) {
    lock_take();
    if (dispatch_fd < 0)
        dispatch_fd = lift(eventfd(ready_first ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK));
    int fd = dispatch_fd < 0 ? -errno : dispatch_fd;
    lock_drop();
    return fd;
}

void run_moved(int from, int to) {
    if (dispatch_fd == from)
        dispatch_fd = to;
}

void run_finish(int limit_ms) {
    pid_t ending[IDLERS];
    unsigned count = 0;
    lock_take();
    finishing = true;
    for (struct idler *i = idlers; i && count < IDLERS; i = i->next)
        ending[count++] = i->thread;
    pthread_cond_broadcast(&work);
    lock_drop();
    while (count && self_await_end(ending[--count], limit_ms))
        ;
}

unsigned run_idle(void) {
    unsigned count = 0;
    for (const struct idler *i = idlers; i; i = i->next)
        count++;
    return count;
}

void run_rest(void) {
    run_finish(0);
    lock_take();
    finishing = false;
    lock_drop();
}

/* The eventfd is shared with the parent: another one takes its number. */
void run_forked(void) {
    int fresh = dispatch_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fresh >= 0) {
        real.dup3(fresh, dispatch_fd, O_CLOEXEC);
        real.close(fresh);
    }
    while (take_ready())
        ;
    workers = 0;
    idlers = NULL;
    finishing = false;
    overdue_at = 0;
    pthread_cond_init(&work, NULL);
}

/* talk - the conversation with the scout.
 * The listening thread comes in, with the lock, which is dropped while a scout or the holders of a socket are
 * looked for; others only ask for a report or another look. A snapshot is a state: the newest is all that
 * counts, and every socket is asked what it makes of it. While there is no scout its bell is listened to,
 * and what waits looks again by itself, ever less often. Deliberately absent: waiting for the scout. */
#include "talk.h"
#include "holder.h"
#include "leave.h"
#include "lift.h"
#include "link.h"
#include "log.h"
#include "reconnect.h"
#include "report.h"
#include "scout_link.h"
#include "tell.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

enum {
    REPORT_MS = 50,
    SEEK_MIN_MS = 50,
    SEEK_MAX_MS = 2000,
    ASK_AGAIN_MS = 1000,
    JITTER_MS = 40,
};

static struct scout_link wire = SCOUT_LINK_NONE;
static struct scout_link found = SCOUT_LINK_NONE; /* the thread's own, until it is the wire */
static int bell = -1;

static uint64_t seek_at, sought_at; /* ms; seek_at 0: not by itself */
static unsigned seek_ms;
static bool rang; /* the bell was opened since: try once more */

static bool report_due;
static uint64_t reported_at;
static bool reported_something;

static char telling[TELL_TEXT] = TELL_NOTHING; /* for -v */
static bool untold;

void talk_report(void) {
    if (report_due)
        return;
    report_due = true;
    link_kick();
}

bool talk_reports(void) {
    return report_due;
}

void talk_seek(void) {
    if (wire.sock >= 0 || seek_at)
        return;
    seek_at = sought_at + ASK_AGAIN_MS;
    link_kick();
}

/* ---- the scout's word ---- */

static bool is_lost(const struct sock *s, const struct wire_snapshot *next) {
    return s->net && !net_works(net_find_in(next, s->net));
}

/* Who else holds what is about to be lost is looked for without the lock. */
static void look_ahead(const struct wire_snapshot *next) {
    bool asked_for = false;
    for (const struct sock *s = sock_first(); s && !asked_for; s = s->next)
        asked_for = s->kind == SOCK_CAPTURED && s->state == LIFE_LIVE && is_lost(s, next) && leave_asks(s);
    if (!asked_for)
        return;
    lock_drop();
    struct holders *h = holder_ahead();
    lock_take();
    holder_take(h);
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

/* ---- looking for a scout ---- */

static pid_t own_tid(void) {
    return (pid_t)real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/* Many programs lose the same scout at once, and are not to come back all at once. Not by rand(), whose
 * sequence is the program's. */
static uint64_t jitter(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint32_t)(own_tid() ^ now.tv_nsec) * 2654435761u >> 16) % JITTER_MS;
}

static void scout_gone(void) {
    scout_link_close(&wire);
    seek_ms = SEEK_MIN_MS;
    seek_at = wait_now_ms() + jitter();
}

static bool anything_waits(void) {
    for (struct sock *s = sock_first(); s; s = s->next)
        if (s->state == LIFE_WAITING || s->aside || s->waiters.first || s->thunks.count)
            return true;
    return shim.lookups.first != NULL;
}

static void listen_for_bell(void) {
    if (bell >= 0)
        return;
    bell = lift(scout_link_bell(shim.scout));
    if (bell >= 0) {
        (void)link_listen(bell, LINK_BELL);
        rang = true;
    }
}

static void scout_found(const struct wire_snapshot *first) {
    seek_ms = SEEK_MIN_MS;
    wire = found;
    found = SCOUT_LINK_NONE;
    const bool heard =
        link_listen(wire.sock, LINK_SCOUT) && (wire.queue < 0 || link_listen(wire.queue, LINK_SCOUT));
    lift_drop(&bell);
    report_due = true;
    look_ahead(first);
    apply(first);
    if (!heard)
        scout_gone(); /* its next word would not be: it is asked anew */
}

static void scout_absent(void) {
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

void talk_open(void) {
    struct wire_snapshot first;
    lock_drop();
    int r = scout_link_open(&found, shim.scout, own_tid(), &first);
    lock_take();
    sought_at = wait_now_ms();
    seek_at = 0;
    if (r == 0)
        scout_found(&first);
    else
        scout_absent();
}

void talk_look(uint64_t now) {
    if (wire.sock >= 0)
        return;
    if (!seek_at && anything_waits())
        seek_at = sought_at + SEEK_MIN_MS;
    if (seek_at && seek_at <= now)
        talk_open();
}

void talk_bell(void) {
    lift_drop(&bell);
    seek_at = wait_now_ms() + jitter();
}

/* ---- hearing it ---- */

void talk_hear(void) {
    struct wire_snapshot last, newer;
    bool heard = false;
    int r;
    if (wire.sock < 0)
        return;
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

/* ---- telling it ---- */

static void tell(const struct wire_report *r) {
    char text[TELL_TEXT];
    if (!log_wants(LOG_INFO))
        return;
    tell_waiting(r, &shim.nets, wire.sock >= 0, &shim.names, text);
    untold |= strcmp(text, telling) != 0;
    strcpy(telling, text);
}

const char *talk_news(void) {
    const bool news = untold;
    untold = false;
    return news ? telling : NULL;
}

static void send_report(uint64_t now) {
    struct wire_report r = report_of(&shim.lookups);
    report_due = false;
    memcpy(r.left, shim.left, sizeof r.left);
    tell(&r);
    const bool something = !report_is_empty(&r);
    if (wire.sock < 0 || (!something && !reported_something))
        return;
    reported_something = something;
    reported_at = now;
    if (scout_link_report(&wire, &r) == -EAGAIN)
        report_due = true;
}

uint64_t talk_say(uint64_t now) {
    if (report_due && now - reported_at >= REPORT_MS)
        send_report(now);
    if (wire.sock < 0)
        return seek_at;
    return report_due ? now + REPORT_MS : 0;
}

/* ---- its descriptors ---- */

static int *const numbers[] = {&bell, &wire.sock, &wire.queue, &found.sock, &found.queue};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

void talk_moved(int from, int to) {
    for (unsigned i = 0; i < NUMBERS; i++)
        if (*numbers[i] == from)
            *numbers[i] = to;
}

void talk_forget(void) {
    for (unsigned i = 0; i < NUMBERS; i++) {
        lift_forget(*numbers[i]);
        *numbers[i] = -1;
    }
}

void talk_end(void) {
    scout_link_close(&wire);
    scout_link_close(&found);
    lift_drop(&bell);
    report_due = false;
    seek_at = 0;
}

/* report - what waits in this process, as the scout is told.
 * talk comes in, with the lock, and sends it. A socket wants what its waiting calls and its thunks want; one
 * that has neither and waits by itself, as a program that only receives, wants its last labels. More kinds of
 * wishes than a report has room for are left out. */
#include "report.h"
#include "sock.h"

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

struct wire_report report_of(const struct wait_list *lookups) {
    struct wire_report r = {0};
    for (const struct sock *s = sock_first(); s; s = s->next)
        describe(&r, s);
    for (const struct waiter *w = lookups->first; w; w = w->next)
        want(&r, w->of.labels, w->of.since_ms, 1);
    return r;
}

bool report_is_empty(const struct wire_report *r) {
    return !r->sockets && !r->count && !r->left[0][0]; /* a lookup waits without a socket */
}

/* thunk - the deferred work of one socket.
 * One list per label set, joined by turns: whoever was deferred first has the lowest. A run that defers again
 * gets turns below all others, spaced so that its own deferrals keep their order. The caller holds the shim's
 * lock. Deliberately absent: running anything. */
#include "thunk.h"

#include <errno.h>
#include <stdlib.h>

/* Room in front for what one run defers; a run that defers more goes on behind its own. */
enum { FRONT_ROOM = 1 << 20 };

/* ---- slots: a page of them at a time, given back when it is empty ---- */

enum { PAGE = 4096 };

struct page {
    struct page *next, *prev; /* of those with room */
    struct thunk *unused;     /* slots that were used before */
    unsigned used, touched;   /* slots beyond touched never were */
    struct thunk slots[];
};
enum { SLOTS = (PAGE - sizeof(struct page)) / sizeof(struct thunk) };

static struct page *roomy;

static void page_enter(struct page *p) {
    p->next = roomy;
    p->prev = NULL;
    if (roomy)
        roomy->prev = p;
    roomy = p;
}

static void page_leave(struct page *p) {
    if (p->prev)
        p->prev->next = p->next;
    else
        roomy = p->next;
    if (p->next)
        p->next->prev = p->prev;
}

static struct thunk *slot_take(void) {
    struct page *p = roomy;
    if (!p) {
        p = aligned_alloc(PAGE, PAGE);
        if (!p)
            return NULL;
        p->unused = NULL;
        p->used = p->touched = 0;
        page_enter(p);
    }
    struct thunk *t = p->unused;
    if (t)
        p->unused = t->next;
    else
        t = &p->slots[p->touched++];
    if (++p->used == SLOTS)
        page_leave(p);
    return t;
}

/* The last page with room stays: thunks come and go. */
static void slot_put(struct thunk *t) {
    struct page *p = (struct page *)((uintptr_t)t & ~(uintptr_t)(PAGE - 1));
    t->next = p->unused;
    p->unused = t;
    if (p->used-- == SLOTS)
        page_enter(p);
    if (!p->used && (p->next || p->prev)) {
        page_leave(p);
        free(p);
    }
}

/* ---- sets ---- */

static struct thunk_set *set_get(struct thunk_queue *q, uint64_t labels) {
    struct thunk_set *set = q->sets;
    while (set && set->labels != labels)
        set = set->next;
    if (set)
        return set;
    set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->labels = labels;
    set->next = q->sets;
    q->sets = set;
    return set;
}

static struct thunk *thunk_new(void (*handler)(void *), void *arg, int64_t turn) {
    struct thunk *t = slot_take();
    if (t)
        *t = (struct thunk){.handler = handler, .arg = arg, .turn = turn};
    return t;
}

void thunk_free(struct thunk *t) {
    slot_put(t);
}

static void append(struct thunk_queue *q, struct thunk_set *set, struct thunk *t) {
    if (set->last)
        set->last->next = t;
    else
        set->first = t;
    set->last = t;
    set->count++;
    q->count++;
}

int thunk_push(struct thunk_queue *q, uint64_t labels, void (*handler)(void *), void *arg) {
    struct thunk_set *set = set_get(q, labels);
    struct thunk *t = set ? thunk_new(handler, arg, q->back) : NULL;
    if (!t)
        return -ENOMEM;
    q->back++;
    append(q, set, t);
    return 0;
}

struct thunk_front thunk_run_begins(struct thunk_queue *q) {
    q->front -= FRONT_ROOM;
    return (struct thunk_front){q->front};
}

int thunk_push_front(struct thunk_queue *q, struct thunk_front *f, uint64_t labels, void (*handler)(void *),
                     void *arg) {
    struct thunk_set *set = set_get(q, labels);
    struct thunk *t = set ? thunk_new(handler, arg, f->turn) : NULL;
    if (!t)
        return -ENOMEM;
    f->turn++;
    struct thunk **at = set->newest && set->newest->turn < t->turn ? &set->newest->next : &set->first;
    while (*at && (*at)->turn < t->turn)
        at = &(*at)->next;
    t->next = *at;
    *at = t;
    set->newest = t;
    if (!t->next)
        set->last = t;
    set->count++;
    q->count++;
    return 0;
}

struct thunk_set *thunk_oldest(struct thunk_queue *q, bool (*accept)(void *context, uint64_t labels),
                               void *context) {
    struct thunk_set *best = NULL;
    if (!q->count)
        return NULL;
    for (struct thunk_set *set = q->sets; set; set = set->next)
        if (set->first && (!best || set->first->turn < best->first->turn) && accept(context, set->labels))
            best = set;
    return best;
}

struct thunk_set *thunk_find(struct thunk_queue *q, uint64_t labels) {
    for (struct thunk_set *set = q->count ? q->sets : NULL; set; set = set->next)
        if (set->labels == labels)
            return set->first ? set : NULL;
    return NULL;
}

struct thunk *thunk_take(struct thunk_queue *q, struct thunk_set *set) {
    struct thunk *t = set->first;
    set->first = t->next;
    if (!set->first)
        set->last = NULL;
    if (set->newest == t)
        set->newest = NULL;
    set->count--;
    q->count--;
    t->next = NULL;
    return t;
}

struct thunk *thunk_take_all(struct thunk_queue *q, void (*handler)(void *)) {
    struct thunk *list = NULL, **end = &list;
    for (struct thunk_set *set = q->sets; set; set = set->next) {
        struct thunk **at = &set->first;
        set->last = set->newest = NULL;
        while (*at) {
            struct thunk *t = *at;
            if (handler && t->handler != handler) {
                set->last = t;
                at = &t->next;
                continue;
            }
            *at = t->next;
            t->next = NULL;
            *end = t;
            end = &t->next;
            set->count--;
            q->count--;
        }
    }
    return list;
}

void thunk_free_list(struct thunk *list) {
    while (list) {
        struct thunk *t = list;
        list = t->next;
        slot_put(t);
    }
}

void thunk_finish(struct thunk_queue *q) {
    while (q->sets) {
        struct thunk_set *set = q->sets;
        q->sets = set->next;
        thunk_free_list(set->first);
        free(set);
    }
    *q = (struct thunk_queue){0};
}

/* thunk - the deferred work of one socket: resume handlers and their arguments, in order. It hands them out
 * and never runs them. The caller holds the shim's lock. Cost does not depend on how many are stored, only on
 * how many label sets. */
#ifndef CMM_THUNK_H
#define CMM_THUNK_H

#include <stdbool.h>
#include <stdint.h>

struct thunk {
    void (*handler)(void *arg);
    void *arg;
    int64_t turn; /* lower goes first, across label sets */
    struct thunk *next;
};

/* The thunks of one label set. */
struct thunk_set {
    uint64_t labels;
    unsigned count;
    struct thunk *first, *last;
    struct thunk *newest; /* of those put in front, if still stored: the next one goes right behind it */
    struct thunk_set *next;
};

struct thunk_queue {
    struct thunk_set *sets; /* emptied ones stay: label sets come back */
    unsigned count;
    int64_t back;  /* the next turn at the back */
    int64_t front; /* turns below it are free, at the front */
};

/* Behind all others. 0 or -ENOMEM. */
int thunk_push(struct thunk_queue *q, uint64_t labels, void (*handler)(void *), void *arg);

/* A run begins: what it defers again goes to the front, in the order deferred. */
struct thunk_front {
    int64_t turn;
};
struct thunk_front thunk_run_begins(struct thunk_queue *q);
int thunk_push_front(struct thunk_queue *q, struct thunk_front *f, uint64_t labels, void (*handler)(void *),
                     void *arg);

/* The label set whose first thunk is the oldest among those that accept says yes to; NULL: none. */
struct thunk_set *thunk_oldest(struct thunk_queue *q, bool (*accept)(void *context, uint64_t labels),
                               void *context);

/* The set with exactly these labels if it holds any; NULL: none stored. */
struct thunk_set *thunk_find(struct thunk_queue *q, uint64_t labels);

/* Takes the first of a set; the caller frees it. The set must not be empty. */
struct thunk *thunk_take(struct thunk_queue *q, struct thunk_set *set);
void thunk_free(struct thunk *t);

/* Takes all with that handler (NULL: all) out, as a list the caller frees. */
struct thunk *thunk_take_all(struct thunk_queue *q, void (*handler)(void *));

/* Frees a list without running or deleting anything; the arguments are the caller's affair. */
void thunk_free_list(struct thunk *list);

/* Drops everything. */
void thunk_finish(struct thunk_queue *q);

#endif

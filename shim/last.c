/* last - the end of a program whose main thread has ended.
 * Nobody tells of the end of a thread that has never called us: so they are counted, now and then, in
 * programs that have lost their main one. The lock is held. Deliberately absent: exit() on a thread of ours,
 * which what is done at the end may still need. */
#include "last.h"
#include "run.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LOOK_MS = 100 };

static bool leaderless;
static sigset_t mask; /* the main thread's */

void last_leader_left(void) {
    leaderless = true;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
}

void last_forked(void) {
    leaderless = false;
}

/* Something of the program's is still to run on threads of ours. */
static bool owes(const struct sock *s) {
    return s->user_depth || s->thunks.count || ((s->pre || s->post) && s->state != LIFE_DEAD);
}

static bool leader_has_ended(void) {
    char text[64];
    self_read("/proc/self/stat", text, sizeof text);
    const char *after = strrchr(text, ')');
    return after && strncmp(after, ") Z", 3) == 0;
}

/* The directory's links are two of its own, the main thread, which counts until all have ended, and the
 * others. */
static bool nobody_is_left(void) {
    struct stat tasks;
    for (const struct sock *s = sock_first(); s; s = s->next)
        if (owes(s))
            return false;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink <= 2 + 1 + 1 + run_idle() &&
           leader_has_ended();
}

static void *end_program(void *unused) {
    (void)unused;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    exit(0);
}

uint64_t last_look(uint64_t now_ms) {
    pthread_t thread;
    if (leaderless && nobody_is_left() && pthread_create(&thread, NULL, end_program, NULL) == 0)
        leaderless = false;
    return leaderless ? now_ms + LOOK_MS : 0;
}

/* hooks_process - the doors of namespaces and of descriptor tables of one's own.
 * Some of them the kernel opens only to a process, a working directory or a table that one thread has to
 * itself, and a program that has one thread knows nothing of ours: they rest meanwhile. */
#include "hook.h"
#include "link.h"
#include "run.h"

#include <sched.h>
#include <sys/stat.h>
#include <time.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

enum {
    TRIES = 100,
    ALONE = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWTIME | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD
};

static bool ours_to_rest(void) {
    return !self.holding && getpid() == shim.owner;
}

static bool refused(int r, int kinds) {
    return r < 0 && (errno == EINVAL || errno == EUSERS) && kinds & ALONE && ours_to_rest();
}

static bool rest(void) {
    run_rest();
    return link_rest(0);
}

/* The last thread counts until the kernel has taken it off its list. */
static void pause_shortly(void) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void go_on(void) {
    const int saved = errno;
    link_start();
    errno = saved;
}

/* Once another process namespace is chosen for its children, a process gets no thread any more: so ours come
 * back before. */
static int unshare_alone(int flags) {
    const int last = flags & CLONE_NEWPID;
    int r = -1;
    for (int i = 0; i < TRIES && refused(r = real.unshare(flags & ~last), flags); i++)
        pause_shortly();
    go_on();
    return r == 0 && last ? real.unshare(last) : r;
}

/* A table of descriptors is its own for the thread that asks: our threads must be its next ones. Where the
 * program has others, they keep the old one and us, and to this thread the doors lead to libc from now on. */
static int take_table(int (*call)(int), int flags) {
    struct stat tasks;
    if (!ours_to_rest() || !rest())
        return call(flags);
    const bool others = stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 3;
    if (others)
        go_on();
    const int r = call(flags);
    if (others)
        self.holding = r == 0;
    else
        go_on();
    return r;
}

/* In containers unshare(2) is often forbidden. */
static int close_nothing(int flags) {
    return real.close_range(~0U, ~0U, flags);
}

int hook_take_table(void) {
    return take_table(close_nothing, CLOSE_RANGE_UNSHARE);
}

HOOK(int, unshare, (int flags)) {
    int r = flags & CLONE_FILES ? take_table(real.unshare, flags) : real.unshare(flags);
    return refused(r, flags) && rest() ? unshare_alone(flags) : r;
}

HOOK(int, setns, (int fd, int kind)) {
    const int kinds = kind ? kind : ALONE;
    int r = real.setns(fd, kind);
    if (!refused(r, kinds) || !rest())
        return r;
    for (int i = 0; i < TRIES && refused(r = real.setns(fd, kind), kinds); i++)
        pause_shortly();
    go_on();
    return r;
}

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

/* The program has threads besides the one that asks. The directory's links are two of its own, and one each.
 */
static bool has_others(unsigned ours) {
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 2 + 1 + ours;
}

static unsigned ours_idle(void) {
    lock_take();
    const unsigned count = 1 + run_idle();
    lock_drop();
    return count;
}

/* A network namespace is a thread's own: sockets that are made later, on our thread, belong where the program
 * is. */
static int followed(int r, int kinds) {
    const int saved = errno;
    if (r == 0 && kinds & CLONE_NEWNET && ours_to_rest() && !has_others(ours_idle()) && rest())
        go_on();
    errno = saved;
    return r;
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
    if (!ours_to_rest() || !rest())
        return call(flags);
    const bool others = has_others(0);
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
    return refused(r, flags) && rest() ? unshare_alone(flags) : followed(r, flags);
}

HOOK(int, setns, (int fd, int kind)) {
    const int kinds = kind ? kind : ALONE | CLONE_NEWNET;
    int r = real.setns(fd, kind);
    if (!refused(r, kinds) || !rest())
        return followed(r, kinds);
    for (int i = 0; i < TRIES && refused(r = real.setns(fd, kind), kinds); i++)
        pause_shortly();
    go_on();
    return r;
}

/* hooks_process - the doors of namespaces.
 * The kernel lets only a process with a single thread into another user namespace, and a program that has one
 * thread knows nothing of ours: it rests meanwhile. */
#include "hook.h"
#include "link.h"

#include <sched.h>
#include <time.h>

enum { TRIES = 100 };

static bool refused(int r, int kinds) {
    return r < 0 && errno == EINVAL && kinds & CLONE_NEWUSER && !self.holding && getpid() == shim.owner;
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

HOOK(int, unshare, (int flags)) {
    int r = real.unshare(flags);
    if (!refused(r, flags) || !link_rest(0))
        return r;
    for (int i = 0; i < TRIES && refused(r = real.unshare(flags), flags); i++)
        pause_shortly();
    go_on();
    return r;
}

HOOK(int, setns, (int fd, int kind)) {
    int r = real.setns(fd, kind);
    if (!refused(r, kind ? kind : CLONE_NEWUSER) || !link_rest(0))
        return r;
    for (int i = 0; i < TRIES && refused(r = real.setns(fd, kind), CLONE_NEWUSER); i++)
        pause_shortly();
    go_on();
    return r;
}

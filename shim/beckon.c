/* beckon - the signals by which a program has asked to be told of its socket.
 * The kernel raises them, for what happens on the description under the program's number. What happens aside,
 * on a connection before it is there and on one that is left, it tells nobody, or whom it should not: so the
 * ones are told from here, as the kernel would, and the others are silenced. Comes in by swaps, and on the
 * listening thread, which raises: on any other the program's handler would run within the lock. */
#include "beckon.h"
#include "link.h"
#include "mark.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

void beckon_flags(int fd, long flags) {
    const long now = real.fcntl(fd, F_GETFL, NULL);
    real.fcntl(fd, F_SETFL, (void *)(flags & (~(long)O_ASYNC | (now < 0 ? 0 : now))));
}

static bool has_owner(int fd, struct f_owner_ex *ret) {
    return fd >= 0 && real.fcntl(fd, F_GETOWN_EX, ret) == 0 && ret->pid;
}

void beckon_carry(struct sock *s, int fd) {
    struct f_owner_ex owner = {0};
    const long flags = s->nfds ? real.fcntl(s->fds[0], F_GETFL, NULL) : -1;
    s->async = flags >= 0 && flags & O_ASYNC;
    s->owned = flags >= 0 && has_owner(s->fds[0], &owner);
    if (flags < 0)
        return;
    if (s->owned) {
        real.fcntl(fd, F_SETOWN_EX, &owner);
        real.fcntl(fd, F_SETSIG, (void *)(long)real.fcntl(s->fds[0], F_GETSIG, NULL));
    }
    beckon_flags(fd, flags);
}

static int number(const struct sock *s) {
    for (unsigned i = 0; i < s->nfds; i++)
        if (s->fds[i] == s->asked_by)
            return s->asked_by;
    return s->nfds ? s->fds[0] : -1;
}

void beckon_begin(struct sock *s) {
    const int fd = s->async ? number(s) : -1;
    if (fd >= 0)
        real.fcntl(fd, F_SETFL, (void *)(long)(real.fcntl(fd, F_GETFL, NULL) | O_ASYNC));
}

/* Who has found it full waits for room, now of the next. */
void beckon_leave(struct sock *s, int old) {
    struct pollfd p = {.fd = old, .events = POLLOUT};
    const struct f_owner_ex nobody = {F_OWNER_PID, 0};
    s->full |= s->async && real.poll(&p, 1, 0) == 0;
    if (s->shared || !s->owned)
        return;
    if (s->async)
        real.fcntl(old, F_SETFL, (void *)(long)(real.fcntl(old, F_GETFL, NULL) & ~O_ASYNC));
    real.fcntl(old, F_SETOWN_EX, (void *)&nobody);
}

bool beckon_listens(int fd) {
    const long flags = real.fcntl(fd, F_GETFL, NULL);
    return flags >= 0 && flags & O_ASYNC;
}

void beckon(struct sock *s, unsigned what) {
    struct f_owner_ex owner = {0};
    if (has_owner(number(s), &owner)) {
        s->untold_of |= what;
        link_look();
    } else if (what & BECKON_ANOTHER) {
        s->full = false;
    }
}

/* ---- raising ---- */

/* False: not one process or thread, or one of another process. */
static bool queue_for(const struct f_owner_ex *to, int signal, siginfo_t *info) {
    if (to->type == F_OWNER_TID)
        return real_syscall(SYS_rt_tgsigqueueinfo, shim.owner, to->pid, signal, (long)info, 0, 0) == 0;
    return to->type == F_OWNER_PID &&
           real_syscall(SYS_rt_sigqueueinfo, to->pid, signal, (long)info, 0, 0, 0) == 0;
}

static void raise_for(const struct f_owner_ex *to, int signal) {
    if (to->type == F_OWNER_TID)
        real_syscall(SYS_tkill, to->pid, signal, 0, 0, 0, 0);
    else
        kill(to->type == F_OWNER_PGRP ? -to->pid : to->pid, signal);
}

/* As fcntl(2) has it: which number it is about only who has chosen a signal is told; with the one code that
 * the kernel lets others use, and that the manual names. */
static void raise_ready(const struct f_owner_ex *to, int fd, long band) {
    const int chosen = real.fcntl(fd, F_GETSIG, NULL);
    siginfo_t info = {.si_signo = chosen, .si_code = SI_SIGIO};
    info.si_band = band;
    info.si_fd = fd;
    if (chosen <= 0)
        raise_for(to, SIGIO);
    else if (!queue_for(to, chosen, &info))
        raise_for(to, chosen);
}

/* ---- what there is to tell ---- */

static short ready(const struct sock *s, int fd, unsigned what) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI | POLLOUT};
    if (!(what & BECKON_ANOTHER) || real.poll(&p, 1, 0) <= 0)
        p.revents = 0;
    if (s->state == LIFE_DEAD)
        return p.revents ? POLLERR : 0;
    if (what & BECKON_KEPT && s->unread.first && mark_reached(s))
        p.revents |= POLLIN;
    if (!s->full)
        p.revents &= ~POLLOUT;
    return p.revents;
}

void beckon_tell(struct sock *s) {
    struct f_owner_ex to = {0};
    const int fd = number(s);
    unsigned what = s->untold_of;
    s->untold_of = 0;
    if (sock_stream(s) && s->state != LIFE_LIVE && s->state != LIFE_DEAD)
        what &= ~(unsigned)BECKON_ANOTHER; /* it has gone, too */
    if (!what || !has_owner(fd, &to))
        return;
    const bool async = beckon_listens(fd);
    const short events = ready(s, fd, what);
    s->full = s->full && !(what & BECKON_ANOTHER);
    if (events & POLLPRI)
        raise_for(&to, SIGURG);
    if (async && events & POLLERR)
        raise_ready(&to, fd, POLLERR);
    if (async && events & POLLIN)
        raise_ready(&to, fd, POLLIN | POLLRDNORM);
    if (async && events & POLLOUT)
        raise_ready(&to, fd, POLLOUT | POLLWRNORM | POLLWRBAND);
}

/* lift - descriptors of our own.
 * One bit a number. A number is marked before anybody can know of it and unmarked before it is closed, so a
 * sweeping close of the program's in another thread never hits one. Called with and without the lock. */
#include "lift.h"
#include "real.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

enum {
    MARGIN = 64,
    KNOWN = 65536, /* there may be more than MARGIN of them, and then they lie beyond LIFT_END */
    BITS = 8 * sizeof(unsigned long)
};

__attribute__((section(".bss.z_large"))) static _Atomic unsigned long marks[KNOWN / BITS];

static void mark(int fd, bool on) {
    if (fd < 0 || fd >= KNOWN)
        return;
    const unsigned long bit = 1UL << (fd % BITS);
    if (on)
        atomic_fetch_or(&marks[fd / BITS], bit);
    else
        atomic_fetch_and(&marks[fd / BITS], ~bit);
}

static long high_from(void) {
    struct rlimit limit = {0};
    long end = LIFT_END;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < LIFT_END)
        end = (long)limit.rlim_cur;
    return end > 2 * MARGIN ? end - MARGIN : end / 2;
}

/* Mostly the limit is above us, and need not be asked for. */
static int copy_high(int fd) {
    const int high = real.fcntl(fd, F_DUPFD_CLOEXEC, (void *)(long)(LIFT_END - MARGIN));
    return high < 0 ? real.fcntl(fd, F_DUPFD_CLOEXEC, (void *)high_from()) : high;
}

/* close() is a place to be cancelled at, which would leave one behind. */
static void close_for_sure(int fd) {
    int state = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    real.close(fd);
    pthread_setcancelstate(state, NULL);
}

int lift(int fd) {
    if (fd < 0)
        return fd;
    int high = fd < LIFT_END - MARGIN ? copy_high(fd) : -1;
    if (high < 0)
        real.fcntl(fd, F_SETFD, (void *)(long)FD_CLOEXEC);
    else
        close_for_sure(fd);
    high = high < 0 ? fd : high;
    mark(high, true);
    return high;
}

void lift_close(int fd) {
    mark(fd, false);
    close_for_sure(fd);
}

void lift_drop(int *fd) {
    const int old = *fd;
    *fd = -1;
    if (old >= 0)
        lift_close(old);
}

int lift_copy(int fd) {
    int copy = copy_high(fd);
    if (copy < 0)
        copy = real.fcntl(fd, F_DUPFD_CLOEXEC, NULL);
    if (copy >= 0)
        mark(copy, true);
    return copy;
}

void lift_forget(int fd) {
    mark(fd, false);
}

int lift_away(int fd) {
    const int other = lift_copy(fd);
    if (other >= 0)
        mark(fd, false);
    return other;
}

bool lift_owns(int fd) {
    return fd >= 0 && fd < KNOWN && atomic_load(&marks[fd / BITS]) & 1UL << (fd % BITS);
}

unsigned lift_next(unsigned from) {
    for (; from < KNOWN; from++)
        if (!(from % BITS) && !atomic_load(&marks[from / BITS]))
            from += BITS - 1;
        else if (lift_owns((int)from))
            return from;
    return ~0U;
}

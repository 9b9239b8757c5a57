/* subscribers_mailbox - the message queue that holds one subscriber's newest snapshot, and the signal that
 * announces it.
 *
 * Only subscribers comes in. The queue has no name by the time anybody else could look for it. Every call on
 * it has a time limit that is long over: O_NONBLOCK belongs to the shared description, where a subscriber
 * could clear it.
 */
#include "subscribers_mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const struct timespec long_ago = {0, 0};

int mailbox_open(mqd_t *ret_ours, mqd_t *ret_theirs) {
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = sizeof(struct wire_snapshot)};
    uint64_t random;
    char name[48];
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return -EAGAIN;
    snprintf(name, sizeof name, "/cmm-%016" PRIx64, random);
    mqd_t ours = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NONBLOCK, 0600, &attr);
    if (ours < 0)
        return -errno;
    mqd_t theirs = mq_open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = theirs < 0 ? -errno : 0;
    mq_unlink(name);
    if (error) {
        mq_close(ours);
        return error;
    }
    *ret_ours = ours;
    *ret_theirs = theirs;
    return 0;
}

int mailbox_put(mqd_t queue, const struct wire_snapshot *snapshot) {
    struct wire_snapshot stale;
    /* Full, take, empty because the subscriber was quicker, full again: never more than a few rounds. */
    for (int round = 0; round < 4; round++) {
        if (mq_timedsend(queue, (const char *)snapshot, snapshot->header.size, 0, &long_ago) == 0)
            return 0;
        if (errno != ETIMEDOUT && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (mq_timedreceive(queue, (char *)&stale, sizeof stale, NULL, &long_ago) < 0 && errno != ETIMEDOUT &&
            errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN;
}

void mailbox_announce(uint32_t pid, uint32_t tid) {
    siginfo_t info = {.si_signo = SIGHUP, .si_code = SI_QUEUE};
    int saved = errno;
    if (!pid || !tid)
        return;
    info.si_pid = getpid();
    info.si_uid = getuid();
    syscall(SYS_rt_tgsigqueueinfo, pid, tid, SIGHUP, &info);
    errno = saved;
}

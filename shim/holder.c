/* holder - who else holds a socket.
 * Forks pass the doors, spawns and closes in children do not: so the processes there are, are looked at when
 * it matters. A socket's inode number is its name in /proc/PID/fd. One look serves all the sockets of a loss;
 * among thousands of processes it takes a good part of a second, so who can look ahead does, without the
 * lock. With the shim's lock held, but for that. */
#include "holder.h"
#include "real.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FRESH_MS = 20 };

struct holders {
    ino_t *inodes;
    size_t count, room;
    uint64_t took, at; /* ms; at 0: not whole */
    unsigned forks;
};

static struct holders seen;
static _Atomic unsigned forks;

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool note(struct holders *h, ino_t inode) {
    if (h->count == h->room) {
        const size_t more = h->room ? h->room * 2 : 256;
        ino_t *bigger = realloc(h->inodes, more * sizeof *bigger);
        if (!bigger)
            return false;
        h->inodes = bigger;
        h->room = more;
    }
    h->inodes[h->count++] = inode;
    return true;
}

static bool look_at(struct holders *h, int proc, const char *pid) {
    char path[64], link[64];
    unsigned long inode;
    bool whole = true;
    snprintf(path, sizeof path, "%.20s/fd", pid);
    int at = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *fds = at < 0 ? NULL : fdopendir(at);
    if (!fds) {
        if (at >= 0)
            real.close(at);
        return true; /* another user's: nobody we have forked, or gone */
    }
    for (struct dirent *d; whole && (d = readdir(fds));) {
        ssize_t n = readlinkat(at, d->d_name, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        if (sscanf(link, "socket:[%lu]", &inode) == 1)
            whole = note(h, inode);
    }
    closedir(fds);
    return whole;
}

/* False: /proc does not tell. */
static bool look(struct holders *h) {
    char self[24] = "";
    bool whole = true;
    const uint64_t began = now_ms();
    DIR *proc = opendir("/proc");
    if (!proc || readlinkat(dirfd(proc), "self", self, sizeof self - 1) <= 0)
        whole = false;
    h->count = 0;
    for (struct dirent *d; whole && (d = readdir(proc));)
        if (d->d_name[0] >= '0' && d->d_name[0] <= '9' && strcmp(d->d_name, self) != 0)
            whole = look_at(h, dirfd(proc), d->d_name);
    if (proc)
        closedir(proc);
    h->at = whole ? now_ms() : 0;
    h->took = h->at - began;
    return whole;
}

/* What is no older than the look itself takes is as true as any. */
static bool is_fresh(const struct holders *h) {
    return h->at && now_ms() - h->at <= (h->took > FRESH_MS ? h->took : FRESH_MS);
}

bool holder_elsewhere(int fd, bool doubt) {
    struct stat st;
    if (fstat(fd, &st) < 0 || (!is_fresh(&seen) && !look(&seen)))
        return doubt;
    for (size_t i = 0; i < seen.count; i++)
        if (seen.inodes[i] == st.st_ino)
            return true;
    return false;
}

struct holders *holder_ahead(void) {
    struct holders *h = calloc(1, sizeof *h);
    if (h) {
        h->forks = forks;
        look(h);
    }
    return h;
}

void holder_take(struct holders *h) {
    if (h && h->at && h->forks == forks) {
        free(seen.inodes);
        seen = *h;
        h->inodes = NULL;
    }
    free(h ? h->inodes : NULL);
    free(h);
}

void holder_forked(void) {
    seen.at = 0;
    forks++;
}

/* None is there, none has been waited for, and none could have gone unnoticed. */
bool holder_childless(void) {
    struct rusage past;
    struct sigaction on_child;
    siginfo_t any;
    return getrusage(RUSAGE_CHILDREN, &past) == 0 && !past.ru_maxrss &&
           sigaction(SIGCHLD, NULL, &on_child) == 0 && on_child.sa_handler != SIG_IGN &&
           !(on_child.sa_flags & SA_NOCLDWAIT) &&
           waitid(P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 && errno == ECHILD;
}

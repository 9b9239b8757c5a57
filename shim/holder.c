/* holder - who else holds a socket.
 * Forks pass the doors, spawns and closes in children do not: so the processes there are, are looked at when
 * it matters. A socket's inode number is its name in /proc/PID/fd. One look serves all the sockets of a loss.
 * Called with the shim's lock held. */
#include "holder.h"
#include "real.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FRESH_MS = 20 };

static ino_t *seen;
static size_t nseen, room;
static uint64_t seen_at;

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool note(ino_t inode) {
    if (nseen == room) {
        const size_t more = room ? room * 2 : 256;
        ino_t *bigger = realloc(seen, more * sizeof *bigger);
        if (!bigger)
            return false;
        seen = bigger;
        room = more;
    }
    seen[nseen++] = inode;
    return true;
}

static bool look_at(int proc, const char *pid) {
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
            whole = note(inode);
    }
    closedir(fds);
    return whole;
}

/* False: /proc does not tell. */
static bool look(void) {
    char self[24] = "";
    bool whole = true;
    DIR *proc = opendir("/proc");
    if (!proc || readlinkat(dirfd(proc), "self", self, sizeof self - 1) <= 0)
        whole = false;
    nseen = 0;
    for (struct dirent *d; whole && (d = readdir(proc));)
        if (d->d_name[0] >= '0' && d->d_name[0] <= '9' && strcmp(d->d_name, self) != 0)
            whole = look_at(dirfd(proc), d->d_name);
    if (proc)
        closedir(proc);
    seen_at = whole ? now_ms() : 0;
    return whole;
}

bool holder_elsewhere(int fd, bool doubt) {
    struct stat st;
    if (fstat(fd, &st) < 0 || ((!seen_at || now_ms() - seen_at > FRESH_MS) && !look()))
        return doubt;
    for (size_t i = 0; i < nseen; i++)
        if (seen[i] == st.st_ino)
            return true;
    return false;
}

void holder_forked(void) {
    seen_at = 0;
}

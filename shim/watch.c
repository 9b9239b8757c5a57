/* watch - where a registration in an epoll set is.
 * A set lives as long as any of its numbers, and copies of numbers are made past every door: what a number
 * stood for when something was registered by it says little later. /proc tells what each set holds. Asked
 * only when a number does not lead to where it did. */
#include "watch.h"
#include "real.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_it(const char *line, int number, unsigned long inode, uint64_t data) {
    int tfd;
    unsigned events;
    unsigned long long with;
    unsigned long ino;
    return sscanf(line, "tfd: %d events: %x data: %llx pos:%*d ino:%lx", &tfd, &events, &with, &ino) == 4 &&
           tfd == number && ino == inode && with == data;
}

bool watch_tells(int epfd, int number, unsigned long inode, uint64_t data) {
    char text[4096], path[64];
    size_t have = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/thread-self/fdinfo/%d", epfd);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !found) {
        const ssize_t n = real.read(fd, text + have, sizeof text - 1 - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        text[have] = '\0';
        char *line = text;
        for (char *end; !found && (end = strchr(line, '\n')); line = end + 1)
            found = is_it(line, number, inode, data);
        have -= (size_t)(line - text);
        memmove(text, line, have);
    }
    if (fd >= 0)
        real.close(fd);
    return found;
}

int watch_find(int number, unsigned long inode, uint64_t data, bool (*skip)(int epfd, const void *context),
               const void *context) {
    static const char kind[] = "anon_inode:[eventpoll]";
    char link[sizeof kind];
    int found = -1;
    DIR *fds = opendir("/proc/thread-self/fd");
    for (struct dirent *d; fds && (d = readdir(fds));) {
        const int epfd = atoi(d->d_name);
        if ((found < 0 || epfd < found) &&
            readlinkat(dirfd(fds), d->d_name, link, sizeof link) == sizeof kind - 1 &&
            memcmp(link, kind, sizeof kind - 1) == 0 && !skip(epfd, context) &&
            watch_tells(epfd, number, inode, data))
            found = epfd;
    }
    if (fds)
        closedir(fds);
    return found;
}

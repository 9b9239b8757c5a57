/* listener - the place where this scout can be found: directory, lock, socket and bell.
 *
 * scout.c comes in once. The lock is held by the kernel as long as this process lives, so a killed scout
 * leaves nothing that stops the next. The umask is not trusted: every mode is set explicitly.
 */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

__attribute__((format(printf, 3, 4))) static int fail(struct listener *l, int error, const char *format,
                                                      ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(l->why, sizeof l->why, format, list);
    va_end(list);
    return error;
}

/* /tmp is everybody's: what stands there under our name must be a directory of ours alone. */
static int check_dir(struct listener *l, const char *dir) {
    struct stat st;
    mode_t mode = geteuid() == 0 ? 0755 : 0700;
    if (lstat(dir, &st) < 0)
        return fail(l, -errno, "%s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return fail(l, -ENOTDIR, "%s is not a directory", dir);
    if (st.st_uid != geteuid())
        return fail(l, -EPERM, "%s belongs to somebody else", dir);
    if ((st.st_mode & 07777 & ~mode) != 0 && chmod(dir, mode) < 0)
        return fail(l, -errno, "%s: %s", dir, strerror(errno));
    return 0;
}

static int make_dir(struct listener *l) {
    char dir[PLACE_MAX];
    int r = place_own_dir(dir, sizeof dir);
    if (r < 0)
        return fail(l, r, "the path of the socket would be too long");
    if (mkdir(dir, 0700) == 0 && geteuid() == 0)
        chmod(dir, 0755);
    return check_dir(l, dir);
}

static int take_lock(struct listener *l) {
    char path[PLACE_MAX + 8];
    int stem = (int)(strlen(l->bell) - strlen(".bell"));
    snprintf(path, sizeof path, "%.*s.lock", stem, l->bell);
    l->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->lock < 0)
        return fail(l, -errno, "%s: %s", path, strerror(errno));
    if (flock(l->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    int r = errno == EWOULDBLOCK ? fail(l, -EALREADY, "a scout is already running at %s", l->path)
                                 : fail(l, -errno, "%s: %s", path, strerror(errno));
    close(l->lock);
    l->lock = -1; /* the socket is not ours to take away */
    return r;
}

int listener_take(struct listener *l, const char *name) {
    *l = (struct listener){.lock = -1};
    int r = place_own_socket(name, l->path, sizeof l->path);
    if (r < 0 || (r = place_bell(l->path, l->bell, sizeof l->bell)) < 0)
        return fail(l, r, "no scout can be called '%s': %s", name, strerror(-r));
    if (!strchr(name, '/') && (r = make_dir(l)) < 0)
        return r;
    return take_lock(l);
}

/* An old bell stays: those who wait at it must hear us. */
static void make_bell(const struct listener *l) {
    struct stat st;
    if (lstat(l->bell, &st) == 0 && (!S_ISFIFO(st.st_mode) || st.st_uid != geteuid()))
        unlink(l->bell);
    if (mkfifo(l->bell, 0644) == 0)
        chmod(l->bell, 0644);
}

int listener_open(struct listener *l) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat st;
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return fail(l, -errno, "no socket: %s", strerror(errno));
    strcpy(at.sun_path, l->path);
    if (lstat(l->path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(l->path); /* of a scout that was killed: we hold the lock */
    if (bind(s, (struct sockaddr *)&at, sizeof at) < 0 || chmod(l->path, geteuid() == 0 ? 0666 : 0600) < 0 ||
        listen(s, BACKLOG) < 0) {
        int error = fail(l, -errno, "%s: %s", l->path, strerror(errno));
        close(s);
        return error;
    }
    make_bell(l);
    return s;
}

void listener_ring(const struct listener *l) {
    int fd = open(l->bell, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) /* ENXIO: nobody waits */
        close(fd);
}

void listener_finish(struct listener *l) {
    if (l->lock < 0)
        return;
    unlink(l->path);
    close(l->lock);
    l->lock = -1;
}

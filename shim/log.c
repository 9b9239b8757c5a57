/* log - what the shim says, if it was asked to.
 * To stderr, or appended to a file opened for each line: a descriptor kept would be one of the program's that
 * it does not know. One write a line, so that lines of many processes do not mix. Errors of use are said
 * without being asked. */
#include "log.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {"error", "warn", "info", "debug"};
static enum log_level limit = LOG_ERROR;
static char file[256];

void log_configure(const char *setting) {
    if (!setting || !*setting)
        return;
    const size_t len = strcspn(setting, ":");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == len && strncmp(names[i], setting, len) == 0)
            limit = (enum log_level)i;
    if (setting[len] == ':' && strlen(setting + len + 1) < sizeof file)
        strcpy(file, setting + len + 1);
}

bool log_wants(enum log_level level) {
    return level <= limit;
}

/* A daemon's number 2 may be a connection of its own: what is said there would be sent to its peer. */
static int standard_error(void) {
    int family = AF_UNSPEC;
    socklen_t len = sizeof family;
    real.getsockopt(STDERR_FILENO, SOL_SOCKET, SO_DOMAIN, &family, &len);
    return family == AF_INET || family == AF_INET6 ? -1 : STDERR_FILENO;
}

/* Nobody reading it is no signal of the program's. */
static void write_quietly(int fd, const char *line, size_t len) {
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    if (real.write(fd, line, len) < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe, NULL, &(struct timespec){0, 0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Whoever says it is not cancelled there: many calls that say something are no place for that. */
void log_say(enum log_level level, const char *format, ...) {
    const int saved = errno;
    int cancel = PTHREAD_CANCEL_ENABLE;
    char line[512];
    va_list args;
    if (level > limit)
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int at = snprintf(line, sizeof line, "cmm[%d]: ", (int)getpid());
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof line - (size_t)at - 1, format, args);
    va_end(args);
    at += more < 0 ? 0 : more;
    if (at > (int)sizeof line - 2)
        at = sizeof line - 2;
    line[at++] = '\n';
    int fd =
        file[0] ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : standard_error();
    if (fd >= 0)
        write_quietly(fd, line, (size_t)at);
    if (file[0] && fd >= 0)
        real.close(fd);
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
}

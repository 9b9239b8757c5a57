/* log - what the shim says, if it was asked to.
 * To stderr, or appended to a file opened for each line: a descriptor kept would be one of the program's that
 * it does not know. One write a line, so that lines of many processes do not mix. Errors of use are said
 * without being asked. */
#include "log.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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

void log_say(enum log_level level, const char *format, ...) {
    const int saved = errno;
    char line[512];
    va_list args;
    if (level > limit)
        return;
    int at = snprintf(line, sizeof line, "cmm[%d]: ", (int)getpid());
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof line - (size_t)at - 1, format, args);
    va_end(args);
    at += more < 0 ? 0 : more;
    if (at > (int)sizeof line - 2)
        at = sizeof line - 2;
    line[at++] = '\n';
    int fd =
        file[0] ? open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : STDERR_FILENO;
    if (fd >= 0)
        (void)!real.write(fd, line, (size_t)at);
    if (file[0] && fd >= 0)
        real.close(fd);
    errno = saved;
}

/* log - what the scout says, to stderr.
 *
 * Every room comes in. Under the journal each line carries its level as "<6>", elsewhere the program's name.
 * One write a line, so that lines of several processes or threads do not mix. A burst is counted under a
 * lock.
 */
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 20 };

static struct {
    enum log_level limit;
    bool journal;
    time_t second;
    unsigned said, kept_back;
    pthread_mutex_t lock;
} state = {.limit = LOG_INFORM, .lock = PTHREAD_MUTEX_INITIALIZER};

static bool stderr_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;
    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return false;
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(own, stream) == 0;
}

void log_init(enum log_level limit) {
    state.limit = limit;
    state.journal = stderr_is_journal();
}

static void say(enum log_level level, const char *format, va_list list) {
    char line[1200];
    int saved = errno;
    int used = state.journal ? snprintf(line, sizeof line, "<%d>", (int)level)
                             : snprintf(line, sizeof line, "cmm-scout: ");
    size_t room = sizeof line - 1 - (size_t)used;
    int n = vsnprintf(line + used, room, format, list);
    size_t len = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    for (size_t i = 0; i < len; i++)
        if (line[(size_t)used + i] < ' ' || line[(size_t)used + i] > '~')
            line[(size_t)used + i] = '?';
    len += (size_t)used;
    line[len++] = '\n';
    /* Nobody to tell when stderr is gone. */
    if (write(STDERR_FILENO, line, len) < 0)
        errno = 0;
    errno = saved;
}

void log_say(enum log_level level, const char *format, ...) {
    va_list list;
    if (level > state.limit)
        return;
    va_start(list, format);
    say(level, format, list);
    va_end(list);
}

/* The remark about a burst comes with the first line after it: a timer would wake an idle scout. */
static bool in_burst(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != state.second) {
        unsigned kept_back = state.kept_back;
        state.second = now.tv_sec;
        state.said = state.kept_back = 0;
        if (kept_back)
            log_say(LOG_INFORM, "%u more lines like these were left out", kept_back);
    }
    if (state.said++ < BURST)
        return false;
    state.kept_back++;
    return true;
}

void log_often(enum log_level level, const char *format, ...) {
    va_list list;
    if (level > state.limit)
        return;
    pthread_mutex_lock(&state.lock);
    const bool too_much = in_burst();
    pthread_mutex_unlock(&state.lock);
    if (too_much)
        return;
    va_start(list, format);
    say(level, format, list);
    va_end(list);
}

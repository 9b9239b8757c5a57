/* duration - how long people say something may take: 90, 1.5, 30s, 5m, 2h, forever.
 * Pure: any thread may come in. strtod is deliberately absent: it hears the program's locale, and takes what
 * nobody means (inf, 0x10, 1e9). Shared by shim and tools: plain libc. */
#include "duration.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { BILLION = 1000000000 };

/* Of one second, minute or hour; 0 for another letter. */
static int64_t unit(const char *letter) {
    if (*letter && letter[1])
        return 0;
    switch (*letter) {
    case 0:
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    default:
        return 0;
    }
}

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

int duration_parse(const char *text, struct timespec *ret) {
    int64_t seconds = 0, nanos = 0;
    int digits = 0;
    if (strcmp(text, "forever") == 0)
        return 0;
    for (; is_digit(*text) && seconds <= BILLION; text++, digits++)
        seconds = seconds * 10 + (*text - '0');
    if (*text == '.')
        text++;
    for (int64_t step = BILLION / 10; is_digit(*text); text++, digits++, step /= 10)
        nanos += step * (*text - '0');
    const int64_t scale = unit(text);
    if (!digits || !scale || seconds > BILLION)
        return -EINVAL;
    nanos *= scale;
    seconds = seconds * scale + nanos / BILLION;
    if (seconds > BILLION)
        return -EINVAL;
    ret->tv_sec = (time_t)seconds;
    ret->tv_nsec = (long)(nanos % BILLION);
    return 1;
}

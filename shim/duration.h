/* duration - how long people say something may take: 90, 1.5, 30s, 5m, 2h, forever. Pure; shared by shim and
 * tools. */
#ifndef CMM_DURATION_H
#define CMM_DURATION_H

#include <time.h>

/* 1 with the time, 0 for "forever" (*ret stays), or -EINVAL, also for more than thirty years. */
int duration_parse(const char *text, struct timespec *ret);

#endif

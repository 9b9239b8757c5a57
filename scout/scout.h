/* scout - the daemon's context and its loop. */
#ifndef CMM_SCOUT_H
#define CMM_SCOUT_H

#include <stdbool.h>

struct scout_options {
    const char *config; /* NULL: the usual places, where absence is fine */
    const char *script; /* NULL: the kernel drives the networks */
    const char *name;
};

/* Runs until it is told to end; the exit code. Failures at the start are one line on stderr each. */
int scout_run(const struct scout_options *options);

/* Reads configuration and script, if any, and says what is wrong with them. 0 or 1. */
int scout_check(const struct scout_options *options);

#endif

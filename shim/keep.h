/* keep - what the environment of a program started from here must hold, so that the library is in it, too. */
#ifndef CMM_KEEP_H
#define CMM_KEEP_H

#include <stddef.h>

enum { KEEP_MOST = 16, KEEP_TEXT = 4096 };

struct keep {
    unsigned count;
    char *entry[KEEP_MOST]; /* NAME=value, into text */
    char text[KEEP_TEXT];
};

/* LD_PRELOAD and what is set for the library. All or, where it does not fit, nothing. */
void keep_remember(struct keep *k, char *const envp[]);

/* How many pointers the completed environment takes, its NULL included; 0: it lacks nothing. One made from
 * scratch lacks all; where something of ours is in it, what is not there was left out on purpose. */
size_t keep_room(const struct keep *k, char *const envp[]);

/* envp and all that was remembered. */
void keep_complete(const struct keep *k, char *const envp[], char **ret);

#endif

/* keep - what the environment of a program started from here must hold, so that the library is in it, too. */
#ifndef CMM_KEEP_H
#define CMM_KEEP_H

#include <stdbool.h>
#include <stddef.h>

enum { KEEP_MOST = 16, KEEP_TEXT = 4096 };

struct keep {
    const char *library; /* its path */
    unsigned count;
    char *entry[KEEP_MOST]; /* NAME=value, into text */
    char text[KEEP_TEXT];
};

/* LD_PRELOAD and what is set for the library. All or, where it does not fit, nothing. library stays the
 * caller's, for good. */
void keep_remember(struct keep *k, const char *library, char *const envp[]);

/* How many pointers the completed environment takes, its NULL included; 0: it lacks nothing. One made from
 * scratch lacks all; where something of ours is in it, what is not there was left out on purpose. */
size_t keep_room(const struct keep *k, char *const envp[]);

/* Who preloads something of its own says nothing of what was there before: the library's place is behind it.
 * amend: how many bytes the LD_PRELOAD takes that has both; 0: it is to stay as it is. amended: writes it. */
size_t keep_amend(const struct keep *k, char *const envp[]);
char *keep_amended(const struct keep *k, char *const envp[], char *ret);

/* This entry is an LD_PRELOAD. */
bool keep_preloads(const char *entry);

/* envp and all that was remembered. */
void keep_complete(const struct keep *k, char *const envp[], char **ret);

#endif

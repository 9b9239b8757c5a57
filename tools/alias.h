/* alias - another name for a file whose own the loader cannot take: it splits LD_PRELOAD at blanks and colons
 * and knows no quotes. */
#ifndef CMM_ALIAS_H
#define CMM_ALIAS_H

#include <stdbool.h>
#include <stddef.h>

enum { ALIAS_PATH = 256 };

/* Whether it cannot stand in LD_PRELOAD as it is. */
bool alias_needed(const char *path);

/* A symbolic link to path, in the directory where this user's scout serves, or below /tmp. It stays. 0 with
 * its name; or -errno and the directory it could not be made in. */
int alias_make(const char *path, char ret_alias[ALIAS_PATH]);

#endif

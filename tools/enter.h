/* enter - whether a preloaded library gets into a program. */
#ifndef CMM_ENTER_H
#define CMM_ENTER_H

#include <stddef.h>

enum { ENTER_PATH = 4096 };

enum enter {
    ENTER_YES = 0, /* as far as can be seen */
    ENTER_NO,      /* the shim will not be in it; children may still be entered */
    ENTER_HARM,    /* it would not even start with the shim preloaded */
};

/* Where execvp() would find the program. 0, -ENOENT, -EACCES (something of that name, but not
 * executable), or -EPERM (given with a directory that may not be looked into). */
int enter_find(const char *program, char ret_path[ENTER_PATH]);

/* Looks into the file, through "#!" lines, and says why not in one phrase ("it is statically linked"). */
enum enter enter_check(const char *path, char *why, size_t len);

#endif

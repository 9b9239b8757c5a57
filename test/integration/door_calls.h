/* door_calls - the names of libc's that the library takes, and one call of each on a descriptor: by the
 * address the program gets, or by libc's own. */
#ifndef DOOR_CALLS_H
#define DOOR_CALLS_H

#include "stage.h"

enum door_proof {
    DOOR_BY_ERROR, /* on a socket that waits the answer is `waiting', not the kernel's on what lies there */
    DOOR_BY_KEPT,  /* bytes the library keeps are readable */
    DOOR_BY_ONE_SHOT, /* what has fired stays disarmed when the connection moves */
    DOOR_BY_TEST,     /* a test of its own, in doors_one_by_one, lookups or processes */
};

struct door {
    const char *name;
    long (*use)(void *f, int fd);
    enum door_proof proof;
    int waiting; /* DOOR_BY_ERROR: negative errno, or the result */
};

enum { DOORS = 96 };
extern const struct door doors[DOORS];

const struct door *door_find(const char *name); /* or NULL */

void *door_ours(const char *name);
void *door_libcs(const char *name);

#define DOOR_CALL(f, result, types, arguments) (((result(*) types)(f))arguments)

int door_waiting(void);     /* a socket whose connection waits for a network */
bool door_writable(int fd); /* asks the kernel itself */

#endif

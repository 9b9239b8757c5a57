/* listener - the place where this scout can be found: directory, lock, socket and bell. */
#ifndef CMM_LISTENER_H
#define CMM_LISTENER_H

#include "place.h"

struct listener {
    int lock;
    char path[PLACE_MAX], bell[PLACE_MAX];
    char why[PLACE_MAX + 160]; /* one clear line after a failure */
};

/* Makes the directory and takes the name. 0, -EALREADY: another scout has it, or -errno; why says so. */
int listener_take(struct listener *l, const char *name);

/* The listening socket, or -errno and why. */
int listener_open(struct listener *l);

/* Tells all who wait at the bell that there is a scout. */
void listener_ring(const struct listener *l);

/* Removes the socket and gives the name up. Lock and bell stay: others may hold them open. */
void listener_finish(struct listener *l);

#endif

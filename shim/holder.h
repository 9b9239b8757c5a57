/* holder - who else holds a socket: a forked child, a spawned program. As /proc shows it; what may not be
 * looked at is taken for a stranger. No lock of its own. */
#ifndef CMM_HOLDER_H
#define CMM_HOLDER_H

#include <stdbool.h>

/* Another process has fd's description too. doubt: the answer where /proc does not tell. */
bool holder_elsewhere(int fd, bool doubt);

/* This process has never had a child, by whatever way: nobody can have inherited from it. */
bool holder_childless(void);

/* What holder_elsewhere would look for, without the lock; then, with it, what it is to go by for a while. */
struct holders;
struct holders *holder_ahead(void);
void holder_take(struct holders *h);

/* A fork has made another holder: what was seen before is past, in parent and child. */
void holder_forked(void);

#endif

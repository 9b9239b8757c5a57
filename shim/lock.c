/* lock - the one lock of the shim. */
#include "lock.h"

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;

/* A cancellation that was on its way while the state was changed is acted upon all the same, if the type is
 * asynchronous: a race of libc's. */
void lock_take(void) {
    int state, type;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    self.holding = true;
    pthread_mutex_lock(&the_lock);
    self.cancel_state = state;
    self.cancel_type = type;
}

void lock_drop(void) {
    const int state = self.cancel_state, type = self.cancel_type;
    pthread_mutex_unlock(&the_lock);
    self.holding = false;
    pthread_setcancelstate(state, NULL);
    pthread_setcanceltype(type, NULL); /* the last: only here libc says, too, that it was a cancellation */
}

void lock_take_shortly(void) {
    int type;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    self.holding = true;
    pthread_mutex_lock(&the_lock);
    self.cancel_type = type;
}

void lock_drop_shortly(void) {
    const int type = self.cancel_type;
    pthread_mutex_unlock(&the_lock);
    self.holding = false;
    pthread_setcanceltype(type, NULL);
}

int lock_wait(pthread_cond_t *cond, const struct timespec *until) {
    const int state = self.cancel_state, type = self.cancel_type;
    int r = pthread_cond_timedwait(cond, &the_lock, until);
    self.cancel_state = state;
    self.cancel_type = type;
    return r;
}

void lock_forked(void) {
    pthread_mutex_init(&the_lock, NULL);
}

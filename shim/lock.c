/* lock - the one lock of the shim. */
#include "lock.h"

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;

void lock_take(void) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    self.holding = true;
    pthread_mutex_lock(&the_lock);
    self.cancel_state = before;
}

void lock_drop(void) {
    int before = self.cancel_state;
    pthread_mutex_unlock(&the_lock);
    self.holding = false;
    pthread_setcancelstate(before, NULL);
}

void lock_take_shortly(void) {
    self.holding = true;
    pthread_mutex_lock(&the_lock);
}

void lock_drop_shortly(void) {
    pthread_mutex_unlock(&the_lock);
    self.holding = false;
}

int lock_wait(pthread_cond_t *cond, const struct timespec *until) {
    int before = self.cancel_state;
    int r = pthread_cond_timedwait(cond, &the_lock, until);
    self.cancel_state = before;
    return r;
}

void lock_forked(void) {
    pthread_mutex_init(&the_lock, NULL);
}

/* multipath_hand - takes what is to be offered from the loop, and does it on a thread of its own.
 *
 * Linux waits for all processors before it has taken an endpoint back (13 ms each, measured): a scout that
 * waited with it would be deaf meanwhile, and with networks that come and go faster for ever. Only the latest
 * word counts. The thread begins with the first that asks for anything, and inherits blocked signals.
 */
#include "multipath_hand.h"

#include <string.h>

void multipath_hand_init(struct multipath_hand *h, const char *scout, int ledger) {
    memset(h, 0, sizeof *h);
    multipath_init(&h->work, scout, ledger);
    multipath_open(&h->eyes);
    h->eyes.allowed = h->work.allowed;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->left, NULL);
}

/* False: it is over. */
static bool take(struct multipath_hand *h, bool *ret_asked, struct multipath_path *ret, unsigned *ret_count) {
    pthread_mutex_lock(&h->lock);
    while (!h->news && !h->ending)
        pthread_cond_wait(&h->left, &h->lock);
    const bool over = h->ending;
    h->news = false;
    *ret_asked = h->asked;
    *ret_count = h->count;
    memcpy(ret, h->paths, h->count * sizeof *ret);
    pthread_mutex_unlock(&h->lock);
    return !over;
}

static void *work(void *arg) {
    struct multipath_hand *h = arg;
    struct multipath_path paths[MULTIPATH_PATHS];
    bool asked;
    unsigned count;
    while (take(h, &asked, paths, &count))
        multipath_settle(&h->work, asked, paths, count);
    return NULL;
}

static void leave_word(struct multipath_hand *h, bool asked, const struct multipath_path *paths,
                       unsigned count) {
    pthread_mutex_lock(&h->lock);
    h->news = true;
    h->asked = asked;
    h->count = count < MULTIPATH_PATHS ? count : MULTIPATH_PATHS;
    if (h->count)
        memcpy(h->paths, paths, h->count * sizeof *paths);
    pthread_cond_signal(&h->left);
    pthread_mutex_unlock(&h->lock);
}

void multipath_hand_settle(struct multipath_hand *h, bool asked, const struct multipath_path *paths,
                           unsigned count) {
    h->eyes.asked = asked;
    if (!h->eyes.allowed)
        return;
    h->started = h->started || pthread_create(&h->thread, NULL, work, h) == 0;
    if (h->started)
        leave_word(h, asked, paths, count);
    else
        multipath_settle(&h->work, asked, paths, count);
}

void multipath_hand_finish(struct multipath_hand *h) {
    if (h->started) {
        pthread_mutex_lock(&h->lock);
        h->ending = true;
        pthread_cond_signal(&h->left);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    multipath_finish(&h->work);
    multipath_close(&h->eyes);
}

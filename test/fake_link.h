/* fake_link - one scout_link to the fake scout, and what it hears; for the tests of scout_link. */
#ifndef FAKE_LINK_H
#define FAKE_LINK_H

#include "fake_scout.h"
#include "real.h"
#include "scout_link.h"

#include <check.h>
#include <poll.h>
#include <stdbool.h>

enum { TID = 4242 };

static struct scout_link link_ = SCOUT_LINK_NONE;
static struct wire_snapshot first;
static struct wire_snapshot next;

/* Where there is an answer in the end nobody's patience counts: a busy machine may take its time over it. */
static inline int poll_for_ever(struct pollfd *fds, nfds_t count, int timeout) {
    (void)timeout;
    return poll(fds, count, -1);
}

static inline void setup_patiently(void) {
    setup();
    real_init();
    real.poll = poll_for_ever;
}

static inline int opened_with(void (*reply)(void), int conversations) {
    start_scout(reply, conversations);
    int r = scout_link_open(&link_, fake.path, TID, &first);
    join_scout();
    return r;
}

static inline int received(void) {
    memset(&next, 0, sizeof next);
    return scout_link_receive(&link_, &next);
}

static inline bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

static inline int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 5000; fd++)
        count += is_open(fd);
    return count;
}

#endif

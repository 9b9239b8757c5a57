/* steps_wait - poll, select and epoll, and what they say of all slots. */
#include "play.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ms: none, a moment, or until somebody ends it. */
static int some_time(int fd) {
    const unsigned kind = chance(8);
    if (kind == 0)
        may_block(fd, 0, -1);
    return kind == 0 ? -1 : kind < 3 ? 5 : 0;
}

static void step_poll(void) {
    struct pollfd p[SLOTS + 1];
    const unsigned n = chance(SLOTS + 1), kind = chance(3);
    sigset_t none;
    sigemptyset(&none);
    say(kind ? " poll" : " ppoll");
    for (unsigned i = 0; i < n; i++) {
        static const short events[] = {POLLIN,
                                       POLLOUT,
                                       POLLIN | POLLOUT,
                                       POLLPRI,
                                       POLLRDHUP,
                                       POLLIN | POLLRDHUP,
                                       0,
                                       POLLRDNORM | POLLRDBAND,
                                       POLLWRNORM | POLLWRBAND,
                                       POLLMSG};
        p[i] = (struct pollfd){.fd = slots[chance(SLOTS)], .events = one_of(events), .revents = 0x7777};
        say(" %d:%x", p[i].fd, (unsigned)p[i].events);
    }
    if (!n) {
        TOLD(poll(NULL, chance(4) ? 0 : 2, 0));
        return;
    }
    const int ms = some_time(p[0].fd);
    const struct timespec time = {0, ms * 1000000L};
    if (kind)
        TOLD(poll(p, n, ms));
    else
        TOLD(ppoll(p, n, ms < 0 ? NULL : &time, chance(2) ? &none : NULL));
    for (unsigned i = 0; i < n; i++)
        say(" %x", (unsigned)p[i].revents);
}

static void step_select(void) {
    fd_set sets_of[3];
    const unsigned kind = chance(3), given = chance(8);
    int most = 0, first = -1;
    for (int i = 0; i < 3; i++)
        FD_ZERO(&sets_of[i]);
    say(kind ? " select" : " pselect");
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i] < 0 || slots[i] >= FD_SETSIZE || chance(3) == 0)
            continue;
        const unsigned in = chance(8);
        for (int j = 0; j < 3; j++)
            if (in >> j & 1)
                FD_SET(slots[i], &sets_of[j]);
        say(" %d:%u", slots[i], in);
        most = most > slots[i] ? most : slots[i];
        first = slots[i];
    }
    const int ms = some_time(first);
    struct timeval time = {0, ms * 1000L};
    const struct timespec spec = {0, ms * 1000000L};
    fd_set *in = given & 1 ? &sets_of[0] : NULL, *out = given & 2 ? &sets_of[1] : NULL,
           *except = given & 4 ? &sets_of[2] : NULL;
    const int n = chance(30) ? most + 1 : -1;
    say(" given %u", given);
    if (kind)
        TOLD(select(n, in, out, except, ms < 0 ? NULL : &time));
    else
        TOLD(pselect(n, in, out, except, ms < 0 ? NULL : &spec, NULL));
    for (int i = 0; i < SLOTS; i++)
        for (int j = 0; j < 3; j++)
            if (slots[i] >= 0 && slots[i] < FD_SETSIZE && FD_ISSET(slots[i], &sets_of[j]))
                say(" %d:%d", slots[i], j);
}

/* ---- epoll ---- */

static int a_set(void) {
    const unsigned i = chance(SETS);
    if (sets[i] >= 0)
        return sets[i];
    say(" new");
    sets[i] = (int)TOLD(epoll_create1(chance(2) ? EPOLL_CLOEXEC : 0));
    return sets[i];
}

static void step_control(void) {
    static const uint32_t events[] = {EPOLLIN,  EPOLLOUT, EPOLLIN | EPOLLOUT,       EPOLLIN | EPOLLRDHUP,
                                      EPOLLPRI, 0,        EPOLLRDNORM | EPOLLWRNORM};
    static const uint32_t ways[] = {
        0, 0, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLONESHOT | EPOLLET, EPOLLEXCLUSIVE, EPOLLWAKEUP};
    static const int verbs[] = {
        EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 9};
    const int set = a_set(), fd = chance(16) ? a_socket() : a_set(), op = chance(40) ? one_of(verbs) : 9;
    struct epoll_event e = {.events = one_of(events) | one_of(ways), .data.u64 = chance(1000)};
    say(" %d op %d fd %d events %x data %lu", set, op, fd, e.events, (unsigned long)e.data.u64);
    TOLD(epoll_ctl(set, op, fd, chance(40) ? &e : NULL));
}

static int by_data(const void *a, const void *b) {
    const struct epoll_event *x = a, *y = b;
    return x->data.u64 < y->data.u64 ? -1 : x->data.u64 > y->data.u64;
}

static void step_events(void) {
    struct epoll_event e[16] = {0};
    const int set = a_set(), most = chance(20) ? 16 : (int)chance(3) - 1, ms = some_time(set);
    const struct timespec time = {0, ms * 1000000L};
    const unsigned kind = chance(3);
    say(" %d most %d", set, most);
    const long n = kind == 0   ? TOLD(epoll_wait(set, e, most, ms))
                   : kind == 1 ? TOLD(epoll_pwait(set, e, most, ms, NULL))
                               : TOLD(epoll_pwait2(set, e, most, ms < 0 ? NULL : &time, NULL));
    qsort(e, n > 0 ? (size_t)n : 0, sizeof *e, by_data);
    for (long i = 0; i < n; i++)
        say(" %lu:%x", (unsigned long)e[i].data.u64, e[i].events);
}

const struct step steps_wait[] = {{"wait", step_poll, 5},
                                  {"wait", step_select, 3},
                                  {"control", step_control, 8},
                                  {"events", step_events, 8},
                                  {NULL, NULL, 0}};

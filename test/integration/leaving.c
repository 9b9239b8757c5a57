/* leaving - a labeled socket that leaves wifi for cell. */
#include "leaving.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

#define SMALL CMM_LABEL_SMALL

const char leaving_config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                              "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n";
const char leaving_world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                             "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

int leaving_number(int request) {
    int value = -1;
    stage_equal(ioctl(talk_sock, (unsigned long)request, &value), 0);
    return value;
}

short leaving_polled(short events) {
    struct pollfd p = {.fd = talk_sock, .events = events};
    return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

bool leaving_selected(bool to_read) {
    struct timeval none = {0, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(talk_sock, &set);
    return select(talk_sock + 1, to_read ? &set : NULL, to_read ? NULL : &set, NULL, &none) == 1;
}

int leaving_watch(uint32_t events) {
    struct epoll_event e = {.events = events, .data.u64 = 4711};
    int ep = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(ep, EPOLL_CTL_ADD, talk_sock, &e), 0);
    return ep;
}

uint32_t leaving_look(int ep, int ms) {
    struct epoll_event e[4];
    int n = epoll_wait(ep, e, 4, ms);
    if (n > 0)
        stage_equal(e[0].data.u64, 4711);
    return n > 0 ? e[0].events : 0;
}

void leaving_live(int flags) {
    stage_up("wifi");
    stage_expect(talk_dial(flags, SMALL, NULL) >= (flags ? CMM_DEFERRED : 0));
    talk_expect_moved(0, "127.0.1.1", "wifi");
}

void leaving_live_in_world(int flags) {
    stage_wait(stage_offered("wifi"));
    stage_expect(talk_dial(flags, SMALL, NULL) >= (flags ? CMM_DEFERRED : 0));
    talk_expect_moved(0, "10.1.0.2", "wifi");
}

void leaving_move(void) {
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
}

/* ---- a pattern that tells every byte's place ---- */

unsigned char leaving_at(size_t i) {
    return (unsigned char)(i * 131 + (i >> 8) * 29 + (i >> 16));
}

size_t leaving_put_at;

long leaving_put(size_t len, int flags) {
    unsigned char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = leaving_at(leaving_put_at + i);
    ssize_t n = cmm_send(talk_sock, bytes, len, flags, SMALL, NULL, NULL);
    free(bytes);
    if (n > 0)
        leaving_put_at += (size_t)n;
    return n;
}

void leaving_expect(int connection, size_t from, size_t len) {
    const unsigned char *bytes = stage_bytes(connection);
    stage_equal(stage_received(connection), len);
    for (size_t i = 0; i < len && i < STAGE_KEPT; i++)
        if (bytes[i] != leaving_at(from + i))
            stage_fail(__FILE__, __LINE__, "byte %zu of connection %d is wrong", i, connection);
}

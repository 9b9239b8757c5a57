/* steps_open - sockets and copies of them come, go, and are given addresses. */
#include "play.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- addresses ---- */

struct place {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        char bytes[160];
    } at;
    socklen_t len;
};

static struct place place(const char *text, uint16_t port) {
    struct place p = {.len = sizeof p.at.in6};
    if (inet_pton(AF_INET6, text, &p.at.in6.sin6_addr) == 1) {
        p.at.in6.sin6_family = AF_INET6;
        p.at.in6.sin6_port = port;
        return p;
    }
    p.at.in =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = inet_addr(text)};
    p.len = sizeof p.at.in;
    return p;
}

static int family_of(int fd) {
    int family = AF_INET;
    socklen_t len = sizeof family;
    raw(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
    return family;
}

static struct place far_place(int family, unsigned port) {
    return place(family == AF_INET ? FAR_ADDRESS
                 : mapped          ? "::ffff:" FAR_ADDRESS
                                   : FAR_ADDRESS6,
                 htons((uint16_t)port));
}

static struct place some_place(int fd) {
    static const char *const others[] = {"127.0.0.1", "10.1.0.2", "::1",      "fd00:1::2",
                                         "0.0.0.0",   "::",       "10.2.0.2", "255.255.255.255"};
    static const unsigned short families[] = {AF_UNSPEC, AF_UNSPEC, AF_UNSPEC, AF_UNIX,
                                              AF_INET,   AF_INET6,  200};
    static const socklen_t lengths[] = {0, 1, 2, 4, 8, 15, 16, 20, 24, 27, 28, 40, 128, 129, (socklen_t)-1};
    struct place p;
    const unsigned kind = chance(20);
    p = far_place(family_of(fd), chance(4) ? FAR_PORT : FAR_REFUSED);
    if (kind >= 17 && !(mapped && family_of(fd) == AF_INET6))
        p = place(one_of(others), htons(chance(2) ? FAR_REFUSED : 0));
    if (kind == 16)
        p = far_place(chance(2) ? AF_INET : AF_INET6, FAR_PORT);
    if (kind == 15)
        p.at.any.sa_family = one_of(families);
    if (kind == 14)
        p.len = one_of(lengths);
    return p;
}

static void do_connect(int fd, const struct place *to) {
    int error;
    socklen_t len = sizeof error;
    const void *at = chance(60) ? to : NULL;
    say(" connect %d", fd);
    say_address(at == to ? to : NULL, to->len, at == to ? sizeof to->at : 0);
    TOLD(connect(fd, at, to->len));
    /* Of a connection that it has given up itself the kernel tells a program a reset. */
    if (at && to->len >= 2 && to->at.any.sa_family == AF_UNSPEC)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
}

static int do_socket(int family, int type, int protocol) {
    say(" socket %d %x %d", family, (unsigned)type, protocol);
    return (int)TOLD(socket(family, type, protocol));
}

/* ---- what one begins with ---- */

static int some_flags(void) {
    static const int flags[] = {0, 0, SOCK_NONBLOCK, SOCK_NONBLOCK | SOCK_CLOEXEC, SOCK_CLOEXEC};
    return one_of(flags);
}

static void open_connected(int slot, int type) {
    const int family = chance(3) ? AF_INET : AF_INET6, fd = do_socket(family, type | some_flags(), 0);
    const struct place to = far_place(family, FAR_PORT);
    put(slot, fd);
    say(" connect %d", fd);
    TOLD(connect(fd, &to.at.any, to.len));
    rest();
}

static void open_listening(int slot) {
    const int family = chance(3) ? AF_INET : AF_INET6, fd = do_socket(family, SOCK_STREAM | some_flags(), 0);
    const struct place at = place(family == AF_INET ? "0.0.0.0" : "::", own_port(chance(16)));
    put(slot, fd);
    say(" bind, listen");
    TOLD(bind(fd, &at.at.any, at.len));
    TOLD(listen(fd, 5));
}

static void open_any(int slot) {
    static const int families[] = {AF_INET, AF_INET, AF_INET, AF_INET6, AF_INET6, AF_UNIX, 200, -1};
    static const int types[] = {SOCK_STREAM, SOCK_STREAM,    SOCK_STREAM, SOCK_DGRAM,
                                SOCK_DGRAM,  SOCK_SEQPACKET, 77};
    static const int protocols[] = {0, 0, 0, 0, IPPROTO_TCP, IPPROTO_UDP, 200, -1};
    const int family = one_of(families), type = one_of(types), protocol = one_of(protocols);
    put(slot, do_socket(family, type | some_flags(), protocol));
}

void open_at(int slot) {
    switch (chance(8)) {
    case 0:
        open_listening(slot);
        break;
    case 1:
    case 2:
        open_any(slot);
        break;
    case 3:
        open_connected(slot, SOCK_DGRAM);
        break;
    default:
        open_connected(slot, SOCK_STREAM);
    }
}

static void step_open(void) {
    open_at(an_empty_slot());
}

/* ---- addresses ---- */

static void step_connect(void) {
    const int fd = a_socket();
    const struct place to = some_place(fd);
    do_connect(fd, &to);
}

static void step_connect_fresh(void) {
    const int slot = an_empty_slot(), family = chance(3) ? AF_INET : AF_INET6,
              fd = do_socket(family, (chance(5) ? SOCK_STREAM : SOCK_DGRAM) | some_flags(), 0);
    put(slot, fd);
    const struct place to = some_place(fd);
    do_connect(fd, &to);
    rest();
    if (chance(2))
        do_connect(fd, &to);
}

static void step_bind(void) {
    static const char *const fours[] = {"0.0.0.0", "0.0.0.0", "10.1.0.2", "127.0.0.1", "10.9.0.1"};
    static const char *const sixes[] = {"::", "::", "fd00:1::2", "::1", "::ffff:10.1.0.2", "fd00:9::1"};
    const int fd = a_socket();
    struct place at =
        place(family_of(fd) == AF_INET ? one_of(fours) : one_of(sixes), chance(2) ? own_port(chance(16)) : 0);
    if (chance(12) == 0)
        at = some_place(fd);
    if (polled(fd) & POLLRDHUP)
        return; /* of what was connected the interface stands, which is ours */
    say(" bind %d", fd);
    say_address(&at.at, at.len, sizeof at.at);
    TOLD(bind(fd, chance(60) ? &at.at.any : NULL, at.len));
}

static void step_listen(void) {
    const int fd = a_socket();
    say(" %d", fd);
    TOLD(listen(fd, (int)chance(6) - 1));
}

static void step_accept(void) {
    static const socklen_t rooms[] = {0, 2, 8, 16, 28, 100, (socklen_t)-1};
    const int fd = a_socket(), flags = chance(20) ? some_flags() : 0x77, slot = an_empty_slot();
    struct place from = {.len = chance(3) ? 128 : one_of(rooms)};
    const socklen_t room = from.len;
    const unsigned kind = chance(8);
    say(" %d", fd);
    may_block(fd, 0, POLLIN);
    const int got = (int)(kind == 0   ? TOLD(accept(fd, NULL, NULL))
                          : kind == 1 ? TOLD(accept4(fd, NULL, NULL, flags))
                          : kind == 2 ? TOLD(accept(fd, &from.at.any, &from.len))
                                      : TOLD(accept4(fd, &from.at.any, &from.len, flags)));
    if (got >= 0 && kind > 1)
        say_address(&from.at, from.len, room);
    if (got >= 0)
        put(slot, got);
}

static void step_names(void) {
    static const socklen_t rooms[] = {0, 1, 2, 8, 15, 16, 20, 28, 100, (socklen_t)-1};
    const int fd = a_socket();
    struct place p = {.len = chance(2) ? 128 : one_of(rooms)};
    const socklen_t room = p.len;
    const unsigned bad = chance(30);
    const bool peer = chance(2);
    void *at = bad == 1 ? NULL : (void *)&p, *len = bad == 2 ? NULL : (void *)&p.len;
    say(peer ? " getpeername %d" : " getsockname %d", fd);
    if ((peer ? TOLD(getpeername(fd, at, len)) : TOLD(getsockname(fd, at, len))) == 0)
        say_address(&p.at, p.len, room > 128 ? 128 : room);
}

/* ---- copies ---- */

static void step_dup(void) {
    const int fd = a_socket(), slot = a_slot();
    const int to = chance(3) ? (slots[slot] >= 0 ? slots[slot] : 40) : chance(2) ? 41 : fd;
    int got;
    say(" %d", fd);
    switch (chance(5)) {
    case 0:
        got = (int)TOLD(dup(fd));
        break;
    case 1:
        say(" to %d", to);
        got = (int)TOLD(dup2(fd, to));
        break;
    case 2:
        say(" 3 to %d", to);
        got = (int)TOLD(dup3(fd, to, chance(2) ? O_CLOEXEC : chance(8) ? 0 : 1));
        break;
    case 3:
        got = (int)TOLD(fcntl(fd, F_DUPFD, (int)chance(60) - 1));
        break;
    default:
        got = (int)TOLD(fcntl(fd, F_DUPFD_CLOEXEC, chance(60)));
    }
    if (got >= 0)
        put(slot, got);
}

static void step_close(void) {
    const int fd = a_socket();
    say(" %d", fd);
    const unsigned kind = chance(10);
    const unsigned flags = kind == 0 && chance(2) ? CLOSE_RANGE_CLOEXEC : 0;
    if (fd < 3 || fd > 800) {
        TOLD(close(fd < 3 ? -1 : fd));
        return;
    }
    if (kind == 0)
        TOLD(close_range((unsigned)fd, (unsigned)fd + chance(2), (int)flags));
    else if (kind == 1)
        TOLD(syscall(SYS_close, fd));
    else
        TOLD(close(fd));
    for (int i = 0; i < SLOTS; i++)
        if (slots[i] >= 0 && raw(SYS_fcntl, slots[i], F_GETFD) < 0)
            slots[i] = -1;
    for (int i = 0; i < SETS; i++)
        if (sets[i] >= 0 && raw(SYS_fcntl, sets[i], F_GETFD) < 0)
            sets[i] = -1;
}

static void step_shutdown(void) {
    const int fd = a_socket(), how = chance(15) ? (int)chance(3) : 3;
    say(" %d how %d", fd, how);
    if (!connected(fd))
        return; /* the kernel fails, and remembers it for the connection to come */
    TOLD(shutdown(fd, how));
}

const struct step steps_open[] = {{"open", step_open, 4},
                                  {"connect", step_connect, 6},
                                  {"begin", step_connect_fresh, 8},
                                  {"bind", step_bind, 3},
                                  {"listen", step_listen, 2},
                                  {"accept", step_accept, 4},
                                  {"name", step_names, 5},
                                  {"dup", step_dup, 5},
                                  {"close", step_close, 6},
                                  {"shutdown", step_shutdown, 3},
                                  {NULL, NULL, 0}};

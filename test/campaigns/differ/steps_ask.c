/* steps_ask - flags and options are set and asked for. */
#include "play.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static void step_fcntl(void) {
    const int fd = a_socket();
    static const int flags[] = {0, 0, O_NONBLOCK, O_NONBLOCK, O_DIRECT, O_NOATIME};
    const int to = one_of(flags);
    say(" %d", fd);
    switch (chance(8)) {
    case 0:
    case 1:
        say(" flags %x", (unsigned)to);
        TOLD(fcntl(fd, F_SETFL, to));
        break;
    case 2:
        say(" close on exec");
        TOLD(fcntl(fd, F_SETFD, (int)chance(2)));
        break;
    case 3:
        say(" close on exec?");
        TOLD(fcntl(fd, F_GETFD));
        break;
    case 4:
        say(" owner");
        TOLD(fcntl(fd, F_SETOWN, chance(2) ? 1 : 0));
        break;
    case 5:
        say(" owner?");
        TOLD(fcntl(fd, F_GETOWN));
        break;
    case 6:
        say(" what nobody knows");
        TOLD(fcntl(fd, 77, 1));
        break;
    default:
        say(" flags?");
        TOLD(fcntl(fd, F_GETFL));
    }
}

static void step_ioctl(void) {
    static const struct {
        const char *name;
        unsigned long request;
        bool sets;
    } requests[] = {
        {"FIONREAD", FIONREAD, false},       {"FIONREAD", FIONREAD, false},     {"FIONBIO", FIONBIO, true},
        {"FIONBIO", FIONBIO, true},          {"SIOCATMARK", SIOCATMARK, false}, {"SIOCOUTQ", SIOCOUTQ, false},
        {"SIOCOUTQNSD", SIOCOUTQNSD, false}, {"FIOCLEX", FIOCLEX, false},       {"FIONCLEX", FIONCLEX, false},
        {"TIOCGWINSZ", TIOCGWINSZ, false},   {"SIOCGPGRP", SIOCGPGRP, false}};
    const int fd = a_socket();
    const unsigned i = chance(sizeof requests / sizeof *requests);
    int value[16] = {requests[i].sets ? (int)chance(2) : -1};
    say(" %d %s", fd, requests[i].name);
    if (requests[i].sets)
        say(" %d", value[0]);
    TOLD(ioctl(fd, requests[i].request, chance(30) ? value : NULL));
    /* Of what is not connected any more the kernel counts what was sent in vain. */
    const bool counts = requests[i].request == SIOCOUTQ || requests[i].request == SIOCOUTQNSD;
    if (!requests[i].sets && !(counts && !connected(fd)))
        say(" %d", value[0]);
}

enum kind { NUMBER, TIME, LINGER, TEXT, LONG };
static const struct option {
    const char *name;
    int level, option;
    enum kind kind;
    int most; /* of the values; 0: only asked for */
} options[] = {
    {"SO_ERROR", SOL_SOCKET, SO_ERROR, NUMBER, 0},
    {"SO_ERROR", SOL_SOCKET, SO_ERROR, NUMBER, 0},
    {"SO_ERROR", SOL_SOCKET, SO_ERROR, NUMBER, 0},
    {"SO_TYPE", SOL_SOCKET, SO_TYPE, NUMBER, 1},
    {"SO_DOMAIN", SOL_SOCKET, SO_DOMAIN, NUMBER, 1},
    {"SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL, NUMBER, 1},
    {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, NUMBER, 1},
    {"SO_PEERNAME", SOL_SOCKET, SO_PEERNAME, TEXT, 0},
    {"SO_PEERCRED", SOL_SOCKET, SO_PEERCRED, LONG, 0},
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, NUMBER, 3},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, NUMBER, 2},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, NUMBER, 2},
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, NUMBER, 2},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, NUMBER, 2},
    {"SO_LINGER", SOL_SOCKET, SO_LINGER, LINGER, 2},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, NUMBER, 100000},
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, NUMBER, 100000},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, NUMBER, 40},
    {"SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT, NUMBER, 2},
    {"SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO, TIME, 2},
    {"SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO, TIME, 2},
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, NUMBER, 9},
    {"SO_MARK", SOL_SOCKET, SO_MARK, NUMBER, 9},
    {"SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, NUMBER, 1},
    {"SO_BINDTODEVICE", SOL_SOCKET, SO_BINDTODEVICE, TEXT, 0},
    {"SO_BINDTOIFINDEX", SOL_SOCKET, SO_BINDTOIFINDEX, NUMBER, 1},
    {"SO_ZEROCOPY", SOL_SOCKET, SO_ZEROCOPY, NUMBER, 2},
    {"SO_NO_CHECK", SOL_SOCKET, SO_NO_CHECK, NUMBER, 2},
    {"SO_PEEK_OFF", SOL_SOCKET, SO_PEEK_OFF, NUMBER, 0},
    {"SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, NUMBER, 1},
    {"SO_MAX_PACING_RATE", SOL_SOCKET, SO_MAX_PACING_RATE, NUMBER, 0},
    {"an option nobody knows", SOL_SOCKET, 9999, NUMBER, 2},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, NUMBER, 2},
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, NUMBER, 99},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, NUMBER, 99},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, NUMBER, 9},
    {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, NUMBER, 9},
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, NUMBER, 99999},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, NUMBER, 0},
    {"TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP, NUMBER, 0},
    {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, NUMBER, 0},
    {"TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION, TEXT, 0},
    {"TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, NUMBER, 0},
    {"TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, NUMBER, 0},
    {"TCP_ULP", IPPROTO_TCP, TCP_ULP, TEXT, 0},
    {"IP_TOS", IPPROTO_IP, IP_TOS, NUMBER, 255},
    {"IP_TTL", IPPROTO_IP, IP_TTL, NUMBER, 255},
    {"IP_MTU", IPPROTO_IP, IP_MTU, NUMBER, 0},
    {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, NUMBER, 4},
    {"IP_RECVERR", IPPROTO_IP, IP_RECVERR, NUMBER, 2},
    {"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, NUMBER, 2},
    {"IP_RECVTTL", IPPROTO_IP, IP_RECVTTL, NUMBER, 2},
    {"IP_UNICAST_IF", IPPROTO_IP, IP_UNICAST_IF, NUMBER, 0},
    {"IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, NUMBER, 2},
    {"IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL, NUMBER, 9},
    {"IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, NUMBER, 2},
    {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, NUMBER, 2},
    {"IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, NUMBER, 255},
    {"IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS, NUMBER, 255},
    {"IPV6_RECVERR", IPPROTO_IPV6, IPV6_RECVERR, NUMBER, 2},
    {"IPV6_MTU", IPPROTO_IPV6, IPV6_MTU, NUMBER, 0},
    {"IPV6_UNICAST_IF", IPPROTO_IPV6, IPV6_UNICAST_IF, NUMBER, 0},
    {"IPV6_RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO, NUMBER, 2},
    {"UDP_CORK", IPPROTO_UDP, 1, NUMBER, 0},
    {"level 99", 99, 1, NUMBER, 2},
};

union value {
    int number;
    struct timeval time;
    struct linger linger;
    char text[128];
};

static void say_value(const struct option *o, const union value *v, socklen_t len) {
    say(" (%u)", len);
    if (o->kind == NUMBER && len >= sizeof v->number)
        say(" %d", v->number);
    else if (o->kind == NUMBER && len)
        say(" %d", v->text[0]);
    else if (o->kind == TIME && len >= sizeof v->time)
        say(" %ld.%06ld", (long)v->time.tv_sec, (long)v->time.tv_usec);
    else if (o->kind == LINGER && len >= sizeof v->linger)
        say(" %d %d", v->linger.l_onoff, v->linger.l_linger);
    else if (o->kind == TEXT && o->option == SO_PEERNAME && o->level == SOL_SOCKET)
        say_address(v, len, len);
    else if (o->kind == TEXT)
        say_bytes(v, len);
}

static void step_get(void) {
    const int fd = a_socket();
    const struct option *o = &one_of(options);
    static const socklen_t rooms[] = {0, 1, 2, 3, 4, 8, 12, 16, 100, (socklen_t)-1};
    union value v = {.number = -77};
    socklen_t len = chance(4) || o->option == IP_UNICAST_IF ? o->kind == NUMBER ? sizeof v.number : sizeof v
                                                            : one_of(rooms);
    say(" %d %s %d", fd, o->name, (int)len);
    if (TOLD(getsockopt(fd, o->level, o->option, chance(40) || o->kind == TEXT ? &v : NULL,
                        chance(40) ? &len : NULL)) == 0)
        say_value(o, &v, len);
}

static void step_set(void) {
    const int fd = a_socket();
    const struct option *o = &one_of(options);
    static const socklen_t rooms[] = {0, 1, 2, 3, 8, 100, (socklen_t)-1};
    union value v = {0};
    socklen_t len = o->kind == TIME ? sizeof v.time : o->kind == LINGER ? sizeof v.linger : sizeof v.number;
    if (!o->most)
        o = options + 9;
    v.number = chance(8) ? (int)chance((unsigned)o->most) : -1;
    if (o->kind == TIME)
        v.time = (struct timeval){0, chance(2) ? 20000 : 0};
    if (o->kind == LINGER)
        v.linger = (struct linger){(int)chance(2), 0};
    len = chance(8) ? len : one_of(rooms);
    say(" %d %s %d", fd, o->name, (int)len);
    say_value(o, &v, len);
    TOLD(setsockopt(fd, o->level, o->option, chance(40) ? &v : NULL, len));
}

static void step_stat(void) {
    const int fd = a_socket();
    struct stat st = {0};
    say(" %d", fd);
    if (TOLD(fstat(fd, &st)) == 0)
        say(" %o %ld", st.st_mode, (long)st.st_size);
    TOLD(lseek(fd, 0, SEEK_SET));
    TOLD(fsync(fd));
}

const struct step steps_ask[] = {{"fcntl", step_fcntl, 7}, {"ioctl", step_ioctl, 7}, {"get", step_get, 9},
                                 {"set", step_set, 9},     {"stat", step_stat, 1},   {NULL, NULL, 0}};

/* stage_far - the far end of a stage.
 * One process, one poll loop: it accepts, reads and records into shared memory, and does what the test
 * commands. It is forked before the test runs and is no part of what is tested. */
#include "stage_far.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct far_record *record;
static int commands, listener = -1, udp = -1;
static int port = -1; /* has the listener's, that nobody else gets it while nobody listens */
static int connection[STAGE_CONNECTIONS]; /* -1: closed here */
enum { READ = 65536, BUFFER = 8 << 20 };

/* What has been read and not yet sent back: nothing more is read before. */
static struct echo {
    size_t at, owed;
    unsigned char bytes[READ];
} echo[STAGE_CONNECTIONS];

static int filler[4] = {-1, -1, -1, -1};
static bool holding, echoing, crowded, multipath;
static int receive_buffer;

#define CROWD_ADDRESS "127.9.9.9"

static int bind_stream(int protocol) {
    const int one = 1;
    socklen_t len = sizeof record->tcp;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&record->tcp, len) < 0)
        _exit(3);
    getsockname(fd, (struct sockaddr *)&record->tcp, &len);
    return fd;
}

static void open_listener(void) {
    if (port < 0)
        port = bind_stream(0);
    listener = bind_stream(multipath ? IPPROTO_MPTCP : 0);
    if (receive_buffer)
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (listen(listener, 128) < 0)
        _exit(3);
}

static void open_udp(void) {
    socklen_t len = sizeof record->udp;
    udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(udp, (struct sockaddr *)&record->udp, len) < 0)
        _exit(3);
    getsockname(udp, (struct sockaddr *)&record->udp, &len);
}

static bool accept_one(void) {
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const int i = record->connections;
    if (fd < 0)
        return false;
    if (from.sin_addr.s_addr == inet_addr(CROWD_ADDRESS) || i == STAGE_CONNECTIONS) {
        close(fd);
        return true;
    }
    inet_ntop(AF_INET, &from.sin_addr, record->connection[i].peer, sizeof record->connection[i].peer);
    connection[i] = fd;
    record->connections = i + 1;
    return true;
}

static int say(int fd, const unsigned char *bytes, size_t len) {
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, 1000);
            continue;
        }
        if (n < 0)
            return -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* As much as goes: the test may be waiting for an answer of ours before it reads. */
static void send_back(int i) {
    struct echo *e = &echo[i];
    ssize_t n = send(connection[i], e->bytes + e->at, e->owed, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
        e->owed = 0;
    e->at += n > 0 ? (size_t)n : 0;
    e->owed -= n > 0 ? (size_t)n : 0;
}

static bool listens_to(int i) {
    return connection[i] >= 0 && !holding && !echo[i].owed && record->connection[i].end == STAGE_OPEN;
}

static bool read_one(int i) {
    unsigned char buf[READ];
    struct far_connection *c = &record->connection[i];
    ssize_t n = recv(connection[i], buf, sizeof buf, 0);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        c->end = n == 0 ? STAGE_EOF : STAGE_RESET;
        return false;
    }
    const size_t at = c->received, room = at < STAGE_KEPT ? STAGE_KEPT - at : 0;
    memcpy(c->bytes + at, buf, (size_t)n < room ? (size_t)n : room);
    c->received = at + (size_t)n;
    if (echoing) {
        memcpy(echo[i].bytes, buf, (size_t)n);
        echo[i].owed = (size_t)n;
        echo[i].at = 0;
        send_back(i);
    }
    return true;
}

static bool read_datagram(void) {
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    const int i = record->datagrams;
    struct far_datagram *d = &record->datagram[i % STAGE_DATAGRAMS];
    ssize_t n = recvfrom(udp, d->bytes, sizeof d->bytes, 0, (struct sockaddr *)&from, &len);
    if (n < 0)
        return false;
    inet_ntop(AF_INET, &from.sin_addr, d->peer, sizeof d->peer);
    d->len = (size_t)n;
    record->datagrams = i + 1;
    if (echoing)
        sendto(udp, d->bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
    return true;
}

/* What the kernel has taken for this process and it has not looked at yet: as much as its buffers hold, for a
 * sender may go on meanwhile. */
static void catch_up(void) {
    while (!crowded && listener >= 0 && accept_one())
        ;
    for (int i = 0; i < record->connections; i++)
        for (int part = 0; part < BUFFER / READ && listens_to(i) && read_one(i); part++)
            ;
    for (int n = 0; n < STAGE_DATAGRAMS && read_datagram(); n++)
        ;
}

static void end_connection(int i, bool reset) {
    const struct linger at_once = {1, 0};
    if (reset)
        setsockopt(connection[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(connection[i]);
    connection[i] = -1;
}

/* With a queue of one place taken, the kernel drops every further SYN; its sender tries again until there is
 * room. */
static void crowd(bool on) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(CROWD_ADDRESS)};
    crowded = on;
    listen(listener, on ? 0 : 128);
    for (size_t i = 0; i < sizeof filler / sizeof *filler; i++) {
        if (filler[i] >= 0)
            close(filler[i]);
        filler[i] = on ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
        if (!on)
            continue;
        bind(filler[i], (struct sockaddr *)&from, sizeof from);
        connect(filler[i], (struct sockaddr *)&record->tcp, sizeof record->tcp);
        /* The first one has the place before we answer, whoever else was on the way to it. */
        struct pollfd p = {.fd = filler[i], .events = POLLOUT};
        while (i == 0 && poll(&p, 1, 10) == 0)
            accept_one();
    }
}

static void refuse(bool on) {
    if (on && listener >= 0) {
        close(listener);
        listener = -1;
    } else if (!on && listener < 0) {
        open_listener();
    }
}

static int speak_multipath(void) {
    const int trial = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
    if (trial < 0)
        return 0;
    close(trial);
    multipath = true;
    refuse(true);
    refuse(false);
    return 1;
}

static int obey(const struct far_command *c) {
    const bool known = c->number >= 0 && c->number < record->connections && connection[c->number] >= 0;
    switch ((enum far_verb)c->verb) {
    case FAR_SAY:
        return known ? say(connection[c->number], c->bytes, c->len) : -ENOTCONN;
    case FAR_FINISH:
    case FAR_HANG_UP:
        if (!known)
            return -ENOTCONN;
        end_connection(c->number, c->verb == FAR_HANG_UP);
        return 0;
    case FAR_HOLD:
        holding = c->number;
        return 0;
    case FAR_ECHO:
        echoing = c->number;
        return 0;
    case FAR_REFUSE:
        refuse(c->number);
        return 0;
    case FAR_CROWD:
        crowd(c->number);
        return 0;
    case FAR_BUFFER:
        receive_buffer = c->number;
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        return 0;
    case FAR_MULTIPATH:
        return speak_multipath();
    case FAR_CATCH_UP:
        catch_up();
        return 0;
    }
    return -EINVAL;
}

static void hear(void) {
    static struct far_command c;
    ssize_t n = recv(commands, &c, sizeof c, 0);
    if (n <= 0)
        _exit(0); /* the test is over */
    const int answer = obey(&c);
    send(commands, &answer, sizeof answer, MSG_NOSIGNAL);
}

static void serve_once(void) {
    struct pollfd p[STAGE_CONNECTIONS + 3];
    const int count = record->connections;
    p[0] = (struct pollfd){.fd = commands, .events = POLLIN};
    p[1] = (struct pollfd){.fd = crowded ? -1 : listener, .events = POLLIN};
    p[2] = (struct pollfd){.fd = udp, .events = POLLIN};
    for (int i = 0; i < count; i++)
        p[3 + i] = (struct pollfd){.fd = listens_to(i) || echo[i].owed ? connection[i] : -1,
                                   .events = echo[i].owed ? POLLOUT : POLLIN};
    poll(p, 3 + (nfds_t)count, -1);
    for (int i = 0; i < count; i++)
        if (p[3 + i].revents && echo[i].owed)
            send_back(i);
        else if (p[3 + i].revents)
            read_one(i);
    if (p[2].revents)
        read_datagram();
    if (p[1].revents)
        accept_one();
    if (p[0].revents)
        hear();
}

void stage_far(struct far_record *shared, int with, const char *address) {
    const int ready = 0;
    record = shared;
    commands = with;
    record->tcp = record->udp =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address)};
    open_listener();
    open_udp();
    send(commands, &ready, sizeof ready, MSG_NOSIGNAL);
    for (;;)
        serve_once();
}

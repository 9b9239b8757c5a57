/* far - the other end of the player's sockets.
 * One thread; it listens on TCP and UDP ports of both families, and reads only when told to. */
#include "far.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 512 };

static struct connection {
    int fd, family, end;
    uint16_t port, peer;
    unsigned said, received, sum;
} known[MOST];
static int count, listener[2], udp[2];

static struct sockaddr_in6 address(int family, const void *at, uint16_t port, socklen_t *ret_len) {
    struct sockaddr_in6 to = {.sin6_family = (sa_family_t)family, .sin6_port = htons(port)};
    memcpy(family == AF_INET ? (void *)&((struct sockaddr_in *)&to)->sin_addr : (void *)&to.sin6_addr, at,
           family == AF_INET ? 4 : 16);
    *ret_len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof to;
    return to;
}

static int opened(int family, int type, uint16_t port) {
    unsigned char own[16];
    socklen_t len;
    inet_pton(family, family == AF_INET ? FAR_ADDRESS : FAR_ADDRESS6, own);
    const int on = 1, fd = socket(family, type | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 at = address(family, own, port, &len);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    while (bind(fd, (struct sockaddr *)&at, len) < 0) /* the one of the play before is about to end */
        if (errno != EADDRINUSE)
            _exit(3);
        else
            sched_yield();
    if (type == SOCK_STREAM)
        listen(fd, 64);
    return fd;
}

static struct connection *add(int fd, int family) {
    struct sockaddr_in6 here, there;
    socklen_t len = sizeof here, size = sizeof there;
    if (count == MOST)
        _exit(4);
    getsockname(fd, (struct sockaddr *)&here, &len);
    getpeername(fd, (struct sockaddr *)&there, &size);
    known[count] =
        (struct connection){.fd = fd, .family = family, .port = here.sin6_port, .peer = there.sin6_port};
    return &known[count++];
}

static void accept_all(void) {
    for (int i = 0; i < 2; i++)
        for (int fd; (fd = accept4(listener[i], NULL, NULL, SOCK_NONBLOCK)) >= 0;)
            add(fd, i ? AF_INET6 : AF_INET);
}

static struct connection *find(const struct far_order *o) {
    for (int i = count; i-- > 0;)
        if (known[i].fd >= 0 && known[i].family == o->family && known[i].port == o->peer &&
            known[i].peer == o->port)
            return &known[i];
    return NULL;
}

/* ---- what it is told ---- */

static int say(struct connection *c, unsigned len, int flags) {
    char bytes[8192];
    len = len < sizeof bytes ? len : sizeof bytes;
    for (unsigned i = 0; i < len; i++)
        bytes[i] = (char)('a' + (c->said + i) % 26);
    const ssize_t n = send(c->fd, bytes, len, flags | MSG_NOSIGNAL);
    c->said += n > 0 ? (unsigned)n : 0;
    return n < 0 ? -errno : (int)n;
}

static int end(struct connection *c, bool reset) {
    const struct linger at_once = {1, 0};
    if (reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(c->fd);
    c->fd = -1;
    return 0;
}

static int read_all(struct connection *c, struct far_answer *a) {
    unsigned char bytes[65536];
    ssize_t n;
    while ((n = recv(c->fd, bytes, sizeof bytes, 0)) > 0)
        for (ssize_t i = 0; i < n; i++, c->received++)
            c->sum = c->sum * 31 + bytes[i];
    c->end = n == 0 ? 1 : errno == EAGAIN ? c->end : errno;
    a->received = c->received;
    a->sum = c->sum;
    a->end = c->end;
    return 0;
}

static int connect_to(const struct far_order *o) {
    socklen_t len;
    struct sockaddr_in6 to = address(o->family, o->at, ntohs(o->port), &len);
    const int fd = socket(o->family, SOCK_STREAM, 0); /* the player listens, or refuses at once */
    const struct timeval soon = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    if (connect(fd, (struct sockaddr *)&to, len) < 0) {
        close(fd);
        return -errno;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    add(fd, o->family);
    return 0;
}

static int datagram(const struct far_order *o) {
    socklen_t len;
    struct sockaddr_in6 to = address(o->family, o->at, ntohs(o->port), &len);
    char bytes[2048];
    memset(bytes, 'd', sizeof bytes);
    const ssize_t n = sendto(udp[o->family == AF_INET6], bytes, o->len < 2048 ? o->len : 2048, 0,
                             (struct sockaddr *)&to, len);
    return n < 0 ? -errno : (int)n;
}

/* All datagrams that came. */
static int read_datagrams(struct far_answer *a) {
    unsigned char bytes[65536];
    for (int i = 0; i < 2; i++)
        for (ssize_t n; (n = recv(udp[i], bytes, sizeof bytes, 0)) >= 0 || errno != EAGAIN;)
            for (ssize_t j = 0; j <= n; j++, a->received++)
                a->sum = a->sum * 31 + (j < n ? bytes[j] : '.');
    return 0;
}

static int obey(const struct far_order *o, struct far_answer *a) {
    accept_all();
    struct connection *c = find(o);
    if (o->verb == FAR_CONNECT)
        return connect_to(o);
    if (o->verb == FAR_DATAGRAM)
        return o->len ? datagram(o) : read_datagrams(a);
    if (!c)
        return -ENOTCONN;
    switch ((enum far_verb)o->verb) {
    case FAR_SEND:
        return say(c, o->len, 0);
    case FAR_URGENT:
        return say(c, o->len, MSG_OOB);
    case FAR_FINISH:
        return shutdown(c->fd, SHUT_WR) < 0 ? -errno : 0;
    case FAR_CLOSE:
    case FAR_RESET:
        return end(c, o->verb == FAR_RESET);
    default:
        return read_all(c, a);
    }
}

/* ---- relief ---- */

int far_asleep(pid_t pid, long (*raw)(long, ...)) {
    struct {
        uint64_t inode;
        int64_t next;
        unsigned short len;
        unsigned char type;
        char name[];
    } * entry;
    if (!pid)
        return true;
    char path[96], list[4096] __attribute__((aligned(8))), line[256];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    const int dir = (int)raw(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const long len = dir < 0 ? 0 : raw(SYS_getdents64, dir, list, sizeof list);
    bool asleep = len > 0;
    for (long at = 0; at < len && asleep; at += entry->len) {
        entry = (void *)(list + at);
        /* The player asks about its other threads. */
        if (entry->name[0] == '.' || raw(SYS_gettid) == strtol(entry->name, NULL, 10))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/stat", (int)pid, entry->name);
        const int fd = (int)raw(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        const long n = fd < 0 ? 0 : raw(SYS_read, fd, line, sizeof line - 1);
        line[n > 0 ? n : 0] = 0;
        raw(SYS_close, fd);
        const char *state = strrchr(line, ')');
        asleep = !state || state[2] == 'S' || state[2] == 'Z' || state[2] == 'X';
    }
    raw(SYS_close, dir);
    return asleep;
}

/* As soon as all of the player has slept for a while, which is: whenever this process had its turn. */
static void relieve(const struct far_order *o, struct far_shared *shared, unsigned call) {
    struct far_answer none;
    for (int calm = 0, times = 0; shared->under_way == call;) {
        sched_yield();
        calm = far_asleep(shared->caller, syscall) && far_asleep(shared->scout, syscall) ? calm + 1 : 0;
        if (calm < 4 || shared->under_way != call)
            continue;
        calm = 0;
        if (times || o->verb == FAR_INTERRUPT)
            kill(shared->caller, FAR_TOLD);
        else if (o->verb == FAR_RESTART)
            kill(shared->caller, FAR_TOLD_AGAIN);
        else
            obey(o, &none);
        times++;
    }
}

static void hear(int orders, struct far_shared *shared) {
    struct far_order o;
    struct far_answer a = {0};
    if (recv(orders, &o, sizeof o, 0) != sizeof o)
        _exit(0);
    const unsigned call = shared->under_way; /* it goes on only when answered */
    if (!o.relieve)
        a.result = obey(&o, &a);
    send(orders, &a, sizeof a, MSG_NOSIGNAL);
    if (o.relieve)
        relieve(&o, shared, call);
}

void far(int orders, struct far_shared *shared) {
    for (int i = 0; i < 2; i++) {
        listener[i] = opened(i ? AF_INET6 : AF_INET, SOCK_STREAM, FAR_PORT);
        udp[i] = opened(i ? AF_INET6 : AF_INET, SOCK_DGRAM, FAR_PORT);
    }
    struct far_answer ready = {0};
    send(orders, &ready, sizeof ready, MSG_NOSIGNAL);
    for (;;)
        hear(orders, shared);
}

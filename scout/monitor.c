/* monitor - what the kernel says of links, addresses, routes and rp_filter (rtnetlink).
 *
 * scout.c comes in when the socket is readable or a deadline is over. One socket for events and dumps, so
 * that both come in one order. Dumps go links, addresses, filters, routes, one at a time. A lost event
 * (ENOBUFS) or an interrupted dump means all of it again. For 1.1 s after a link event the running links are
 * asked every 5 ms: the kernel tells carrier at most once a second by itself.
 */
#include "monitor.h"

#include "monitor_table.h"
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_MS = 1100, WATCH_STEP_MS = 5, WATCH_LINKS = 32, RETRY_MS = 20, ROUNDS = 64, BUFFER = 32768 };

struct monitor {
    struct mnl_socket *socket;
    struct monitor_table table;
    uint32_t sequence;
    int wanted, busy; /* MONITOR_...: dumps to come, the one under way */
    bool spoilt;      /* the dump under way */
    bool overflowed;  /* and not yet read to the end */
    bool settled;
    int64_t retry_at, watch_until, watch_at, routes_at; /* -1: none */
    int64_t dump_began;                                 /* in our own time on a processor */
    int watch_step;                                     /* ms */
    unsigned watch_next;                                /* the link to be asked first */
};

static int open_socket(struct monitor *m) {
    const unsigned groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                            RTMGRP_IPV6_ROUTE | 1U << (RTNLGRP_IPV4_NETCONF - 1) |
                            1U << (RTNLGRP_NEXTHOP - 1);
    int size = 1 << 20;
    m->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!m->socket || mnl_socket_bind(m->socket, groups, MNL_SOCKET_AUTOPID) < 0)
        return -errno;
    /* Both are only wishes: after an overflow everything is asked again anyway. */
    if (setsockopt(monitor_fd(m), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(monitor_fd(m), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return 0;
}

int monitor_fd(const struct monitor *m) {
    return mnl_socket_get_fd(m->socket);
}

static int ask(struct monitor *m, uint16_t type, uint16_t flags, uint32_t ifindex, uint32_t sequence) {
    char buffer[256];
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
    msg->nlmsg_type = type;
    msg->nlmsg_flags = NLM_F_REQUEST | flags;
    msg->nlmsg_seq = sequence;
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(msg, sizeof *info); /* the longest of the four */
    info->ifi_family = type == RTM_GETNETCONF ? AF_INET : AF_UNSPEC;
    info->ifi_index = (int)ifindex;
    /* Statistics of virtual functions would make the answers long. */
    if (type == RTM_GETLINK)
        mnl_attr_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    return mnl_socket_sendto(m->socket, msg, msg->nlmsg_len) < 0 ? -errno : 0;
}

/* The kernel makes a dump in our receives: others' time on the processor is not what it took. */
static int64_t spent_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void begin_dump(struct monitor *m, int64_t now) {
    static const uint16_t types[] = {[MONITOR_LINK] = RTM_GETLINK,
                                     [MONITOR_ADDRESS] = RTM_GETADDR,
                                     [MONITOR_ROUTE] = RTM_GETROUTE,
                                     [MONITOR_FILTER] = RTM_GETNETCONF};
    int kind = m->wanted & -m->wanted;
    bool early = kind == MONITOR_ROUTE && m->settled && m->routes_at > now;
    if (m->busy || !kind || early || m->overflowed)
        return;
    m->retry_at = -1;
    if (ask(m, types[kind], NLM_F_DUMP, 0, ++m->sequence) < 0) {
        m->retry_at = now + RETRY_MS;
        return;
    }
    m->busy = kind;
    m->wanted &= ~kind;
    m->dump_began = spent_ms();
    m->spoilt = false;
    monitor_table_dump(&m->table, kind);
}

static void want(struct monitor *m, int kinds) {
    m->wanted |= kinds;
    if (m->busy & kinds & (MONITOR_LINK | MONITOR_ADDRESS))
        m->spoilt = true;
}

/* A dump of a very long routing table must not follow itself at once; a millisecond may be the clock's step.
 */
static bool end_dump(struct monitor *m, int64_t now) {
    int kind = m->busy;
    int64_t took = spent_ms() - m->dump_began - 1;
    bool changed = false;
    m->busy = 0;
    if (m->spoilt)
        m->wanted |= kind;
    else
        changed = monitor_table_done(&m->table, kind);
    if (kind == MONITOR_ROUTE)
        m->routes_at = now + 10 * (took > 0 ? took : 0);
    if (!m->wanted)
        m->settled = true;
    return changed;
}

static void refused(struct monitor *m, const struct nlmsghdr *msg, int64_t now) {
    if (msg->nlmsg_seq != m->sequence || !m->busy)
        return;                    /* a single link that has gone meanwhile */
    if (m->busy != MONITOR_FILTER) /* a kernel that does not tell it: nothing hangs on it */
        m->wanted |= m->busy;
    m->busy = 0;
    m->retry_at = now + RETRY_MS;
    if (!m->wanted)
        m->settled = true;
}

/* A link event may be the forerunner of one that the kernel holds back; who asks is told: at once, then less
 * often.
 */
static void watch(struct monitor *m, int64_t now) {
    m->watch_until = now + WATCH_MS;
    m->watch_step = 1;
    m->watch_at = now;
}

static int take(struct monitor *m, const struct nlmsghdr *msg, int64_t now, bool *ret_changed) {
    bool mine = msg->nlmsg_pid == mnl_socket_get_portid(m->socket) && msg->nlmsg_seq != 0;
    bool answer = mine && m->busy && msg->nlmsg_seq == m->sequence;
    if (answer && (msg->nlmsg_flags & NLM_F_DUMP_INTR))
        m->spoilt = true;
    if (msg->nlmsg_type == NLMSG_ERROR) {
        refused(m, msg, now);
        return 0;
    }
    if (msg->nlmsg_type == NLMSG_DONE) {
        *ret_changed |= answer && end_dump(m, now);
        return 0;
    }
    unsigned links = m->table.count;
    int about = monitor_table_take(&m->table, msg, answer, ret_changed);
    if (about < 0)
        return about;
    if (about & MONITOR_CROWDED)
        want(m, MONITOR_ADDRESS);
    if (!mine && about & ~MONITOR_FILTER)
        want(m, MONITOR_ROUTE);
    if (m->table.count > links) /* what was said of its filter came before it */
        want(m, MONITOR_FILTER);
    if (!mine && (about & MONITOR_LINK))
        watch(m, now);
    return 0;
}

static int take_all(struct monitor *m, const void *buffer, size_t len, int64_t now, bool *ret_changed) {
    const struct nlmsghdr *msg = buffer;
    int left = (int)len, r = 0;
    /* mnl_nlmsg_ok() takes a length above 2^31 for a negative one. */
    for (; r == 0 && mnl_nlmsg_ok(msg, left) && msg->nlmsg_len <= (uint32_t)left;
         msg = mnl_nlmsg_next(msg, &left))
        r = take(m, msg, now, ret_changed);
    return r;
}

static ssize_t receive(struct monitor *m, void *buffer, size_t len) {
    struct sockaddr_nl from;
    socklen_t size = sizeof from;
    ssize_t n = recvfrom(monitor_fd(m), buffer, len, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (n < 0)
        return -errno;
    return from.nl_pid == 0 ? n : 0; /* only the kernel is believed */
}

/* Until its queue has been empty once, the kernel drops more without a word. */
static void overflow(struct monitor *m) {
    m->wanted = MONITOR_ALL;
    m->spoilt = m->overflowed = true;
}

int monitor_read(struct monitor *m, int64_t now) {
    _Alignas(struct nlmsghdr) char buffer[BUFFER];
    bool changed = false;
    for (int round = 0; round < ROUNDS; round++) {
        ssize_t n = receive(m, buffer, sizeof buffer);
        if (n == -EAGAIN) {
            m->overflowed = false;
            break;
        }
        if (n == -ENOBUFS) {
            overflow(m);
            continue;
        }
        if (n < 0 && n != -EINTR)
            return (int)n;
        int r = n > 0 ? take_all(m, buffer, (size_t)n, now, &changed) : 0;
        if (r < 0)
            return r;
    }
    begin_dump(m, now);
    return m->settled && changed;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

int64_t monitor_deadline(const struct monitor *m) {
    int64_t first = earlier(m->retry_at, m->watch_at);
    bool held_back = !m->busy && m->wanted == MONITOR_ROUTE && m->settled && m->retry_at < 0;
    return earlier(first, held_back ? m->routes_at : -1);
}

/* Where there are many, some in each round. */
static void ask_links(struct monitor *m) {
    unsigned asked = 0;
    for (unsigned i = 0; i < m->table.count && asked < WATCH_LINKS; i++) {
        const struct fact_link *l = &m->table.links[m->watch_next++ % m->table.count].fact;
        if (l->type == FACT_LOOPBACK || !l->address_count)
            continue;
        ask(m, RTM_GETLINK, 0, l->ifindex, UINT32_MAX);
        asked++;
    }
}

void monitor_tick(struct monitor *m, int64_t now) {
    if (m->watch_at >= 0 && now >= m->watch_at) {
        ask_links(m);
        m->watch_step = m->watch_step * 2 < WATCH_STEP_MS ? m->watch_step * 2 : WATCH_STEP_MS;
        m->watch_at = now < m->watch_until ? now + m->watch_step : -1;
    }
    if (m->retry_at < 0 || now >= m->retry_at)
        begin_dump(m, now);
}

bool monitor_settled(const struct monitor *m) {
    return m->settled;
}

const struct fact_link *monitor_link(const struct monitor *m, unsigned index) {
    return m && index < m->table.count ? &m->table.links[index].fact : NULL;
}

bool monitor_has(const struct monitor *m, uint32_t ifindex) {
    return m && monitor_table_find(&m->table, ifindex) != NULL;
}

static uint32_t owner_of(const struct monitor *m, const struct fact_address *a) {
    const struct fact_link *l;
    size_t len = a->family == AF_INET ? 4 : 16;
    for (unsigned i = 0; (l = monitor_link(m, i)); i++)
        for (unsigned k = 0; k < l->address_count; k++)
            if (l->addresses[k].family == a->family && memcmp(l->addresses[k].bytes, a->bytes, len) == 0)
                return l->ifindex;
    bool loopback = a->family == AF_INET && a->bytes[0] == 127;
    for (unsigned i = 0; loopback && (l = monitor_link(m, i)); i++)
        if (l->type == FACT_LOOPBACK)
            return l->ifindex;
    return 0;
}

bool monitor_can_bind(const struct monitor *m, const struct fact_address *a, uint32_t *ret_ifindex) {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } to = {.any = {.sa_family = a->family}};
    *ret_ifindex = owner_of(m, a);
    if (a->family == AF_INET)
        memcpy(&to.four.sin_addr, a->bytes, 4);
    else
        memcpy(&to.six.sin6_addr, a->bytes, 16);
    int s = socket(a->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return false;
    bool can = bind(s, &to.any, a->family == AF_INET ? sizeof to.four : sizeof to.six) == 0;
    close(s);
    return can;
}

int monitor_new(struct monitor **ret) {
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->retry_at = m->watch_at = m->watch_until = m->routes_at = -1;
    m->wanted = MONITOR_ALL;
    int r = open_socket(m);
    if (r < 0) {
        monitor_free(m);
        return r;
    }
    begin_dump(m, 0);
    *ret = m;
    return 0;
}

void monitor_free(struct monitor *m) {
    if (!m)
        return;
    if (m->socket)
        mnl_socket_close(m->socket);
    monitor_table_finish(&m->table);
    free(m);
}

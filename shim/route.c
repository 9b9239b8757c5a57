/* route - where the kernel's ordinary routing would send a packet.
 *
 * One question over a netlink socket that lives only as long as the call; any thread of the program may come
 * in, and a cancellation waits until the socket is closed again. No state, no cache: routes change. Replies
 * are read strictly; what does not fit is an error, never a guess.
 */
#include "route.h"

#include "real.h"
#include "target.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

struct question {
    struct nlmsghdr header;
    struct rtmsg route;
    char attributes[64]; /* three of them */
};

enum { SEQUENCE = 1, REPLY_MAX = 4096 };

/* ---- the destination ---- */

static bool special4(const unsigned char *a) {
    static const unsigned char all[4] = {255, 255, 255, 255};
    static const unsigned char none[4] = {0, 0, 0, 0};
    return a[0] == 127 || (a[0] == 169 && a[1] == 254) || (a[0] & 0xf0) == 224 || memcmp(a, all, 4) == 0 ||
           memcmp(a, none, 4) == 0;
}

static bool special6(const unsigned char *a) {
    static const unsigned char zero[15] = {0};
    bool loopback_or_none = memcmp(a, zero, 15) == 0 && a[15] <= 1;
    return loopback_or_none || a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

bool route_special(const struct sockaddr *to) {
    struct target t;
    if (target_read(to, &t) < 0)
        return true;
    return t.family == AF_INET ? special4(t.address) : special6(t.address);
}

/* ---- the question ---- */

static void add_attribute(struct question *q, unsigned short type, const void *value, unsigned len) {
    struct rtattr *a = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->header.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), value, len);
    q->header.nlmsg_len = NLMSG_ALIGN(q->header.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
}

static int ask(int sock, const struct target *t, unsigned oif, const unsigned char *from) {
    struct question q = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof q.route),
                   .nlmsg_type = RTM_GETROUTE,
                   .nlmsg_flags = NLM_F_REQUEST,
                   .nlmsg_seq = SEQUENCE},
        .route = {.rtm_family = (unsigned char)t->family, .rtm_dst_len = (unsigned char)(t->len * 8)}};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    add_attribute(&q, RTA_DST, t->address, t->len);
    if (oif) {
        /* Else IPv4 takes what has no route there to be on the link. */
        q.route.rtm_flags = RTM_F_FIB_MATCH;
        add_attribute(&q, RTA_OIF, &oif, sizeof oif);
    }
    if (from) {
        q.route.rtm_src_len = (unsigned char)(t->len * 8);
        add_attribute(&q, RTA_SRC, from, t->len);
    }
    ssize_t n;
    do
        n = real.sendto(sock, &q, q.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* ---- the answer ---- */

static int type_error(unsigned char type) {
    switch (type) {
    case RTN_UNREACHABLE:
        return -EHOSTUNREACH;
    case RTN_PROHIBIT:
        return -EACCES;
    case RTN_BLACKHOLE:
        return -EINVAL;
    case RTN_THROW:
        return -ENETUNREACH;
    default:
        return 0;
    }
}

static bool type_local(unsigned char type) {
    return type == RTN_LOCAL || type == RTN_BROADCAST || type == RTN_MULTICAST || type == RTN_ANYCAST;
}

static int read_route(const struct nlmsghdr *h, int family, struct route *ret) {
    const struct rtmsg *m = NLMSG_DATA(h);
    const struct rtattr *a = RTM_RTA(m);
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || m->rtm_family != family)
        return -EPROTO;
    int r = type_error(m->rtm_type);
    if (r < 0)
        return r;
    struct route route = {0, type_local(m->rtm_type)};
    for (unsigned left = (unsigned)RTM_PAYLOAD(h); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == sizeof route.ifindex)
            memcpy(&route.ifindex, RTA_DATA(a), sizeof route.ifindex);
    if (route.ifindex == 0)
        return -EPROTO;
    *ret = route;
    return 0;
}

static int read_error(const struct nlmsghdr *h) {
    const struct nlmsgerr *e = NLMSG_DATA(h);
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof *e) || e->error >= 0)
        return -EPROTO;
    return e->error;
}

/* The kernel answers within the send, so there is nothing to wait for. */
static int answer(int sock, int family, struct route *ret) {
    union {
        struct nlmsghdr header;
        char bytes[REPLY_MAX];
    } reply;
    struct sockaddr_nl from = {0};
    socklen_t fromlen = sizeof from;
    ssize_t n;
    do
        n = real.recvfrom(sock, &reply, sizeof reply, MSG_DONTWAIT, (struct sockaddr *)&from, &fromlen);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (fromlen != sizeof from || from.nl_pid != 0 || !NLMSG_OK(&reply.header, (size_t)n) ||
        reply.header.nlmsg_seq != SEQUENCE)
        return -EPROTO;
    if (reply.header.nlmsg_type == NLMSG_ERROR)
        return read_error(&reply.header);
    return reply.header.nlmsg_type == RTM_NEWROUTE ? read_route(&reply.header, family, ret) : -EPROTO;
}

static int converse(const struct target *t, unsigned oif, const unsigned char *from, struct route *ret) {
    int sock = real.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (sock < 0)
        return -errno;
    int r = ask(sock, t, oif, from);
    if (r == 0)
        r = answer(sock, t->family, ret);
    real.close(sock);
    return r;
}

static bool running(unsigned ifindex) {
    struct ifreq r = {.ifr_ifindex = (int)ifindex};
    const int sock = real.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (sock < 0)
        return true;
    const bool there = real.ioctl(sock, SIOCGIFNAME, &r) == 0 && real.ioctl(sock, SIOCGIFFLAGS, &r) == 0;
    const bool up =
        there ? (r.ifr_flags & IFF_UP) && (r.ifr_flags & IFF_RUNNING) : errno != ENODEV && errno != ENXIO;
    real.close(sock);
    return up;
}

bool route_carried(unsigned ifindex) {
    int cancel = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    const bool up = !ifindex || running(ifindex);
    pthread_setcancelstate(cancel, &cancel);
    return up;
}

int route_get(const struct sockaddr *to, unsigned oif, struct route *ret) {
    struct target t;
    int cancel = PTHREAD_CANCEL_ENABLE;
    int r = target_read(to, &t);
    if (r < 0)
        return r;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    r = converse(&t, oif, NULL, ret);
    pthread_setcancelstate(cancel, &cancel);
    return r;
}

static bool unreachable(int r) {
    return r == -ENETUNREACH || r == -EHOSTUNREACH;
}

int route_by(const struct sockaddr *to, unsigned oif, int family, const unsigned char *address) {
    struct target t;
    struct route way;
    int cancel = PTHREAD_CANCEL_ENABLE;
    int r = target_read(to, &t);
    if (r < 0)
        return r;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    r = converse(&t, oif, NULL, &way);
    if (unreachable(r) && t.family == family && converse(&t, oif, address, &way) == 0)
        r = ROUTE_FROM;
    pthread_setcancelstate(cancel, &cancel);
    return r;
}

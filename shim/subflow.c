/* subflow - what the kernel's Multipath TCP says of a connection.
 * Its socket options in their full form, which not every libc's headers have. No lock, no state. What the
 * kernel keeps to itself is which interface a way leaves by: the one that has its address.
 */
#include "subflow.h"
#include "real.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

enum { SOL_MULTIPATH = 284, INFO = 1, TCPINFO = 2, ADDRESSES = 3, FALLEN_BACK = 1 };

/* struct mptcp_info as of Linux 6.5; older ones write less of it. */
struct whole {
    uint8_t counts[6];
    uint32_t flags, token;
    uint64_t write_seq, snd_una, rcv_nxt;
    uint8_t more_counts[3];
    uint32_t retransmits;
    uint64_t bytes_retransmitted, bytes_sent, bytes_received, bytes_acked;
};

static socklen_t ask(int fd, struct whole *ret) {
    socklen_t len = sizeof *ret;
    memset(ret, 0, sizeof *ret);
    if (real.getsockopt(fd, SOL_MULTIPATH, INFO, ret, &len) < 0 || ret->flags & FALLEN_BACK)
        return 0;
    return len;
}

bool subflow_multipath(int fd) {
    struct whole w;
    return ask(fd, &w) > 0;
}

bool subflow_account(int fd, uint64_t *ret_sent, uint64_t *ret_received) {
    struct whole w;
    if (ask(fd, &w) < sizeof w)
        return false;
    *ret_sent = w.bytes_sent;
    *ret_received = w.bytes_received;
    return true;
}

/* ---- the ways ---- */

/* As the kernel hands them out: this, then an array of elements of size_user bytes. */
struct head {
    uint32_t size_head, count, size_kernel, size_user;
} __attribute__((aligned(8)));

struct ways {
    struct head head;
    struct {
        struct sockaddr_storage own, peer;
    } of[SUBFLOW_MAX];
};

struct states {
    struct head head;
    struct tcp_info of[SUBFLOW_MAX];
};

static int get(int fd, int name, void *whole, socklen_t len, uint32_t size) {
    struct head *head = whole;
    memset(whole, 0, len);
    head->size_head = sizeof *head;
    head->size_user = size;
    if (real.getsockopt(fd, SOL_MULTIPATH, name, whole, &len) < 0)
        return 0;
    return head->count < SUBFLOW_MAX ? (int)head->count : SUBFLOW_MAX;
}

static bool take(const struct sockaddr *from, struct subflow *ret) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)from;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
    memset(ret, 0, sizeof *ret);
    ret->family = from->sa_family;
    if (ret->family == AF_INET) {
        memcpy(ret->address, &in->sin_addr, 4);
        return true;
    }
    if (ret->family != AF_INET6)
        return false;
    if (!IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        memcpy(ret->address, &in6->sin6_addr, 16);
        return true;
    }
    ret->family = AF_INET;
    memcpy(ret->address, in6->sin6_addr.s6_addr + 12, 4);
    return true;
}

static unsigned running_interface(const struct ifaddrs *all, const struct subflow *s) {
    struct subflow here;
    for (const struct ifaddrs *at = all; at; at = at->ifa_next)
        if (at->ifa_addr && (at->ifa_flags & IFF_RUNNING) && take(at->ifa_addr, &here) &&
            here.family == s->family && memcmp(here.address, s->address, sizeof here.address) == 0)
            return if_nametoindex(at->ifa_name);
    return 0;
}

int subflow_list(int fd, struct subflow ret[SUBFLOW_MAX]) {
    struct ways ways;
    struct states states;
    struct ifaddrs *all = NULL;
    const int count = get(fd, ADDRESSES, &ways, sizeof ways, sizeof ways.of[0]);
    const int known = get(fd, TCPINFO, &states, sizeof states, sizeof states.of[0]);
    int found = 0;
    if (!count || count != known || getifaddrs(&all) < 0)
        return 0;
    for (int i = 0; i < count; i++) {
        if (states.of[i].tcpi_state != TCP_ESTABLISHED ||
            !take((const struct sockaddr *)&ways.of[i].own, &ret[found]))
            continue;
        ret[found].ifindex = running_interface(all, &ret[found]);
        found += ret[found].ifindex != 0;
    }
    freeifaddrs(all);
    return found;
}

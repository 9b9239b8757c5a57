/* monitor_table - links, addresses, routes and rp_filter out of netlink messages.
 *
 * monitor comes in, and the tests with messages of their own making: everything in a message is checked
 * before use. Links and addresses are followed event by event; routes only by whole dumps, because the kernel
 * does not report every route that goes with a link or an address.
 */
#include "monitor_table.h"

#include "monitor_kind.h"
#include "monitor_ssid.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP 0x10000
#endif

enum { ATTRIBUTES = 64, STRICT = 1 };

/* The last of each attribute, by number. */
static void sort(const struct nlattr *first, size_t len, const struct nlattr *ret[ATTRIBUTES]) {
    const struct nlattr *a = first;
    memset(ret, 0, ATTRIBUTES * sizeof *ret);
    while (mnl_attr_ok(a, (int)len)) {
        size_t step = MNL_ALIGN(a->nla_len);
        if (mnl_attr_get_type(a) < ATTRIBUTES)
            ret[mnl_attr_get_type(a)] = a;
        if (step >= len)
            break;
        len -= step;
        a = mnl_attr_next(a);
    }
}

static bool sort_message(const struct nlmsghdr *msg, size_t header, const struct nlattr *ret[ATTRIBUTES]) {
    if (mnl_nlmsg_get_payload_len(msg) < header)
        return false;
    size_t all = mnl_nlmsg_get_payload_len(msg), head = MNL_ALIGN(header);
    sort(mnl_nlmsg_get_payload_offset(msg, header), all > head ? all - head : 0, ret);
    return true;
}

static uint32_t number(const struct nlattr *a, uint32_t otherwise) {
    return a && mnl_attr_get_payload_len(a) >= 4 ? mnl_attr_get_u32(a) : otherwise;
}

static void text(const struct nlattr *a, char *ret, size_t len) {
    size_t n = a ? mnl_attr_get_payload_len(a) : 0;
    n = n < len ? n : len - 1;
    if (n)
        memcpy(ret, mnl_attr_get_payload(a), n);
    memset(ret + n, 0, len - n);
    n = strlen(ret);
    memset(ret + n, 0, len - n); /* facts are compared as memory */
}

static struct monitor_link *find(const struct monitor_table *t, uint32_t ifindex) {
    for (unsigned i = 0; i < t->count; i++)
        if (t->links[i].fact.ifindex == ifindex)
            return &t->links[i];
    return NULL;
}

const struct monitor_link *monitor_table_find(const struct monitor_table *t, uint32_t ifindex) {
    return find(t, ifindex);
}

static struct monitor_link *add(struct monitor_table *t, uint32_t ifindex) {
    struct monitor_link *more = reallocarray(t->links, t->count + 1, sizeof *more);
    unsigned at = t->count;
    if (!more)
        return NULL;
    t->links = more;
    while (at > 0 && t->links[at - 1].fact.ifindex > ifindex)
        at--;
    memmove(&more[at + 1], &more[at], (t->count - at) * sizeof *more);
    memset(&more[at], 0, sizeof *more);
    more[at].fact.ifindex = ifindex;
    t->count++;
    return &more[at];
}

static void drop(struct monitor_table *t, unsigned at) {
    t->count--;
    memmove(&t->links[at], &t->links[at + 1], (t->count - at) * sizeof *t->links);
}

/* A port of a VRF still has its own way out. */
static void take_info(const struct nlattr *info, bool enslaved, char kind[16], struct monitor_link *l) {
    const struct nlattr *in[ATTRIBUTES];
    char slave[16];
    kind[0] = slave[0] = 0;
    if (info) {
        sort(mnl_attr_get_payload(info), mnl_attr_get_payload_len(info), in);
        text(in[IFLA_INFO_KIND], kind, 16);
        text(in[IFLA_INFO_SLAVE_KIND], slave, sizeof slave);
    }
    l->fact.enslaved = enslaved && strcmp(slave, "vrf") != 0;
}

static int take_link(struct monitor_table *t, const struct nlmsghdr *msg, bool *ret_changed) {
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(msg);
    const struct nlattr *in[ATTRIBUTES];
    char kind[16];
    if (!sort_message(msg, sizeof *info, in) || info->ifi_family != AF_UNSPEC || info->ifi_index <= 0)
        return 0;
    struct monitor_link *l = find(t, (uint32_t)info->ifi_index);
    if (msg->nlmsg_type == RTM_DELLINK) {
        if (l)
            drop(t, (unsigned)(l - t->links));
        *ret_changed |= l != NULL;
        return MONITOR_LINK;
    }
    if (!l && !(l = add(t, (uint32_t)info->ifi_index)))
        return -ENOMEM;
    struct fact_link before = l->fact;
    unsigned need = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
    l->link_seen = true;
    l->hardware = info->ifi_type;
    if (in[IFLA_IFNAME])
        text(in[IFLA_IFNAME], l->fact.name, sizeof l->fact.name);
    l->fact.running = (info->ifi_flags & need) == need;
    take_info(in[IFLA_LINKINFO], number(in[IFLA_MASTER], 0) != 0, kind, l);
    if (!before.type || strcmp(before.name, l->fact.name) != 0)
        l->fact.type = monitor_kind(l->fact.name, l->fact.ifindex, l->hardware,
                                    (info->ifi_flags & IFF_LOOPBACK) != 0, kind);
    if (l->fact.type == FACT_WIFI && l->fact.running)
        monitor_ssid(l->fact.ifindex, l->fact.ssid);
    *ret_changed |= memcmp(&before, &l->fact, sizeof before) != 0;
    return MONITOR_LINK;
}

static bool is_link_local(const struct fact_address *a) {
    return a->family == AF_INET ? a->bytes[0] == 169 && a->bytes[1] == 254
                                : a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

static bool read_address(const struct nlmsghdr *msg, struct fact_address *ret, uint32_t *ret_ifindex) {
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(msg);
    const struct nlattr *in[ATTRIBUTES];
    if (!sort_message(msg, sizeof *info, in))
        return false;
    const struct nlattr *a = in[IFA_LOCAL] ? in[IFA_LOCAL] : in[IFA_ADDRESS];
    size_t len = info->ifa_family == AF_INET ? 4 : info->ifa_family == AF_INET6 ? 16 : 0;
    uint32_t flags = number(in[IFA_FLAGS], info->ifa_flags);
    if (!len || !a || mnl_attr_get_payload_len(a) < len)
        return false;
    memset(ret, 0, sizeof *ret);
    ret->family = info->ifa_family;
    ret->prefix = info->ifa_prefixlen;
    ret->preferred = !(flags & (IFA_F_DEPRECATED | IFA_F_DADFAILED)) &&
                     (!(flags & IFA_F_TENTATIVE) || (flags & IFA_F_OPTIMISTIC));
    memcpy(ret->bytes, mnl_attr_get_payload(a), len);
    if (len == sizeof ret->peer && in[IFA_ADDRESS] && mnl_attr_get_payload_len(in[IFA_ADDRESS]) >= len)
        memcpy(ret->peer, mnl_attr_get_payload(in[IFA_ADDRESS]), len);
    *ret_ifindex = info->ifa_index;
    return !is_link_local(ret);
}

/* The kernel takes such an address as the source of nothing that leaves the machine. */
static bool is_for_the_host(const struct nlmsghdr *msg, const struct monitor_link *l) {
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(msg);
    return info->ifa_scope >= RT_SCOPE_HOST && l->fact.type != FACT_LOOPBACK;
}

static void remove_address(struct monitor_link *l, unsigned at) {
    struct fact_link *f = &l->fact;
    f->address_count--;
    memmove(&f->addresses[at], &f->addresses[at + 1], (f->address_count - at) * sizeof f->addresses[0]);
    memmove(&l->address_seen[at], &l->address_seen[at + 1], f->address_count - at);
    memset(&f->addresses[f->address_count], 0, sizeof f->addresses[0]);
}

/* An IPv4 address may be there several times over, with other prefixes or peers. */
static bool is_same(const struct fact_address *a, const struct fact_address *b) {
    if (a->family != b->family || memcmp(a->bytes, b->bytes, sizeof a->bytes) != 0)
        return false;
    return a->family != AF_INET || (a->prefix == b->prefix && memcmp(a->peer, b->peer, sizeof a->peer) == 0);
}

static unsigned find_address(const struct fact_link *l, const struct fact_address *a) {
    unsigned i = 0;
    while (i < l->address_count && !is_same(&l->addresses[i], a))
        i++;
    return i;
}

static int take_address(struct monitor_table *t, const struct nlmsghdr *msg, bool *ret_changed) {
    struct fact_address a;
    uint32_t ifindex;
    struct monitor_link *l = read_address(msg, &a, &ifindex) ? find(t, ifindex) : NULL;
    if (!l)
        return MONITOR_ADDRESS;
    struct fact_link before = l->fact;
    unsigned at = find_address(&l->fact, &a);
    a.preferred &= !is_for_the_host(msg, l);
    if (msg->nlmsg_type == RTM_DELADDR) {
        if (at < l->fact.address_count)
            remove_address(l, at);
    } else if (at == FACT_ADDRESSES) {
        l->crowded = true;
    } else {
        l->fact.address_count += at == l->fact.address_count;
        l->fact.addresses[at] = a;
        l->address_seen[at] = true;
    }
    *ret_changed |= memcmp(&before, &l->fact, sizeof before) != 0;
    return MONITOR_ADDRESS | (msg->nlmsg_type == RTM_DELADDR && l->crowded ? MONITOR_CROWDED : 0);
}

/* Tables beside the main one are for what rules send there: their metrics are not measured against its. */
static uint64_t rank_of(uint32_t table, uint32_t metric) {
    return (uint64_t)(table != RT_TABLE_MAIN) << 32 | metric;
}

static void add_route(struct monitor_table *t, const struct rtmsg *r, uint32_t ifindex, unsigned flags,
                      uint64_t rank) {
    struct monitor_link *l = find(t, ifindex);
    if (!l || (flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)))
        return;
    uint64_t *best = r->rtm_family == AF_INET ? &l->rank4_new : &l->rank6_new;
    *(r->rtm_family == AF_INET ? &l->route4_new : &l->route6_new) = true;
    if (r->rtm_dst_len == 0 && rank < *best)
        *best = rank;
}

static void add_nexthops(struct monitor_table *t, const struct rtmsg *r, const struct nlattr *hops,
                         uint64_t rank) {
    const struct rtnexthop *hop = mnl_attr_get_payload(hops);
    int len = mnl_attr_get_payload_len(hops);
    while (len >= (int)sizeof *hop && hop->rtnh_len >= sizeof *hop && hop->rtnh_len <= len) {
        add_route(t, r, (uint32_t)hop->rtnh_ifindex, hop->rtnh_flags, rank);
        len -= RTNH_ALIGN(hop->rtnh_len);
        hop = (const void *)((const char *)hop + RTNH_ALIGN(hop->rtnh_len));
    }
}

static bool leads_out(const struct rtmsg *r, const struct nlattr *to, uint32_t table) {
    struct fact_address a = {.family = r->rtm_family};
    size_t len = r->rtm_family == AF_INET ? 4 : 16;
    if ((r->rtm_family != AF_INET && r->rtm_family != AF_INET6) || r->rtm_type != RTN_UNICAST ||
        table == RT_TABLE_LOCAL || (r->rtm_flags & RTM_F_CLONED))
        return false;
    if (to && mnl_attr_get_payload_len(to) >= len)
        memcpy(a.bytes, mnl_attr_get_payload(to), len);
    return !is_link_local(&a) && !(a.family == AF_INET6 && a.bytes[0] == 0xff);
}

static int take_route(struct monitor_table *t, const struct nlmsghdr *msg) {
    const struct rtmsg *r = mnl_nlmsg_get_payload(msg);
    const struct nlattr *in[ATTRIBUTES];
    if (!sort_message(msg, sizeof *r, in))
        return MONITOR_ROUTE;
    uint32_t table = number(in[RTA_TABLE], r->rtm_table);
    uint64_t rank = rank_of(table, number(in[RTA_PRIORITY], 0));
    if (!leads_out(r, in[RTA_DST], table))
        return MONITOR_ROUTE;
    if (in[RTA_MULTIPATH])
        add_nexthops(t, r, in[RTA_MULTIPATH], rank);
    else
        add_route(t, r, number(in[RTA_OIF], 0), r->rtm_flags, rank);
    return MONITOR_ROUTE;
}

static bool set_filter(const struct monitor_table *t, struct monitor_link *l, int filter) {
    bool before = l->fact.strict;
    l->filter = filter;
    l->fact.strict = (filter > t->filter ? filter : t->filter) == STRICT;
    return before != l->fact.strict;
}

static int take_filter(struct monitor_table *t, const struct nlmsghdr *msg, bool *ret_changed) {
    const struct netconfmsg *info = mnl_nlmsg_get_payload(msg);
    const struct nlattr *in[ATTRIBUTES];
    if (!sort_message(msg, sizeof *info, in) || info->ncm_family != AF_INET || !in[NETCONFA_RP_FILTER])
        return 0;
    int filter = (int)number(in[NETCONFA_RP_FILTER], 0);
    uint32_t ifindex = number(in[NETCONFA_IFINDEX], 0);
    struct monitor_link *l = find(t, ifindex);
    if (l)
        *ret_changed |= set_filter(t, l, filter);
    if (ifindex != (uint32_t)NETCONFA_IFINDEX_ALL)
        return MONITOR_FILTER;
    t->filter = filter;
    for (unsigned i = 0; i < t->count; i++)
        *ret_changed |= set_filter(t, &t->links[i], t->links[i].filter);
    return MONITOR_FILTER;
}

int monitor_table_take(struct monitor_table *t, const struct nlmsghdr *msg, bool answer, bool *ret_changed) {
    switch (msg->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return take_link(t, msg, ret_changed);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return take_address(t, msg, ret_changed);
    case RTM_NEWROUTE:
        return answer ? take_route(t, msg) : MONITOR_ROUTE;
    case RTM_DELROUTE:
    case RTM_DELNEXTHOP: /* IPv4 routes by it go without a word */
        return MONITOR_ROUTE;
    case RTM_NEWNETCONF:
        return take_filter(t, msg, ret_changed);
    default:
        return 0;
    }
}

void monitor_table_dump(struct monitor_table *t, int kind) {
    for (unsigned i = 0; i < t->count; i++) {
        struct monitor_link *l = &t->links[i];
        if (kind == MONITOR_LINK)
            l->link_seen = false;
        if (kind == MONITOR_ADDRESS) {
            memset(l->address_seen, 0, sizeof l->address_seen);
            l->crowded = false;
        }
        if (kind == MONITOR_ROUTE) {
            l->route4_new = l->route6_new = false;
            l->rank4_new = l->rank6_new = UINT64_MAX;
        }
    }
}

static void forget_unseen(struct monitor_link *l) {
    for (unsigned i = l->fact.address_count; i-- > 0;)
        if (!l->address_seen[i])
            remove_address(l, i);
}

static void use_routes(struct monitor_link *l) {
    l->fact.route4 = l->route4_new;
    l->fact.route6 = l->route6_new;
    uint64_t rank = l->rank4_new != UINT64_MAX ? l->rank4_new : l->rank6_new;
    l->fact.way_out4 = l->rank4_new != UINT64_MAX;
    l->fact.way_out6 = l->rank6_new != UINT64_MAX;
    l->fact.metric = rank != UINT64_MAX ? (uint32_t)rank : 0;
}

bool monitor_table_done(struct monitor_table *t, int kind) {
    bool changed = false;
    for (unsigned i = t->count; i-- > 0;) {
        struct monitor_link *l = &t->links[i];
        struct fact_link before = l->fact;
        if (kind == MONITOR_LINK && !l->link_seen) {
            drop(t, i);
            changed = true;
            continue;
        }
        if (kind == MONITOR_ADDRESS)
            forget_unseen(l);
        if (kind == MONITOR_ROUTE)
            use_routes(l);
        changed |= memcmp(&before, &l->fact, sizeof before) != 0;
    }
    return changed;
}

void monitor_table_finish(struct monitor_table *t) {
    free(t->links);
    *t = (struct monitor_table){0};
}

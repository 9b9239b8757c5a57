/* link_message - the kernel's word about a link, made by hand. */
#ifndef LINK_MESSAGE_H
#define LINK_MESSAGE_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

enum { RUNNING = IFF_UP | IFF_RUNNING | 0x10000 };

static inline struct nlmsghdr *message_begin(uint16_t type) {
    static _Alignas(struct nlmsghdr) char buffer[1024];
    memset(buffer, 0, sizeof buffer);
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
    msg->nlmsg_type = type;
    return msg;
}

static inline struct nlmsghdr *link_message(uint16_t type, int index, const char *name, unsigned flags) {
    struct nlmsghdr *msg = message_begin(type);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(msg, sizeof *info);
    info->ifi_index = index;
    info->ifi_flags = flags;
    info->ifi_type = ARPHRD_ETHER;
    mnl_attr_put_strz(msg, IFLA_IFNAME, name);
    return msg;
}

#endif

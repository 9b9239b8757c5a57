/* unit_monitor_table - the kernel's messages, made by hand, as facts. */
#include "link_message.h"
#include "monitor_kind.h"
#include "monitor_table.h"
#include "suite.h"

#include <check.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netconf.h>

static struct monitor_table t;
static bool changed;

static void start(void) {
    memset(&t, 0, sizeof t);
}

static void finish(void) {
    monitor_table_finish(&t);
}

static int take(const struct nlmsghdr *msg, bool answer) {
    changed = false;
    return monitor_table_take(&t, msg, answer, &changed);
}

static struct nlmsghdr *address_message(uint16_t type, uint32_t index, int family, const void *bytes,
                                        uint32_t flags) {
    struct nlmsghdr *msg = message_begin(type);
    struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(msg, sizeof *info);
    info->ifa_family = (uint8_t)family;
    info->ifa_index = index;
    info->ifa_prefixlen = 24;
    mnl_attr_put(msg, IFA_ADDRESS, family == AF_INET ? 4 : 16, bytes);
    mnl_attr_put_u32(msg, IFA_FLAGS, flags);
    return msg;
}

static struct nlmsghdr *route_message(int family, uint8_t length, uint32_t index, uint32_t metric) {
    struct nlmsghdr *msg = message_begin(RTM_NEWROUTE);
    struct rtmsg *r = mnl_nlmsg_put_extra_header(msg, sizeof *r);
    r->rtm_family = (uint8_t)family;
    r->rtm_type = RTN_UNICAST;
    r->rtm_table = RT_TABLE_MAIN;
    r->rtm_dst_len = length;
    mnl_attr_put_u32(msg, RTA_OIF, index);
    mnl_attr_put_u32(msg, RTA_PRIORITY, metric);
    return msg;
}

static const struct fact_link *fact(uint32_t index) {
    const struct monitor_link *l = monitor_table_find(&t, index);
    return l ? &l->fact : NULL;
}

START_TEST(a_link_is_running_when_it_is_up_with_carrier) {
    ck_assert_int_eq(take(link_message(RTM_NEWLINK, 7, "wifi0", RUNNING), false), MONITOR_LINK);
    ck_assert(changed && fact(7)->running);
    ck_assert_int_eq(fact(7)->type, FACT_WIFI);
    take(link_message(RTM_NEWLINK, 7, "wifi0", RUNNING), false);
    ck_assert(!changed);
    take(link_message(RTM_NEWLINK, 7, "wifi0", IFF_UP | IFF_RUNNING), false);
    ck_assert(changed && !fact(7)->running);
    take(link_message(RTM_DELLINK, 7, "wifi0", 0), false);
    ck_assert(changed && !fact(7));
}
END_TEST

START_TEST(a_renamed_link_is_looked_at_again) {
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    ck_assert_int_eq(fact(7)->type, FACT_WIRED);
    take(link_message(RTM_NEWLINK, 7, "wwan0", RUNNING), false);
    ck_assert_int_eq(fact(7)->type, FACT_CELLULAR);
    ck_assert_str_eq(fact(7)->name, "wwan0");
}
END_TEST

START_TEST(ports_of_bridges_are_enslaved_but_not_those_of_a_vrf) {
    struct nlmsghdr *msg = link_message(RTM_NEWLINK, 7, "veth7", RUNNING);
    mnl_attr_put_u32(msg, IFLA_MASTER, 3);
    take(msg, false);
    ck_assert(fact(7)->enslaved);
    struct nlattr *nest = mnl_attr_nest_start(msg, IFLA_LINKINFO);
    mnl_attr_put_strz(msg, IFLA_INFO_SLAVE_KIND, "vrf");
    mnl_attr_nest_end(msg, nest);
    take(msg, false);
    ck_assert(!fact(7)->enslaved);
}
END_TEST

START_TEST(kinds_are_known_by_driver_then_hardware_then_name) {
    ck_assert_int_eq(monitor_kind("lo", 1, ARPHRD_LOOPBACK, true, ""), FACT_LOOPBACK);
    ck_assert_int_eq(monitor_kind("br0", 999999, ARPHRD_ETHER, false, "bridge"), FACT_BRIDGE);
    ck_assert_int_eq(monitor_kind("docker0", 999999, ARPHRD_ETHER, false, ""), FACT_BRIDGE);
    ck_assert_int_eq(monitor_kind("wlan7", 999999, ARPHRD_NONE, false, "wireguard"), FACT_TUNNEL);
    ck_assert_int_eq(monitor_kind("tap0", 999999, ARPHRD_ETHER, false, "tun"), FACT_TUNNEL);
    ck_assert_int_eq(monitor_kind("x0", 999999, ARPHRD_NONE, false, ""), FACT_TUNNEL);
    ck_assert_int_eq(monitor_kind("x0", 999999, ARPHRD_RAWIP, false, ""), FACT_CELLULAR);
    ck_assert_int_eq(monitor_kind("wwan0", 999999, ARPHRD_ETHER, false, "veth"), FACT_CELLULAR);
    ck_assert_int_eq(monitor_kind("wlp3s0", 999999, ARPHRD_ETHER, false, ""), FACT_WIFI);
    ck_assert_int_eq(monitor_kind("enp3s0", 999999, ARPHRD_ETHER, false, ""), FACT_WIRED);
}
END_TEST

START_TEST(tentative_and_deprecated_addresses_are_not_preferred) {
    static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    take(address_message(RTM_NEWADDR, 7, AF_INET6, six, IFA_F_TENTATIVE), false);
    ck_assert_uint_eq(fact(7)->address_count, 1);
    ck_assert(!fact(7)->addresses[0].preferred);
    take(address_message(RTM_NEWADDR, 7, AF_INET6, six, IFA_F_PERMANENT), false);
    ck_assert_uint_eq(fact(7)->address_count, 1);
    ck_assert(fact(7)->addresses[0].preferred);
    take(address_message(RTM_NEWADDR, 7, AF_INET6, six, IFA_F_DEPRECATED), false);
    ck_assert(!fact(7)->addresses[0].preferred);
    take(address_message(RTM_DELADDR, 7, AF_INET6, six, 0), false);
    ck_assert_uint_eq(fact(7)->address_count, 0);
}
END_TEST

START_TEST(link_local_addresses_do_not_count) {
    static const uint8_t six[16] = {0xfe, 0x80, [15] = 1}, four[4] = {169, 254, 3, 4};
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    take(address_message(RTM_NEWADDR, 7, AF_INET6, six, 0), false);
    take(address_message(RTM_NEWADDR, 7, AF_INET, four, 0), false);
    ck_assert_uint_eq(fact(7)->address_count, 0);
}
END_TEST

START_TEST(more_addresses_than_fit_are_asked_for_again_when_one_goes) {
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    for (uint8_t i = 1; i <= FACT_ADDRESSES + 1; i++) {
        const uint8_t four[4] = {10, 0, 0, i};
        ck_assert_int_eq(take(address_message(RTM_NEWADDR, 7, AF_INET, four, 0), false), MONITOR_ADDRESS);
    }
    ck_assert_uint_eq(fact(7)->address_count, FACT_ADDRESSES);
    const uint8_t gone[4] = {10, 0, 0, 1};
    ck_assert_int_eq(take(address_message(RTM_DELADDR, 7, AF_INET, gone, 0), false),
                     MONITOR_ADDRESS | MONITOR_CROWDED);
}
END_TEST

START_TEST(an_address_that_is_there_for_two_peers_goes_with_the_last) {
    static const uint8_t own[4] = {10, 0, 0, 1}, one[4] = {10, 0, 0, 2}, two[4] = {10, 0, 0, 3};
    const uint16_t types[] = {RTM_NEWADDR, RTM_NEWADDR, RTM_DELADDR, RTM_DELADDR};
    const uint8_t *peers[] = {one, two, one, two};
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(fact(7)->address_count > 0, i > 0);
        struct nlmsghdr *msg = address_message(types[i], 7, AF_INET, peers[i], 0);
        mnl_attr_put(msg, IFA_LOCAL, sizeof own, own);
        take(msg, false);
    }
    ck_assert_uint_eq(fact(7)->address_count, 0);
}
END_TEST

START_TEST(what_a_dump_does_not_contain_is_gone) {
    static const uint8_t a[4] = {10, 0, 0, 1}, b[4] = {10, 0, 0, 2};
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    take(link_message(RTM_NEWLINK, 8, "eth1", RUNNING), false);
    take(address_message(RTM_NEWADDR, 7, AF_INET, a, 0), false);
    take(address_message(RTM_NEWADDR, 7, AF_INET, b, 0), false);
    monitor_table_dump(&t, MONITOR_LINK);
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), true);
    ck_assert(monitor_table_done(&t, MONITOR_LINK));
    ck_assert(fact(7) && !fact(8));
    monitor_table_dump(&t, MONITOR_ADDRESS);
    take(address_message(RTM_NEWADDR, 7, AF_INET, b, 0), true);
    ck_assert(monitor_table_done(&t, MONITOR_ADDRESS));
    ck_assert_uint_eq(fact(7)->address_count, 1);
    ck_assert_uint_eq(fact(7)->addresses[0].bytes[3], 2);
    ck_assert(!monitor_table_done(&t, MONITOR_ADDRESS));
}
END_TEST

START_TEST(routes_and_the_metric_of_the_default_route_come_from_dumps) {
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    ck_assert_int_eq(take(route_message(AF_INET, 24, 7, 0), false), MONITOR_ROUTE);
    monitor_table_dump(&t, MONITOR_ROUTE);
    take(route_message(AF_INET, 24, 7, 0), true);
    take(route_message(AF_INET, 0, 7, 600), true);
    take(route_message(AF_INET, 0, 7, 100), true);
    take(route_message(AF_INET6, 0, 7, 5), true);
    ck_assert(!fact(7)->route4);
    ck_assert(monitor_table_done(&t, MONITOR_ROUTE));
    ck_assert(fact(7)->route4 && fact(7)->route6);
    ck_assert_uint_eq(fact(7)->metric, 100);
    monitor_table_dump(&t, MONITOR_ROUTE);
    ck_assert(monitor_table_done(&t, MONITOR_ROUTE));
    ck_assert(!fact(7)->route4 && !fact(7)->route6);
}
END_TEST

START_TEST(routes_that_lead_nowhere_do_not_count) {
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    monitor_table_dump(&t, MONITOR_ROUTE);
    struct nlmsghdr *msg = route_message(AF_INET, 24, 7, 0);
    ((struct rtmsg *)mnl_nlmsg_get_payload(msg))->rtm_flags = RTNH_F_LINKDOWN;
    take(msg, true);
    msg = route_message(AF_INET, 24, 7, 0);
    ((struct rtmsg *)mnl_nlmsg_get_payload(msg))->rtm_table = RT_TABLE_LOCAL;
    take(msg, true);
    msg = route_message(AF_INET, 0, 7, 0);
    ((struct rtmsg *)mnl_nlmsg_get_payload(msg))->rtm_type = RTN_UNREACHABLE;
    take(msg, true);
    msg = route_message(AF_INET6, 10, 7, 0);
    mnl_attr_put(msg, RTA_DST, 16, (const uint8_t[16]){0xfe, 0x80});
    take(msg, true);
    ck_assert(!monitor_table_done(&t, MONITOR_ROUTE));
}
END_TEST

START_TEST(every_hop_of_a_multipath_route_counts) {
    _Alignas(struct rtnexthop) char hops[2 * sizeof(struct rtnexthop)] = {0};
    struct rtnexthop *hop = (void *)hops;
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    take(link_message(RTM_NEWLINK, 8, "eth1", RUNNING), false);
    for (int i = 0; i < 2; i++)
        hop[i] = (struct rtnexthop){.rtnh_len = sizeof *hop, .rtnh_ifindex = 7 + i};
    monitor_table_dump(&t, MONITOR_ROUTE);
    struct nlmsghdr *msg = route_message(AF_INET, 0, 0, 3);
    mnl_attr_put(msg, RTA_MULTIPATH, sizeof hops, hops);
    take(msg, true);
    monitor_table_done(&t, MONITOR_ROUTE);
    ck_assert(fact(7)->route4 && fact(8)->route4);
    ck_assert_uint_eq(fact(8)->metric, 3);
}
END_TEST

static struct nlmsghdr *filter_message(int ifindex, uint32_t value) {
    struct nlmsghdr *msg = message_begin(RTM_NEWNETCONF);
    struct netconfmsg *info = mnl_nlmsg_put_extra_header(msg, sizeof *info);
    info->ncm_family = AF_INET;
    mnl_attr_put_u32(msg, NETCONFA_IFINDEX, (uint32_t)ifindex);
    mnl_attr_put_u32(msg, NETCONFA_RP_FILTER, value);
    return msg;
}

START_TEST(rp_filter_is_strict_if_the_larger_of_its_own_and_alls_is) {
    take(link_message(RTM_NEWLINK, 7, "eth0", RUNNING), false);
    ck_assert_int_eq(take(filter_message(7, 1), true), MONITOR_FILTER);
    ck_assert(changed && fact(7)->strict);
    take(filter_message(NETCONFA_IFINDEX_ALL, 2), false);
    ck_assert(changed && !fact(7)->strict);
    take(filter_message(7, 0), false);
    take(filter_message(NETCONFA_IFINDEX_ALL, 1), false);
    ck_assert(changed && fact(7)->strict);
    take(filter_message(NETCONFA_IFINDEX_DEFAULT, 0), false);
    ck_assert(!changed && fact(7)->strict);
    struct nlmsghdr *cut = filter_message(7, 2);
    for (cut->nlmsg_len--; cut->nlmsg_len >= sizeof *cut; cut->nlmsg_len--)
        ck_assert_int_ge(take(cut, false), 0);
    ck_assert(fact(7)->strict);
}
END_TEST

START_TEST(cut_and_foreign_messages_are_passed_over) {
    struct nlmsghdr *msg = link_message(RTM_NEWLINK, 7, "eth0", RUNNING);
    for (uint32_t len = sizeof *msg; len < msg->nlmsg_len; len++) {
        struct nlmsghdr *cut = link_message(RTM_NEWLINK, 7, "eth0", RUNNING);
        cut->nlmsg_len = len;
        ck_assert_int_ge(take(cut, false), 0);
    }
    ck_assert_int_eq(take(message_begin(RTM_NEWNEIGH), false), 0);
    ck_assert_int_eq(take(message_begin(RTM_NEWADDR), false), MONITOR_ADDRESS);
    ck_assert_int_eq(take(message_begin(RTM_NEWROUTE), true), MONITOR_ROUTE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("monitor_table");
    TCase *c = tcase_create("monitor_table");
    tcase_add_checked_fixture(c, start, finish);
    tcase_add_test(c, a_link_is_running_when_it_is_up_with_carrier);
    tcase_add_test(c, a_renamed_link_is_looked_at_again);
    tcase_add_test(c, ports_of_bridges_are_enslaved_but_not_those_of_a_vrf);
    tcase_add_test(c, kinds_are_known_by_driver_then_hardware_then_name);
    tcase_add_test(c, tentative_and_deprecated_addresses_are_not_preferred);
    tcase_add_test(c, link_local_addresses_do_not_count);
    tcase_add_test(c, more_addresses_than_fit_are_asked_for_again_when_one_goes);
    tcase_add_test(c, an_address_that_is_there_for_two_peers_goes_with_the_last);
    tcase_add_test(c, what_a_dump_does_not_contain_is_gone);
    tcase_add_test(c, routes_and_the_metric_of_the_default_route_come_from_dumps);
    tcase_add_test(c, routes_that_lead_nowhere_do_not_count);
    tcase_add_test(c, every_hop_of_a_multipath_route_counts);
    tcase_add_test(c, rp_filter_is_strict_if_the_larger_of_its_own_and_alls_is);
    tcase_add_test(c, cut_and_foreign_messages_are_passed_over);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

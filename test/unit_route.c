/* unit_route - what the kernel says of a destination: asked on loopback here, and of a whole routing table in
 * a network namespace of the test's own. */
#include "route.h"

#include "real.h"
#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIP = 77 };

static struct route route;

static const struct sockaddr *address(const char *text) {
    static struct sockaddr_in in;
    static struct sockaddr_in6 in6;
    in = (struct sockaddr_in){.sin_family = AF_INET};
    in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return (struct sockaddr *)&in;
    ck_assert_int_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return (struct sockaddr *)&in6;
}

static int asked(const char *to, unsigned oif) {
    route = (struct route){4711, false};
    return route_get(address(to), oif, &route);
}

/* ---- pure ---- */

START_TEST(special_destinations_are_never_carried) {
    static const char *all[] = {"127.0.0.1",
                                "127.255.255.255",
                                "169.254.1.1",
                                "224.0.0.1",
                                "239.255.255.255",
                                "255.255.255.255",
                                "0.0.0.0",
                                "::",
                                "::1",
                                "fe80::1",
                                "febf:ffff::1",
                                "ff02::1",
                                "ff0e::1",
                                "::ffff:127.0.0.1",
                                "::ffff:224.0.0.251",
                                "::ffff:169.254.9.9",
                                "::ffff:0.0.0.0"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        ck_assert_msg(route_special(address(all[i])), "%s", all[i]);
}
END_TEST

START_TEST(ordinary_destinations_are_not_special) {
    static const char *all[] = {
        "192.0.2.1",   "10.0.0.1",  "126.255.255.255",  "128.0.0.1", "169.253.1.1", "169.255.0.0",
        "223.255.0.1", "240.0.0.1", "1.0.0.0",          "::2",       "2001:db8::1", "fec0::1",
        "fe7f::1",     "fd00::1",   "::ffff:192.0.2.1", "1::1",      "::7f00:1"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        ck_assert_msg(!route_special(address(all[i])), "%s", all[i]);
}
END_TEST

START_TEST(other_families_are_never_carried_nor_asked_for) {
    struct sockaddr local = {.sa_family = AF_UNIX};
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    ck_assert(route_special(&local));
    ck_assert(route_special(&none));
    ck_assert_int_eq(route_get(&local, 0, &route), -EAFNOSUPPORT);
}
END_TEST

START_TEST(an_address_may_lie_anywhere_in_memory) {
    char odd[sizeof(struct sockaddr_in) + 1];
    memcpy(odd + 1, address("127.0.0.1"), sizeof(struct sockaddr_in));
    const struct sockaddr *to = (const struct sockaddr *)(const void *)(odd + 1);
    ck_assert(route_special(to));
    ck_assert_int_eq(route_get(to, 0, &route), 0);
    ck_assert(route.local);
}
END_TEST

/* ---- as the machine is ---- */

START_TEST(loopback_is_local_by_lo) {
    ck_assert_int_eq(asked("127.0.0.1", 0), 0);
    ck_assert(route.local);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("lo"));
    ck_assert_int_eq(asked("::ffff:127.0.0.1", 0), 0);
    ck_assert(route.local);
}
END_TEST

START_TEST(an_interface_that_is_not_there_is_an_error_and_the_answer_untouched) {
    ck_assert_int_eq(asked("192.0.2.1", 0x7ffffff0), -ENODEV);
    ck_assert_uint_eq(route.ifindex, 4711);
}
END_TEST

START_TEST(asking_leaves_no_descriptor_behind) {
    int before = dup(0);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(asked("127.0.0.1", 0), 0);
        ck_assert_int_lt(asked("192.0.2.1", 0x7ffffff0), 0);
    }
    int after = dup(0);
    ck_assert_int_eq(after, before + 1);
}
END_TEST

START_TEST(without_a_free_descriptor_the_error_says_so) {
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = asked("127.0.0.1", 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(r, -EMFILE);
}
END_TEST

/* ---- what a kernel might answer ---- */

struct reply {
    struct nlmsghdr header;
    struct rtmsg message;
    struct rtattr attribute;
    unsigned oif;
};

static struct {
    struct reply reply;
    size_t len;
    unsigned pid;
} fake;

static ssize_t fake_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
                             socklen_t *fromlen) {
    struct sockaddr_nl sender = {.nl_family = AF_NETLINK, .nl_pid = fake.pid};
    ck_assert_uint_le(fake.len, len);
    memcpy(buf, &fake.reply, fake.len);
    memcpy(from, &sender, sizeof sender);
    *fromlen = sizeof sender;
    return (ssize_t)fake.len;
}

static void good_reply(void) {
    struct reply good = {{sizeof good, RTM_NEWROUTE, 0, 1, 0},
                         {.rtm_family = AF_INET, .rtm_type = RTN_UNICAST},
                         {RTA_LENGTH(sizeof(unsigned)), RTA_OIF},
                         7};
    fake.reply = good;
    fake.len = sizeof good;
    fake.pid = 0;
    real_init();
    real.recvfrom = fake_recvfrom;
}

static int answered(void) {
    int r = asked("192.0.2.1", 0);
    if (r < 0)
        ck_assert_uint_eq(route.ifindex, 4711);
    good_reply();
    return r;
}

START_TEST(every_type_of_route_is_told_apart) {
    static const struct {
        unsigned char type;
        bool local;
        int result;
    } all[] = {{RTN_UNICAST, false, 0},         {RTN_LOCAL, true, 0},
               {RTN_BROADCAST, true, 0},        {RTN_ANYCAST, true, 0},
               {RTN_MULTICAST, true, 0},        {RTN_UNREACHABLE, false, -EHOSTUNREACH},
               {RTN_PROHIBIT, false, -EACCES},  {RTN_BLACKHOLE, false, -EINVAL},
               {RTN_THROW, false, -ENETUNREACH}};
    good_reply();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        fake.reply.message.rtm_type = all[i].type;
        ck_assert_int_eq(answered(), all[i].result);
        ck_assert(all[i].result < 0 || (route.ifindex == 7 && route.local == all[i].local));
    }
}
END_TEST

START_TEST(an_answer_that_does_not_fit_is_an_error_never_a_guess) {
    good_reply();
    fake.pid = 99;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.header.nlmsg_seq = 2;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.header.nlmsg_type = RTM_NEWLINK;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.header.nlmsg_len = sizeof fake.reply + 4;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.header.nlmsg_len = sizeof(struct nlmsghdr) + 4;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.message.rtm_family = AF_INET6;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.attribute.rta_type = RTA_IIF;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.attribute.rta_len = RTA_LENGTH(2);
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.attribute.rta_len = 400;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.attribute.rta_len = 0;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.oif = 0;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.len = 5;
    ck_assert_int_eq(answered(), -EPROTO);
    fake.len = 0;
    ck_assert_int_eq(answered(), -EPROTO);
    ck_assert_int_eq(answered(), 0);
}
END_TEST

START_TEST(an_error_of_the_kernel_is_told_and_a_false_one_is_not) {
    int error = -EHOSTUNREACH;
    good_reply();
    fake.reply.header.nlmsg_type = NLMSG_ERROR;
    memcpy(&fake.reply.message, &error, sizeof error);
    ck_assert_int_eq(answered(), -EHOSTUNREACH);
    error = 0;
    fake.reply.header.nlmsg_type = NLMSG_ERROR;
    memcpy(&fake.reply.message, &error, sizeof error);
    ck_assert_int_eq(answered(), -EPROTO);
    fake.reply.header.nlmsg_type = NLMSG_ERROR;
    fake.reply.header.nlmsg_len = NLMSG_LENGTH(4);
    ck_assert_int_eq(answered(), -EPROTO);
}
END_TEST

/* ---- in a world of its own ---- */

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static int run(const char *command) {
    int status = system(command);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* As root a namespace of the network is enough; else a user namespace lends the right to one. */
static int enter_world(void) {
    char map[64];
    uid_t uid = geteuid();
    if (unshare(CLONE_NEWNET) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
            return -1;
        snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", map);
    }
    if (run("ip link set lo up 2>/dev/null") != 0)
        return -1;
    return run("ip link add net0 type dummy 2>/dev/null && ip link add net1 type dummy 2>/dev/null") == 0 ||
                   run("ip link add net0 type veth peer name far0 2>/dev/null &&"
                       " ip link add net1 type veth peer name far1 2>/dev/null &&"
                       " ip link set far0 up && ip link set far1 up") == 0
               ? 0
               : -1;
}

static void world(void) {
    ck_assert_int_eq(enter_world(), 0);
    ck_assert_int_eq(run("ip link set net0 up && ip link set net1 up &&"
                         " ip addr add 10.9.0.2/24 brd + dev net0 && ip addr add 10.8.0.2/24 brd + dev net1"),
                     0);
}

static bool has_ipv6(void) {
    /* The kernel makes the route of an IPv6 address a moment later. */
    if (run("ip addr add fd00:9::2/64 dev net0 nodad 2>/dev/null && "
            "until ip -6 route show table local | grep -q fd00:9::2; do sleep 0.01; done") == 0)
        return true;
    fputs("skipped: the IPv6 half, for there is no IPv6 here\n", stderr);
    return false;
}

START_TEST(without_a_route_the_network_is_unreachable) {
    ck_assert_int_eq(asked("192.0.2.1", 0), -ENETUNREACH);
    ck_assert_uint_eq(route.ifindex, 4711);
    if (has_ipv6())
        ck_assert_int_eq(asked("2001:db8::1", 0), -ENETUNREACH);
}
END_TEST

START_TEST(a_destination_leaves_by_the_interface_of_its_route) {
    ck_assert_int_eq(run("ip route add default via 10.9.0.1 && ip route add 198.51.100.0/24 via 10.8.0.1"),
                     0);
    ck_assert_int_eq(asked("192.0.2.1", 0), 0);
    ck_assert(!route.local);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net0"));
    ck_assert_int_eq(asked("::ffff:198.51.100.7", 0), 0);
    ck_assert(!route.local);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net1"));
    ck_assert_int_eq(asked("10.8.0.77", 0), 0);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net1"));
}
END_TEST

START_TEST(a_destination_in_ipv6_leaves_by_the_interface_of_its_route) {
    if (!has_ipv6())
        return;
    ck_assert_int_eq(run("ip -6 route add default via fd00:9::1"), 0);
    ck_assert_int_eq(asked("2001:db8::1", 0), 0);
    ck_assert(!route.local);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net0"));
    ck_assert_int_eq(asked("fd00:9::2", 0), 0);
    ck_assert(route.local);
}
END_TEST

START_TEST(bound_to_an_interface_its_own_route_counts) {
    ck_assert_int_eq(run("ip route add default via 10.9.0.1 metric 1 &&"
                         " ip route add default via 10.8.0.1 metric 2"),
                     0);
    ck_assert_int_eq(asked("192.0.2.1", 0), 0);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net0"));
    ck_assert_int_eq(asked("192.0.2.1", if_nametoindex("net1")), 0);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net1"));
}
END_TEST

/* IPv4 would take the peer to be on the link. */
START_TEST(without_a_route_of_that_interface_it_is_unreachable) {
    ck_assert_int_eq(run("ip route add default via 10.9.0.1"), 0);
    ck_assert_int_eq(asked("192.0.2.1", if_nametoindex("net0")), 0);
    ck_assert_int_lt(asked("192.0.2.1", if_nametoindex("net1")), 0);
    ck_assert(asked("192.0.2.1", if_nametoindex("net1")) == -EHOSTUNREACH ||
              asked("192.0.2.1", if_nametoindex("net1")) == -ENETUNREACH);
    ck_assert_int_eq(asked("10.8.0.77", if_nametoindex("net1")), 0);
    if (!has_ipv6())
        return;
    ck_assert_int_eq(run("ip -6 route add default via fd00:9::1"), 0);
    ck_assert_int_eq(asked("2001:db8::1", if_nametoindex("net0")), 0);
    ck_assert_int_eq(asked("2001:db8::1", if_nametoindex("net1")), -ENETUNREACH);
}
END_TEST

START_TEST(a_route_that_rules_open_to_one_address_is_told_from_one_that_is_free) {
    static const unsigned char own[4] = {10, 8, 0, 2}, other[4] = {10, 9, 0, 2};
    const unsigned net1 = if_nametoindex("net1");
    if (run("ip rule add from 10.8.0.2 table 42 2>/dev/null") != 0) {
        fputs("skipped: rules, for there are none here\n", stderr);
        return;
    }
    ck_assert_int_eq(run("ip route add default via 10.8.0.1 dev net1 table 42"), 0);
    ck_assert_int_eq(route_by(address("10.8.0.77"), net1, AF_INET, own), ROUTE_FREE);
    ck_assert_int_eq(route_by(address("192.0.2.1"), net1, AF_INET, own), ROUTE_FROM);
    ck_assert_int_eq(route_by(address("::ffff:192.0.2.1"), net1, AF_INET, own), ROUTE_FROM);
    ck_assert_int_lt(route_by(address("192.0.2.1"), net1, AF_INET, other), 0);
    ck_assert_int_lt(route_by(address("192.0.2.1"), net1, AF_INET6, own), 0);
    ck_assert_int_lt(route_by(address("2001:db8::1"), net1, AF_INET, own), 0);
    ck_assert_int_lt(route_by(address("192.0.2.1"), if_nametoindex("net0"), AF_INET, own), 0);
}
END_TEST

START_TEST(the_machines_own_addresses_and_broadcasts_are_local) {
    ck_assert_int_eq(asked("10.9.0.2", 0), 0);
    ck_assert(route.local);
    ck_assert_int_eq(asked("10.9.0.255", 0), 0);
    ck_assert(route.local);
    ck_assert_uint_eq(route.ifindex, if_nametoindex("net0"));
}
END_TEST

START_TEST(forbidden_routes_are_errors) {
    ck_assert_int_eq(run("ip route add unreachable 192.0.2.1 && ip route add prohibit 192.0.2.2 &&"
                         " ip route add blackhole 192.0.2.3"),
                     0);
    ck_assert_int_eq(asked("192.0.2.1", 0), -EHOSTUNREACH);
    ck_assert_int_eq(asked("192.0.2.2", 0), -EACCES);
    ck_assert_int_eq(asked("192.0.2.3", 0), -EINVAL);
    if (!has_ipv6())
        return;
    ck_assert_int_eq(run("ip -6 route add unreachable 2001:db8::1 && ip -6 route add prohibit 2001:db8::2 &&"
                         " ip -6 route add blackhole 2001:db8::3"),
                     0);
    ck_assert_int_eq(asked("2001:db8::1", 0), -EHOSTUNREACH);
    ck_assert_int_eq(asked("2001:db8::2", 0), -EACCES);
    ck_assert_int_eq(asked("2001:db8::3", 0), -EINVAL);
    ck_assert_uint_eq(route.ifindex, 4711);
}
END_TEST

START_TEST(one_of_several_equal_routes_is_told) {
    ck_assert_int_eq(run("ip route add default nexthop via 10.9.0.1 nexthop via 10.8.0.1"), 0);
    ck_assert_int_eq(asked("192.0.2.1", 0), 0);
    ck_assert(route.ifindex == if_nametoindex("net0") || route.ifindex == if_nametoindex("net1"));
}
END_TEST

static bool lo_is_up(void) {
    struct ifreq lo = {.ifr_name = "lo"};
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    bool up = ioctl(sock, SIOCGIFFLAGS, &lo) == 0 && (lo.ifr_flags & IFF_UP);
    close(sock);
    return up;
}

static bool world_possible(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(enter_world() == 0 ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void) {
    Suite *s = suite_create("route");
    TCase *t = tcase_create("here");
    TCase *w = tcase_create("world");
    bool possible = world_possible();
    bool lo = lo_is_up();
    suite_add_tcase(s, t);
    tcase_add_test(t, special_destinations_are_never_carried);
    tcase_add_test(t, ordinary_destinations_are_not_special);
    tcase_add_test(t, other_families_are_never_carried_nor_asked_for);
    if (lo) {
        tcase_add_test(t, an_address_may_lie_anywhere_in_memory);
        tcase_add_test(t, loopback_is_local_by_lo);
        tcase_add_test(t, asking_leaves_no_descriptor_behind);
    } else {
        fputs("skipped: what is asked of loopback, for it is down here\n", stderr);
    }
    tcase_add_test(t, an_interface_that_is_not_there_is_an_error_and_the_answer_untouched);
    tcase_add_test(t, without_a_free_descriptor_the_error_says_so);
    tcase_add_test(t, every_type_of_route_is_told_apart);
    tcase_add_test(t, an_answer_that_does_not_fit_is_an_error_never_a_guess);
    tcase_add_test(t, an_error_of_the_kernel_is_told_and_a_false_one_is_not);
    suite_add_tcase(s, w);
    tcase_add_checked_fixture(w, world, NULL);
    if (possible) {
        tcase_add_test(w, without_a_route_the_network_is_unreachable);
        tcase_add_test(w, a_destination_leaves_by_the_interface_of_its_route);
        tcase_add_test(w, a_destination_in_ipv6_leaves_by_the_interface_of_its_route);
        tcase_add_test(w, bound_to_an_interface_its_own_route_counts);
        tcase_add_test(w, without_a_route_of_that_interface_it_is_unreachable);
        tcase_add_test(w, a_route_that_rules_open_to_one_address_is_told_from_one_that_is_free);
        tcase_add_test(w, the_machines_own_addresses_and_broadcasts_are_local);
        tcase_add_test(w, forbidden_routes_are_errors);
        tcase_add_test(w, one_of_several_equal_routes_is_told);
    } else {
        fputs("skipped: all of a routing table of its own, for namespaces, ip(8) or dummy and veth links are "
              "not to be had\n",
              stderr);
    }
    return suite_run(s);
}

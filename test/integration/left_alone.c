/* left_alone - what the library leaves alone, and which networks it then picks.
 * In a world of two interfaces. The routes prefer wifi0; the default label is offered by cell0 alone: so what
 * is left alone comes from 10.1.0.2 (or wherever the routes lead), what is ours from 10.2.0.2. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = small\n";

/* What happens on a connect to the far end, seen there. */
static void expect_source(int i, const char *source) {
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(i, source);
    close(fd);
}

static int begin6(int flags) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    int fd = socket(AF_INET6, SOCK_STREAM | flags, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    const int error = -errno;
    close(fd); /* it is asked again and again */
    return error;
}

static void what_is_labeled_goes_by_its_network(void) {
    expect_source(0, "10.2.0.2");
}

static void labels_0_never_bind(void) {
    struct sockaddr_in to = stage_tcp();
    char device[IFNAMSIZ] = "";
    socklen_t len = sizeof device;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "10.1.0.2");
    stage_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
    stage_equal(len, 0);
    close(fd);
}

static void a_rule_of_none_never_binds(void) {
    expect_source(0, "10.1.0.2");
}

static void no_wish_waits_only_while_there_is_no_route_at_all(void) {
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .events = POLLOUT};
    stage_wait(stage_offered("wifi"));
    stage_shell("ip link set cell0 down; ip link set wifi0 down");
    stage_wait(!stage_offered("wifi"));
    stage_fails(connect(p.fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(poll(&p, 1, 200), 0);
    stage_link("wifi0", true); /* offers other labels */
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
    stage_expect_connection(0, "10.1.0.2");
}

static void no_wish_waits_for_a_route_where_networks_are_up_without_one(void) {
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .events = POLLOUT};
    stage_wait(begin6(SOCK_NONBLOCK) == -ENETUNREACH); /* settled */
    stage_shell("ip route flush default");
    stage_fails(connect(p.fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(poll(&p, 1, 100), 0);
    stage_shell("ip route add default via 10.1.0.1");
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
    stage_expect_connection(0, "10.1.0.2");
}

/* Programs that are told so try the other family. */
static void no_wish_does_not_wait_for_a_family_that_no_network_has(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    stage_wait(stage_offered("wifi"));
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), ENETUNREACH);
}

/* ---- destinations ---- */

static int listener_at(const char *address, int family, struct sockaddr_storage *ret, socklen_t *len) {
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    memset(ret, 0, sizeof *ret);
    ret->ss_family = (sa_family_t)family;
    inet_pton(family, address, family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
    *len = family == AF_INET ? sizeof *in : sizeof *in6;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_equal(bind(fd, (struct sockaddr *)ret, *len), 0);
    stage_equal(listen(fd, 5), 0);
    stage_equal(getsockname(fd, (struct sockaddr *)ret, len), 0);
    return fd;
}

static void expect_own(const char *address, int family) {
    struct sockaddr_storage at;
    socklen_t len;
    int listener = listener_at(address, family, &at, &len), fd = socket(family, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, len) < 0)
        stage_fail(__FILE__, __LINE__, "to %s: %m", address);
    int other = accept(listener, NULL, NULL);
    stage_equal(send(fd, "x", 1, 0), 1);
    char byte;
    stage_equal(recv(other, &byte, 1, 0), 1);
    close(other);
    close(fd);
    close(listener);
}

static void the_machines_own_addresses_are_left_alone(void) {
    stage_shell("ip -6 addr add fd00:1::2/64 dev wifi0 nodad");
    /* The kernel gives it a route once it has heard of the carrier. */
    stage_shell("until ip -6 route get fd00:1::2 2>&1 | grep -q ^local; do sleep 0.01; done");
    expect_own("127.0.0.1", AF_INET);
    expect_own("127.3.2.1", AF_INET);
    expect_own("10.1.0.2", AF_INET);
    expect_own("10.2.0.2", AF_INET);
    expect_own("::1", AF_INET6);
    expect_own("fd00:1::2", AF_INET6);
    expect_own("::ffff:127.0.0.1", AF_INET6);
    expect_own("::ffff:10.1.0.2", AF_INET6);
}

/* The kernel answers at once, as it does without us; what is ours would wait. */
static void expect_kernels_answer(const char *address, int family, int error) {
    struct sockaddr_storage to = {.ss_family = (sa_family_t)family};
    struct sockaddr_in *in = (struct sockaddr_in *)&to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&to;
    socklen_t len = family == AF_INET ? sizeof *in : sizeof *in6;
    inet_pton(family, address, family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
    in->sin_port = htons(9);
    int fd = socket(family, SOCK_STREAM, 0);
    int r = connect(fd, (struct sockaddr *)&to, len);
    if (r != -1 || errno != error)
        stage_fail(__FILE__, __LINE__, "to %s: %d %m", address, r);
    close(fd);
}

static void cell_is_gone(void) {
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
}

static void special_destinations_never_wait(void) {
    cell_is_gone();
    expect_kernels_answer("127.0.0.1", AF_INET, ECONNREFUSED);
    expect_kernels_answer("0.0.0.0", AF_INET, ECONNREFUSED);
    expect_kernels_answer("10.1.0.2", AF_INET, ECONNREFUSED);
    expect_kernels_answer("255.255.255.255", AF_INET, ENETUNREACH);
    expect_kernels_answer("224.0.0.1", AF_INET, ENETUNREACH);
    expect_kernels_answer("10.1.0.255", AF_INET, ENETUNREACH);
    expect_kernels_answer("::1", AF_INET6, ECONNREFUSED);
    expect_kernels_answer("::ffff:127.0.0.1", AF_INET6, ECONNREFUSED);
    expect_kernels_answer("ff02::1", AF_INET6, ENETUNREACH);
    expect_kernels_answer("fe80::1", AF_INET6, EINVAL);
}

static void unix_sockets_are_left_alone(void) {
    int pair[2];
    stage_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cell_is_gone();
    stage_equal(send(pair[0], "x", 1, 0), 1);
    struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    stage_fails(connect(fd, (struct sockaddr *)&nowhere, sizeof nowhere), ENOENT);
}

/* ---- routes that are no network ---- */

/* No network of the configuration: what a tunnel is to us. */
static void tunnel(const char *name) {
    stage_shell("ip link add %s type veth peer name over && ip link set over up && ip addr add 10.77.0.2/24 "
                "dev %s && ip link set %s up",
                name, name, name);
}

static void a_vpns_destination_is_left_alone(void) {
    struct sockaddr_in to = stage_tcp();
    char device[IFNAMSIZ] = "";
    socklen_t len = sizeof device;
    tunnel("tun0");
    stage_shell("ip route add 10.9.0.1/32 dev tun0");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
    stage_equal(len, 0);
    struct sockaddr_in own;
    len = sizeof own;
    stage_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    stage_equal(own.sin_addr.s_addr, inet_addr("10.77.0.2"));
    stage_equal(stage_connections(), 0);
    stage_shell("ip route del 10.9.0.1/32 dev tun0");
    expect_source(0, "10.2.0.2");
}

static void a_default_route_by_a_tunnel_leaves_all_alone(void) {
    struct sockaddr_in to = stage_tcp(), own;
    socklen_t len = sizeof own;
    tunnel("wg0");
    stage_shell("ip route add default dev wg0 metric 1");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    stage_equal(own.sin_addr.s_addr, inet_addr("10.77.0.2"));
}

/* As docker has it: an interface with an address of the machine's own, containers on its link. */
static void a_container_behind_a_bridge_is_left_alone(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)}, own;
    socklen_t len = sizeof own;
    to.sin_addr.s_addr = inet_addr("172.17.0.2");
    stage_shell("ip link add docker0 type veth peer name container && ip link set container up && ip addr "
                "add 172.17.0.1/16 dev docker0 && "
                "ip link set docker0 up");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    stage_equal(own.sin_addr.s_addr, inet_addr("172.17.0.1"));
}

static void a_rule_overrides_the_exemption(void) {
    tunnel("tun0");
    stage_shell("ip route add 10.9.0.1/32 dev tun0");
    expect_source(0, "10.2.0.2");
}

static void a_bypass_leaves_alone(void) {
    expect_source(0, "10.1.0.2");
    cell_is_gone();
    expect_source(1, "10.1.0.2");
}

/* ---- sockets ---- */

static void sockets_the_program_has_bound_are_left_alone(void) {
    struct sockaddr_in to = stage_tcp(), own = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    own.sin_addr.s_addr = inet_addr("10.1.0.2");
    stage_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "10.1.0.2");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    own = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(4712)};
    stage_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(1, "10.1.0.2");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "wifi0", 6), 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(2, "10.1.0.2");
}

static int dialled(const struct sockaddr_in *own, const char *device) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (own)
        stage_equal(bind(fd, (const struct sockaddr *)own, sizeof *own), 0);
    if (device)
        stage_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)), 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static in_port_t port_of(int fd) {
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    stage_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    return ntohs(own.sin_port);
}

/* It keeps the port; address and interface are another network's. */
static void a_rule_takes_in_what_the_program_has_bound(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.1.0.2")};
    struct sockaddr_in port = {.sin_family = AF_INET, .sin_port = htons(4713)}, to = stage_udp();
    close(dialled(&address, NULL));
    stage_expect_connection(0, "10.2.0.2");
    const int fd = dialled(&port, NULL);
    stage_expect_connection(1, "10.2.0.2");
    stage_equal(port_of(fd), 4713);
    close(dialled(NULL, "wifi0"));
    stage_expect_connection(2, "10.2.0.2");
    const int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(bind(datagrams, (struct sockaddr *)&port, sizeof port), 0);
    stage_equal(sendto(datagrams, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
    stage_wait(stage_datagrams() == 1);
    stage_expect(strcmp(stage_datagram_peer(0), "10.2.0.2") == 0);
    stage_equal(port_of(datagrams), 4713);
}

static void a_rule_takes_in_the_machine_itself(void) {
    struct sockaddr_storage at;
    socklen_t len;
    struct pollfd p = {.events = POLLOUT};
    listener_at("10.1.0.2", AF_INET, &at, &len);
    cell_is_gone();
    p.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(p.fd, (struct sockaddr *)&at, len), EINPROGRESS);
    stage_equal(poll(&p, 1, 100), 0);
    stage_link("cell0", true);
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
}

static void the_wildcard_and_port_0_is_no_bind(void) {
    struct sockaddr_in to = stage_tcp(), own = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    const in_port_t port = port_of(fd);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "10.2.0.2");
    stage_equal(port_of(fd), port);
}

static void a_mapped_address_is_the_address(void) {
    struct sockaddr_in far = stage_tcp();
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = far.sin_port};
    to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&to.sin6_addr.s6_addr[12], &far.sin_addr, 4);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "10.2.0.2");
}

/* ---- families ---- */

/* Settled: two seconds after it came the network lacks what it lacks. */
static void a_family_no_matching_network_has_is_unreachable(void) {
    stage_equal(begin6(0), -ENETUNREACH);
    stage_wait(begin6(SOCK_NONBLOCK) == -ENETUNREACH);
    expect_source(0, "10.2.0.2");
}

static void unreachable_at_once_makes_programs_try_the_other_family(void) {
    stage_wait(begin6(SOCK_NONBLOCK) == -ENETUNREACH);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    struct pollfd p = {.events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    cell_is_gone(); /* now both families wait ... */
    p.fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(connect(p.fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_equal(poll(&p, 1, 200), 0);
    stage_link("cell0", true); /* ... and when it has come, and settled, IPv6 is told */
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    stage_equal(error, ENETUNREACH);
    expect_source(0, "10.2.0.2");
}

static void an_IPv6_only_network_carries_IPv6_alone(void) {
    struct sockaddr_in to = stage_tcp();
    stage_shell(
        "ip addr flush dev cell0 && echo 0 >/proc/sys/net/ipv6/conf/cell0/disable_ipv6 && "
        "ip -6 addr add fd00:2::2/64 dev cell0 nodad && ip -6 route replace default via fd00:2::1 dev cell0");
    int fd = begin6(SOCK_NONBLOCK);
    stage_wait(stage_offered("cell"));
    stage_wait((fd = begin6(SOCK_NONBLOCK)) == -EINPROGRESS);
    int r;
    stage_wait((fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                r = connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0, close(fd),
                r == ENETUNREACH));
}

/* It has an address, but no way beyond its own link; and nobody there answers for others. */
static void loses_its_routes(const char *interface) {
    stage_far_shell("for f in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 1 >$f; done");
    stage_shell("ip route del default dev %s", interface);
}

static int begin_and_leave(void) {
    struct sockaddr_in to = stage_tcp();
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int error = connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
    close(fd);
    return error;
}

static void an_address_without_a_route_to_the_peer_is_no_way(void) {
    loses_its_routes("cell0");
    stage_wait(begin_and_leave() == ENETUNREACH);
    struct sockaddr_in to = stage_udp();
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    stage_fails(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to), ENETUNREACH);
    stage_link("cell0", true);
    expect_source(0, "10.2.0.2");
}

static void of_two_networks_the_one_with_a_route_is_taken(void) {
    expect_source(0, "10.1.0.2");
    loses_its_routes("wifi0");
    expect_source(1, "10.2.0.2");
    stage_shell("! ip neigh show 10.9.0.1 dev wifi0 | grep -q ."); /* it was not even looked for there */
}

static void a_route_that_comes_late_is_waited_for(void) {
    loses_its_routes("cell0");
    cell_is_gone();
    stage_equal(begin_and_leave(), EINPROGRESS);
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .events = POLLOUT};
    stage_fails(connect(p.fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_shell("ip link set cell0 up");
    stage_wait(stage_offered("cell"));
    stage_equal(poll(&p, 1, 100), 0);
    stage_link("cell0", true);
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
    stage_expect_connection(0, "10.2.0.2");
}

/* The kernel has taken it, and the scout has not told yet: here it is away. */
static void a_loss_that_no_scout_has_told_yet_is_waited_out(void) {
    struct sockaddr_in to = stage_tcp(), there = stage_udp();
    struct pollfd p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .events = POLLOUT};
    const int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_wait(begin6(SOCK_NONBLOCK) == -ENETUNREACH); /* settled */
    stage_scout_kill();
    stage_shell("ip link set cell0 down");
    stage_fails(connect(p.fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_fails(sendto(datagrams, "x", 1, 0, (struct sockaddr *)&there, sizeof there), EAGAIN);
    stage_shell("ip link set cell0 up"); /* its routes come later */
    stage_equal(poll(&p, 1, 300), 0);
    stage_scout_start();
    stage_link("cell0", true);
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
    stage_expect_connection(0, "10.2.0.2");
}

/* ---- strict reverse path filtering ---- */

static void a_network_the_routes_prefer_works_under_strict_rp_filter(void) {
    stage_shell(
        "echo 1 >/proc/sys/net/ipv4/conf/wifi0/rp_filter; echo 1 >/proc/sys/net/ipv4/conf/cell0/rp_filter");
    expect_source(0, "10.1.0.2");
}

static const struct stage_test tests[] = {
#define TEST_WITH(name, environment) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, environment)
#define TEST(name)                   TEST_WITH(name, "CMM_LABELS=small")
    TEST(what_is_labeled_goes_by_its_network),
    TEST_WITH(labels_0_never_bind, "CMM_RULES=tcp::9=small"),
    TEST_WITH(a_rule_of_none_never_binds, "CMM_LABELS=small CMM_RULES=10.9.0.0/16=none"),
    TEST_WITH(no_wish_waits_only_while_there_is_no_route_at_all,
              "CMM_LABELS=small CMM_RULES=10.9.0.0/16=none"),
    TEST_WITH(no_wish_waits_for_a_route_where_networks_are_up_without_one,
              "CMM_LABELS=small CMM_RULES=10.9.0.0/16=none"),
    TEST_WITH(no_wish_does_not_wait_for_a_family_that_no_network_has,
              "CMM_LABELS=small CMM_RULES=[fd00::]/8=none"),
    TEST(the_machines_own_addresses_are_left_alone),
    TEST(special_destinations_never_wait),
    TEST(unix_sockets_are_left_alone),
    TEST(a_vpns_destination_is_left_alone),
    TEST(a_default_route_by_a_tunnel_leaves_all_alone),
    TEST(a_container_behind_a_bridge_is_left_alone),
    TEST_WITH(a_rule_overrides_the_exemption, "CMM_LABELS=small CMM_RULES=10.9.0.1=small"),
    TEST_WITH(a_bypass_leaves_alone, "CMM_LABELS=small CMM_RULES=10.9.0.0/16=bypass"),
    TEST(sockets_the_program_has_bound_are_left_alone),
    TEST_WITH(a_rule_takes_in_what_the_program_has_bound,
              "CMM_LABELS=background CMM_RULES=10.9.0.0/16=small"),
    TEST_WITH(a_rule_takes_in_the_machine_itself, "CMM_RULES=10.0.0.0/8=small"),
    TEST(the_wildcard_and_port_0_is_no_bind),
    TEST(a_mapped_address_is_the_address),
    TEST(a_family_no_matching_network_has_is_unreachable),
    TEST(unreachable_at_once_makes_programs_try_the_other_family),
    TEST(an_IPv6_only_network_carries_IPv6_alone),
    TEST(an_address_without_a_route_to_the_peer_is_no_way),
    STAGE_TEST_WITH(
        of_two_networks_the_one_with_a_route_is_taken, STAGE_PRELOAD | STAGE_WORLD,
        "[network wifi]\nmatch = wifi0\nlabels = small\n[network cell]\nmatch = cell0\nlabels = small\n",
        "CMM_LABELS=small"),
    TEST(a_route_that_comes_late_is_waited_for),
    TEST(a_loss_that_no_scout_has_told_yet_is_waited_out),
    TEST_WITH(a_network_the_routes_prefer_works_under_strict_rp_filter, "CMM_LABELS=background"),
};

STAGE_MAIN(world, tests)

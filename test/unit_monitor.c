/* unit_monitor - the kernel's word as it comes: in a network namespace of our own. */
#include "link_message.h"
#include "monitor.h"
#include "own_world.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

static int64_t now_ms(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

/* Reads until nothing is under way any more, as the scout's loop does. */
static void settle(struct monitor *m) {
    do {
        struct pollfd p = {.fd = monitor_fd(m), .events = POLLIN};
        int64_t due = monitor_deadline(m), left = due < 0 ? 0 : due - now_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        monitor_tick(m, now_ms());
        int r = monitor_read(m, now_ms());
        if (r < 0)
            exit(3);
        if (n == 0 && monitor_settled(m) && monitor_deadline(m) < 0)
            return;
    } while (true);
}

static const struct fact_link *link_named(const struct monitor *m, const char *name) {
    const struct fact_link *l;
    for (unsigned i = 0; (l = monitor_link(m, i)); i++)
        if (strcmp(l->name, name) == 0)
            return l;
    return NULL;
}

static void must(const char *command) {
    if (system(command) != 0)
        exit(4);
}

/* Runs in a child: 0 good, 77 cannot be run here. */
static int overflow(void) {
    struct monitor *m;
    int tiny = 1;
    const struct fact_link *l;
    if (!own_world() || system("ip link add d0 type veth peer name p0 2>/dev/null && ip link set p0 up") != 0)
        return 77;
    if (monitor_new(&m) < 0)
        return 2;
    settle(m);
    if (!(l = link_named(m, "d0")) || l->running || l->address_count)
        return 5;
    setsockopt(monitor_fd(m), SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny);
    must("for i in 1 2 3 4 5 6 7 8 9; do ip link set d0 up; ip addr add 10.0.$i.1/24 dev d0; ip link set d0 "
         "down; "
         "ip addr flush dev d0; done");
    must("ip link set d0 name d1 && ip link set d1 up && ip addr add 10.9.9.9/24 dev d1 && "
         "ip route add default via 10.9.9.1 metric 42");
    settle(m);
    l = link_named(m, "d1");
    bool good = !link_named(m, "d0") && l && l->running && l->route4 && l->metric == 42 &&
                l->address_count == 1 && l->addresses[0].bytes[3] == 9;
    monitor_free(m);
    return good ? 0 : 6;
}

/* Runs in a child, as overflow(). The scout was not on the processor for five seconds of a dump. */
static int unhurried(void) {
    struct monitor *m;
    if (!own_world() || system("ip link add d0 type veth peer name p0 2>/dev/null && ip link set p0 up && "
                               "ip link set d0 up && ip addr add 10.0.0.1/24 dev d0") != 0)
        return 77;
    if (monitor_new(&m) < 0)
        return 2;
    settle(m);
    int64_t now = now_ms();
    must("ip route add 10.1.0.0/24 dev d0");
    monitor_read(m, now); /* begins a dump */
    must("ip route del 10.1.0.0/24");
    monitor_read(m, now + 5000); /* ends it, and another one is due */
    int64_t due = monitor_deadline(m);
    monitor_free(m);
    return due < now + 5500 ? 0 : 6;
}

/* Runs in a child, as overflow(). Which links are asked after an event is seen by the kernel's answers. */
static int inquisitive(void) {
    struct monitor *m;
    bool asked[128] = {false};
    _Alignas(struct nlmsghdr) char buffer[32768];
    if (!own_world() ||
        system("for i in $(seq 20 59); do echo link add a$i index $i type veth peer name b$i index "
               "$((i + 40)); echo addr add 10.0.$i.1/24 dev a$i; done | ip -batch - 2>/dev/null") != 0)
        return 77;
    if (monitor_new(&m) < 0)
        return 2;
    settle(m);
    must("ip link set a20 up");
    int64_t now = now_ms();
    monitor_read(m, now);
    for (int round = 0; round < 40; round++) {
        ssize_t n;
        monitor_tick(m, now += 5);
        while ((n = recv(monitor_fd(m), buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
            const struct nlmsghdr *msg = (const struct nlmsghdr *)buffer;
            if (msg->nlmsg_type == RTM_NEWLINK)
                asked[((const struct ifinfomsg *)mnl_nlmsg_get_payload(msg))->ifi_index % 128] = true;
        }
    }
    monitor_free(m);
    for (int i = 20; i < 60; i++)
        if (!asked[i])
            return 6;
    return 0;
}

/* Runs in a child, as overflow(). Who may may send to anybody's port. */
static int suspicious(void) {
    struct monitor *m;
    struct sockaddr_nl to;
    socklen_t len = sizeof to;
    if (!own_world())
        return 77;
    if (monitor_new(&m) < 0)
        return 2;
    settle(m);
    struct nlmsghdr *msg = link_message(RTM_NEWLINK, 999, "forged0", RUNNING);
    const int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (getsockname(monitor_fd(m), (struct sockaddr *)&to, &len) < 0)
        return 3;
    to.nl_groups = 0;
    if (sendto(sock, msg, msg->nlmsg_len, 0, (struct sockaddr *)&to, sizeof to) < 0)
        return errno == EPERM ? 77 : 4;
    monitor_read(m, now_ms());
    const bool good = !link_named(m, "forged0");
    close(sock);
    monitor_free(m);
    return good ? 0 : 6;
}

static void in_a_world(int (*run)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(run());
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        fprintf(stderr, "skipped: no network namespace (or no veth) to be had here\n");
    else
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

START_TEST(only_the_kernel_is_believed) {
    in_a_world(suspicious);
}
END_TEST

START_TEST(what_a_dump_took_is_not_the_time_that_others_had) {
    in_a_world(unhurried);
}
END_TEST

START_TEST(after_a_link_event_every_link_is_asked_in_its_turn) {
    in_a_world(inquisitive);
}
END_TEST

START_TEST(after_an_overflow_the_table_is_what_the_kernel_has) {
    in_a_world(overflow);
}
END_TEST

START_TEST(an_address_of_this_machine_can_be_bound_and_another_not) {
    struct fact_address own = {.family = AF_INET, .prefix = 32, .bytes = {127, 0, 0, 1}},
                        other = {.family = AF_INET, .prefix = 32, .bytes = {192, 0, 2, 1}};
    uint32_t ifindex;
    ck_assert(monitor_can_bind(NULL, &own, &ifindex));
    ck_assert(!monitor_can_bind(NULL, &other, &ifindex));
    ck_assert_uint_eq(ifindex, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("monitor");
    TCase *c = tcase_create("monitor");
    tcase_add_test(c, after_an_overflow_the_table_is_what_the_kernel_has);
    tcase_add_test(c, after_a_link_event_every_link_is_asked_in_its_turn);
    tcase_add_test(c, only_the_kernel_is_believed);
    tcase_add_test(c, what_a_dump_took_is_not_the_time_that_others_had);
    tcase_add_test(c, an_address_of_this_machine_can_be_bound_and_another_not);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

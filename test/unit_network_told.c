/* unit_network_told - which networks a snapshot holds, and in which order, as sentences. */
#include "network.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

static struct network_table t;
static struct wire_snapshot s;
static char ifaces[WIRE_NETWORKS][FACT_IFACE];
static struct fact_address address = {
    .family = AF_INET, .prefix = 24, .preferred = true, .bytes = {10, 0, 0, 1}};
static struct fact_network wire;

static void start(void) {
    network_init(&t, false, 1234, 5678);
    wire = (struct fact_network){.name = "home",
                                 .flags = WIRE_HAS4 | WIRE_EVER4 | WIRE_EVER6,
                                 .address_count = 1,
                                 .addresses = &address};
}

static bool present(void *arg, uint32_t ifindex) {
    return true;
}

static int see(uint32_t ifindex, bool works, enum wire_lack lack) {
    wire.ifindex = ifindex;
    snprintf(wire.iface, sizeof wire.iface, "w%u", ifindex);
    wire.works = works;
    wire.lack = lack;
    return network_see(&t, &wire, true, 0);
}

static void fill(void) {
    network_end(&t, present, NULL, 0);
    network_fill(&t, &s, ifaces);
}

START_TEST(too_many_networks_leave_out_those_that_are_down_first) {
    network_begin(&t);
    for (uint32_t i = 0; i < 40; i++)
        ck_assert_int_eq(see(100 + i, i >= 20, WIRE_LACK_NOTHING), 0);
    fill();
    ck_assert_uint_eq(s.count, WIRE_NETWORKS);
    unsigned up = 0;
    for (uint32_t i = 0; i < s.count; i++)
        up += s.networks[i].state == WIRE_NET_UP;
    ck_assert_uint_eq(up, 20);
    ck_assert_uint_eq(s.networks[0].ifindex, 100);
    for (uint32_t i = 40; i < NETWORK_MAX; i++)
        ck_assert_int_eq(see(100 + i, false, WIRE_LACK_LINK), 0);
    ck_assert_int_eq(see(1, true, WIRE_LACK_NOTHING), -ENOSPC);
}
END_TEST

START_TEST(and_then_those_without_a_default_route) {
    network_begin(&t);
    for (uint32_t i = 0; i < 100; i++)
        see(100 + i, true, i % 30 == 29 ? WIRE_LACK_NOTHING : WIRE_LACK_DEFAULT);
    fill();
    unsigned whole = 0;
    for (uint32_t i = 0; i < s.count; i++) {
        whole += s.networks[i].lack == WIRE_LACK_NOTHING;
        ck_assert(i == 0 || s.networks[i].ifindex > s.networks[i - 1].ifindex);
    }
    ck_assert_uint_eq(whole, 3);
    ck_assert_uint_eq(s.networks[s.count - 1].ifindex, 189);
}
END_TEST

START_TEST(what_is_in_its_grace_keeps_its_place) {
    t.grace_ms = 1000;
    network_begin(&t);
    for (uint32_t i = 0; i < 33; i++)
        see(100 + i, true, WIRE_LACK_DEFAULT);
    fill();
    network_begin(&t);
    for (uint32_t i = 0; i < 33; i++)
        see(100 + i, i != 31, i == 31 ? WIRE_LACK_LINK : WIRE_LACK_DEFAULT);
    fill();
    ck_assert_uint_eq(s.networks[31].ifindex, 131);
    ck_assert_int_eq(s.networks[31].state, WIRE_NET_GRACE);
}
END_TEST

START_TEST(what_is_left_out_can_be_asked_for) {
    bool told[200] = {false};
    network_begin(&t);
    for (uint32_t i = 0; i < 100; i++)
        see(100 + i, i % 2, i % 3 ? WIRE_LACK_DEFAULT : WIRE_LACK_NOTHING);
    fill();
    for (uint32_t i = 0; i < s.count; i++)
        told[s.networks[i].ifindex] = true;
    unsigned from = 0;
    do {
        ck_assert_uint_eq(network_untold(&t, from, &s), 100 - WIRE_NETWORKS);
        for (uint32_t i = 0; i < s.count; i++) {
            ck_assert(!told[s.networks[i].ifindex]);
            told[s.networks[i].ifindex] = true;
        }
        from += s.count;
    } while (s.count);
    ck_assert_uint_eq(from, 100 - WIRE_NETWORKS);
}
END_TEST

static void see_two(uint32_t home, uint32_t lab) {
    network_begin(&t);
    strcpy(wire.name, "home");
    wire.order = home;
    see(7, true, WIRE_LACK_NOTHING);
    strcpy(wire.name, "lab");
    wire.order = lab;
    see(9, true, WIRE_LACK_NOTHING);
    fill();
}

START_TEST(networks_come_in_the_order_of_their_sections) {
    see_two(1, 0);
    ck_assert_str_eq(s.networks[0].name, "lab");
    ck_assert_str_eq(s.networks[1].name, "home");
}
END_TEST

START_TEST(also_when_the_configuration_has_changed_it) {
    see_two(1, 0);
    see_two(0, 1);
    ck_assert_str_eq(s.networks[0].name, "home");
}
END_TEST

START_TEST(and_of_one_section_in_that_of_interfaces_whenever_they_came) {
    network_begin(&t);
    see(9, true, WIRE_LACK_NOTHING);
    see(7, true, WIRE_LACK_NOTHING);
    see(8, false, WIRE_LACK_LINK);
    fill();
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(s.networks[i].ifindex, 7 + i);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("network_told");
    TCase *c = tcase_create("network_told");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, too_many_networks_leave_out_those_that_are_down_first);
    tcase_add_test(c, and_then_those_without_a_default_route);
    tcase_add_test(c, what_is_in_its_grace_keeps_its_place);
    tcase_add_test(c, what_is_left_out_can_be_asked_for);
    tcase_add_test(c, networks_come_in_the_order_of_their_sections);
    tcase_add_test(c, also_when_the_configuration_has_changed_it);
    tcase_add_test(c, and_of_one_section_in_that_of_interfaces_whenever_they_came);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

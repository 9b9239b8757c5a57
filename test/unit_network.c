/* unit_network - presence, identity and overrides of networks, as sentences. */
#include "network.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static struct network_table t;
static struct wire_snapshot s;
static char ifaces[WIRE_NETWORKS][FACT_IFACE];
static struct fact_address addresses[4];
static struct fact_network wifi;
static bool link_there;
static int64_t now;

static struct fact_address four(uint8_t last) {
    return (struct fact_address){
        .family = AF_INET, .prefix = 24, .preferred = true, .bytes = {10, 0, 0, last}};
}

static struct fact_address six(uint8_t net) {
    return (struct fact_address){
        .family = AF_INET6, .prefix = 64, .preferred = true, .bytes = {0x20, 1, 0, net, [15] = 1}};
}

static void start_table(bool scripted) {
    network_init(&t, scripted, 1234, 5678);
    t.hold_ms = 500;
    t.grace_ms = 1000;
    now = 10000;
    link_there = true;
    addresses[0] = four(1);
    wifi = (struct fact_network){.name = "home",
                                 .iface = "wlan0",
                                 .ifindex = 3,
                                 .labels = 0x43f,
                                 .flags = WIRE_HAS4 | WIRE_EVER4 | WIRE_EVER6,
                                 .works = true,
                                 .address_count = 1,
                                 .addresses = addresses};
}

static void start(void) {
    start_table(false);
}

static bool present(void *arg, uint32_t ifindex) {
    return link_there;
}

static const struct wire_network *first(void) {
    network_fill(&t, &s, ifaces);
    return s.count ? &s.networks[0] : NULL;
}

/* One look at a world with the wifi in it. */
static const struct wire_network *look(bool at_once) {
    network_begin(&t);
    ck_assert_int_eq(network_see(&t, &wifi, at_once, now), 0);
    network_end(&t, present, NULL, now);
    return first();
}

static const struct wire_network *lose_link(void) {
    wifi.works = false;
    wifi.flags &= (uint8_t) ~(WIRE_HAS4 | WIRE_HAS6);
    return look(false);
}

static const struct wire_network *regain_link(void) {
    wifi.works = true;
    wifi.flags |= WIRE_HAS4;
    return look(false);
}

static const struct wire_network *after(int64_t ms) {
    now += ms;
    return look(false);
}

static const struct wire_network *wish(enum network_voice voice, const char *name, enum network_wish what) {
    ck_assert_int_eq(network_rule_wish(&t.rules, voice, name, what), 0);
    network_rejudge(&t, now);
    return first();
}

START_TEST(what_is_up_at_the_start_is_offered_at_once) {
    const struct wire_network *n = look(true);
    ck_assert_int_eq(n->state, WIRE_NET_UP);
    ck_assert_uint_ne(n->id, 0);
    ck_assert_uint_eq(n->since_ms, (uint32_t)now);
    ck_assert_int_eq(network_deadline(&t), -1);
}
END_TEST

START_TEST(what_comes_up_later_is_held_down) {
    ck_assert_int_eq(look(false)->state, WIRE_NET_DOWN);
    ck_assert_int_eq(network_deadline(&t), now + 500);
    ck_assert_int_eq(after(499)->state, WIRE_NET_DOWN);
    ck_assert_int_eq(after(1)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->since_ms, (uint32_t)now);
}
END_TEST

START_TEST(what_is_not_up_says_what_it_lacks) {
    ck_assert_int_eq(look(false)->lack, WIRE_LACK_TIME);
    ck_assert_int_eq(after(500)->lack, WIRE_LACK_NOTHING);
    wifi.check = FACT_CHECK_FAILED;
    ck_assert_int_eq(look(false)->lack, WIRE_LACK_CHECK);
    ck_assert_int_eq(wish(NETWORK_CTL, "home", NETWORK_DOWN)->lack, WIRE_LACK_CTL);
    wish(NETWORK_CTL, "home", NETWORK_AUTO);
    wifi.lack = WIRE_LACK_ROUTE;
    ck_assert_int_eq(lose_link()->lack, WIRE_LACK_ROUTE);
    t.scripted = true;
    ck_assert_int_eq(look(false)->lack, WIRE_LACK_SCRIPT);
}
END_TEST

START_TEST(a_flap_during_hold_down_begins_it_again) {
    look(false);
    now += 400;
    ck_assert_int_eq(lose_link()->state, WIRE_NET_DOWN);
    now += 50;
    regain_link();
    ck_assert_int_eq(after(499)->state, WIRE_NET_DOWN);
    ck_assert_int_eq(after(1)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(a_short_blip_is_no_loss) {
    uint64_t id = look(true)->id;
    const struct wire_network *n = lose_link();
    ck_assert_int_eq(n->state, WIRE_NET_GRACE);
    ck_assert_uint_eq(n->id, id);
    ck_assert_int_eq(n->flags & WIRE_HAS4, 0);
    now += 999;
    n = regain_link();
    ck_assert_int_eq(n->state, WIRE_NET_UP);
    ck_assert_uint_eq(n->id, id);
    ck_assert_int_eq(network_deadline(&t), -1);
}
END_TEST

START_TEST(after_grace_it_is_another_network_with_hold_down) {
    uint64_t id = look(true)->id;
    lose_link();
    ck_assert_int_eq(after(1000)->state, WIRE_NET_DOWN);
    ck_assert_uint_ne(first()->id, id);
    regain_link();
    ck_assert_int_eq(first()->state, WIRE_NET_DOWN);
    ck_assert_int_eq(after(500)->state, WIRE_NET_UP);
    ck_assert_uint_ne(first()->id, id);
}
END_TEST

START_TEST(a_grace_that_ran_out_unnoticed_is_over_all_the_same) {
    uint64_t id = look(true)->id;
    lose_link();
    now += 5000; /* the process was stopped */
    ck_assert_int_eq(regain_link()->state, WIRE_NET_DOWN);
    ck_assert_uint_ne(first()->id, id);
}
END_TEST

START_TEST(an_id_that_was_lost_never_comes_back) {
    uint64_t seen[50];
    look(true);
    for (int i = 0; i < 50; i++) {
        seen[i] = first()->id;
        for (int k = 0; k < i; k++)
            ck_assert_uint_ne(seen[i], seen[k]);
        lose_link();
        after(1000);
        regain_link();
        after(500);
    }
}
END_TEST

START_TEST(what_was_never_offered_keeps_its_id_for_a_later_time) {
    lose_link();
    uint64_t id = regain_link()->id;
    lose_link();
    addresses[0] = four(2);
    ck_assert(regain_link()->id != id);
    lose_link();
    addresses[0] = four(1);
    ck_assert(regain_link()->id == id);
}
END_TEST

START_TEST(a_scout_that_comes_back_gives_the_same_id) {
    uint64_t id = look(true)->id;
    uint64_t random = t.random;
    start();
    t.random = random + 1;
    ck_assert_uint_eq(look(true)->id, id);
    start();
    t.seed++; /* another boot */
    ck_assert_uint_ne(look(true)->id, id);
}
END_TEST

START_TEST(another_address_is_another_network) {
    uint64_t id = look(true)->id;
    addresses[0] = four(2);
    ck_assert_int_eq(look(false)->state, WIRE_NET_DOWN);
    ck_assert_uint_ne(first()->id, id);
    ck_assert_int_eq(after(500)->state, WIRE_NET_UP);
    uint64_t second = first()->id;
    addresses[0] = four(1);
    look(false);
    after(500);
    ck_assert_uint_ne(first()->id, id);
    ck_assert_uint_ne(first()->id, second);
}
END_TEST

START_TEST(an_address_more_is_the_same_network) {
    uint64_t id = look(true)->id;
    addresses[1] = six(1);
    wifi.address_count = 2;
    wifi.flags |= WIRE_HAS6;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
    addresses[2] = four(9);
    wifi.address_count = 3;
    ck_assert_uint_eq(look(false)->id, id);
}
END_TEST

START_TEST(a_lost_family_has_its_grace_and_then_it_is_another_network) {
    addresses[1] = six(1);
    wifi.address_count = 2;
    wifi.flags |= WIRE_HAS6;
    uint64_t id = look(true)->id;
    wifi.address_count = 1; /* the IPv6 address is gone, IPv4 still works */
    wifi.flags &= (uint8_t)~WIRE_HAS6;
    ck_assert_int_eq(look(false)->state, WIRE_NET_GRACE);
    ck_assert_uint_eq(first()->id, id);
    after(1000);
    ck_assert_uint_ne(first()->id, id);
    ck_assert_int_eq(after(500)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(temporary_addresses_of_one_prefix_are_one_network) {
    addresses[0] = six(1);
    wifi.flags = WIRE_HAS6 | WIRE_EVER4 | WIRE_EVER6;
    uint64_t id = look(true)->id;
    addresses[0].bytes[15] = 77;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
    addresses[0] = six(2);
    look(false);
    ck_assert_uint_ne(first()->id, id);
}
END_TEST

START_TEST(two_interfaces_of_one_section_are_two_networks) {
    struct fact_network other = wifi;
    strcpy(other.iface, "wlan1");
    other.ifindex = 4;
    network_begin(&t);
    network_see(&t, &wifi, true, now);
    network_see(&t, &other, true, now);
    network_end(&t, present, NULL, now);
    network_fill(&t, &s, ifaces);
    ck_assert_uint_eq(s.count, 2);
    ck_assert_uint_ne(s.networks[0].id, s.networks[1].id);
    wish(NETWORK_CTL, "home@wlan1", NETWORK_DOWN);
    ck_assert_int_eq(s.networks[0].state, WIRE_NET_UP);
    ck_assert_int_eq(s.networks[1].state, WIRE_NET_WITHDRAWN);
    ck_assert_int_eq(s.networks[1].flags & WIRE_OVERRIDE, WIRE_OVERRIDE);
    ck_assert(network_known(&t, "home@wlan1") && network_known(&t, "home") &&
              !network_known(&t, "home@eth0"));
    wish(NETWORK_CTL, "home", NETWORK_DOWN);
    wish(NETWORK_CTL, "home", NETWORK_AUTO);
    ck_assert_int_eq(s.networks[1].state, WIRE_NET_UP);
}
END_TEST

START_TEST(an_interface_that_vanishes_has_its_grace_and_leaves_the_list) {
    uint64_t id = look(true)->id;
    link_there = false;
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_int_eq(first()->state, WIRE_NET_GRACE);
    now += 1000;
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_ptr_null(first());
    link_there = true;
    look(true);
    ck_assert_uint_ne(first()->id, id);
}
END_TEST

START_TEST(what_the_configuration_drops_is_withdrawn_before_it_leaves_the_list) {
    look(true);
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_int_eq(first()->state, WIRE_NET_WITHDRAWN);
    ck_assert_int_gt(network_deadline(&t), now);
    now = network_deadline(&t);
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_ptr_null(first());
}
END_TEST

START_TEST(ctl_down_withdraws_and_auto_gives_back_the_same_network_at_once) {
    uint64_t id = look(true)->id;
    const struct wire_network *n = wish(NETWORK_CTL, "home", NETWORK_DOWN);
    ck_assert_int_eq(n->state, WIRE_NET_WITHDRAWN);
    ck_assert_uint_eq(n->id, id);
    now += 100000;
    n = wish(NETWORK_CTL, "home", NETWORK_AUTO);
    ck_assert_int_eq(n->state, WIRE_NET_UP);
    ck_assert_uint_eq(n->id, id);
    ck_assert_uint_eq(n->since_ms, (uint32_t)now);
    ck_assert_int_eq(n->flags & WIRE_OVERRIDE, 0);
}
END_TEST

START_TEST(ctl_up_ends_a_hold_down) {
    look(false);
    ck_assert_int_eq(wish(NETWORK_CTL, "home", NETWORK_UP)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(what_is_withdrawn_and_then_goes_is_down) {
    look(true);
    wish(NETWORK_CTL, "home", NETWORK_DOWN);
    ck_assert_int_eq(lose_link()->state, WIRE_NET_DOWN);
}
END_TEST

START_TEST(a_wish_waits_for_its_network) {
    wish(NETWORK_CTL, "home", NETWORK_DOWN);
    ck_assert_int_eq(look(true)->state, WIRE_NET_WITHDRAWN);
}
END_TEST

START_TEST(with_a_script_all_is_down_until_it_speaks) {
    start_table(true);
    uint64_t id = look(true)->id;
    ck_assert_int_ne(first()->state, WIRE_NET_UP);
    ck_assert_int_eq(wish(NETWORK_SCRIPT, "home", NETWORK_UP)->state, WIRE_NET_UP);
    ck_assert_int_eq(wish(NETWORK_SCRIPT, "home", NETWORK_DOWN)->state, WIRE_NET_WITHDRAWN);
    ck_assert_int_eq(wish(NETWORK_SCRIPT, "home", NETWORK_UP)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
}
END_TEST

START_TEST(ctl_stands_above_the_script) {
    start_table(true);
    look(true);
    wish(NETWORK_SCRIPT, "home", NETWORK_UP);
    ck_assert_int_eq(wish(NETWORK_CTL, "home", NETWORK_DOWN)->state, WIRE_NET_WITHDRAWN);
    ck_assert_int_eq(wish(NETWORK_SCRIPT, "home", NETWORK_UP)->state, WIRE_NET_WITHDRAWN);
    ck_assert_int_eq(wish(NETWORK_CTL, "home", NETWORK_AUTO)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(the_script_grants_labels_but_the_kind_of_network_stays) {
    start_table(true);
    look(true);
    const uint64_t labels = 0x14, others = 0x01;
    ck_assert_int_eq(network_rule_labels(&t.rules, NETWORK_SCRIPT, "home", &labels), 0);
    ck_assert_uint_eq(first()->labels, 0x414);
    ck_assert_int_eq(network_rule_labels(&t.rules, NETWORK_CTL, "home@wlan0", &others), 0);
    ck_assert_uint_eq(first()->labels, 0x401);
    ck_assert_int_eq(network_rule_labels(&t.rules, NETWORK_CTL, "home", NULL), 0);
    ck_assert_uint_eq(first()->labels, 0x414);
}
END_TEST

START_TEST(another_access_point_is_another_network_even_with_the_same_address) {
    strcpy(wifi.ssid, "Home");
    uint64_t id = look(true)->id;
    wifi.ssid[0] = 0; /* nobody knows: nothing has changed */
    ck_assert_uint_eq(look(false)->id, id);
    strcpy(wifi.ssid, "Train");
    ck_assert_uint_ne(look(false)->id, id);
    memset(wifi.ssid, 0, sizeof wifi.ssid);
}
END_TEST

START_TEST(what_is_said_of_a_network_that_is_not_there_holds_too) {
    static struct wire_snapshot snapshot = {.count = 1};
    snapshot.networks[0] = (struct wire_network){.name = "cell", .labels = 0x100};
    ck_assert_int_eq(network_rule_metered(&t.rules, "cell", WIRE_METERED_YES), 0);
    network_amend(&t, &snapshot, 0);
    ck_assert_uint_eq(snapshot.networks[0].labels, 0);
    ck_assert_uint_eq(snapshot.networks[0].flags, WIRE_METERED | WIRE_OVERRIDE);
}
END_TEST

START_TEST(metered_set_by_hand_decides_unmetered) {
    look(true);
    ck_assert_int_eq(network_rule_metered(&t.rules, "home", WIRE_METERED_NO), 0);
    ck_assert(first()->labels & 0x100);
    ck_assert(!(first()->flags & WIRE_METERED) && first()->flags & WIRE_OVERRIDE);
    ck_assert_int_eq(network_rule_metered(&t.rules, "home", WIRE_METERED_YES), 0);
    ck_assert(!(first()->labels & 0x100));
    ck_assert(first()->flags & WIRE_METERED);
    ck_assert_int_eq(network_rule_metered(&t.rules, "home", WIRE_METERED_AUTO), 0);
    ck_assert(!(first()->flags & WIRE_OVERRIDE));
}
END_TEST

START_TEST(a_failed_check_withdraws_and_a_pending_one_does_not_offer) {
    wifi.check = FACT_CHECK_PENDING;
    ck_assert_int_eq(look(true)->state, WIRE_NET_DOWN);
    wifi.check = FACT_CHECK_GOOD;
    uint64_t id = look(false)->id;
    ck_assert_int_eq(first()->state, WIRE_NET_UP);
    wifi.check = FACT_CHECK_FAILED;
    ck_assert_int_eq(look(false)->state, WIRE_NET_WITHDRAWN);
    wifi.check = FACT_CHECK_GOOD;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
}
END_TEST

START_TEST(a_host_address_is_found_again_wherever_it_moves) {
    wifi.iface[0] = 0;
    wifi.ifindex = 1;
    wifi.flags |= WIRE_ADDRESS;
    uint64_t id = look(true)->id;
    wifi.ifindex = 7;
    ck_assert_uint_eq(look(false)->id, id);
    ck_assert_uint_eq(s.count, 1);
    ck_assert_uint_eq(s.networks[0].ifindex, 7);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("network");
    TCase *c = tcase_create("network");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, what_is_up_at_the_start_is_offered_at_once);
    tcase_add_test(c, what_comes_up_later_is_held_down);
    tcase_add_test(c, what_is_not_up_says_what_it_lacks);
    tcase_add_test(c, a_flap_during_hold_down_begins_it_again);
    tcase_add_test(c, a_short_blip_is_no_loss);
    tcase_add_test(c, after_grace_it_is_another_network_with_hold_down);
    tcase_add_test(c, a_grace_that_ran_out_unnoticed_is_over_all_the_same);
    tcase_add_test(c, an_id_that_was_lost_never_comes_back);
    tcase_add_test(c, what_was_never_offered_keeps_its_id_for_a_later_time);
    tcase_add_test(c, a_scout_that_comes_back_gives_the_same_id);
    tcase_add_test(c, another_address_is_another_network);
    tcase_add_test(c, an_address_more_is_the_same_network);
    tcase_add_test(c, a_lost_family_has_its_grace_and_then_it_is_another_network);
    tcase_add_test(c, temporary_addresses_of_one_prefix_are_one_network);
    tcase_add_test(c, two_interfaces_of_one_section_are_two_networks);
    tcase_add_test(c, an_interface_that_vanishes_has_its_grace_and_leaves_the_list);
    tcase_add_test(c, what_the_configuration_drops_is_withdrawn_before_it_leaves_the_list);
    tcase_add_test(c, ctl_down_withdraws_and_auto_gives_back_the_same_network_at_once);
    tcase_add_test(c, ctl_up_ends_a_hold_down);
    tcase_add_test(c, what_is_withdrawn_and_then_goes_is_down);
    tcase_add_test(c, a_wish_waits_for_its_network);
    tcase_add_test(c, with_a_script_all_is_down_until_it_speaks);
    tcase_add_test(c, ctl_stands_above_the_script);
    tcase_add_test(c, the_script_grants_labels_but_the_kind_of_network_stays);
    tcase_add_test(c, metered_set_by_hand_decides_unmetered);
    tcase_add_test(c, what_is_said_of_a_network_that_is_not_there_holds_too);
    tcase_add_test(c, another_access_point_is_another_network_even_with_the_same_address);
    tcase_add_test(c, a_failed_check_withdraws_and_a_pending_one_does_not_offer);
    tcase_add_test(c, a_host_address_is_found_again_wherever_it_moves);
    suite_add_tcase(suite, c);
    SRunner *r = srunner_create(suite);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

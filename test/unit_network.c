/* unit_network - presence and overrides of networks, as sentences; which one is the same is in
 * unit_network_identity. */
#include "suite.h"
#include "wifi.h"

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

START_TEST(without_hold_down_what_comes_is_offered_at_once) {
    t.hold_ms = 0;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(how_long_it_has_been_up_counts_from_the_beginning) {
    const uint32_t since = look(true)->since_ms;
    ck_assert_uint_eq(after(700)->since_ms, since);
    ck_assert_uint_eq(lose_link()->since_ms, since);
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

START_TEST(the_first_leaves_the_list_and_the_others_stay) {
    look_at_both(true);
    uint64_t id = id_of_cell();
    link_there = false;
    for (int i = 0; i < 2; i++, now += 1000) {
        network_begin(&t);
        ck_assert_int_eq(network_see(&t, &cell, false, now), 0);
        network_end(&t, present, NULL, now);
    }
    ck_assert_uint_eq(id_of_cell(), id);
    ck_assert_uint_eq(s.count, 1);
}
END_TEST

START_TEST(what_happens_first_is_looked_at_first) {
    look_at_both(true);
    link_there = false;
    look(false); /* the second is gone */
    now += 300;
    lose_link(); /* the first, too */
    ck_assert_int_eq(network_deadline(&t), now + 700);
    after(700);
    ck_assert_int_eq(network_deadline(&t), now + 300);
}
END_TEST

START_TEST(names_are_known_by_the_whole_of_them) {
    look(true);
    ck_assert(network_known(&t, "home") && network_known(&t, "home@wlan0"));
    ck_assert(!network_known(&t, "hom") && !network_known(&t, "cell") && !network_known(&t, "homes"));
}
END_TEST

START_TEST(an_interface_that_vanishes_has_its_grace_and_leaves_the_list) {
    uint64_t id = look(true)->id;
    link_there = false;
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_int_eq(first()->state, WIRE_NET_GRACE);
    ck_assert_int_eq(first()->lack, WIRE_LACK_LINK);
    ck_assert_int_eq(first()->flags & WIRE_HAS4, 0);
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
    uint64_t id = look(true)->id;
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_int_eq(first()->state, WIRE_NET_WITHDRAWN);
    ck_assert_int_ge(network_deadline(&t), now + 2000); /* so long sockets drain */
    now = network_deadline(&t);
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_ptr_null(first());
    ck_assert_uint_ne(look(true)->id, id);
}
END_TEST

START_TEST(what_the_configuration_lists_again_in_time_is_the_same) {
    uint64_t id = look(true)->id;
    network_begin(&t);
    network_end(&t, present, NULL, now);
    now += 1000;
    ck_assert_int_eq(look(true)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
    ck_assert_int_eq(network_deadline(&t), -1);
}
END_TEST

START_TEST(what_is_held_down_when_the_configuration_drops_it_is_never_offered) {
    look(false);
    network_begin(&t);
    network_end(&t, present, NULL, now);
    now += 500;
    network_tick(&t, now);
    ck_assert_ptr_null(first());
}
END_TEST

START_TEST(what_is_not_listed_any_more_and_then_vanishes_has_its_grace_too) {
    look(true);
    network_begin(&t);
    network_end(&t, present, NULL, now);
    link_there = false;
    network_begin(&t);
    network_end(&t, present, NULL, now);
    ck_assert_int_eq(first()->state, WIRE_NET_GRACE);
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
    tcase_add_test(c, without_hold_down_what_comes_is_offered_at_once);
    tcase_add_test(c, how_long_it_has_been_up_counts_from_the_beginning);
    tcase_add_test(c, two_interfaces_of_one_section_are_two_networks);
    tcase_add_test(c, the_first_leaves_the_list_and_the_others_stay);
    tcase_add_test(c, what_happens_first_is_looked_at_first);
    tcase_add_test(c, names_are_known_by_the_whole_of_them);
    tcase_add_test(c, an_interface_that_vanishes_has_its_grace_and_leaves_the_list);
    tcase_add_test(c, what_the_configuration_drops_is_withdrawn_before_it_leaves_the_list);
    tcase_add_test(c, what_the_configuration_lists_again_in_time_is_the_same);
    tcase_add_test(c, what_is_held_down_when_the_configuration_drops_it_is_never_offered);
    tcase_add_test(c, what_is_not_listed_any_more_and_then_vanishes_has_its_grace_too);
    tcase_add_test(c, ctl_down_withdraws_and_auto_gives_back_the_same_network_at_once);
    tcase_add_test(c, ctl_up_ends_a_hold_down);
    tcase_add_test(c, what_is_withdrawn_and_then_goes_is_down);
    tcase_add_test(c, a_wish_waits_for_its_network);
    tcase_add_test(c, with_a_script_all_is_down_until_it_speaks);
    tcase_add_test(c, ctl_stands_above_the_script);
    tcase_add_test(c, the_script_grants_labels_but_the_kind_of_network_stays);
    tcase_add_test(c, what_is_said_of_a_network_that_is_not_there_holds_too);
    tcase_add_test(c, metered_set_by_hand_decides_unmetered);
    tcase_add_test(c, a_failed_check_withdraws_and_a_pending_one_does_not_offer);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

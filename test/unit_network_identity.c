/* unit_network_identity - which network is the same as before, and which another, as sentences. */
#include "suite.h"
#include "wifi.h"

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
    network_init(&t, false, 1235, 5678); /* another boot */
    ck_assert_uint_ne(look(true)->id, id);
}
END_TEST

static uint64_t id_after_a_loss(uint64_t random) {
    start();
    network_init(&t, false, 1234, random);
    t.grace_ms = 1000;
    look(true);
    lose_link();
    after(1000);
    return regain_link()->id;
}

/* To the next scout of this boot. */
static uint64_t id_anew(const char *iface, uint32_t ifindex, const char *ssid) {
    start();
    strcpy(wifi.iface, iface);
    wifi.ifindex = ifindex;
    strcpy(wifi.ssid, ssid);
    return look(true)->id;
}

START_TEST(what_has_become_another_while_no_scout_looked_is_another) {
    const uint64_t id = id_anew("wlan0", 3, "Home");
    ck_assert_uint_eq(id_anew("wlan0", 3, "Home"), id);
    ck_assert_uint_ne(id_anew("wlan9", 3, "Home"), id);
    ck_assert_uint_ne(id_anew("wlan0", 9, "Home"), id);
    ck_assert_uint_ne(id_anew("wlan0", 3, "Train"), id);
    ck_assert_uint_ne(id_anew("wlan0", 3, ""), id);
}
END_TEST

START_TEST(what_was_lost_is_not_found_again_by_the_next_scout_either) {
    const uint64_t id = id_after_a_loss(1);
    ck_assert_uint_ne(id_after_a_loss(2), id);
}
END_TEST

/* The next scout of this name and boot, and its first look. */
static const struct wire_network *succeed(bool there) {
    struct network_known known[NETWORK_KNOWN];
    const unsigned count = network_remember(&t, known);
    network_init(&t, false, 1234, t.random + 1);
    t.hold_ms = 500;
    t.grace_ms = 1000;
    network_recall(&t, known, count);
    return there ? look(true) : lose_link();
}

START_TEST(a_scout_that_comes_back_after_a_loss_gives_the_same_id) {
    const uint64_t first_id = look(true)->id;
    for (int i = 0; i < 200; i++) {
        lose_link();
        after(1000);
        regain_link();
        const uint64_t id = after(500)->id;
        ck_assert_uint_ne(id, first_id);
        ck_assert_uint_eq(succeed(true)->id, id);
        ck_assert_uint_eq(succeed(true)->id, id);
    }
    lose_link();
    const uint64_t last = after(1000)->id;
    ck_assert_uint_ne(last, first_id);
}
END_TEST

START_TEST(what_was_lost_before_is_lost_to_the_next_scout_too) {
    const uint64_t id = look(true)->id;
    lose_link();
    after(1000);
    succeed(false);
    regain_link();
    ck_assert_uint_ne(after(500)->id, id);
}
END_TEST

START_TEST(what_comes_after_the_first_look_is_not_what_the_scout_before_knew) {
    look(true);
    lose_link();
    after(1000);
    regain_link();
    const uint64_t id = after(500)->id;
    succeed(false);
    regain_link();
    ck_assert_uint_ne(after(500)->id, id);
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

/* One interface of both families; what goes of them, and what is left. */
static uint64_t look_at_two_families(void) {
    addresses[0] = four(1);
    addresses[1] = six(1);
    wifi.address_count = 2;
    wifi.flags |= WIRE_HAS4 | WIRE_HAS6;
    return look(true)->id;
}

static void lose_six_address(void) {
    wifi.address_count = 1;
    wifi.flags &= (uint8_t)~WIRE_HAS6;
}

static void lose_four_address(void) {
    addresses[0] = addresses[1];
    wifi.address_count = 1;
    wifi.flags &= (uint8_t)~WIRE_HAS4;
}

static uint64_t by_four(uint64_t id) {
    return id & ~WIRE_ID_SIX;
}

START_TEST(lost_IPv6_has_its_grace_and_then_it_is_another_one_by_IPv6_alone) {
    const uint64_t id = look_at_two_families();
    lose_six_address();
    ck_assert_int_eq(look(false)->state, WIRE_NET_GRACE);
    ck_assert_uint_eq(first()->id, id);
    ck_assert_int_eq(after(999)->state, WIRE_NET_GRACE);
    ck_assert_int_eq(after(1)->state, WIRE_NET_UP);
    ck_assert_uint_ne(first()->id, id);
    ck_assert_uint_eq(by_four(first()->id), by_four(id));
    const uint64_t second = first()->id;
    look_at_two_families();
    ck_assert_uint_eq(first()->id, second); /* what comes, joins */
    lose_six_address();
    look(false);
    after(1000);
    ck_assert_uint_ne(first()->id, second);
    ck_assert_uint_ne(first()->id, id);
}
END_TEST

START_TEST(which_one_it_is_by_IPv6_the_next_scout_knows_too) {
    look_at_two_families();
    lose_six_address();
    look(false);
    const uint64_t id = after(1000)->id;
    ck_assert_uint_eq(succeed(true)->id, id);
}
END_TEST

START_TEST(IPv6_that_is_back_in_time_is_the_same) {
    const uint64_t id = look_at_two_families();
    lose_six_address();
    look(false);
    after(999);
    look_at_two_families();
    ck_assert_int_eq(after(1000)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
}
END_TEST

START_TEST(lost_IPv4_has_its_grace_and_then_it_is_another_network) {
    const uint64_t id = look_at_two_families();
    lose_four_address();
    ck_assert_int_eq(look(false)->state, WIRE_NET_GRACE);
    ck_assert_uint_eq(first()->id, id);
    after(1000);
    ck_assert_uint_ne(by_four(first()->id), by_four(id));
    ck_assert_int_eq(after(500)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(what_goes_after_IPv6_has_a_grace_of_its_own) {
    const uint64_t id = look_at_two_families();
    lose_six_address();
    look(false);
    after(600);
    lose_link();
    ck_assert_int_eq(after(999)->state, WIRE_NET_GRACE);
    ck_assert_uint_eq(first()->id, id);
    after(1);
    ck_assert_uint_ne(by_four(first()->id), by_four(id));
}
END_TEST

START_TEST(another_IPv6_prefix_is_another_one_by_IPv6_alone) {
    const uint64_t id = look_at_two_families();
    addresses[1].bytes[7] ^= 1;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_ne(first()->id, id);
    ck_assert_uint_eq(by_four(first()->id), by_four(id));
}
END_TEST

START_TEST(with_IPv6_alone_its_address_is_the_networks) {
    addresses[0] = six(1);
    wifi.flags = WIRE_HAS6 | WIRE_EVER4 | WIRE_EVER6;
    const uint64_t id = look(true)->id;
    lose_link();
    after(1000);
    regain_link();
    after(500);
    ck_assert_uint_ne(by_four(first()->id), by_four(id));
}
END_TEST

START_TEST(an_address_that_comes_and_goes_beside_the_first_changes_nothing) {
    uint64_t id = look(true)->id;
    addresses[1] = four(9);
    wifi.address_count = 2;
    look(false);
    wifi.address_count = 1;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
}
END_TEST

START_TEST(an_address_on_its_way_out_does_not_replace_the_one_that_went) {
    uint64_t id = look(true)->id;
    addresses[0] = four(9);
    addresses[0].preferred = false;
    ck_assert_int_eq(look(false)->state, WIRE_NET_GRACE);
    ck_assert_uint_eq(first()->id, id);
}
END_TEST

START_TEST(identity_does_not_rest_on_an_address_on_its_way_out) {
    addresses[0].preferred = false;
    addresses[1] = four(9);
    wifi.address_count = 2;
    uint64_t id = look(true)->id;
    addresses[0] = four(9);
    wifi.address_count = 1;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
}
END_TEST

START_TEST(a_family_without_a_way_is_no_part_of_the_identity) {
    addresses[1] = six(1); /* but no WIRE_HAS6 */
    wifi.address_count = 2;
    look(true);
    wifi.address_count = 1;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
}
END_TEST

START_TEST(temporary_addresses_of_one_prefix_are_one_network) {
    addresses[0] = six(1);
    wifi.flags = WIRE_HAS6 | WIRE_EVER4 | WIRE_EVER6;
    uint64_t id = look(true)->id;
    addresses[0].bytes[15] = 77;
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
    addresses[0].bytes[7] = 1; /* of another one another */
    look(false);
    ck_assert_uint_ne(first()->id, id);
}
END_TEST

START_TEST(what_has_never_worked_has_an_identity_of_its_own_all_the_same) {
    wifi.works = false;
    wifi.flags = 0;
    look_at_both(true);
    ck_assert_uint_ne(first()->id, 0);
    ck_assert_uint_ne(first()->id, id_of_cell());
}
END_TEST

START_TEST(an_interface_that_comes_under_another_section_is_another_network) {
    uint64_t id = look(true)->id;
    strcpy(wifi.name, "office");
    look(true);
    ck_assert_uint_eq(s.count, 2);
    for (unsigned i = 0; i < s.count; i++)
        if (strcmp(s.networks[i].name, "office") == 0)
            ck_assert_uint_ne(s.networks[i].id, id);
}
END_TEST

START_TEST(what_takes_the_place_of_one_that_left_the_list_is_new) {
    look_at_both(true);
    uint64_t id = id_of_cell();
    look(true); /* the configuration has dropped it */
    after(10000);
    ck_assert_uint_eq(s.count, 1);
    wifi.works = false;
    look_at_both(false);
    ck_assert_uint_ne(id_of_cell(), id);
    ck_assert_int_eq(s.networks[1].state, WIRE_NET_DOWN);
}
END_TEST

START_TEST(an_id_stays_lost_however_often_others_are) {
    look_at_both(true);
    uint64_t id = id_of_cell();
    link_there = false;
    look(true);
    after(1000);
    for (int i = 0; i < NETWORK_SPENT; i++) {
        lose_link();
        after(1000);
        regain_link();
        after(500);
    }
    link_there = true;
    look_at_both(true);
    ck_assert_uint_ne(id_of_cell(), id);
}
END_TEST

START_TEST(another_access_point_is_another_network_even_with_the_same_address) {
    strcpy(wifi.ssid, "Home");
    uint64_t id = look(true)->id;
    wifi.ssid[0] = 0; /* nobody knows: nothing has changed */
    ck_assert_uint_eq(look(false)->id, id);
    strcpy(wifi.ssid, "Train");
    uint64_t second = look(false)->id;
    ck_assert_uint_ne(second, id);
    after(500);
    ck_assert_uint_eq(look(false)->id, second);
    memset(wifi.ssid, 0, sizeof wifi.ssid);
}
END_TEST

START_TEST(a_name_that_is_learnt_late_changes_nothing) {
    uint64_t id = look(true)->id;
    strcpy(wifi.ssid, "Home");
    ck_assert_int_eq(look(false)->state, WIRE_NET_UP);
    ck_assert_uint_eq(first()->id, id);
    memset(wifi.ssid, 0, sizeof wifi.ssid);
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
    Suite *suite = suite_create("network_identity");
    TCase *c = tcase_create("network_identity");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, an_id_that_was_lost_never_comes_back);
    tcase_add_test(c, what_was_never_offered_keeps_its_id_for_a_later_time);
    tcase_add_test(c, a_scout_that_comes_back_gives_the_same_id);
    tcase_add_test(c, what_has_become_another_while_no_scout_looked_is_another);
    tcase_add_test(c, what_was_lost_is_not_found_again_by_the_next_scout_either);
    tcase_add_test(c, a_scout_that_comes_back_after_a_loss_gives_the_same_id);
    tcase_add_test(c, what_was_lost_before_is_lost_to_the_next_scout_too);
    tcase_add_test(c, what_comes_after_the_first_look_is_not_what_the_scout_before_knew);
    tcase_add_test(c, another_address_is_another_network);
    tcase_add_test(c, an_address_more_is_the_same_network);
    tcase_add_test(c, lost_IPv6_has_its_grace_and_then_it_is_another_one_by_IPv6_alone);
    tcase_add_test(c, which_one_it_is_by_IPv6_the_next_scout_knows_too);
    tcase_add_test(c, IPv6_that_is_back_in_time_is_the_same);
    tcase_add_test(c, lost_IPv4_has_its_grace_and_then_it_is_another_network);
    tcase_add_test(c, what_goes_after_IPv6_has_a_grace_of_its_own);
    tcase_add_test(c, another_IPv6_prefix_is_another_one_by_IPv6_alone);
    tcase_add_test(c, with_IPv6_alone_its_address_is_the_networks);
    tcase_add_test(c, an_address_that_comes_and_goes_beside_the_first_changes_nothing);
    tcase_add_test(c, an_address_on_its_way_out_does_not_replace_the_one_that_went);
    tcase_add_test(c, identity_does_not_rest_on_an_address_on_its_way_out);
    tcase_add_test(c, a_family_without_a_way_is_no_part_of_the_identity);
    tcase_add_test(c, temporary_addresses_of_one_prefix_are_one_network);
    tcase_add_test(c, what_has_never_worked_has_an_identity_of_its_own_all_the_same);
    tcase_add_test(c, an_interface_that_comes_under_another_section_is_another_network);
    tcase_add_test(c, what_takes_the_place_of_one_that_left_the_list_is_new);
    tcase_add_test(c, an_id_stays_lost_however_often_others_are);
    tcase_add_test(c, another_access_point_is_another_network_even_with_the_same_address);
    tcase_add_test(c, a_name_that_is_learnt_late_changes_nothing);
    tcase_add_test(c, a_host_address_is_found_again_wherever_it_moves);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

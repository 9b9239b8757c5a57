/* unit_net - which network is picked, and when none ever will be. */
#include "net.h"
#include "suite.h"

#include <check.h>
#include <sys/socket.h>

enum { RED = 1, BLUE = 2, BACKGROUND = 8, SINCE = 100000 };

static struct net_table t;
static struct wire_snapshot s;

static void start(void) {
    memset(&t, 0, sizeof t);
    memset(&s, 0, sizeof s);
}

/* A network on interface 10 + its position, offered for ever, IPv4 only. */
static struct wire_network *add(uint64_t id, uint64_t labels, uint32_t metric) {
    struct wire_network *n = &s.networks[s.count];
    n->id = id;
    n->labels = labels;
    n->metric = metric;
    n->ifindex = 10 + s.count++;
    n->state = WIRE_NET_UP;
    n->flags = WIRE_HAS4 | WIRE_EVER4;
    n->since_ms = SINCE;
    return n;
}

static void prefer(uint8_t bit, uint8_t first, uint8_t second, uint8_t count) {
    struct wire_pref *p = &s.prefs[s.pref_count++];
    *p = (struct wire_pref){bit, count, {first, second}};
}

static uint64_t picked(uint64_t labels, int family) {
    net_apply(&t, &s);
    const struct wire_network *n = net_pick(&t, labels, family);
    return n ? n->id : 0;
}

START_TEST(before_a_scout_has_spoken_there_is_nothing) {
    ck_assert(!t.spoken);
    ck_assert_ptr_null(net_pick(&t, 0, AF_INET));
    ck_assert_ptr_null(net_find(&t, 1));
    ck_assert(!net_never(&t, AF_INET));
    ck_assert_uint_eq(picked(0, AF_INET), 0);
    ck_assert(t.spoken);
}
END_TEST

START_TEST(a_snapshot_replaces_the_one_before_whole) {
    add(1, RED, 5);
    add(2, RED, 6);
    ck_assert_uint_eq(picked(RED, AF_INET), 1);
    start();
    add(3, RED, 9);
    ck_assert_uint_eq(picked(RED, AF_INET), 3);
    ck_assert_ptr_null(net_find(&t, 1));
    ck_assert_ptr_null(net_find(&t, 2));
}
END_TEST

START_TEST(a_network_matches_when_it_offers_every_label) {
    struct wire_network *n = add(1, RED | BLUE, 1);
    ck_assert(net_matches(n, RED));
    ck_assert(net_matches(n, RED | BLUE));
    ck_assert(!net_matches(n, RED | BACKGROUND));
    ck_assert(net_matches(n, 0));
    n->state = WIRE_NET_DOWN;
    ck_assert(net_matches(n, RED));
    n->labels = UINT64_C(1) << 63;
    ck_assert(net_matches(n, UINT64_C(1) << 63));
    ck_assert(!net_matches(n, UINT64_C(1) << 31));
}
END_TEST

START_TEST(connections_go_on_by_what_is_offered_or_only_just_gone) {
    struct wire_network *n = add(1, RED, 1);
    ck_assert(net_works(n));
    n->state = WIRE_NET_GRACE;
    ck_assert(net_works(n));
    n->state = WIRE_NET_WITHDRAWN;
    ck_assert(!net_works(n));
    n->state = WIRE_NET_DOWN;
    ck_assert(!net_works(n));
    ck_assert(!net_works(NULL));
}
END_TEST

START_TEST(only_an_offered_network_with_the_family_is_usable) {
    struct wire_network *n = add(1, RED, 1);
    ck_assert(net_usable(n, AF_INET));
    ck_assert(!net_usable(n, AF_INET6));
    ck_assert(net_usable(n, AF_UNSPEC));
    n->flags = WIRE_HAS6 | WIRE_EVER4;
    ck_assert(!net_usable(n, AF_INET));
    ck_assert(net_usable(n, AF_INET6));
    n->flags = WIRE_EVER4 | WIRE_EVER6;
    ck_assert(!net_usable(n, AF_UNSPEC));
    n->flags = WIRE_HAS4;
    n->state = WIRE_NET_GRACE;
    ck_assert(!net_usable(n, AF_INET));
    n->state = WIRE_NET_WITHDRAWN;
    ck_assert(!net_usable(n, AF_INET));
    n->state = WIRE_NET_DOWN;
    ck_assert(!net_usable(n, AF_INET));
}
END_TEST

START_TEST(a_network_is_found_by_identity_whatever_its_state) {
    add(7, RED, 1)->state = WIRE_NET_GRACE;
    add(8, RED, 1)->ifindex = 0;
    net_apply(&t, &s);
    ck_assert_uint_eq(net_find(&t, 7)->id, 7);
    ck_assert_uint_eq(net_find_ifindex(&t, 10)->id, 7);
    ck_assert_ptr_null(net_find(&t, 9));
    ck_assert_ptr_null(net_find(&t, 0));
    ck_assert_ptr_null(net_find_ifindex(&t, 11));
    ck_assert_ptr_null(net_find_ifindex(&t, 0));
}
END_TEST

START_TEST(by_IPv6_a_network_may_become_another_one_that_by_IPv4_it_still_is) {
    struct wire_network n = {.id = 7 | UINT64_C(1) << 56}, later = {.id = 7 | UINT64_C(2) << 56};
    ck_assert_uint_eq(net_id(&n, AF_INET), net_id(&later, AF_INET));
    ck_assert_uint_ne(net_id(&n, AF_INET6), net_id(&later, AF_INET6));
    ck_assert(net_is(&later, net_id(&n, AF_INET)) && net_is(&later, net_id(&later, AF_INET6)));
    ck_assert(!net_is(&later, net_id(&n, AF_INET6)) && !net_is(&later, 0));
}
END_TEST

START_TEST(the_lowest_metric_is_picked_and_then_the_first) {
    add(1, RED, 30);
    add(2, RED, 10);
    add(3, RED, 10);
    add(4, BLUE, 1);
    ck_assert_uint_eq(picked(RED, AF_INET), 2);
    s.networks[1].state = WIRE_NET_GRACE;
    ck_assert_uint_eq(picked(RED, AF_INET), 3);
    s.networks[2].flags = WIRE_HAS6;
    ck_assert_uint_eq(picked(RED, AF_INET), 1);
    ck_assert_uint_eq(picked(RED, AF_INET6), 3);
    ck_assert_uint_eq(picked(RED | BLUE, AF_INET), 0);
}
END_TEST

START_TEST(no_wish_picks_any_network) {
    add(1, RED, 30);
    add(2, 0, 10);
    ck_assert_uint_eq(picked(0, AF_INET), 2);
}
END_TEST

START_TEST(a_preference_goes_before_the_metric) {
    add(1, RED, 10);
    add(2, RED, 20);
    add(3, RED, 30);
    prefer(0, 2, 1, 2);
    ck_assert_uint_eq(picked(RED, AF_INET), 3);
    s.networks[2].state = WIRE_NET_DOWN;
    ck_assert_uint_eq(picked(RED, AF_INET), 2);
}
END_TEST

START_TEST(what_a_preference_does_not_name_comes_after_what_it_names) {
    add(1, RED, 1);
    add(2, RED, 2);
    add(3, RED, 99);
    prefer(0, 2, 0, 1);
    ck_assert_uint_eq(picked(RED, AF_INET), 3);
    s.networks[2].state = WIRE_NET_DOWN;
    ck_assert_uint_eq(picked(RED, AF_INET), 1);
}
END_TEST

START_TEST(the_lowest_labeled_bit_with_a_preference_decides) {
    add(1, RED | BLUE | BACKGROUND, 10);
    add(2, RED | BLUE | BACKGROUND, 20);
    add(3, RED | BLUE | BACKGROUND, 30);
    prefer(3, 2, 0, 1);
    prefer(1, 1, 0, 1);
    ck_assert_uint_eq(picked(RED, AF_INET), 1);
    ck_assert_uint_eq(picked(RED | BACKGROUND, AF_INET), 3);
    ck_assert_uint_eq(picked(RED | BLUE | BACKGROUND, AF_INET), 2);
    ck_assert_uint_eq(picked(0, AF_INET), 1);
}
END_TEST

START_TEST(the_highest_user_bit_has_preferences_too) {
    add(1, UINT64_C(1) << 63, 10);
    add(2, UINT64_C(1) << 63, 20);
    prefer(63, 1, 0, 2);
    ck_assert_uint_eq(picked(UINT64_C(1) << 63, AF_INET), 2);
}
END_TEST

START_TEST(a_preferred_network_that_does_not_match_is_not_picked) {
    add(1, RED, 10);
    add(2, BLUE, 20);
    prefer(0, 1, 0, 2);
    ck_assert_uint_eq(picked(RED, AF_INET), 1);
}
END_TEST

START_TEST(a_family_is_never_there_only_if_no_listed_network_can_have_it) {
    struct wire_network *n = add(1, RED, 1);
    n->state = WIRE_NET_DOWN;
    n->flags = WIRE_EVER4;
    net_apply(&t, &s);
    ck_assert(net_never(&t, AF_INET6));
    ck_assert(!net_never(&t, AF_INET));
    n = add(2, BLUE, 1);
    n->state = WIRE_NET_WITHDRAWN;
    n->flags = WIRE_EVER6;
    net_apply(&t, &s);
    ck_assert(!net_never(&t, AF_INET6));
}
END_TEST

START_TEST(a_family_that_is_of_no_use_is_lacking) {
    add(1, RED, 1)->flags |= WIRE_HAS6;
    add(2, RED, 2)->flags |= WIRE_HAS6;
    net_apply(&t, &s);
    net_lacks(&t, 1, AF_INET6);
    ck_assert_uint_eq(net_pick(&t, RED, AF_INET)->id, 1);
    ck_assert_uint_eq(net_pick(&t, RED, AF_INET6)->id, 2);
    net_lacks(&t, 2, AF_INET6);
    ck_assert_ptr_null(net_pick(&t, RED, AF_INET6));
}
END_TEST

START_TEST(what_was_found_of_its_rules_is_known_until_the_next_snapshot) {
    add(1, RED, 1);
    add(2, RED, 2);
    net_apply(&t, &s);
    ck_assert(!net_ruled(&t, 1) && !net_ruled(&t, 2));
    net_found_ruled(&t, 2);
    net_found_ruled(&t, 4711);
    ck_assert(net_ruled(&t, 2));
    ck_assert(!net_ruled(&t, 1) && !net_ruled(&t, 4711));
    net_apply(&t, &s);
    ck_assert(!net_ruled(&t, 2));
}
END_TEST

static bool unreachable(uint64_t labels, int family, uint32_t now, uint32_t *settling) {
    *settling = 4711;
    net_apply(&t, &s);
    return net_unreachable(&t, labels, family, now, settling);
}

START_TEST(no_matching_network_up_is_waited_for_not_unreachable) {
    uint32_t settling;
    ck_assert(!unreachable(RED, AF_INET6, SINCE, &settling));
    ck_assert_uint_eq(settling, 0);
    add(1, BLUE, 1);
    add(2, RED, 1)->state = WIRE_NET_GRACE;
    ck_assert(!unreachable(RED, AF_INET6, SINCE + 5000, &settling));
    ck_assert_uint_eq(settling, 0);
}
END_TEST

START_TEST(a_settled_network_without_the_family_is_unreachable) {
    uint32_t settling;
    add(1, RED, 1);
    ck_assert(unreachable(RED, AF_INET6, SINCE + NET_SETTLE_MS, &settling));
    ck_assert_uint_eq(settling, 0);
    ck_assert(!unreachable(RED, AF_INET, SINCE + NET_SETTLE_MS, &settling));
    ck_assert(unreachable(0, AF_INET6, SINCE + NET_SETTLE_MS, &settling));
}
END_TEST

START_TEST(a_fresh_network_is_settling_and_says_for_how_long) {
    uint32_t settling;
    add(1, RED, 1);
    ck_assert(!unreachable(RED, AF_INET6, SINCE, &settling));
    ck_assert_uint_eq(settling, NET_SETTLE_MS);
    ck_assert(!unreachable(RED, AF_INET6, SINCE + NET_SETTLE_MS - 1, &settling));
    ck_assert_uint_eq(settling, 1);
    add(2, RED, 1)->since_ms = SINCE + 500;
    ck_assert(!unreachable(RED, AF_INET6, SINCE + NET_SETTLE_MS - 1, &settling));
    ck_assert_uint_eq(settling, 501);
}
END_TEST

START_TEST(one_matching_network_with_the_family_is_enough) {
    uint32_t settling;
    add(1, RED, 1);
    add(2, RED, 1)->flags = WIRE_HAS6;
    ck_assert(!unreachable(RED, AF_INET6, SINCE, &settling));
    ck_assert_uint_eq(settling, 0);
    ck_assert(!unreachable(RED, AF_INET6, SINCE + 9000, &settling));
}
END_TEST

START_TEST(what_has_come_since_had_no_age_then) {
    const struct wire_network *n = add(1, RED, 1);
    ck_assert_uint_eq(net_age(n, SINCE), 0);
    ck_assert_uint_eq(net_age(n, SINCE + 86400000), 86400000);
    ck_assert_uint_eq(net_age(n, SINCE + UINT32_C(0x80000005)), UINT32_C(0x80000005));
    ck_assert_uint_eq(net_age(n, SINCE - 130000), 0);
}
END_TEST

START_TEST(settling_bears_a_clock_that_wraps_or_lags) {
    uint32_t settling;
    add(1, RED, 1)->since_ms = UINT32_MAX - 99;
    ck_assert(!unreachable(RED, AF_INET6, 100, &settling));
    ck_assert_uint_eq(settling, NET_SETTLE_MS - 200);
    ck_assert(unreachable(RED, AF_INET6, 3000, &settling));
    s.networks[0].since_ms = SINCE;
    ck_assert(!unreachable(RED, AF_INET6, SINCE - 5, &settling));
    ck_assert_uint_eq(settling, NET_SETTLE_MS);
    ck_assert(unreachable(RED, AF_INET6, SINCE + UINT32_C(0x80000005), &settling));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("net");
    TCase *tc = tcase_create("net");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, by_IPv6_a_network_may_become_another_one_that_by_IPv4_it_still_is);
    tcase_add_test(tc, before_a_scout_has_spoken_there_is_nothing);
    tcase_add_test(tc, a_snapshot_replaces_the_one_before_whole);
    tcase_add_test(tc, a_network_matches_when_it_offers_every_label);
    tcase_add_test(tc, connections_go_on_by_what_is_offered_or_only_just_gone);
    tcase_add_test(tc, only_an_offered_network_with_the_family_is_usable);
    tcase_add_test(tc, a_network_is_found_by_identity_whatever_its_state);
    tcase_add_test(tc, the_lowest_metric_is_picked_and_then_the_first);
    tcase_add_test(tc, no_wish_picks_any_network);
    tcase_add_test(tc, a_preference_goes_before_the_metric);
    tcase_add_test(tc, what_a_preference_does_not_name_comes_after_what_it_names);
    tcase_add_test(tc, the_lowest_labeled_bit_with_a_preference_decides);
    tcase_add_test(tc, the_highest_user_bit_has_preferences_too);
    tcase_add_test(tc, a_preferred_network_that_does_not_match_is_not_picked);
    tcase_add_test(tc, a_family_is_never_there_only_if_no_listed_network_can_have_it);
    tcase_add_test(tc, a_family_that_is_of_no_use_is_lacking);
    tcase_add_test(tc, what_was_found_of_its_rules_is_known_until_the_next_snapshot);
    tcase_add_test(tc, no_matching_network_up_is_waited_for_not_unreachable);
    tcase_add_test(tc, a_settled_network_without_the_family_is_unreachable);
    tcase_add_test(tc, a_fresh_network_is_settling_and_says_for_how_long);
    tcase_add_test(tc, one_matching_network_with_the_family_is_enough);
    tcase_add_test(tc, what_has_come_since_had_no_age_then);
    tcase_add_test(tc, settling_bears_a_clock_that_wraps_or_lags);
    return suite_run(suite);
}

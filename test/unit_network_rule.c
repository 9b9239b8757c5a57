/* unit_network_rule - what script and cmm-ctl say of a network, as sentences. */
#include "network_rule.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>

enum { UNMETERED = 0x100, WIFI = 0x400, RED = 1, BLUE = 2 };

static struct network_rules t;
static struct fact_network one, other;
static const uint64_t red = RED, blue = BLUE;

static void start(void) {
    memset(&t, 0xff, sizeof t);
    t.count = 0;
    one = (struct fact_network){
        .name = "home", .iface = "wlan0", .labels = BLUE | WIFI | UNMETERED, .flags = WIRE_HAS4};
    other = one;
    strcpy(other.iface, "wlan1");
}

static void wish(enum network_voice voice, const char *name, enum network_wish what) {
    ck_assert_int_eq(network_rule_wish(&t, voice, name, what), 0);
}

static void expect_wishes(enum network_wish of_one, enum network_wish of_other) {
    ck_assert_int_eq(network_rule_wish_of(&t, NETWORK_CTL, &one), of_one);
    ck_assert_int_eq(network_rule_wish_of(&t, NETWORK_CTL, &other), of_other);
}

START_TEST(of_what_is_said_the_more_particular_counts) {
    expect_wishes(NETWORK_AUTO, NETWORK_AUTO);
    wish(NETWORK_CTL, "home", NETWORK_UP);
    wish(NETWORK_CTL, "home@wlan1", NETWORK_DOWN);
    expect_wishes(NETWORK_UP, NETWORK_DOWN);
    wish(NETWORK_CTL, "home@wlan1", NETWORK_AUTO);
    expect_wishes(NETWORK_UP, NETWORK_UP);
    ck_assert_int_eq(network_rule_wish_of(&t, NETWORK_SCRIPT, &one), NETWORK_AUTO);
    ck_assert_uint_eq(network_rule_flags_of(&t, &one), WIRE_HAS4 | WIRE_OVERRIDE);
}
END_TEST

START_TEST(what_is_said_of_one_alone_is_nothing_else) {
    wish(NETWORK_CTL, "home@wlan1", NETWORK_DOWN);
    expect_wishes(NETWORK_AUTO, NETWORK_DOWN);
    ck_assert_uint_eq(network_rule_labels_of(&t, &other), other.labels);
}
END_TEST

START_TEST(what_is_said_of_all_takes_back_what_was_said_of_one) {
    wish(NETWORK_CTL, "home@wlan1", NETWORK_DOWN);
    wish(NETWORK_SCRIPT, "home@wlan1", NETWORK_DOWN);
    wish(NETWORK_CTL, "work@wlan1", NETWORK_DOWN);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_CTL, "work@wlan1", &red), 0);
    wish(NETWORK_CTL, "home", NETWORK_UP);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_CTL, "home", &blue), 0);
    expect_wishes(NETWORK_UP, NETWORK_UP);
    ck_assert_int_eq(network_rule_wish_of(&t, NETWORK_SCRIPT, &other), NETWORK_DOWN);
    strcpy(other.name, "work");
    expect_wishes(NETWORK_UP, NETWORK_DOWN);
    ck_assert_uint_eq(network_rule_labels_of(&t, &other), RED | WIFI | UNMETERED);
}
END_TEST

START_TEST(a_name_is_the_whole_of_it) {
    wish(NETWORK_CTL, "homely", NETWORK_DOWN);
    wish(NETWORK_CTL, "home.wlan0", NETWORK_DOWN);
    wish(NETWORK_CTL, "work@wlan0", NETWORK_DOWN);
    wish(NETWORK_CTL, "hom", NETWORK_DOWN);
    expect_wishes(NETWORK_AUTO, NETWORK_AUTO);
    wish(NETWORK_CTL, "home", NETWORK_UP);
    strcpy(other.name, "homely");
    expect_wishes(NETWORK_UP, NETWORK_DOWN);
}
END_TEST

START_TEST(labels_are_cmm_ctls_else_the_scripts_and_the_kind_stays) {
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_SCRIPT, "home", &blue), 0);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_SCRIPT, "home@wlan1", &red), 0);
    ck_assert_uint_eq(network_rule_labels_of(&t, &one), BLUE | WIFI | UNMETERED);
    ck_assert_uint_eq(network_rule_labels_of(&t, &other), RED | WIFI | UNMETERED);
    ck_assert_uint_eq(network_rule_flags_of(&t, &one), WIRE_HAS4);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_CTL, "home", &red), 0);
    ck_assert_uint_eq(network_rule_labels_of(&t, &one), RED | WIFI | UNMETERED);
    ck_assert_uint_eq(network_rule_flags_of(&t, &one), WIRE_HAS4 | WIRE_OVERRIDE);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_SCRIPT, "home", &blue), 0);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_CTL, "home", NULL), 0);
    ck_assert_uint_eq(network_rule_labels_of(&t, &other), BLUE | WIFI | UNMETERED);
    network_rule_forget_labels(&t, NETWORK_SCRIPT);
    one.labels = RED;
    ck_assert_uint_eq(network_rule_labels_of(&t, &one), RED);
}
END_TEST

START_TEST(metered_is_said_of_one_or_of_all_and_decides_unmetered) {
    one.flags = other.flags = WIRE_HAS4 | WIRE_METERED;
    one.labels = BLUE;
    other.labels = BLUE | UNMETERED;
    ck_assert_int_eq(network_rule_metered(&t, "home", WIRE_METERED_NO), 0);
    ck_assert_int_eq(network_rule_metered(&t, "home@wlan1", WIRE_METERED_YES), 0);
    ck_assert_uint_eq(network_rule_labels_of(&t, &one), BLUE | UNMETERED);
    ck_assert_uint_eq(network_rule_flags_of(&t, &one), WIRE_HAS4 | WIRE_OVERRIDE);
    ck_assert_uint_eq(network_rule_labels_of(&t, &other), BLUE);
    ck_assert_uint_eq(network_rule_flags_of(&t, &other), WIRE_HAS4 | WIRE_METERED | WIRE_OVERRIDE);
    ck_assert_int_eq(network_rule_metered(&t, "home@wlan1", WIRE_METERED_AUTO), 0);
    ck_assert_uint_eq(network_rule_flags_of(&t, &other), WIRE_HAS4 | WIRE_OVERRIDE);
    ck_assert_int_eq(network_rule_metered(&t, "home@wlan1", WIRE_METERED_YES), 0);
    ck_assert_int_eq(network_rule_metered(&t, "home", WIRE_METERED_AUTO), 0);
    ck_assert_uint_eq(network_rule_labels_of(&t, &other), other.labels);
    ck_assert_uint_eq(network_rule_flags_of(&t, &other), WIRE_HAS4 | WIRE_METERED);
}
END_TEST

START_TEST(there_is_room_for_so_many_and_for_names_of_so_many_letters) {
    char name[FACT_FULL_NAME + 1];
    memset(name, 'x', sizeof name);
    name[FACT_FULL_NAME] = 0;
    ck_assert_int_eq(network_rule_wish(&t, NETWORK_CTL, name, NETWORK_UP), -ENOSPC);
    for (int i = 0; i < NETWORK_RULES; i++) {
        snprintf(name, sizeof name, "n%d", i);
        wish(NETWORK_CTL, name, NETWORK_UP);
    }
    wish(NETWORK_CTL, "n7", NETWORK_DOWN);
    ck_assert_int_eq(network_rule_wish(&t, NETWORK_CTL, "more", NETWORK_UP), -ENOSPC);
    ck_assert_int_eq(network_rule_labels(&t, NETWORK_CTL, "more", &red), -ENOSPC);
    ck_assert_int_eq(network_rule_metered(&t, "more", WIRE_METERED_NO), -ENOSPC);
    ck_assert_uint_eq(t.count, NETWORK_RULES);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("network_rule");
    TCase *c = tcase_create("network_rule");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, of_what_is_said_the_more_particular_counts);
    tcase_add_test(c, what_is_said_of_one_alone_is_nothing_else);
    tcase_add_test(c, what_is_said_of_all_takes_back_what_was_said_of_one);
    tcase_add_test(c, a_name_is_the_whole_of_it);
    tcase_add_test(c, labels_are_cmm_ctls_else_the_scripts_and_the_kind_stays);
    tcase_add_test(c, metered_is_said_of_one_or_of_all_and_decides_unmetered);
    tcase_add_test(c, there_is_room_for_so_many_and_for_names_of_so_many_letters);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

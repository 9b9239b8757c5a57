/* unit_tell - what waits, in words. */
#include "suite.h"
#include "tell.h"

#include <check.h>
#include <string.h>

static struct wire_report r;
static struct net_table t;
static char text[TELL_TEXT];

static const char *told(bool heard) {
    tell_waiting(&r, &t, heard, NULL, text);
    return text;
}

static void start(void) {
    r = (struct wire_report){.count = 1, .wants = {{.labels = 8, .count = 1}}};
    memset(&t, 0, sizeof t);
}

static void network(const char *name, uint64_t labels, enum wire_state state, uint32_t ifindex) {
    struct wire_network *n = &t.now.networks[t.now.count++];
    strcpy(n->name, name);
    n->labels = labels;
    n->state = (uint8_t)state;
    n->ifindex = ifindex;
}

START_TEST(who_waits_hears_what_the_matching_networks_lack) {
    network("cell", 4, WIRE_NET_UP, 2);
    ck_assert_str_eq(told(true), "waiting for background: no network offers that");
    network("home", 0xc, WIRE_NET_DOWN, 3);
    network("office", 8, WIRE_NET_DOWN, 0);
    network("lab", 8, WIRE_NET_WITHDRAWN, 1);
    ck_assert_str_eq(told(true),
                     "waiting for background: home is down, office is not there, lab is withdrawn");
    r.wants[0].count = 3;
    ck_assert_str_eq(told(false), "waiting for background (3): no scout answers");
}
END_TEST

START_TEST(the_end_of_waiting_is_said) {
    r.count = 0;
    ck_assert_str_eq(told(true), TELL_NOTHING);
}
END_TEST

START_TEST(what_does_not_fit_is_cut_and_what_is_no_print_is_hidden) {
    for (int i = 0; i < WIRE_NETWORKS; i++)
        network("a long\033name of a network", 8, WIRE_NET_DOWN, 1);
    ck_assert_uint_eq(strlen(told(true)), TELL_TEXT - 1);
    ck_assert_ptr_null(strchr(text, '\033'));
}
END_TEST

START_TEST(an_interface_is_kept_once_and_the_first_ones_stay) {
    char left[WIRE_LEFT][WIRE_IFACE] = {""};
    ck_assert(tell_left(left, "tun0"));
    ck_assert(!tell_left(left, "tun0"));
    ck_assert(tell_left(left, "tun01"));
    ck_assert(tell_left(left, "a-name-too-long-to-be-one"));
    ck_assert(!tell_left(left, "a-name-too-long-to-be-one"));
    ck_assert(tell_left(left, "wg0"));
    ck_assert(!tell_left(left, "docker0"));
    ck_assert_str_eq(left[0], "tun0");
    ck_assert_str_eq(left[1], "tun01");
    ck_assert_str_eq(left[2], "a-name-too-long");
    ck_assert_str_eq(left[3], "wg0");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tell");
    TCase *c = tcase_create("tell");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, who_waits_hears_what_the_matching_networks_lack);
    tcase_add_test(c, the_end_of_waiting_is_said);
    tcase_add_test(c, what_does_not_fit_is_cut_and_what_is_no_print_is_hidden);
    tcase_add_test(c, an_interface_is_kept_once_and_the_first_ones_stay);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

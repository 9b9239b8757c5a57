/* unit_herald - changes told in words. */
#include "herald.h"
#include "suite.h"

#include <check.h>
#include <stdio.h>

static char said[1024];
static struct herald_view before, now;
static const struct label_names names;

static void hear(void *arg, const char *text) {
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s%s", used ? "|" : "", text);
}

static const char *compare(void) {
    said[0] = 0;
    herald_compare(&before, &now, &names, hear, NULL);
    return said;
}

static void add(struct herald_view *v, const char *name, const char *iface, enum wire_state state) {
    struct wire_network *n = &v->snapshot.networks[v->snapshot.count];
    strcpy(v->ifaces[v->snapshot.count++], iface);
    strcpy(n->name, name);
    n->id = 1;
    n->state = (uint8_t)state;
}

static void start(void) {
    memset(&before, 0, sizeof before);
    memset(&now, 0, sizeof now);
}

START_TEST(a_change_of_state_is_one_line) {
    add(&before, "lab", "", WIRE_NET_UP);
    add(&now, "lab", "", WIRE_NET_GRACE);
    ck_assert_str_eq(compare(), "network lab grace");
    now.snapshot.networks[0].state = WIRE_NET_WITHDRAWN;
    ck_assert_str_eq(compare(), "network lab withdrawn");
    now.snapshot.networks[0].state = WIRE_NET_UP;
    ck_assert_str_eq(compare(), "");
}
END_TEST

START_TEST(coming_and_going_is_said) {
    add(&before, "old", "eth0", WIRE_NET_DOWN);
    add(&now, "new", "eth1", WIRE_NET_UP);
    ck_assert_str_eq(compare(), "network old gone|network new up");
}
END_TEST

START_TEST(one_of_several_is_named_with_its_interface) {
    add(&now, "home", "wlan0", WIRE_NET_UP);
    add(&now, "home", "wlan1", WIRE_NET_DOWN);
    ck_assert_str_eq(compare(), "network home@wlan0 up|network home@wlan1 down");
}
END_TEST

START_TEST(another_identity_and_other_labels_are_said) {
    add(&before, "lab", "", WIRE_NET_UP);
    add(&now, "lab", "", WIRE_NET_UP);
    now.snapshot.networks[0].id = 2;
    ck_assert_str_eq(compare(), "network lab is another one now");
    before.snapshot.networks[0].state = WIRE_NET_GRACE;
    ck_assert_str_eq(compare(), "network lab up|network lab is another one now");
    before.snapshot.networks[0].state = WIRE_NET_DOWN; /* that it was lost has been said */
    ck_assert_str_eq(compare(), "network lab up");
    before.snapshot.networks[0].state = WIRE_NET_UP;
    now.snapshot.networks[0].id = 1;
    now.snapshot.networks[0].labels = 0x14;
    ck_assert_str_eq(compare(), "network lab offers ondemand,small");
}
END_TEST

START_TEST(the_place_of_one_that_is_to_come_makes_no_noise) {
    add(&before, "cell", "", WIRE_NET_DOWN);
    add(&now, "cell", "wwan0", WIRE_NET_UP);
    ck_assert_str_eq(compare(), "network cell up");
    start();
    add(&before, "cell", "wwan0", WIRE_NET_UP);
    add(&now, "cell", "", WIRE_NET_DOWN);
    ck_assert_str_eq(compare(), "network cell gone");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("herald");
    TCase *c = tcase_create("herald");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_change_of_state_is_one_line);
    tcase_add_test(c, coming_and_going_is_said);
    tcase_add_test(c, one_of_several_is_named_with_its_interface);
    tcase_add_test(c, another_identity_and_other_labels_are_said);
    tcase_add_test(c, the_place_of_one_that_is_to_come_makes_no_noise);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

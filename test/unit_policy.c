/* unit_policy - which network an interface is, and what it offers. */
#include "policy.h"
#include "suite.h"

#include <check.h>
#include <sys/socket.h>

enum { UNMETERED = 0x100, WIRED = 0x200, WIFI = 0x400, CELLULAR = 0x800 };

static struct settings s;
static struct fact_link l;
static struct fact_network n;

static void start(void) {
    memset(&s, 0, sizeof s);
    l = (struct fact_link){
        .ifindex = 2,
        .type = FACT_WIRED,
        .name = "eth0",
        .running = true,
        .route4 = true,
        .metric = 100,
        .address_count = 1,
        .addresses = {{.family = AF_INET, .prefix = 24, .preferred = true, .bytes = {192, 0, 2, 5}}}};
}

static struct settings_network *section(const char *name, const char *match) {
    struct settings_network *ret = &s.networks[s.network_count++];
    strcpy(ret->name, name);
    strcpy(ret->match, match);
    return ret;
}

static void link_is(const char *name, enum fact_type type) {
    strcpy(l.name, name);
    l.type = type;
}

static const char *name_of_link(void) {
    return policy_link(&s, &l, &n) ? n.name : "";
}

START_TEST(without_configuration_an_interface_is_a_network_named_after_it) {
    ck_assert_str_eq(name_of_link(), "eth0");
    ck_assert(n.works);
    ck_assert_uint_eq(n.labels, 0x3f | WIRED | UNMETERED);
    ck_assert_uint_eq(n.metric, 100);
    ck_assert_uint_eq(n.flags, WIRE_HAS4 | WIRE_EVER4 | WIRE_EVER6);
    ck_assert_int_eq(n.address.family, AF_INET);
    link_is("wlan0", FACT_WIFI);
    name_of_link();
    ck_assert_uint_eq(n.labels, 0x3f | WIFI | UNMETERED);
}
END_TEST

START_TEST(what_a_link_lacks_is_told_from_the_bottom_up) {
    l.route4 = l.running = false;
    l.address_count = 0;
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_LINK);
    l.running = true;
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_ADDRESS);
    l.address_count = 1;
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_ROUTE);
    l.route4 = true;
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_DEFAULT);
    ck_assert(n.works);
    ck_assert_uint_eq(n.ways, 0);
    l.way_out4 = l.strict = true;
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_NOTHING);
    ck_assert_uint_eq(n.flags, WIRE_HAS4 | WIRE_EVER4 | WIRE_EVER6 | WIRE_STRICT);
    ck_assert_uint_eq(n.ways, WIRE_HAS4);
}
END_TEST

START_TEST(by_IPv6_alone_it_is_the_same) {
    l.addresses[0] =
        (struct fact_address){.family = AF_INET6, .prefix = 64, .preferred = true, .bytes = {0x20, 1}};
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_ROUTE); /* one by IPv4 is none for it */
    l.route6 = l.way_out6 = true;
    name_of_link();
    ck_assert_int_eq(n.lack, WIRE_LACK_NOTHING);
    ck_assert_uint_eq(n.flags & (WIRE_HAS4 | WIRE_HAS6), WIRE_HAS6);
    ck_assert_uint_eq(n.ways, WIRE_HAS6);
    ck_assert_int_eq(n.address.family, AF_INET6);
    l.running = false;
    name_of_link();
    ck_assert_uint_eq(n.flags & (WIRE_HAS4 | WIRE_HAS6), 0);
}
END_TEST

START_TEST(a_network_knows_its_interface_and_access_point) {
    link_is("wlan0", FACT_WIFI);
    strcpy(l.ssid, "Home");
    section("home", "wl*");
    ck_assert_str_eq(name_of_link(), "home");
    ck_assert_str_eq(n.iface, "wlan0");
    ck_assert_str_eq(n.ssid, "Home");
    ck_assert_uint_eq(n.metric, 100); /* the route's */
    ck_assert_int_eq(n.check, FACT_CHECK_NONE);
}
END_TEST

START_TEST(what_is_to_be_checked_is_pending) {
    section("a", "eth0")->check = (struct fact_address){.family = AF_INET, .bytes = {192, 0, 2, 1}};
    name_of_link();
    ck_assert_int_eq(n.check, FACT_CHECK_PENDING);
}
END_TEST

START_TEST(without_configuration_cellular_is_metered_and_not_for_bulk) {
    link_is("wwan0", FACT_CELLULAR);
    ck_assert_str_eq(name_of_link(), "wwan0");
    ck_assert_uint_eq(n.labels, 0x17 | CELLULAR);
    ck_assert_uint_eq(n.flags & WIRE_METERED, WIRE_METERED);
}
END_TEST

START_TEST(tunnels_bridges_loopback_and_ports_are_not_networks_unless_configured) {
    static const enum fact_type types[] = {FACT_TUNNEL, FACT_BRIDGE, FACT_LOOPBACK};
    for (int i = 0; i < 3; i++) {
        link_is("x0", types[i]);
        ck_assert_str_eq(name_of_link(), "");
    }
    link_is("eth0", FACT_WIRED);
    l.enslaved = true;
    ck_assert_str_eq(name_of_link(), "");
    section("port", "eth0");
    ck_assert_str_eq(name_of_link(), "port");
}
END_TEST

START_TEST(a_star_alone_means_ordinary_interfaces) {
    struct settings_network *any = section("any", "*");
    ck_assert_str_eq(name_of_link(), "any");
    link_is("tun0", FACT_TUNNEL);
    ck_assert_str_eq(name_of_link(), "");
    any->any_type = true;
    ck_assert_str_eq(name_of_link(), "any");
    any->any_type = false;
    strcpy(any->match, "tun*");
    ck_assert_str_eq(name_of_link(), "any");
    ck_assert_uint_eq(n.labels, 0x3f | UNMETERED);
    any->match[0] = 0; /* nothing said */
    ck_assert_str_eq(name_of_link(), "");
    link_is("eth0", FACT_WIRED);
    ck_assert_str_eq(name_of_link(), "any");
}
END_TEST

START_TEST(loopback_is_meant_only_by_its_name) {
    struct settings_network *lo = section("lo", "l*");
    lo->any_type = true;
    link_is("lo", FACT_LOOPBACK);
    ck_assert_str_eq(name_of_link(), "");
    strcpy(lo->match, "lo");
    ck_assert_str_eq(name_of_link(), "lo");
}
END_TEST

START_TEST(the_first_section_that_matches_wins) {
    section("other", "en*");
    section("first", "eth*");
    section("second", "eth0");
    ck_assert_str_eq(name_of_link(), "first");
    ck_assert_uint_eq(n.order, 1);
    link_is("wlan0", FACT_WIFI);
    ck_assert_str_eq(name_of_link(), "");
}
END_TEST

START_TEST(type_ssid_and_address_narrow_a_match) {
    struct settings_network *a = section("a", "*");
    a->type = FACT_WIFI;
    ck_assert_str_eq(name_of_link(), "");
    a->type = FACT_WIRED;
    ck_assert_str_eq(name_of_link(), "a");
    a->address =
        (struct fact_address){.family = AF_INET, .prefix = 25, .preferred = true, .bytes = {192, 0, 2, 0}};
    ck_assert_str_eq(name_of_link(), "a");
    a->address.bytes[3] = 128;
    ck_assert_str_eq(name_of_link(), "");
    a->address.bytes[2] = 3;
    a->address.prefix = 24;
    ck_assert_str_eq(name_of_link(), "");
    a->address.family = AF_INET6;
    a->address.prefix = 0;
    ck_assert_str_eq(name_of_link(), "");
    a->address.family = AF_INET;
    ck_assert_str_eq(name_of_link(), "a");
    strcpy(a->ssid, "Home");
    ck_assert_str_eq(name_of_link(), "");
    strcpy(l.ssid, "Home");
    ck_assert_str_eq(name_of_link(), "a");
}
END_TEST

START_TEST(the_configuration_decides_labels_metric_and_metered) {
    struct settings_network *a = section("a", "eth0");
    a->has_labels = true;
    a->labels = 0x10 | UINT64_C(1) << 40;
    a->has_metric = true;
    a->metric = 7;
    a->metered = SETTINGS_METERED_YES;
    name_of_link();
    ck_assert_uint_eq(n.labels, 0x10 | UINT64_C(1) << 40 | WIRED);
    ck_assert_uint_eq(n.metric, 7);
    ck_assert_uint_eq(n.flags & WIRE_METERED, WIRE_METERED);
    link_is("eth0", FACT_CELLULAR);
    a->metered = SETTINGS_METERED_NO;
    name_of_link();
    ck_assert_uint_eq(n.labels, 0x10 | UINT64_C(1) << 40 | CELLULAR | UNMETERED);
}
END_TEST

START_TEST(a_network_works_with_carrier_address_and_route) {
    l.running = false;
    name_of_link();
    ck_assert(!n.works);
    l.running = true;
    l.route4 = false;
    name_of_link();
    ck_assert(!n.works);
    l.route6 = true; /* but no address for it */
    name_of_link();
    ck_assert(!n.works);
    l.addresses[l.address_count++] =
        (struct fact_address){.family = AF_INET6, .prefix = 64, .preferred = false, .bytes = {0x20, 1}};
    name_of_link();
    ck_assert(!n.works); /* tentative or deprecated */
    l.addresses[1].preferred = true;
    name_of_link();
    ck_assert(n.works);
    ck_assert_uint_eq(n.flags & (WIRE_HAS4 | WIRE_HAS6), WIRE_HAS6);
}
END_TEST

START_TEST(a_host_address_is_a_network_of_one_family) {
    struct settings_network *a = section("lab", "");
    a->address_only = true;
    a->address =
        (struct fact_address){.family = AF_INET, .prefix = 32, .preferred = true, .bytes = {127, 0, 1, 1}};
    ck_assert(policy_address(&s, 0, true, 1, &n));
    ck_assert_str_eq(n.name, "lab");
    ck_assert_uint_eq(n.flags, WIRE_ADDRESS | WIRE_EVER4 | WIRE_HAS4);
    ck_assert_uint_eq(n.labels, 0x3f | UNMETERED);
    ck_assert_uint_eq(n.ifindex, 1);
    ck_assert(n.works && n.iface[0] == 0);
    ck_assert(policy_address(&s, 0, false, 0, &n));
    ck_assert_uint_eq(n.flags, WIRE_ADDRESS | WIRE_EVER4);
    ck_assert_int_eq(n.lack, WIRE_LACK_ADDRESS);
    a->address = l.addresses[0];
    ck_assert_str_eq(name_of_link(), ""); /* it claims no interface */
    a->address.family = AF_INET6;
    ck_assert(policy_address(&s, 0, true, 1, &n));
    ck_assert_uint_eq(n.flags, WIRE_ADDRESS | WIRE_EVER6 | WIRE_HAS6);
    ck_assert_int_eq(n.lack, WIRE_LACK_NOTHING);
    section("home", "wl*");
    ck_assert(!policy_address(&s, 1, true, 1, &n));
}
END_TEST

START_TEST(names_of_the_configuration_are_known_by_the_whole_of_them) {
    section("home", "wl*");
    ck_assert(policy_knows(&s, "home") && policy_knows(&s, "home@wlan0"));
    ck_assert(!policy_knows(&s, "hom") && !policy_knows(&s, "cell") && !policy_knows(&s, "homes"));
}
END_TEST

START_TEST(preferences_become_indices_of_networks_that_are_there) {
    static struct wire_snapshot snapshot = {.count = 3};
    static const char ifaces[WIRE_NETWORKS][FACT_IFACE] = {"wlan0", "wlan1", "eth0"};
    s.pref_count = 1;
    s.prefs[0] =
        (struct settings_pref){.bit = 32, .count = 4, .order = {"gone", "home@wlan1", "office", "home"}};
    snapshot.prefs[0].count = 7; /* of an earlier time */
    strcpy(snapshot.networks[0].name, "home");
    strcpy(snapshot.networks[1].name, "home");
    strcpy(snapshot.networks[2].name, "office");
    policy_prefs(&s, ifaces, &snapshot);
    ck_assert_uint_eq(snapshot.pref_count, 1);
    ck_assert_uint_eq(snapshot.prefs[0].bit, 32);
    ck_assert_uint_eq(snapshot.prefs[0].count, 3);
    ck_assert_uint_eq(snapshot.prefs[0].order[0], 1);
    ck_assert_uint_eq(snapshot.prefs[0].order[1], 2);
    ck_assert_uint_eq(snapshot.prefs[0].order[2], 0);
}
END_TEST

START_TEST(a_preference_by_the_beginning_of_a_name_is_none) {
    static struct wire_snapshot snapshot = {.count = 1};
    static const char ifaces[WIRE_NETWORKS][FACT_IFACE] = {"eth0"};
    s.pref_count = 1;
    s.prefs[0] = (struct settings_pref){.bit = 32, .count = 2, .order = {"off", "officer"}};
    strcpy(snapshot.networks[0].name, "office");
    policy_prefs(&s, ifaces, &snapshot);
    ck_assert_uint_eq(snapshot.prefs[0].count, 0);
}
END_TEST

START_TEST(there_is_no_more_in_a_snapshot_than_there_is_room_for) {
    static struct wire_snapshot snapshot = {.count = WIRE_NETWORKS};
    static char ifaces[WIRE_NETWORKS][FACT_IFACE];
    section("cell", "wwan*");
    policy_listed(&s, &snapshot);
    ck_assert_uint_eq(snapshot.count, WIRE_NETWORKS);
    s.pref_count = 1;
    s.prefs[0] = (struct settings_pref){.bit = 32, .count = 1, .order = {"home"}};
    for (unsigned i = 0; i < WIRE_NETWORKS; i++)
        strcpy(snapshot.networks[i].name, "home");
    policy_prefs(&s, (const char(*)[FACT_IFACE])ifaces, &snapshot);
    ck_assert_uint_eq(snapshot.prefs[0].count, WIRE_PREF_ORDER);
}
END_TEST

START_TEST(what_is_listed_but_not_there_is_down) {
    static struct wire_snapshot snapshot = {.count = 1};
    strcpy(snapshot.networks[0].name, "home");
    section("home", "wl*");
    section("cell", "wwan*")->metered = SETTINGS_METERED_YES;
    section("lab", "")->address_only = true;
    policy_listed(&s, &snapshot);
    ck_assert_uint_eq(snapshot.count, 2);
    ck_assert_str_eq(snapshot.networks[1].name, "cell");
    ck_assert_uint_eq(snapshot.networks[1].state, WIRE_NET_DOWN);
    ck_assert_uint_eq(snapshot.networks[1].flags, WIRE_METERED | WIRE_EVER4 | WIRE_EVER6);
    ck_assert(snapshot.networks[1].id);
    ck_assert_uint_eq(snapshot.networks[1].labels, LABEL_INTENTS);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("policy");
    TCase *c = tcase_create("policy");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, without_configuration_an_interface_is_a_network_named_after_it);
    tcase_add_test(c, what_a_link_lacks_is_told_from_the_bottom_up);
    tcase_add_test(c, by_IPv6_alone_it_is_the_same);
    tcase_add_test(c, a_network_knows_its_interface_and_access_point);
    tcase_add_test(c, what_is_to_be_checked_is_pending);
    tcase_add_test(c, without_configuration_cellular_is_metered_and_not_for_bulk);
    tcase_add_test(c, tunnels_bridges_loopback_and_ports_are_not_networks_unless_configured);
    tcase_add_test(c, a_star_alone_means_ordinary_interfaces);
    tcase_add_test(c, loopback_is_meant_only_by_its_name);
    tcase_add_test(c, the_first_section_that_matches_wins);
    tcase_add_test(c, type_ssid_and_address_narrow_a_match);
    tcase_add_test(c, the_configuration_decides_labels_metric_and_metered);
    tcase_add_test(c, a_network_works_with_carrier_address_and_route);
    tcase_add_test(c, a_host_address_is_a_network_of_one_family);
    tcase_add_test(c, names_of_the_configuration_are_known_by_the_whole_of_them);
    tcase_add_test(c, preferences_become_indices_of_networks_that_are_there);
    tcase_add_test(c, a_preference_by_the_beginning_of_a_name_is_none);
    tcase_add_test(c, there_is_no_more_in_a_snapshot_than_there_is_room_for);
    tcase_add_test(c, what_is_listed_but_not_there_is_down);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

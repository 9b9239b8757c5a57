/* unit_rules - which labels a destination gets, and what is said of a rule that is none. */
#include "rules.h"
#include "suite.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { NONE = 1000, TCP = IPPROTO_TCP, UDP = IPPROTO_UDP };

static struct rules rules;
static char why[256];

static void start(void) {
    memset(&rules, 0, sizeof rules);
    memset(why, 0, sizeof why);
}

static void take(const char *text) {
    ck_assert_msg(rules_add_all(&rules, text, NULL, why, sizeof why) == 0, "%s: %s", text, why);
}

static const char *refused(const char *text) {
    size_t count = rules.count;
    why[0] = '\0';
    ck_assert_msg(rules_add(&rules, text, NULL, why, sizeof why) == -EINVAL, "%s", text);
    ck_assert_uint_eq(rules.count, count);
    ck_assert_ptr_null(strchr(why, '\n'));
    return why;
}

static const struct rule *found(int protocol, const char *address, int port) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
        return rules_find(&rules, protocol, (struct sockaddr *)&in);
    ck_assert_int_eq(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
    return rules_find(&rules, protocol, (struct sockaddr *)&in6);
}

static uint64_t labels(int protocol, const char *address, int port) {
    const struct rule *r = found(protocol, address, port);
    return r ? r->labels : NONE;
}

START_TEST(without_rules_nothing_matches) {
    take("  \t\n ");
    ck_assert_uint_eq(rules.count, 0);
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 80), NONE);
}
END_TEST

START_TEST(the_examples_of_the_contract_mean_what_they_say) {
    take("udp::53=none 10.0.0.0/8=bypass tcp::22=ondemand [2001:db8::]/32=bypass "
         "tcp::6379=ondemand+reconnect");
    ck_assert_uint_eq(rules.count, 5);
    ck_assert_uint_eq(labels(UDP, "192.0.2.1", 53), 0);
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 53), NONE);
    ck_assert(found(TCP, "10.200.0.1", 80)->bypass);
    ck_assert_uint_eq(labels(TCP, "11.0.0.1", 80), NONE);
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 22), 4);
    ck_assert_uint_eq(labels(TCP, "2001:db9::1", 22), 4);
    ck_assert_uint_eq(labels(UDP, "192.0.2.1", 22), NONE);
    ck_assert(found(UDP, "2001:db8:ffff::1", 9)->bypass);
    ck_assert_int_eq(found(TCP, "192.0.2.1", 6379)->policy, RULES_POLICY_RECONNECT);
    ck_assert_int_eq(found(TCP, "192.0.2.1", 22)->policy, RULES_POLICY_DEFAULT);
    ck_assert(!found(TCP, "192.0.2.1", 22)->bypass);
}
END_TEST

START_TEST(the_first_rule_that_matches_wins) {
    take("10.1.0.0/16=red 10.0.0.0/8=blue");
    ck_assert_uint_eq(labels(TCP, "10.1.2.3", 1), 1);
    ck_assert_uint_eq(labels(TCP, "10.2.2.3", 1), 2);
    start();
    take("10.0.0.0/8=blue 10.1.0.0/16=red");
    ck_assert_uint_eq(labels(TCP, "10.1.2.3", 1), 2);
}
END_TEST

START_TEST(a_rule_without_conditions_matches_everything) {
    take("=red");
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 1), 1);
    ck_assert_uint_eq(labels(UDP, "::1", 1), 1);
    ck_assert_uint_eq(labels(0, "::1", 1), 1);
}
END_TEST

START_TEST(a_protocol_alone_matches_all_of_it) {
    take("tcp:=red");
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 1), 1);
    ck_assert_uint_eq(labels(UDP, "192.0.2.1", 1), NONE);
    ck_assert_uint_eq(labels(0, "192.0.2.1", 1), NONE);
}
END_TEST

START_TEST(a_port_without_a_protocol_matches_both) {
    take(":53=red");
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 53), 1);
    ck_assert_uint_eq(labels(UDP, "::1", 53), 1);
    ck_assert_uint_eq(labels(UDP, "::1", 54), NONE);
}
END_TEST

START_TEST(protocol_address_length_and_port_must_all_match) {
    take("tcp:192.0.2.0/24:443=red udp:[2001:db8::]/64:443=blue [::1]:80=small");
    ck_assert_uint_eq(labels(TCP, "192.0.2.9", 443), 1);
    ck_assert_uint_eq(labels(TCP, "192.0.3.9", 443), NONE);
    ck_assert_uint_eq(labels(TCP, "192.0.2.9", 444), NONE);
    ck_assert_uint_eq(labels(UDP, "192.0.2.9", 443), NONE);
    ck_assert_uint_eq(labels(UDP, "2001:db8::77", 443), 2);
    ck_assert_uint_eq(labels(UDP, "2001:db8:0:1::77", 443), NONE);
    ck_assert_uint_eq(labels(TCP, "::1", 80), 0x10);
    ck_assert_uint_eq(labels(TCP, "::2", 80), NONE);
}
END_TEST

START_TEST(prefixes_cut_at_any_bit) {
    take("10.1.2.129/25=red 172.16.0.0/12=blue 0.0.0.0/0=small [2001:db8:8000::]/33=large [::]/0=wifi");
    ck_assert_uint_eq(labels(TCP, "10.1.2.128", 1), 1);
    ck_assert_uint_eq(labels(TCP, "10.1.2.127", 1), 0x10);
    ck_assert_uint_eq(labels(TCP, "172.31.255.255", 1), 2);
    ck_assert_uint_eq(labels(TCP, "172.32.0.0", 1), 0x10);
    ck_assert_uint_eq(labels(TCP, "2001:db8:ffff::", 1), 0x20);
    ck_assert_uint_eq(labels(TCP, "2001:db8:7fff::", 1), 0x400);
}
END_TEST

START_TEST(a_whole_address_matches_itself_alone) {
    take("192.0.2.1=red [2001:db8::1]=blue");
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 1), 1);
    ck_assert_uint_eq(labels(TCP, "192.0.2.0", 1), NONE);
    ck_assert_uint_eq(labels(TCP, "2001:db8::1", 1), 2);
    ck_assert_uint_eq(labels(TCP, "2001:db8::", 1), NONE);
}
END_TEST

START_TEST(a_mapped_address_is_ipv4_on_both_sides) {
    take("10.0.0.0/8=red [::ffff:172.16.0.0]/108=blue [::]/0=small");
    ck_assert_uint_eq(labels(TCP, "::ffff:10.9.9.9", 1), 1);
    ck_assert_uint_eq(labels(TCP, "172.17.0.1", 1), 2);
    ck_assert_uint_eq(labels(TCP, "::ffff:172.17.0.1", 1), 2);
    ck_assert_uint_eq(labels(TCP, "172.31.0.1", 1), 2);
    ck_assert_uint_eq(labels(TCP, "172.32.0.1", 1), NONE);
    ck_assert_uint_eq(labels(TCP, "::ffff:192.0.2.1", 1), NONE);
    ck_assert_uint_eq(labels(TCP, "2001:db8::1", 1), 0x10);
}
END_TEST

START_TEST(a_prefix_shorter_than_the_mapping_is_ipv6) {
    take("[::ffff:192.0.2.1]/80=red");
    ck_assert_uint_eq(labels(TCP, "::1", 1), 1);
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 1), NONE);
    ck_assert_uint_eq(labels(TCP, "::ffff:192.0.2.1", 1), NONE);
}
END_TEST

START_TEST(an_address_of_another_family_gets_no_rule) {
    struct sockaddr unix_address = {.sa_family = AF_UNIX};
    struct sockaddr nothing = {.sa_family = AF_UNSPEC};
    take("=red");
    ck_assert_ptr_null(rules_find(&rules, TCP, &unix_address));
    ck_assert_ptr_null(rules_find(&rules, TCP, &nothing));
}
END_TEST

START_TEST(an_address_may_lie_anywhere_in_memory) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
    char odd[sizeof in + 1];
    take(":80=red");
    memcpy(odd + 1, &in, sizeof in);
    ck_assert_ptr_nonnull(rules_find(&rules, TCP, (struct sockaddr *)(void *)(odd + 1)));
}
END_TEST

START_TEST(labels_may_be_several_and_of_the_configuration) {
    struct label_names names = {0};
    strcpy(names.name[0], "backup");
    ck_assert_int_eq(rules_add(&rules, ":1=backup,red+mptcp", &names, why, sizeof why), 0);
    ck_assert_uint_eq(rules.rule[0].labels, UINT64_C(0x100000001));
    ck_assert_int_eq(rules.rule[0].policy, RULES_POLICY_MPTCP);
    ck_assert_str_eq(refused(":1=backup"), "rule ':1=backup': unknown label 'backup'");
}
END_TEST

START_TEST(policies_have_three_names) {
    ck_assert_int_eq(rules_policy("fail"), RULES_POLICY_FAIL);
    ck_assert_int_eq(rules_policy("reconnect"), RULES_POLICY_RECONNECT);
    ck_assert_int_eq(rules_policy("mptcp"), RULES_POLICY_MPTCP);
    ck_assert_int_eq(rules_policy(""), -EINVAL);
    ck_assert_int_eq(rules_policy("Fail"), -EINVAL);
    ck_assert_int_eq(rules_policy("failed"), -EINVAL);
}
END_TEST

START_TEST(a_bad_rule_is_refused_with_one_line_that_says_why) {
    static const struct {
        const char *rule;
        const char *says;
    } bad[] = {
        {"", "'=LABELS' is missing"},
        {"tcp::22", "'=LABELS' is missing"},
        {"tcp::22=", "labels are missing"},
        {"tcp::22=+fail", "labels are missing"},
        {"tcp::22=fast", "unknown label 'fast'"},
        {"tcp::22=red,", "unknown label ''"},
        {"tcp::22=all", "unknown label 'all'"},
        {"tcp::22=red,bypass", "stands alone"},
        {"tcp::22=bypass+fail", "no policy"},
        {"tcp::22=red+", "policy"},
        {"tcp::22=red+retry", "not 'retry'"},
        {"tcp::22=red+fail+fail", "not 'fail+fail'"},
        {"tcp::22=red=blue", "unknown label 'red=blue'"},
        {"tcp::0=red", "1 to 65535"},
        {"tcp::65536=red", "1 to 65535"},
        {"tcp::4294967318=red", "1 to 65535"},
        {"tcp::18446744073709551638=red", "1 to 65535"},
        {"tcp::=red", "1 to 65535"},
        {"tcp::ssh=red", "not 'ssh'"},
        {"tcp::+22=red", "1 to 65535"},
        {"10.0.0.0/33=red", "0 to 32"},
        {"10.0.0.0/=red", "0 to 32"},
        {"10.0.0.0/-1=red", "0 to 32"},
        {"10.0.0.0/255.0.0.0=red", "0 to 32"},
        {"[::]/129=red", "0 to 128"},
        {"/8=red", "address is missing"},
        {"tcp:/8:1=red", "address is missing"},
        {"[]=red", "address is missing"},
        {"[::1=red", "[ADDR]"},
        {"[::1]x=red", "[ADDR]"},
        {"[10.0.0.1]=red", "not an address"},
        {"[fe80::1%lo]=red", "not an address"},
        {"2001:db8::/32=red", "brackets"},
        {"sctp::22=red", "tcp or udp"},
        {"example.org=red", "names are not looked up"},
        {"tcp=red", "names are not looked up"},
        {"10.0.0=red", "not an address"},
        {"10.0.0.0.0=red", "not an address"},
        {"010.0.0.1=red", "not an address"},
        {"tcp::22 =red", "blank"},
        {"tcp::22=red, blue", "blank"},
        {" tcp::22=red", "blank"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(strstr(refused(bad[i].rule), bad[i].says), "%s: %s", bad[i].rule, why);
}
END_TEST

START_TEST(what_is_said_of_a_rule_is_cut_and_cleaned) {
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    ck_assert_ptr_nonnull(strstr(refused(text), "too long"));
    text[900] = '\0';
    ck_assert_ptr_nonnull(strstr(refused(text), "xxx..."));
    ck_assert_ptr_nonnull(strstr(refused("a\033[2J\n=red"), "'a?[2J?=red'"));
    char small[12];
    ck_assert_int_eq(rules_add(&rules, "x=red", NULL, small, sizeof small), -EINVAL);
    ck_assert_str_eq(small, "rule 'x=red");
    ck_assert_int_eq(rules_add(&rules, "x=red", NULL, NULL, 0), -EINVAL);
}
END_TEST

START_TEST(reading_several_stops_at_the_first_bad_one) {
    ck_assert_int_eq(rules_add_all(&rules, " :1=red\n\t:2=fast :3=blue", NULL, why, sizeof why), -EINVAL);
    ck_assert_str_eq(why, "rule ':2=fast': unknown label 'fast'");
    ck_assert_uint_eq(rules.count, 1);
}
END_TEST

START_TEST(an_overlong_rule_among_several_is_not_cut_to_fit) {
    char text[3000] = ":11=";
    while (strlen(text) < sizeof text - 8)
        strcat(text, "red,");
    strcat(text, "red");
    ck_assert_int_eq(rules_add_all(&rules, text, NULL, why, sizeof why), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "too long"));
    ck_assert_uint_eq(rules.count, 0);
}
END_TEST

START_TEST(a_full_table_refuses_one_more) {
    for (int i = 0; i < 64; i++)
        take(":7=red");
    ck_assert_int_eq(rules_add(&rules, ":8=red", NULL, why, sizeof why), -E2BIG);
    ck_assert_str_eq(why, "rule ':8=red': there are more than 64 rules");
    ck_assert_uint_eq(rules.count, 64);
    ck_assert_uint_eq(labels(TCP, "192.0.2.1", 8), NONE);
}
END_TEST

int main(void) {
    Suite *s = suite_create("rules");
    TCase *t = tcase_create("rules");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, without_rules_nothing_matches);
    tcase_add_test(t, the_examples_of_the_contract_mean_what_they_say);
    tcase_add_test(t, the_first_rule_that_matches_wins);
    tcase_add_test(t, a_rule_without_conditions_matches_everything);
    tcase_add_test(t, a_protocol_alone_matches_all_of_it);
    tcase_add_test(t, a_port_without_a_protocol_matches_both);
    tcase_add_test(t, protocol_address_length_and_port_must_all_match);
    tcase_add_test(t, prefixes_cut_at_any_bit);
    tcase_add_test(t, a_whole_address_matches_itself_alone);
    tcase_add_test(t, a_mapped_address_is_ipv4_on_both_sides);
    tcase_add_test(t, a_prefix_shorter_than_the_mapping_is_ipv6);
    tcase_add_test(t, an_address_of_another_family_gets_no_rule);
    tcase_add_test(t, an_address_may_lie_anywhere_in_memory);
    tcase_add_test(t, labels_may_be_several_and_of_the_configuration);
    tcase_add_test(t, policies_have_three_names);
    tcase_add_test(t, a_bad_rule_is_refused_with_one_line_that_says_why);
    tcase_add_test(t, what_is_said_of_a_rule_is_cut_and_cleaned);
    tcase_add_test(t, reading_several_stops_at_the_first_bad_one);
    tcase_add_test(t, an_overlong_rule_among_several_is_not_cut_to_fit);
    tcase_add_test(t, a_full_table_refuses_one_more);
    return suite_run(s);
}

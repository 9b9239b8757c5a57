/* unit_monitor_ssid - which name an answer of nl80211 gives: messages as the kernel lays them out. */
#include "monitor_ssid.h"
#include "suite.h"

#include <check.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/nl80211.h>

static _Alignas(struct nlmsghdr) char buffer[2048];
static char name[FACT_SSID];

static struct nlmsghdr *begin(uint8_t command) {
    memset(buffer, 0, sizeof buffer);
    memset(name, 0, sizeof name);
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
    msg->nlmsg_type = 0x20;
    struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(msg, sizeof *generic);
    generic->cmd = command;
    mnl_attr_put_u32(msg, NL80211_ATTR_IFINDEX, 2);
    return msg;
}

/* One of a scan: elements, len of them; status -1: it is only heard of. */
static struct nlmsghdr *found(const void *elements, size_t len, int status) {
    static const unsigned char bssid[6] = {2, 0, 0, 0, 1, 0};
    struct nlmsghdr *msg = begin(NL80211_CMD_NEW_SCAN_RESULTS);
    struct nlattr *bss = mnl_attr_nest_start(msg, NL80211_ATTR_BSS);
    mnl_attr_put(msg, NL80211_BSS_BSSID, sizeof bssid, bssid);
    mnl_attr_put(msg, NL80211_BSS_INFORMATION_ELEMENTS, len, elements);
    mnl_attr_put_u32(msg, NL80211_BSS_FREQUENCY, 2432);
    if (status >= 0)
        mnl_attr_put_u32(msg, NL80211_BSS_STATUS, (uint32_t)status);
    mnl_attr_nest_end(msg, bss);
    return msg;
}

#define expect_of(answer, wanted)                                                                            \
    do {                                                                                                     \
        monitor_ssid_read(answer, name);                                                                     \
        ck_assert_str_eq(name, wanted);                                                                      \
    } while (0)

START_TEST(an_interface_that_knows_it_says_it) {
    struct nlmsghdr *msg = begin(NL80211_CMD_NEW_INTERFACE);
    expect_of(msg, "");
    mnl_attr_put(msg, NL80211_ATTR_SSID, 9, "Off\"ice x");
    expect_of(msg, "Off\"ice x");
}
END_TEST

START_TEST(of_a_scan_the_joined_one_says_it) {
    static const char other[] = "\0\4cafe", mine[] = "\1\4\x82\x84\x8b\x96\0\4home\3\1\5";
    expect_of(found(other, 6, -1), "");
    expect_of(found(mine, 15, NL80211_BSS_STATUS_AUTHENTICATED), "");
    expect_of(found(mine, 15, NL80211_BSS_STATUS_ASSOCIATED), "home");
    expect_of(found(mine, 15, NL80211_BSS_STATUS_IBSS_JOINED), "home");
}
END_TEST

START_TEST(a_name_is_32_bytes_at_most) {
    unsigned char longest[2 + 33] = {0, 32};
    char wanted[33] = "";
    memset(longest + 2, 'x', 33);
    memset(wanted, 'x', 32);
    expect_of(found(longest, 34, NL80211_BSS_STATUS_ASSOCIATED), wanted);
    longest[1] = 33;
    expect_of(found(longest, 35, NL80211_BSS_STATUS_ASSOCIATED), "");
}
END_TEST

START_TEST(elements_that_end_too_soon_or_hide_the_name_say_nothing) {
    expect_of(found("", 0, NL80211_BSS_STATUS_ASSOCIATED), "");
    expect_of(found("\0", 1, NL80211_BSS_STATUS_ASSOCIATED), "");
    expect_of(found("\0\5home", 6, NL80211_BSS_STATUS_ASSOCIATED), "");
    expect_of(found("\1\377\0\4home", 8, NL80211_BSS_STATUS_ASSOCIATED), "");
    expect_of(found("\0\0\3\1\5", 5, NL80211_BSS_STATUS_ASSOCIATED), "");
    expect_of(found("\0\4\0\0\0\0", 6, NL80211_BSS_STATUS_ASSOCIATED), "");
    struct nlmsghdr *msg = begin(NL80211_CMD_NEW_INTERFACE);
    msg->nlmsg_len = NLMSG_HDRLEN + 2;
    expect_of(msg, "");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("monitor_ssid");
    TCase *c = tcase_create("monitor_ssid");
    tcase_add_test(c, an_interface_that_knows_it_says_it);
    tcase_add_test(c, of_a_scan_the_joined_one_says_it);
    tcase_add_test(c, a_name_is_32_bytes_at_most);
    tcase_add_test(c, elements_that_end_too_soon_or_hide_the_name_say_nothing);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

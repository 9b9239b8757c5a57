/* unit_words - lines, numbers, addresses and label lists as people write them. */
#include "suite.h"
#include "words.h"

#include <check.h>
#include <errno.h>
#include <sys/socket.h>

START_TEST(comments_begin_after_a_blank_and_not_in_quotes) {
    char plain[] = "  labels = all # or less ", hash[] = "a#b", quoted[] = "ssid = \"My #1\" ; mine",
         whole[] = "; x";
    ck_assert_str_eq(words_strip(plain), "labels = all");
    ck_assert_str_eq(words_strip(hash), "a#b");
    ck_assert_str_eq(words_strip(quoted), "ssid = \"My #1\"");
    ck_assert_str_eq(words_strip(whole), "");
}
END_TEST

START_TEST(lines_that_are_too_long_or_hold_a_nul_are_said_and_skipped) {
    char text[WORDS_LINE + 20], line[WORDS_LINE];
    memset(text, 'x', sizeof text);
    memcpy(text + WORDS_LINE + 1, "\na\0b\nend", 9);
    FILE *f = fmemopen(text, WORDS_LINE + 9, "r");
    ck_assert_int_eq(words_line(f, line), -EMSGSIZE);
    ck_assert_int_eq(words_line(f, line), -EILSEQ);
    ck_assert_int_eq(words_line(f, line), 1);
    ck_assert_str_eq(line, "end");
    ck_assert_int_eq(words_line(f, line), 0);
    fclose(f);
}
END_TEST

START_TEST(seconds_have_decimals_down_to_a_millisecond) {
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = {{"0", 0}, {"2.5", 2500}, {".25", 250}, {"4.", 4000}, {"0.0019", 1}, {"1000000", 1000000000}};
    static const char *const bad[] = {
        "", ".", "-1", "1e3", "1.2.3", "x", " 1", "1000001", "99999999999999999999"};
    uint32_t ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_int_eq(words_seconds(good[i].text, &ms), 0);
        ck_assert_uint_eq(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(words_seconds(bad[i], &ms) == -EINVAL, "'%s' was taken for seconds", bad[i]);
}
END_TEST

START_TEST(numbers_stay_below_their_limit) {
    uint64_t n;
    ck_assert_int_eq(words_number("18446744073709551615", UINT64_MAX, &n), 0);
    ck_assert_uint_eq(n, UINT64_MAX);
    ck_assert_int_eq(words_number("18446744073709551616", UINT64_MAX, &n), -EINVAL);
    ck_assert_int_eq(words_number("63", 63, &n), 0);
    ck_assert_int_eq(words_number("64", 63, &n), -EINVAL);
    ck_assert_int_eq(words_number("5", 3, &n), -EINVAL);
}
END_TEST

START_TEST(addresses_may_have_a_length_and_ports_must_be_there) {
    struct fact_address a;
    uint16_t port;
    ck_assert_int_eq(words_address("192.0.2.0/24", &a), 0);
    ck_assert_int_eq(a.family, AF_INET);
    ck_assert_uint_eq(a.prefix, 24);
    ck_assert_int_eq(words_address("2001:db8::/32", &a), 0);
    ck_assert_uint_eq(a.prefix, 32);
    ck_assert_int_eq(words_address("127.0.1.1", &a), 0);
    ck_assert_uint_eq(a.prefix, 32);
    ck_assert_int_eq(words_address("10.0.0.0/33", &a), -EINVAL);
    ck_assert_int_eq(words_address("localhost", &a), -EINVAL);
    ck_assert_int_eq(words_address_port("192.0.2.1:443", &a, &port), 0);
    ck_assert_uint_eq(port, 443);
    ck_assert_int_eq(words_address_port("[2001:db8::1]:80", &a, &port), 0);
    ck_assert_int_eq(a.family, AF_INET6);
    ck_assert_int_eq(words_address_port("2001:db8::1", &a, &port), -EINVAL);
    ck_assert_int_eq(words_address_port("[192.0.2.1]:80", &a, &port), -EINVAL);
    ck_assert_int_eq(words_address_port("192.0.2.1:0", &a, &port), -EINVAL);
    ck_assert_int_eq(words_address_port("192.0.2.1", &a, &port), -EINVAL);
}
END_TEST

START_TEST(all_means_the_six_intents) {
    uint64_t labels;
    char bad[LABEL_NAME];
    struct label_names names = {.name = {"backup"}};
    ck_assert_int_eq(words_labels("all, backup", &names, &labels, bad), 0);
    ck_assert_uint_eq(labels, LABEL_INTENTS | UINT64_C(1) << 32);
    ck_assert_int_eq(words_labels("none", &names, &labels, bad), 0);
    ck_assert_uint_eq(labels, 0);
    ck_assert_int_eq(words_labels("all, huhu", &names, &labels, bad), -EINVAL);
    ck_assert_str_eq(bad, "huhu");
}
END_TEST

START_TEST(names_of_networks_cannot_be_mistaken_for_syntax) {
    ck_assert(words_name_ok("home"));
    ck_assert(words_name_ok("wlp0s20f3.5"));
    static const char *const bad[] = {
        "", "a b", "a@b", "a,b", "[a", "a\x01", "0123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!words_name_ok(bad[i]), "'%s' was taken for a name", bad[i]);
}
END_TEST

int main(void) {
    Suite *s = suite_create("words");
    TCase *t = tcase_create("words");
    tcase_add_test(t, comments_begin_after_a_blank_and_not_in_quotes);
    tcase_add_test(t, lines_that_are_too_long_or_hold_a_nul_are_said_and_skipped);
    tcase_add_test(t, seconds_have_decimals_down_to_a_millisecond);
    tcase_add_test(t, numbers_stay_below_their_limit);
    tcase_add_test(t, addresses_may_have_a_length_and_ports_must_be_there);
    tcase_add_test(t, all_means_the_six_intents);
    tcase_add_test(t, names_of_networks_cannot_be_mistaken_for_syntax);
    suite_add_tcase(s, t);
    return suite_run(s);
}

/* unit_label - names to bits and back. */
#include "label.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct label_names names;

static void with_names(void) {
    memset(&names, 0, sizeof names);
    strcpy(names.name[0], "backup");
    strcpy(names.name[8], "voip.hq-1_x");
}

static uint64_t parsed(const char *text) {
    uint64_t labels = 0;
    ck_assert_int_eq(label_parse(text, &names, &labels, NULL), 0);
    return labels;
}

static const char *refused(const char *text) {
    static char bad[LABEL_NAME];
    uint64_t labels = 77;
    memset(bad, 'x', sizeof bad);
    ck_assert_int_eq(label_parse(text, &names, &labels, bad), -EINVAL);
    ck_assert_uint_eq(labels, 77);
    ck_assert_ptr_nonnull(memchr(bad, 0, sizeof bad));
    return bad;
}

static const char *formatted(uint64_t labels) {
    static char text[256];
    int n = label_format(labels, &names, text, sizeof text);
    ck_assert_int_eq(n, (int)strlen(text));
    return text;
}

START_TEST(the_ten_names_have_the_bits_of_the_contract) {
    static const struct {
        const char *name;
        uint64_t bit;
    } all[] = {{"red", 0x01},       {"blue", 0x02},      {"ondemand", 0x04}, {"background", 0x08},
               {"small", 0x10},     {"large", 0x20},     {"wired", 0x200},   {"wifi", 0x400},
               {"cellular", 0x800}, {"unmetered", 0x100}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        ck_assert_uint_eq(parsed(all[i].name), all[i].bit);
        ck_assert_str_eq(formatted(all[i].bit), all[i].name);
    }
}
END_TEST

START_TEST(a_list_is_the_set_of_its_names_in_any_order) {
    ck_assert_uint_eq(parsed("background,large"), 0x28);
    ck_assert_uint_eq(parsed("large,background,large"), 0x28);
    ck_assert_uint_eq(parsed(" red ,\tblue\n"), 0x03);
}
END_TEST

START_TEST(none_and_nothing_are_no_wish) {
    ck_assert_uint_eq(parsed("none"), 0);
    ck_assert_uint_eq(parsed(""), 0);
    ck_assert_uint_eq(parsed("  "), 0);
    ck_assert_uint_eq(parsed("none,red"), 1);
    ck_assert_str_eq(formatted(0), "none");
}
END_TEST

START_TEST(numbered_user_bits_always_work) {
    char name[16];
    for (int bit = 32; bit <= 63; bit++) {
        uint64_t labels = 0;
        snprintf(name, sizeof name, "bit%d", bit);
        ck_assert_int_eq(label_parse(name, NULL, &labels, NULL), 0);
        ck_assert_uint_eq(labels, UINT64_C(1) << bit);
    }
    ck_assert_str_eq(refused("bit31"), "bit31");
    ck_assert_str_eq(refused("bit64"), "bit64");
    ck_assert_str_eq(refused("bit032"), "bit032");
    ck_assert_str_eq(refused("bit3x"), "bit3x");
    ck_assert_str_eq(refused("bit"), "bit");
}
END_TEST

START_TEST(names_of_the_configuration_are_known_when_given) {
    uint64_t labels;
    ck_assert_uint_eq(parsed("backup,red"), UINT64_C(0x100000001));
    ck_assert_uint_eq(parsed("voip.hq-1_x"), UINT64_C(1) << 40);
    ck_assert_str_eq(formatted(UINT64_C(1) << 40), "voip.hq-1_x");
    ck_assert_str_eq(formatted(UINT64_C(1) << 41), "bit41");
    ck_assert_int_eq(label_parse("backup", NULL, &labels, NULL), -EINVAL);
}
END_TEST

START_TEST(an_unknown_name_is_an_error_and_is_named) {
    ck_assert_str_eq(refused("red,fast,slow"), "fast");
    ck_assert_str_eq(refused("Red"), "Red");
    ck_assert_str_eq(refused("re"), "re");
    ck_assert_str_eq(refused("redd"), "redd");
    ck_assert_str_eq(refused("all"), "all");
    ck_assert_str_eq(refused("red,,blue"), "");
    ck_assert_str_eq(refused("red,"), "");
    ck_assert_str_eq(refused(","), "");
}
END_TEST

START_TEST(a_bad_name_is_cut_and_cleaned_before_it_is_shown) {
    ck_assert_str_eq(refused("a\033[2Jb\x80"), "a?[2Jb?");
    ck_assert_uint_eq(strlen(refused("0123456789012345678901234567890123456789")), LABEL_NAME - 1);
}
END_TEST

START_TEST(format_returns_what_it_needs_as_snprintf_does) {
    char small[8] = "zzzzzzz";
    ck_assert_int_eq(label_format(0x28, NULL, small, sizeof small), 16);
    ck_assert_str_eq(small, "backgro");
    ck_assert_int_eq(label_format(0x28, NULL, small, 0), 16);
    ck_assert_str_eq(small, "backgro");
    ck_assert_int_eq(label_format(0x28, NULL, NULL, 0), 16);
    ck_assert_int_eq(label_format(0x03, NULL, small, 1), 8);
    ck_assert_str_eq(small, "");
    ck_assert_int_eq(label_format(0x03, NULL, small, sizeof small), 8);
    ck_assert_str_eq(small, "red,blu");
}
END_TEST

START_TEST(bits_nobody_knows_are_shown_as_hex) {
    ck_assert_str_eq(formatted(0x40), "0x40");
    ck_assert_str_eq(formatted(0x80001041), "red,0x80001040");
}
END_TEST

START_TEST(what_is_formatted_is_read_back_as_the_same_set) {
    char text[1500];
    uint64_t all = LABEL_KNOWN;
    uint64_t x = 1;
    for (int i = 0; i < 1000; i++, x = x * UINT64_C(6364136223846793005) + 1442695040888963407) {
        ck_assert_int_lt(label_format(x & all, &names, text, sizeof text), (int)sizeof text);
        ck_assert_uint_eq(parsed(text), x & all);
    }
    label_format(all, &names, text, sizeof text);
    ck_assert_uint_eq(parsed(text), all);
}
END_TEST

START_TEST(a_table_from_outside_cannot_rename_or_confuse) {
    strcpy(names.name[1], "red");
    strcpy(names.name[2], "bit50");
    strcpy(names.name[3], "a,b");
    strcpy(names.name[4], "evil\033[2J");
    strcpy(names.name[5], "backup");
    memset(names.name[6], 'n', LABEL_NAME);
    ck_assert_uint_eq(parsed("red"), 1);
    ck_assert_uint_eq(parsed("bit50"), UINT64_C(1) << 50);
    for (int bit = 33; bit <= 38; bit++) {
        char expected[16];
        snprintf(expected, sizeof expected, "bit%d", bit);
        ck_assert_str_eq(formatted(UINT64_C(1) << bit), expected);
    }
    ck_assert_uint_eq(parsed("backup"), UINT64_C(1) << 32);
}
END_TEST

START_TEST(only_plain_new_names_may_be_given_to_user_bits) {
    static const char *good[] = {
        "backup", "a", "Voip-2.x_y", "bits", "bit5a", "redder", "0123456789012345678901234567890"};
    static const char *bad[] = {"",
                                "red",
                                "cellular",
                                "all",
                                "none",
                                "bypass",
                                "bit40",
                                "bit7",
                                "bit064",
                                "a b",
                                "a,b",
                                "a+b",
                                "a=b",
                                "a/b",
                                "\xc3\xa4",
                                "01234567890123456789012345678901",
                                "012345678901234567890123456789012"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(label_name_ok(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!label_name_ok(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(one_name_is_taken_by_its_length) {
    ck_assert_int_eq(label_bit("redder", 3, NULL), 0);
    ck_assert_int_eq(label_bit("red", 2, NULL), -EINVAL);
    ck_assert_int_eq(label_bit("", 0, &names), -EINVAL);
    ck_assert_int_eq(label_bit("backup,x", 6, &names), 32);
    ck_assert_int_eq(label_bit("none", 4, NULL), -EINVAL);
}
END_TEST

START_TEST(a_table_of_names_goes_through_text_and_comes_back) {
    struct label_names read;
    char text[64], small[8];
    int n = label_names_format(&names, text, sizeof text);
    ck_assert_int_eq(n, (int)strlen(text));
    ck_assert_int_eq(label_names_format(&names, small, sizeof small), n);
    ck_assert_int_eq(strncmp(text, small, sizeof small - 1), 0);
    label_names_parse(text, &read);
    ck_assert_int_eq(memcmp(&read, &names, sizeof read), 0);
    label_names_parse("", &read);
    ck_assert_int_eq(label_names_format(&read, text, sizeof text), 0);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(what_is_no_pair_of_name_and_bit_is_passed_over) {
    struct label_names read;
    char text[64];
    label_names_parse(",=,=40,a,b=,c=31,d=64,e=x,f=-33,red=41,g=33,h=330,01234567890123456789012345678901=42",
                      &read);
    label_names_format(&read, text, sizeof text);
    ck_assert_str_eq(text, "g=33");
}
END_TEST

int main(void) {
    Suite *s = suite_create("label");
    TCase *t = tcase_create("label");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, with_names, NULL);
    tcase_add_test(t, the_ten_names_have_the_bits_of_the_contract);
    tcase_add_test(t, a_list_is_the_set_of_its_names_in_any_order);
    tcase_add_test(t, none_and_nothing_are_no_wish);
    tcase_add_test(t, numbered_user_bits_always_work);
    tcase_add_test(t, names_of_the_configuration_are_known_when_given);
    tcase_add_test(t, an_unknown_name_is_an_error_and_is_named);
    tcase_add_test(t, a_bad_name_is_cut_and_cleaned_before_it_is_shown);
    tcase_add_test(t, format_returns_what_it_needs_as_snprintf_does);
    tcase_add_test(t, bits_nobody_knows_are_shown_as_hex);
    tcase_add_test(t, what_is_formatted_is_read_back_as_the_same_set);
    tcase_add_test(t, a_table_from_outside_cannot_rename_or_confuse);
    tcase_add_test(t, only_plain_new_names_may_be_given_to_user_bits);
    tcase_add_test(t, one_name_is_taken_by_its_length);
    tcase_add_test(t, a_table_of_names_goes_through_text_and_comes_back);
    tcase_add_test(t, what_is_no_pair_of_name_and_bit_is_passed_over);
    return suite_run(s);
}

/* unit_config - what a configuration means, and what is said of a wrong one. */
#include "config.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char said[4096];

static void hear(void *arg, const char *file, unsigned line, const char *text) {
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s%s:%u: %s", used ? "|" : "", file, line, text);
}

static unsigned read_text(const char *text, struct settings *s) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", text);
    said[0] = 0;
    config_defaults(s);
    struct config *c = config_new(s, hear, NULL);
    FILE *f = fmemopen(copy, strlen(copy) ? strlen(copy) : 1, "r");
    config_read(c, f, "f");
    fclose(f);
    return config_finish(c);
}

START_TEST(the_example_of_the_manual_is_understood) {
    static struct settings s;
    unsigned mistakes = read_text("# a comment\r\n"
                                  "   [label backup]            # a name for a user bit\r\n"
                                  "   bit = 32\n"
                                  "   prefer = home, office\n"
                                  "[network home]\n"
                                  "match = wl*\n"
                                  "ssid = \"Home # 1\"\n"
                                  "labels = all, backup      # or a list\n"
                                  "metered = no\n"
                                  "metric = 100\n"
                                  "check = 192.0.2.1:443\n"
                                  "\n"
                                  "[network office]\n"
                                  "match = en*\n"
                                  "type = wired\n"
                                  "address = 192.0.2.0/24\n"
                                  "[network lab]\n"
                                  "\taddress = 127.0.1.1\n"
                                  "[scout]\n"
                                  "hold-down = 0.25\n"
                                  "grace=2\n"
                                  "mptcp = no",
                                  &s);
    ck_assert_msg(mistakes == 0, "%s", said);
    ck_assert_uint_eq(s.network_count, 3);
    ck_assert_str_eq(s.networks[0].match, "wl*");
    ck_assert_str_eq(s.networks[0].ssid, "Home # 1");
    ck_assert_uint_eq(s.networks[0].labels, LABEL_INTENTS | UINT64_C(1) << 32);
    ck_assert_int_eq(s.networks[0].metered, SETTINGS_METERED_NO);
    ck_assert(s.networks[0].has_metric && s.networks[0].metric == 100);
    ck_assert_int_eq(s.networks[0].check.family, AF_INET);
    ck_assert_uint_eq(s.networks[0].check_port, 443);
    ck_assert(!s.networks[1].address_only && s.networks[1].type == FACT_WIRED && !s.networks[1].has_labels);
    ck_assert(s.networks[2].address_only);
    ck_assert_str_eq(s.names.name[0], "backup");
    ck_assert_uint_eq(s.pref_count, 1);
    ck_assert_int_eq(s.prefs[0].bit, 32);
    ck_assert_uint_eq(s.prefs[0].count, 2);
    ck_assert_str_eq(s.prefs[0].order[1], "office");
    ck_assert_uint_eq(s.hold_ms, 250);
    ck_assert(!s.mptcp);
    ck_assert_uint_eq(s.grace_ms, 2000);
}
END_TEST

START_TEST(nothing_at_all_is_a_configuration) {
    static struct settings s;
    ck_assert_uint_eq(read_text("\n", &s), 0);
    ck_assert_uint_eq(s.network_count, 0);
    ck_assert_uint_eq(s.hold_ms, 500);
    ck_assert(s.mptcp);
    ck_assert_uint_eq(s.grace_ms, 1000);
}
END_TEST

START_TEST(a_built_in_label_may_have_an_order_without_a_bit) {
    static struct settings s;
    ck_assert_uint_eq(read_text("[label background]\nprefer = a\n[network a]\nmatch=a0\n", &s), 0);
    ck_assert_int_eq(s.prefs[0].bit, 3);
}
END_TEST

/* Text, and what is said of it. */
static const struct {
    const char *text, *said;
} wrong[] = {
    {"[netwrk a]\nmatch = x\n", "f:1: unknown section [netwrk a]"},
    {"[network]\n", "f:1: [network] needs a name: [network NAME]"},
    {"[scout me]\n", "f:1: unknown section [scout me]"},
    {"[network a\n", "f:1: ']' is missing"},
    {"match = x\n", "f:1: 'match' stands before any [section]"},
    {"[scout]\nhuhu\n", "f:2: expected 'key = value' or '[section]'"},
    {"[scout]\n= 1\n", "f:2: expected 'key = value' or '[section]'"},
    {"[scout]\ncolour = red\n", "f:2: unknown key 'colour' in [scout]"},
    {"[network a]\nmatch = x\nbit = 32\n", "f:3: unknown key 'bit' in [network]"},
    {"[scout]\ngrace = soon\n", "f:2: grace: 'soon' is not a number of seconds"},
    {"[scout]\nmptcp = maybe\n", "f:2: mptcp: 'maybe' is neither yes nor no"},
    {"[scout]\n\nhold-down = -1\n", "f:3: hold-down: '-1' is not a number of seconds"},
    {"[scout]\ngrace = 1\ngrace = 2\n", "f:3: 'grace' is there already in this section"},
    {"[network a]\n", "f:1: [network a] needs 'match =' or 'address ='"},
    {"[network a]\nmatch = x\n[network a]\nmatch = y\n", "f:3: [network a] is there already"},
    {"[network a@b]\nmatch = x\n", "f:1: 'a@b' cannot be the name of a network"},
    {"[network a]\nmatch = x y\n", "f:2: match: 'x y' is not an interface name or pattern"},
    {"[network a]\nmatch = abcdefghijklmnop\n",
     "f:2: match: 'abcdefghijklmnop' is too long for an interface name"},
    {"[network a]\nmatch = x\nmatch = x y\n", "f:3: 'match' is there already in this section"},
    {"[label b]\nbit = 32\nbit = 33\n", "f:3: 'bit' is there already in this section"},
    {"[network a]\naddress = 0.0.0.0\n", "f:1: [network a] has an address that no host can have"},
    {"[network a]\naddress = ff02::1\n", "f:1: [network a] has an address that no host can have"},
    {"[network a]\nmatch = x\ntype = lte\n", "f:3: type: 'lte' is not wifi, wired, cellular or any"},
    {"[network a]\nmatch = x\nssid =\n", "f:3: ssid: 1 to 32 bytes are allowed"},
    {"[network a]\naddress = 10.0.0\n",
     "f:2: address: '10.0.0' is not an address or network in CIDR notation"},
    {"[network a]\nmatch = x\nmetered = 1\n", "f:3: metered: '1' is not yes, no or auto"},
    {"[network a]\nmatch = x\nmetric = low\n", "f:3: metric: 'low' is not a number from 0 to 4294967295"},
    {"[network a]\nmatch = x\ncheck = example.org:80\n", "f:3: check: 'example.org:80' is not ADDRESS:PORT"},
    {"[network a]\nmatch = x\nlabels = all, huhu\n", "f:3: labels: unknown label 'huhu'"},
    {"[label b]\n", "f:1: [label b] needs 'bit ='"},
    {"[label b]\nbit = 31\n", "f:2: bit: '31' is not a number from 32 to 63"},
    {"[label b]\nbit = 32\n[label c]\nbit = 32\n", "f:4: bit: 32 is already the label 'b'"},
    {"[label b]\nbit = 32\n[label b]\nbit = 33\n", "f:3: [label b] is there already"},
    {"[label red]\nbit = 32\n", "f:2: bit: 'red' is built in, its bit cannot be set"},
    {"[label bit40]\nbit = 41\n", "f:2: bit: 'bit40' is the name of bit 40 already"},
    {"[label red]\nprefer = a\n[label red]\nprefer = b\n", "f:3: [label red] is there already"},
    {"[label all]\nbit = 32\n", "f:1: 'all' cannot be the name of a label"},
    {"[label b]\nbit = 32\nprefer = x, \n[network x]\nmatch = x\n",
     "f:3: prefer: '' cannot be the name of a network"},
    {"[scout]\ncol\033our = red\n", "f:2: unknown key 'col?our' in [scout]"},
    {"[scout]\na = 1\nb = 2\n", "f:2: unknown key 'a' in [scout]|f:3: unknown key 'b' in [scout]"},
    {"[huhu]\nx = 1\n[scout]\ny = 1\n", "f:1: unknown section [huhu]|f:4: unknown key 'y' in [scout]"},
};

START_TEST(every_mistake_is_told_with_file_and_line) {
    static struct settings s;
    ck_assert_uint_gt(read_text(wrong[_i].text, &s), 0);
    ck_assert_str_eq(said, wrong[_i].said);
}
END_TEST

START_TEST(a_line_without_an_end_is_one_mistake) {
    static struct settings s;
    said[0] = 0;
    config_defaults(&s);
    struct config *c = config_new(&s, hear, NULL);
    FILE *f = fopen("/dev/zero", "r");
    config_read(c, f, "f");
    fclose(f);
    ck_assert_uint_eq(config_finish(c), 1);
    ck_assert_str_eq(said, "f:1: the line is longer than 1023 bytes");
}
END_TEST

/* Reads one text after the other, as a file and its drop-ins. */
static void read_texts(const char *const *texts, struct settings *s) {
    said[0] = 0;
    config_defaults(s);
    struct config *c = config_new(s, hear, NULL);
    for (; *texts; texts++) {
        FILE *f = fmemopen((void *)(uintptr_t)*texts, strlen(*texts), "r");
        config_read(c, f, "f");
        fclose(f);
    }
    config_finish(c);
}

START_TEST(a_section_of_a_later_file_changes_what_it_contains) {
    static struct settings s;
    const char *const texts[] = {
        "[label backup]\nbit = 40\nprefer = b, a\n"
        "[network a]\nmatch = a0\nmetric = 7\nlabels = red\n[network b]\nmatch = b0\n",
        "[network a]\nlabels = blue, backup\n",
        "[network a]\nmetered = yes\n[label backup]\nprefer = a\n[network b]\nmatch = b1\n", NULL};
    read_texts(texts, &s);
    ck_assert_str_eq(said, "");
    ck_assert_uint_eq(s.network_count, 2);
    ck_assert_str_eq(s.networks[0].match, "a0");
    ck_assert_uint_eq(s.networks[0].metric, 7);
    ck_assert_uint_eq(s.networks[0].labels, 2 | UINT64_C(1) << 40);
    ck_assert_int_eq(s.networks[0].metered, SETTINGS_METERED_YES);
    ck_assert_str_eq(s.networks[1].match, "b1");
    ck_assert_uint_eq(s.pref_count, 1);
    ck_assert_uint_eq(s.prefs[0].count, 1);
    ck_assert_str_eq(s.prefs[0].order[0], "a");
}
END_TEST

START_TEST(a_later_file_contains_a_section_once_too) {
    static struct settings s;
    const char *const texts[] = {"[network a]\nmatch = a0\n[label b]\nbit = 32\n",
                                 "[network a]\nmetric = 1\n[network a]\nmetric = 2\n[label b]\nbit = 33\n",
                                 NULL};
    read_texts(texts, &s);
    ck_assert_str_eq(said, "f:3: [network a] is there already|f:6: bit: 'b' is the name of bit 32 already");
}
END_TEST

START_TEST(drop_ins_are_read_after_the_file_in_the_order_of_their_names) {
    static struct settings s;
    char dir[] = "/tmp/cmm-[config]-XXXXXX", path[64], in[80];
    static const char *const files[] = {"", ".d/20.conf", ".d/10.conf", ".d/not.txt"};
    static const char *const texts[] = {"[network a]\nmatch=a\nlabels = late\n", "[network c]\nmatch=c\n",
                                        "[network b]\nmatch=b\n[label late]\nbit = 40\n", "rubbish\n"};
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/scout.conf", dir);
    snprintf(in, sizeof in, "%s.d", path);
    ck_assert_int_eq(mkdir(in, 0700), 0);
    for (int i = 0; i < 4; i++) {
        snprintf(in, sizeof in, "%s%s", path, files[i]);
        FILE *f = fopen(in, "w");
        fputs(texts[i], f);
        fclose(f);
    }
    said[0] = 0;
    ck_assert_msg(config_load(path, true, &s, hear, NULL) == 0, "%s", said);
    ck_assert_uint_eq(s.network_count, 3);
    ck_assert_str_eq(s.networks[1].name, "b");
    ck_assert_str_eq(s.networks[2].name, "c");
    ck_assert_uint_eq(s.networks[0].labels, UINT64_C(1) << 40);
    for (int i = 3; i >= 0; i--) {
        snprintf(in, sizeof in, "%s%s", path, files[i]);
        unlink(in);
    }
    snprintf(in, sizeof in, "%s.d", path);
    rmdir(in);
    rmdir(dir);
}
END_TEST

START_TEST(drop_ins_that_cannot_be_read_are_told) {
    static struct settings s;
    char dir[] = "/tmp/cmm-config-XXXXXX", path[64], in[80], expected[128];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/scout.conf", dir);
    snprintf(in, sizeof in, "%s.d", path);
    ck_assert_int_eq(mkdir(in, 0700), 0);
    said[0] = 0;
    ck_assert_int_eq(config_load(path, false, &s, hear, NULL), 0);
    ck_assert_int_eq(chmod(in, 0), 0);
    ck_assert_int_eq(chmod(dir, 0711), 0);
    bool root = geteuid() == 0; /* who can read everything */
    bool shown = !root || seteuid(61234) == 0;
    snprintf(expected, sizeof expected, "%s:0: Permission denied", in);
    ck_assert(!shown || config_load(path, false, &s, hear, NULL) == -EINVAL);
    ck_assert(!shown || strcmp(said, expected) == 0);
    ck_assert(!root || seteuid(0) == 0);
    rmdir(in);
    rmdir(dir);
}
END_TEST

START_TEST(a_missing_file_matters_only_if_it_was_named) {
    static struct settings s;
    said[0] = 0;
    ck_assert_int_eq(config_load("/nonexistent/scout.conf", false, &s, hear, NULL), 0);
    ck_assert_int_eq(config_load("/nonexistent/scout.conf", true, &s, hear, NULL), -EINVAL);
    ck_assert_str_eq(said, "/nonexistent/scout.conf:0: No such file or directory");
}
END_TEST

int main(void) {
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");
    tcase_add_test(t, the_example_of_the_manual_is_understood);
    tcase_add_test(t, nothing_at_all_is_a_configuration);
    tcase_add_test(t, a_built_in_label_may_have_an_order_without_a_bit);
    tcase_add_loop_test(t, every_mistake_is_told_with_file_and_line, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(t, a_line_without_an_end_is_one_mistake);
    tcase_add_test(t, a_section_of_a_later_file_changes_what_it_contains);
    tcase_add_test(t, a_later_file_contains_a_section_once_too);
    tcase_add_test(t, drop_ins_are_read_after_the_file_in_the_order_of_their_names);
    tcase_add_test(t, drop_ins_that_cannot_be_read_are_told);
    tcase_add_test(t, a_missing_file_matters_only_if_it_was_named);
    suite_add_tcase(s, t);
    return suite_run(s);
}

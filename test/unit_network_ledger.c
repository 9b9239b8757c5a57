/* unit_network_ledger - what a scout leaves to its successor, and what of it is believed. */
#include "network_ledger.h"
#include "suite.h"
#include "wifi.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int ledger;

/* Lost once, its id is none that the next scout finds by itself. */
static uint64_t lose_once(void) {
    ledger = fileno(tmpfile());
    start();
    look(true);
    lose_link();
    after(1000);
    regain_link();
    return after(500)->id;
}

static uint64_t succeed(uint64_t seed) {
    network_init(&t, false, seed, 999);
    network_ledger_read(ledger, &t);
    return look(true)->id;
}

START_TEST(the_next_scout_goes_on_with_its_ids) {
    const uint64_t id = lose_once();
    network_ledger_write(ledger, &t);
    network_ledger_write(ledger, &t);
    ck_assert_uint_eq(succeed(1234), id);
}
END_TEST

START_TEST(of_another_boot_it_says_nothing) {
    const uint64_t id = lose_once();
    network_ledger_write(ledger, &t);
    ck_assert_uint_ne(succeed(1235), id);
    ck_assert_uint_eq(t.spent_count, 0);
}
END_TEST

START_TEST(nothing_to_be_believed_is_nothing) {
    const uint64_t id = lose_once();
    ck_assert_uint_ne(succeed(1234), id); /* it is empty */
    lose_once();
    network_ledger_write(ledger, &t);
    const uint64_t many = UINT64_MAX;
    ck_assert_int_eq(pwrite(ledger, &many, sizeof many, 4096 + 16), sizeof many);
    succeed(1234);
    ck_assert_uint_eq(t.spent_count, 0);
    lose_once();
    network_ledger_write(ledger, &t);
    ck_assert_int_eq(fchmod(ledger, 0622), 0); /* anybody may have written it */
    succeed(1234);
    ck_assert_uint_eq(t.spent_count, 0);
}
END_TEST

START_TEST(where_there_is_nowhere_to_keep_it_nothing_is_kept) {
    lose_once();
    network_ledger_write(-1, &t);
    network_ledger_read(-1, &t);
    ledger = open("/dev/full", O_RDWR);
    network_ledger_write(ledger, &t);
    succeed(1234);
    ck_assert_uint_eq(t.spent_count, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("network_ledger");
    TCase *c = tcase_create("network_ledger");
    tcase_add_test(c, the_next_scout_goes_on_with_its_ids);
    tcase_add_test(c, of_another_boot_it_says_nothing);
    tcase_add_test(c, nothing_to_be_believed_is_nothing);
    tcase_add_test(c, where_there_is_nowhere_to_keep_it_nothing_is_kept);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

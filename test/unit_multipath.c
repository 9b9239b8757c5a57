/* unit_multipath - the kernel's endpoints are what is offered: in a network namespace of our own. */
#include "multipath_hand.h"
#include "own_world.h"
#include "suite.h"

#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct multipath ours, others;
static int ledger;

static void enter(void) {
    ck_assert(own_world());
    ledger = memfd_create("ledger", MFD_CLOEXEC);
    ck_assert_int_ge(ledger, 0);
    fchmod(ledger, 0600);
    multipath_init(&ours, "scout", ledger);
    multipath_init(&others, "other", -1);
}

static void leave(void) {
    multipath_finish(&ours);
    multipath_finish(&others);
}

static struct multipath_path path(uint8_t last) {
    return (struct multipath_path){
        .address = {.family = AF_INET, .prefix = 24, .preferred = true, .bytes = {192, 0, 2, last}},
        .ifindex = 1};
}

/* What the kernel has, asked anew. */
static struct multipath_list kernels(void) {
    struct multipath eyes = ours;
    eyes.allowed = false;
    multipath_look(&eyes);
    return eyes.there;
}

static const struct multipath_endpoint *found(uint8_t last) {
    static struct multipath_list now;
    now = kernels();
    for (unsigned i = 0; i < now.count; i++)
        if (now.endpoint[i].path.address.bytes[3] == last)
            return &now.endpoint[i];
    return NULL;
}

static uint32_t endpoints(void) {
    return kernels().count;
}

START_TEST(with_the_privilege_the_scout_makes_them) {
    uint32_t count = 9;
    ck_assert_int_eq(multipath_who(&ours, &count), WIRE_MULTIPATH_SCOUT);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(each_address_that_is_offered_is_an_endpoint) {
    const struct fact_address a6 = {
        .family = AF_INET6, .prefix = 64, .preferred = true, .bytes = {0x20, 1, 0xd, 0xb8, [15] = 7}};
    struct multipath_path p[4] = {
        path(1), path(2), {.address = a6, .ifindex = 1}, {.address = a6, .ifindex = 1}};
    uint32_t count;
    p[1].backup = true;
    p[3].address.bytes[15] = 8; /* by the last of its bytes another one */
    multipath_settle(&ours, true, p, 4);
    multipath_who(&ours, &count);
    ck_assert_uint_eq(count, 4);
    ck_assert(found(1) && !found(1)->path.backup && found(1)->path.ifindex == 1);
    ck_assert(found(2) && found(2)->path.backup);
    const struct multipath_list now = kernels();
    ck_assert(memcmp(now.endpoint[2].path.address.bytes, a6.bytes, 16) == 0);
}
END_TEST

START_TEST(what_goes_while_another_is_offered_is_taken_out) {
    const struct multipath_path p[] = {path(1), path(2)};
    multipath_settle(&ours, true, p, 2);
    multipath_settle(&ours, true, p + 1, 1);
    ck_assert(!found(1) && found(2));
    multipath_settle(&ours, true, p, 2);
    ck_assert(found(1) && found(2));
}
END_TEST

START_TEST(the_last_one_stays_when_it_is_lost_and_goes_when_it_is_withdrawn) {
    struct multipath_path p = path(1);
    multipath_settle(&ours, true, &p, 1);
    multipath_settle(&ours, true, NULL, 0);
    ck_assert(found(1) != NULL);
    p.withdrawn = true;
    multipath_settle(&ours, true, &p, 1);
    ck_assert_uint_eq(endpoints(), 0);
}
END_TEST

START_TEST(what_has_changed_is_made_anew) {
    struct multipath_path p = path(1);
    multipath_settle(&ours, true, &p, 1);
    p.backup = true;
    multipath_settle(&ours, true, &p, 1);
    ck_assert_uint_eq(endpoints(), 1);
    ck_assert(found(1)->path.backup);
}
END_TEST

/* Where the kernel has tried in vain it tries again, once. */
START_TEST(what_gets_a_way_out_is_made_anew) {
    struct multipath_path p[] = {path(1), path(2)};
    multipath_settle(&ours, true, p, 2);
    const uint8_t id = found(1)->id;
    p[0].way = true;
    multipath_settle(&ours, true, p, 2);
    ck_assert_uint_eq(endpoints(), 2);
    ck_assert_uint_eq(ours.own[0].path.address.bytes[3], 2); /* the other is behind it now */
    ck_assert_uint_eq(found(1)->id, id);
    p[0].way = false;
    multipath_settle(&ours, true, p, 2);
    p[0].way = true;
    multipath_settle(&ours, true, p, 2);
    ck_assert_uint_eq(ours.own[0].path.address.bytes[3], 2);
}
END_TEST

START_TEST(what_may_yet_get_a_way_out_is_waited_for) {
    struct multipath_path p[] = {path(1), path(2)};
    p[0].way = true;
    multipath_settle(&ours, true, p, 1);
    p[1].young = true;
    multipath_settle(&ours, true, p + 1, 1);
    ck_assert_uint_eq(endpoints(), 1); /* and takes nothing from the one that is there */
    ck_assert(found(1));
    p[1].way = true;
    multipath_settle(&ours, true, p + 1, 1);
    ck_assert(!found(1));
    ck_assert(found(2));
}
END_TEST

START_TEST(loopback_and_link_local_addresses_are_none) {
    const struct multipath_path p[] = {
        {.address = {.family = AF_INET, .prefix = 8, .preferred = true, .bytes = {127, 0, 1, 1}},
         .ifindex = 1},
        {.address = {.family = AF_INET, .prefix = 16, .preferred = true, .bytes = {169, 254, 1, 1}},
         .ifindex = 1},
        {.address = {.family = AF_INET6, .prefix = 64, .preferred = true, .bytes = {0xfe, 0x80, [15] = 1}},
         .ifindex = 1},
    };
    multipath_settle(&ours, true, p, 3);
    ck_assert_uint_eq(endpoints(), 0);
}
END_TEST

START_TEST(those_of_others_are_never_touched) {
    const struct multipath_path p[] = {path(1), path(2)};
    multipath_settle(&others, true, p, 1);
    multipath_settle(&ours, true, p, 2);
    ck_assert_uint_eq(ours.count, 1);
    multipath_settle(&ours, true, p + 1, 1);
    multipath_finish(&ours);
    multipath_init(&ours, "scout", -1);
    ck_assert(found(1) && !found(2));
}
END_TEST

/* Somebody takes ours away, and the kernel gives its number to another. */
START_TEST(a_number_that_is_anothers_by_now_is_left_alone) {
    const struct multipath_path mine = path(1), theirs = path(9);
    struct multipath thief, heir;
    multipath_settle(&ours, true, &mine, 1);
    thief = ours;
    thief.ledger = -1;
    multipath_settle(&thief, false, &mine, 1);
    multipath_init(&heir, "scout", -1);
    multipath_settle(&heir, true, &theirs, 1);
    ck_assert_uint_eq(heir.own[0].id, ours.own[0].id);
    multipath_settle(&ours, false, &mine, 1);
    ck_assert(found(9) != NULL);
    multipath_finish(&heir);
}
END_TEST

static uint32_t limit(void) {
    struct multipath eyes;
    multipath_init(&eyes, "eyes", -1);
    return eyes.limit_before;
}

/* The one before never finished. */
static void killed(void) {
    multipath_init(&ours, "scout", ledger);
}

START_TEST(what_a_killed_scout_has_left_its_successor_takes_back) {
    const struct multipath_path p[] = {path(1), path(2), path(3), path(4)};
    const uint32_t before = limit();
    multipath_settle(&ours, true, p, 4);
    ck_assert_uint_gt(limit(), before);
    killed();
    ck_assert_uint_eq(ours.count, 4);
    multipath_settle(&ours, true, p + 2, 2);
    ck_assert(!found(1) && !found(2) && found(3) && found(4));
    killed();
    multipath_finish(&ours);
    ck_assert_uint_eq(endpoints(), 0);
    ck_assert_uint_eq(limit(), before);
    multipath_init(&ours, "scout", ledger);
    ck_assert_uint_eq(ours.count, 0);
}
END_TEST

START_TEST(another_names_is_not_taken_for_its_own) {
    const struct multipath_path p = path(1);
    multipath_settle(&ours, true, &p, 1);
    multipath_init(&ours, "scout", -1);
    multipath_settle(&ours, false, &p, 1);
    ck_assert(found(1) != NULL);
}
END_TEST

/* The kernel may have given that number to somebody else since, or the address another. */
START_TEST(what_is_not_as_it_was_left_is_others) {
    struct multipath_path p[] = {path(1), path(2), path(3)}, q[] = {path(9), path(2), path(3)};
    multipath_settle(&ours, true, p, 3);
    struct multipath somebody = ours;
    somebody.ledger = -1;
    multipath_settle(&somebody, false, p, 3);
    ck_assert_uint_eq(endpoints(), 0);
    q[1].backup = true;
    multipath_settle(&somebody, true, q, 3);
    ck_assert_uint_eq(found(9)->id, ours.own[0].id);
    killed();
    ck_assert_uint_eq(ours.count, 1);
    multipath_settle(&ours, false, p, 3);
    ck_assert(found(9) && found(2) && !found(3));
}
END_TEST

/* Mark, namespace and count; a file that others may write. */
START_TEST(a_ledger_that_is_none_is_not_believed) {
    const struct multipath_path p = path(1);
    const size_t at[] = {0, 8, 27};
    char bytes[512];
    multipath_settle(&ours, true, &p, 1);
    const ssize_t size = pread(ledger, bytes, sizeof bytes, 0);
    ck_assert_int_gt(size, 64);
    for (size_t i = 0; i < 3; i++) {
        const char other = (char)(bytes[at[i]] ^ 0x40);
        ck_assert_int_eq(pwrite(ledger, bytes, (size_t)size, 0), size);
        ck_assert_int_eq(pwrite(ledger, &other, 1, (off_t)at[i]), 1);
        killed();
        ck_assert_uint_eq(ours.count, 0);
    }
    ck_assert_int_eq(pwrite(ledger, bytes, (size_t)size, 0), size);
    ck_assert_int_eq(ftruncate(ledger, size - 1), 0);
    killed();
    ck_assert_uint_eq(ours.count, 0);
    ck_assert_int_eq(pwrite(ledger, bytes, (size_t)size, 0), size);
    ck_assert_int_eq(fchmod(ledger, 0666), 0);
    killed();
    ck_assert_uint_eq(ours.count, 0);
    ck_assert_int_eq(pwrite(ledger, bytes, (size_t)size, 0), size);
    ck_assert_int_eq(fchmod(ledger, 0600), 0);
    killed();
    ck_assert_uint_eq(ours.count, 1);
}
END_TEST

START_TEST(the_kernels_limit_is_raised_as_needed_and_given_back) {
    const struct multipath_path p[] = {path(1), path(2), path(3), path(4)};
    const uint32_t before = limit();
    ck_assert_uint_lt(before, 4);
    multipath_settle(&ours, true, p, 4);
    ck_assert_uint_eq(limit(), 4);
    multipath_finish(&ours);
    ck_assert_uint_eq(limit(), before);
    ck_assert_uint_eq(endpoints(), 0);
}
END_TEST

START_TEST(more_than_the_kernel_has_room_for_is_no_error) {
    struct multipath_path p[12];
    for (uint8_t i = 0; i < 12; i++)
        p[i] = path((uint8_t)(i + 1));
    multipath_settle(&ours, true, p, 12);
    ck_assert_uint_eq(endpoints(), MULTIPATH_MAX);
    multipath_settle(&ours, true, p + 6, 6);
    ck_assert_uint_eq(endpoints(), 6);
}
END_TEST

START_TEST(with_mptcp_no_there_are_none_of_ours) {
    const struct multipath_path p[] = {path(1), path(2), path(3)};
    const uint32_t before = limit();
    uint32_t count;
    multipath_settle(&ours, true, p, 3);
    multipath_settle(&ours, false, p, 3);
    ck_assert_int_eq(multipath_who(&ours, &count), WIRE_MULTIPATH_KERNEL);
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(limit(), before);
}
END_TEST

START_TEST(without_the_privilege_what_others_have_made_is_seen) {
    const struct multipath_path p[] = {path(1), path(2)};
    uint32_t count;
    ours.allowed = false;
    multipath_settle(&ours, true, p, 2);
    ck_assert_int_eq(multipath_who(&ours, &count), WIRE_MULTIPATH_KERNEL);
    ck_assert_uint_eq(count, 0);
    multipath_settle(&others, true, p, 1);
    ck_assert(!multipath_reaches(&ours, &p[0].address));
    ck_assert(multipath_look(&ours));
    ck_assert(!multipath_look(&ours));
    ck_assert(multipath_reaches(&ours, &p[0].address));
    ck_assert(!multipath_reaches(&ours, &p[1].address));
}
END_TEST

/* ---- on a thread of its own ---- */

static struct multipath_hand hand;

static bool becomes(uint8_t last, bool there) {
    for (int i = 0; i < 120000; i++, usleep(1000))
        if ((found(last) != NULL) == there)
            return true;
    return false;
}

START_TEST(a_hand_does_what_is_asked_last_and_takes_it_back_at_the_end) {
    const struct multipath_path p[] = {path(1), path(2)};
    uint32_t count;
    multipath_hand_init(&hand, "hand", -1);
    for (int i = 0; i < 100; i++)
        multipath_hand_settle(&hand, true, p + i % 2, 1);
    ck_assert(becomes(2, true) && becomes(1, false));
    ck_assert_int_eq(multipath_who(&hand.eyes, &count), WIRE_MULTIPATH_SCOUT);
    ck_assert_uint_eq(count, 1);
    multipath_hand_finish(&hand);
    ck_assert_uint_eq(endpoints(), 0);
}
END_TEST

/* Each that is taken back costs the kernel some milliseconds, which the loop has not. */
START_TEST(a_hand_keeps_nobody_waiting_who_asks_for_much) {
    const struct multipath_path p[] = {path(1), path(2)};
    multipath_hand_init(&hand, "hand", -1);
    for (int i = 0; i < 10000; i++)
        multipath_hand_settle(&hand, true, p + i % 2, 1);
    ck_assert(becomes(2, true));
    multipath_hand_finish(&hand);
}
END_TEST

/* 0 good, 77 cannot be run here. */
static int possible(void) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        uint32_t count;
        if (!own_world())
            _exit(77);
        multipath_init(&ours, "scout", -1);
        _exit(multipath_who(&ours, &count) == WIRE_MULTIPATH_SCOUT ? 0 : 77);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 77;
}

int main(void) {
    if (possible() != 0) {
        fputs("no namespaces, or no Multipath TCP in this kernel\n", stderr);
        return 77;
    }
    Suite *suite = suite_create("multipath");
    TCase *c = tcase_create("multipath");
    tcase_add_checked_fixture(c, enter, leave);
    tcase_add_test(c, with_the_privilege_the_scout_makes_them);
    tcase_add_test(c, each_address_that_is_offered_is_an_endpoint);
    tcase_add_test(c, what_goes_while_another_is_offered_is_taken_out);
    tcase_add_test(c, the_last_one_stays_when_it_is_lost_and_goes_when_it_is_withdrawn);
    tcase_add_test(c, what_has_changed_is_made_anew);
    tcase_add_test(c, what_gets_a_way_out_is_made_anew);
    tcase_add_test(c, what_may_yet_get_a_way_out_is_waited_for);
    tcase_add_test(c, loopback_and_link_local_addresses_are_none);
    tcase_add_test(c, those_of_others_are_never_touched);
    tcase_add_test(c, a_number_that_is_anothers_by_now_is_left_alone);
    tcase_add_test(c, what_a_killed_scout_has_left_its_successor_takes_back);
    tcase_add_test(c, another_names_is_not_taken_for_its_own);
    tcase_add_test(c, what_is_not_as_it_was_left_is_others);
    tcase_add_test(c, a_ledger_that_is_none_is_not_believed);
    tcase_add_test(c, the_kernels_limit_is_raised_as_needed_and_given_back);
    tcase_add_test(c, more_than_the_kernel_has_room_for_is_no_error);
    tcase_add_test(c, with_mptcp_no_there_are_none_of_ours);
    tcase_add_test(c, a_hand_does_what_is_asked_last_and_takes_it_back_at_the_end);
    tcase_add_test(c, a_hand_keeps_nobody_waiting_who_asks_for_much);
    tcase_add_test(c, without_the_privilege_what_others_have_made_is_seen);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

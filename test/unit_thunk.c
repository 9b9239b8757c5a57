/* unit_thunk - the deferred work of one socket: its order, its front, its label sets, and who gets it. */
#include "suite.h"
#include "thunk.h"

#include <check.h>
#include <errno.h>
#include <malloc.h>

enum { RED = 1, BLUE = 2, MILLION = 1000000 };

static struct thunk_queue q;

static void end(void) {
    thunk_finish(&q);
}

/* Never called: the noun hands handlers out and runs none. */
static void must_not_run(void *arg) {
    ck_abort_msg("thunk %ld was run", (long)arg);
}
static void another(void *arg) {
    must_not_run(arg);
}

/* Check writes down every assertion: a million of them say only what fails. */
static void push(uint64_t labels, long number) {
    if (thunk_push(&q, labels, must_not_run, (void *)number) != 0)
        ck_abort_msg("pushing %ld failed", number);
}

static void push_front(struct thunk_front *f, uint64_t labels, long number) {
    if (thunk_push_front(&q, f, labels, must_not_run, (void *)number) != 0)
        ck_abort_msg("pushing %ld in front failed", number);
}

static long take(uint64_t labels) {
    struct thunk_set *set = thunk_find(&q, labels);
    if (!set)
        return -1;
    struct thunk *t = thunk_take(&q, set);
    if (t->handler != must_not_run || t->next)
        ck_abort_msg("%ld was handed out with something else", (long)t->arg);
    long number = (long)t->arg;
    thunk_free(t);
    return number;
}

static bool anything(void *context, uint64_t labels) {
    (void)context;
    (void)labels;
    return true;
}

static bool only(void *context, uint64_t labels) {
    return *(uint64_t *)context == labels;
}

static long take_oldest(void) {
    struct thunk_set *set = thunk_oldest(&q, anything, NULL);
    return set ? take(set->labels) : -1;
}

START_TEST(thunks_of_one_label_set_go_in_the_order_they_were_deferred) {
    for (long i = 0; i < 100; i++)
        push(RED, i);
    for (long i = 0; i < 100; i++)
        ck_assert_int_eq(take(RED), i);
    ck_assert_int_eq(take(RED), -1);
}
END_TEST

START_TEST(an_empty_queue_holds_nothing_and_finds_nothing) {
    ck_assert_uint_eq(q.count, 0);
    ck_assert_ptr_null(thunk_find(&q, RED));
    ck_assert_ptr_null(thunk_oldest(&q, anything, NULL));
    ck_assert_ptr_null(thunk_take_all(&q, NULL));
}
END_TEST

START_TEST(label_sets_are_told_apart_by_all_their_bits) {
    push(RED, 1);
    push(RED | BLUE, 2);
    push(RED | 1ULL << 63, 3);
    push(0, 4);
    ck_assert_int_eq(take(BLUE), -1);
    ck_assert_int_eq(take(RED | 1ULL << 63), 3);
    ck_assert_int_eq(take(0), 4);
    ck_assert_int_eq(take(RED | BLUE), 2);
    ck_assert_int_eq(take(RED), 1);
}
END_TEST

START_TEST(among_several_sets_the_oldest_goes_first) {
    push(BLUE, 1);
    push(RED, 2);
    push(BLUE, 3);
    push(RED, 4);
    for (long i = 1; i <= 4; i++)
        ck_assert_int_eq(take_oldest(), i);
}
END_TEST

START_TEST(a_set_that_cannot_run_is_passed_over) {
    uint64_t labels = RED;
    push(BLUE, 1);
    push(RED, 2);
    ck_assert_uint_eq(thunk_oldest(&q, only, &labels)->labels, RED);
    ck_assert_int_eq(take(RED), 2);
    ck_assert_ptr_null(thunk_oldest(&q, only, &labels));
}
END_TEST

START_TEST(an_emptied_set_is_not_found_and_can_be_filled_again) {
    push(RED, 1);
    ck_assert_int_eq(take(RED), 1);
    ck_assert_ptr_null(thunk_find(&q, RED));
    ck_assert_ptr_null(thunk_oldest(&q, anything, NULL));
    push(RED, 2);
    ck_assert_int_eq(take(RED), 2);
}
END_TEST

START_TEST(what_a_running_thunk_defers_again_goes_to_the_front_in_its_order) {
    push(RED, 10);
    push(RED, 11);
    struct thunk_front f = thunk_run_begins(&q);
    push_front(&f, RED, 1);
    push_front(&f, RED, 2);
    push_front(&f, RED, 3);
    push(RED, 12);
    const long order[] = {1, 2, 3, 10, 11, 12, -1};
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(take(RED), order[i]);
}
END_TEST

START_TEST(a_later_run_goes_before_what_an_earlier_one_deferred) {
    push(RED, 10);
    struct thunk_front first = thunk_run_begins(&q);
    push_front(&first, RED, 5);
    push_front(&first, RED, 6);
    ck_assert_int_eq(take(RED), 5);
    struct thunk_front second = thunk_run_begins(&q);
    push_front(&second, RED, 1);
    push_front(&second, RED, 2);
    const long order[] = {1, 2, 6, 10, -1};
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(take(RED), order[i]);
}
END_TEST

START_TEST(the_front_counts_across_label_sets) {
    push(RED, 10);
    struct thunk_front f = thunk_run_begins(&q);
    push_front(&f, BLUE, 1);
    ck_assert_int_eq(take_oldest(), 1);
    ck_assert_int_eq(take_oldest(), 10);
}
END_TEST

START_TEST(what_was_put_in_front_of_an_empty_set_can_be_followed) {
    struct thunk_front f = thunk_run_begins(&q);
    push_front(&f, RED, 1);
    push(RED, 2);
    push(RED, 3);
    for (long i = 1; i <= 3; i++)
        ck_assert_int_eq(take(RED), i);
}
END_TEST

START_TEST(what_was_put_in_front_and_went_is_no_place_for_the_next) {
    push(RED, 10);
    struct thunk_front f = thunk_run_begins(&q);
    push_front(&f, RED, 1);
    ck_assert_int_eq(take(RED), 1);
    push_front(&f, BLUE, 20); /* where the first of RED was */
    push_front(&f, RED, 2);
    const long order[] = {2, 10, -1};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(take(RED), order[i]);
    ck_assert_int_eq(take(BLUE), 20);
}
END_TEST

START_TEST(cancelling_takes_out_every_thunk_with_that_handler_and_no_other) {
    for (long i = 0; i < 10; i++) {
        push(i % 2 ? RED : BLUE, i);
        ck_assert_int_eq(thunk_push(&q, i % 2 ? RED : BLUE, another, (void *)(100 + i)), 0);
    }
    int count = 0;
    struct thunk *out = thunk_take_all(&q, another);
    for (struct thunk *t = out; t; t = t->next, count++)
        ck_assert(t->handler == another && (long)t->arg >= 100);
    thunk_free_list(out);
    ck_assert_int_eq(count, 10);
    ck_assert_uint_eq(q.count, 10);
    ck_assert_uint_eq(thunk_find(&q, RED)->count, 5);
    ck_assert_uint_eq(thunk_find(&q, BLUE)->count, 5);
    push(RED, 50); /* the last one's place is known again */
    for (long i = 0; i < 10; i++)
        ck_assert_int_eq(take_oldest(), i);
    ck_assert_int_eq(take_oldest(), 50);
}
END_TEST

START_TEST(cancelling_without_a_handler_takes_all_out) {
    push(RED, 1);
    push(BLUE, 2);
    ck_assert_int_eq(thunk_push(&q, RED, another, NULL), 0);
    struct thunk *out = thunk_take_all(&q, NULL);
    ck_assert_ptr_nonnull(out->next->next);
    ck_assert_ptr_null(out->next->next->next);
    thunk_free_list(out);
    ck_assert_uint_eq(q.count, 0);
    ck_assert_int_eq(take_oldest(), -1);
}
END_TEST

START_TEST(the_count_is_of_all_sets) {
    push(RED, 1);
    push(BLUE, 2);
    struct thunk_front f = thunk_run_begins(&q);
    push_front(&f, RED, 3);
    ck_assert_uint_eq(q.count, 3);
    ck_assert_uint_eq(thunk_find(&q, RED)->count, 2);
    take(RED);
    ck_assert_uint_eq(q.count, 2);
    ck_assert_uint_eq(thunk_find(&q, RED)->count, 1);
}
END_TEST

START_TEST(a_million_thunks_keep_their_order) {
    for (long i = 0; i < MILLION; i++)
        push(i & 1 ? RED : BLUE, i);
    ck_assert_uint_eq(q.count, MILLION);
    for (long i = 0; i < MILLION; i++)
        if (take_oldest() != i)
            ck_abort_msg("%ld came out of order", i);
}
END_TEST

START_TEST(a_run_may_defer_a_million_thunks_again) {
    push(RED, MILLION);
    struct thunk_front f = thunk_run_begins(&q);
    for (long i = 0; i < MILLION; i++)
        push_front(&f, RED, i);
    for (long i = 0; i <= MILLION; i++)
        if (take(RED) != i)
            ck_abort_msg("%ld came out of order", i);
}
END_TEST

START_TEST(a_million_runs_that_defer_again_keep_the_one_at_the_front) {
    push(RED, 0);
    push(RED, 1);
    for (long i = 0; i < MILLION; i++) {
        if (take(RED) != 0)
            ck_abort_msg("overtaken in run %ld", i);
        struct thunk_front f = thunk_run_begins(&q);
        push_front(&f, RED, 0);
    }
    ck_assert_uint_eq(q.count, 2);
}
END_TEST

START_TEST(a_cancelled_thunk_in_front_leaves_no_gap_for_the_next) {
    push(RED, 10);
    struct thunk_front f = thunk_run_begins(&q);
    push_front(&f, RED, 1);
    ck_assert_int_eq(thunk_push_front(&q, &f, RED, another, NULL), 0);
    thunk_free_list(thunk_take_all(&q, another));
    push_front(&f, RED, 2);
    for (long i = 1; i <= 2; i++)
        ck_assert_int_eq(take(RED), i);
    push_front(&f, RED, 3);
    ck_assert_int_eq(take(RED), 3);
    ck_assert_int_eq(take(RED), 10);
}
END_TEST

START_TEST(finishing_drops_everything_and_leaves_an_empty_queue) {
    push(RED, 1);
    push(BLUE, 2);
    thunk_finish(&q);
    ck_assert_uint_eq(q.count, 0);
    ck_assert_ptr_null(q.sets);
    push(RED, 3);
    ck_assert_int_eq(take(RED), 3);
}
END_TEST

START_TEST(the_memory_of_those_that_went_is_given_back) {
    const size_t before = mallinfo2().uordblks;
    for (long i = 0; i < MILLION; i++)
        push(RED, i);
    for (long i = 0; i < MILLION / 2; i++)
        take(RED);
    for (long i = 0; i < MILLION; i++)
        push(BLUE, i);
    thunk_free_list(thunk_take_all(&q, NULL));
    ck_assert_ptr_null(thunk_find(&q, RED));
    ck_assert_uint_le(mallinfo2().uordblks, before + (1 << 20));
    push(RED, 1);
    ck_assert_int_eq(take(RED), 1);
    end();
}
END_TEST

int main(void) {
    TCase *t = tcase_create("thunk");
    Suite *s = suite_create("thunk");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, NULL, end);
    tcase_add_test(t, thunks_of_one_label_set_go_in_the_order_they_were_deferred);
    tcase_add_test(t, an_empty_queue_holds_nothing_and_finds_nothing);
    tcase_add_test(t, label_sets_are_told_apart_by_all_their_bits);
    tcase_add_test(t, among_several_sets_the_oldest_goes_first);
    tcase_add_test(t, a_set_that_cannot_run_is_passed_over);
    tcase_add_test(t, an_emptied_set_is_not_found_and_can_be_filled_again);
    tcase_add_test(t, what_a_running_thunk_defers_again_goes_to_the_front_in_its_order);
    tcase_add_test(t, a_later_run_goes_before_what_an_earlier_one_deferred);
    tcase_add_test(t, the_front_counts_across_label_sets);
    tcase_add_test(t, what_was_put_in_front_of_an_empty_set_can_be_followed);
    tcase_add_test(t, what_was_put_in_front_and_went_is_no_place_for_the_next);
    tcase_add_test(t, cancelling_takes_out_every_thunk_with_that_handler_and_no_other);
    tcase_add_test(t, cancelling_without_a_handler_takes_all_out);
    tcase_add_test(t, the_count_is_of_all_sets);
    tcase_add_test(t, a_million_thunks_keep_their_order);
    tcase_add_test(t, a_run_may_defer_a_million_thunks_again);
    tcase_add_test(t, a_million_runs_that_defer_again_keep_the_one_at_the_front);
    tcase_add_test(t, a_cancelled_thunk_in_front_leaves_no_gap_for_the_next);
    tcase_add_test(t, finishing_drops_everything_and_leaves_an_empty_queue);
    tcase_add_test(t, the_memory_of_those_that_went_is_given_back);
    return suite_run(s);
}

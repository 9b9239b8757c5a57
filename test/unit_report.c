/* unit_report - what waits in this process, as the scout is told. */
#include "report.h"
#include "sock.h"
#include "suite.h"

#include <check.h>

static struct wait_list lookups;
static struct waiter waiters[2 * WIRE_WANTS];
static unsigned nwaiters;

/* Waits in that list as a call would. */
static struct waiter *waits(struct wait_list *list, uint64_t labels, uint64_t since_ms) {
    struct waiter *w = &waiters[nwaiters++];
    w->of = (struct wait){.labels = labels, .since_ms = since_ms, .network = true};
    w->next = list->first;
    list->first = w;
    return w;
}

static struct sock *waiting(int fd, uint64_t labels, uint64_t since_ms) {
    struct sock *s = sock_new(fd, SOCK_LABELED, AF_INET, SOCK_STREAM, 0);
    ck_assert_ptr_nonnull(s);
    s->state = LIFE_WAITING;
    s->labels = labels;
    s->waiting_since = since_ms;
    return s;
}

static void nothing(void *unused) {
    (void)unused;
}

static void assert_wants(const struct wire_want *w, uint64_t labels, unsigned count, uint64_t since_ms) {
    ck_assert_uint_eq(w->labels, labels);
    ck_assert_uint_eq(w->count, count);
    ck_assert_uint_eq(w->since_ms, since_ms);
}

START_TEST(where_there_is_nothing_nothing_is_told) {
    struct wire_report r = report_of(&lookups);
    ck_assert(report_is_empty(&r));
    r.left[0][0] = 'x';
    ck_assert(!report_is_empty(&r));
    struct sock *s = waiting(5, 1, 1);
    s->state = LIFE_LIVE;
    r = report_of(&lookups);
    ck_assert_uint_eq(r.count, 0);
    ck_assert_uint_eq(r.sockets, 1);
    ck_assert(!report_is_empty(&r));
}
END_TEST

START_TEST(a_lookup_waits_without_a_socket) {
    waits(&lookups, 8, 70);
    const struct wire_report r = report_of(&lookups);
    ck_assert(!report_is_empty(&r));
    ck_assert_uint_eq(r.count, 1);
    ck_assert_uint_eq(r.sockets, 0);
    assert_wants(&r.wants[0], 8, 1, 70);
}
END_TEST

START_TEST(wishes_for_the_same_labels_are_one_as_old_as_the_oldest) {
    struct sock *s = waiting(5, 1, 90);
    waits(&s->waiters, 8, 80);
    waits(&s->waiters, 8, 60);
    waits(&lookups, 8, 70);
    const struct wire_report r = report_of(&lookups);
    ck_assert_uint_eq(r.count, 1);
    assert_wants(&r.wants[0], 8, 3, 60);
}
END_TEST

START_TEST(who_was_woken_in_vain_waits_no_less_long_for_that) {
    struct sock *s = waiting(5, 1, 50);
    waits(&s->waiters, 8, 80);
    assert_wants(&report_of(&lookups).wants[0], 8, 1, 50);
    s->state = LIFE_LIVE; /* it waits for another network, and since it asked for it */
    assert_wants(&report_of(&lookups).wants[0], 8, 1, 80);
}
END_TEST

START_TEST(a_wait_for_the_peer_is_none_for_a_network) {
    struct sock *s = waiting(5, 1, 50);
    waits(&s->waiters, 1, 50)->of.network = false;
    ck_assert_uint_eq(report_of(&lookups).count, 0);
}
END_TEST

START_TEST(a_socket_that_waits_by_itself_wants_its_last_labels) {
    waiting(5, 4, 50);
    waiting(6, 0, 60)->state = LIFE_FRESH;
    const struct wire_report r = report_of(&lookups);
    ck_assert_uint_eq(r.sockets, 2);
    ck_assert_uint_eq(r.count, 1);
    assert_wants(&r.wants[0], 4, 1, 50);
}
END_TEST

START_TEST(thunks_want_what_they_were_deferred_for) {
    struct sock *s = waiting(5, 4, 50);
    thunk_push(&s->thunks, 8, nothing, NULL);
    thunk_push(&s->thunks, 8, nothing, NULL);
    thunk_push(&s->thunks, 1, nothing, NULL);
    thunk_free(thunk_take(&s->thunks, thunk_find(&s->thunks, 1)));
    const struct wire_report r = report_of(&lookups);
    ck_assert_uint_eq(r.thunks, 2);
    ck_assert_uint_eq(r.count, 1);
    assert_wants(&r.wants[0], 8, 2, 50);
}
END_TEST

START_TEST(a_connection_that_the_kernel_has_no_network_for_wants_any) {
    struct sock *s = waiting(5, 4, 50);
    s->state = LIFE_LIVE;
    s->adrift = true;
    const struct wire_report r = report_of(&lookups);
    ck_assert_uint_eq(r.count, 1);
    assert_wants(&r.wants[0], 0, 1, 50);
}
END_TEST

START_TEST(more_wishes_than_there_is_room_for_are_left_out) {
    for (unsigned i = 0; i < WIRE_WANTS + 2; i++)
        waits(&lookups, UINT64_C(1) << i, 50);
    waits(&lookups, UINT64_C(1) << 2, 40);
    ck_assert_uint_eq(report_of(&lookups).count, WIRE_WANTS);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("report");
    TCase *c = tcase_create("report");
    tcase_add_test(c, where_there_is_nothing_nothing_is_told);
    tcase_add_test(c, a_lookup_waits_without_a_socket);
    tcase_add_test(c, wishes_for_the_same_labels_are_one_as_old_as_the_oldest);
    tcase_add_test(c, who_was_woken_in_vain_waits_no_less_long_for_that);
    tcase_add_test(c, a_wait_for_the_peer_is_none_for_a_network);
    tcase_add_test(c, a_socket_that_waits_by_itself_wants_its_last_labels);
    tcase_add_test(c, thunks_want_what_they_were_deferred_for);
    tcase_add_test(c, a_connection_that_the_kernel_has_no_network_for_wants_any);
    tcase_add_test(c, more_wishes_than_there_is_room_for_are_left_out);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

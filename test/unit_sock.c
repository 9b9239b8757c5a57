/* unit_sock - the records of managed sockets: found by every number they have, used again, and what epoll
 * sets know of them. */
#include "sock.h"
#include "suite.h"

#include <check.h>
#include <string.h>

static int count_open(void) {
    int count = 0;
    for (struct sock *s = sock_first(); s; s = s->next)
        count++;
    return count;
}

static struct sock *labeled(int fd) {
    struct sock *s = sock_new(fd, SOCK_LABELED, AF_INET, SOCK_STREAM, 0);
    ck_assert_ptr_nonnull(s);
    return s;
}

/* As the doors close a number. */
static bool close_number(struct sock *s, int fd) {
    bool last = sock_forget(s, fd);
    sock_put(s);
    return last;
}

START_TEST(a_number_nobody_gave_us_is_not_ours) {
    const int numbers[] = {-1,
                           0,
                           5,
                           SOCK_LOW - 1,
                           SOCK_LOW,
                           SOCK_PAGE,
                           1 << 20,
                           SOCK_PAGE * SOCK_PAGES - 1,
                           SOCK_PAGE * SOCK_PAGES,
                           0x7fffffff,
                           (int)0x80000000};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ck_assert_ptr_null(sock_find(numbers[i]));
}
END_TEST

START_TEST(a_record_is_found_by_its_number_low_or_high) {
    const int numbers[] = {0,
                           3,
                           SOCK_LOW - 1,
                           SOCK_LOW,
                           SOCK_PAGE,
                           1 << 20,
                           1000000,
                           SOCK_PAGE * SOCK_PAGES - 1,
                           4095,
                           SOCK_PAGE + SOCK_LOW};
    struct sock *made[10];
    for (int i = 0; i < 10; i++)
        made[i] = labeled(numbers[i]);
    for (int i = 0; i < 10; i++)
        ck_assert_ptr_eq(sock_find(numbers[i]), made[i]);
    ck_assert_int_eq(count_open(), 10);
    for (int i = 0; i < 10; i++)
        ck_assert(close_number(made[i], numbers[i]));
    for (int i = 0; i < 10; i++)
        ck_assert_ptr_null(sock_find(numbers[i]));
    ck_assert_int_eq(count_open(), 0);
}
END_TEST

START_TEST(numbers_that_have_a_record_are_found_in_order) {
    const unsigned numbers[] = {3, SOCK_LOW - 1, SOCK_LOW, SOCK_PAGE + 7, SOCK_PAGE * SOCK_PAGES - 1};
    unsigned at = 0;
    ck_assert_uint_eq(sock_next(0, ~0U), ~0U);
    for (int i = 0; i < 5; i++)
        labeled((int)numbers[i]);
    for (int i = 0; i < 5; i++, at++) {
        at = sock_next(at, ~0U);
        ck_assert_uint_eq(at, numbers[i]);
    }
    ck_assert_uint_eq(sock_next(at, ~0U), ~0U);
    ck_assert_uint_eq(sock_next(0, 3), 3);
    ck_assert_uint_eq(sock_next(4, SOCK_LOW - 1), SOCK_LOW - 1);
    ck_assert_uint_eq(sock_next(SOCK_LOW + 1, SOCK_LOW + 9), SOCK_LOW + 9);
    ck_assert_uint_eq(sock_next(5, 5), 5);
}
END_TEST

START_TEST(that_epolls_events_must_be_looked_at_is_noted) {
    struct sock *s = labeled(3), *other = labeled(4);
    const struct epoll_event level = {.events = EPOLLIN}, once = {.events = EPOLLIN | EPOLLONESHOT};
    sock_watch(s, 9, EPOLL_CTL_ADD, 3, &level);
    ck_assert(!sock_noted);
    sock_watch(s, 9, EPOLL_CTL_MOD, 3, &once);
    ck_assert(sock_noted);
    sock_noted = false;
    sock_cut(other);
    ck_assert(sock_noted);
    sock_noted = false; /* it is in no set yet */
    sock_watch(other, 9, EPOLL_CTL_ADD, 4, &level);
    ck_assert(sock_noted);
}
END_TEST

START_TEST(a_number_beyond_the_table_is_refused_and_left_alone) {
    ck_assert_ptr_null(sock_new(SOCK_PAGE * SOCK_PAGES, SOCK_LABELED, AF_INET, SOCK_STREAM, 0));
    ck_assert_ptr_null(sock_new(-1, SOCK_LABELED, AF_INET, SOCK_STREAM, 0));
    ck_assert_int_eq(count_open(), 0);
    struct sock *s = labeled(4);
    ck_assert_int_lt(sock_alias(s, SOCK_PAGE * SOCK_PAGES), 0);
    ck_assert_uint_eq(s->nfds, 1);
    ck_assert_uint_eq(s->refs, 1);
}
END_TEST

START_TEST(a_new_record_is_fresh_silent_and_for_ever_patient) {
    struct sock *s = sock_new(9, SOCK_CAPTURED, AF_INET6, SOCK_DGRAM, 17);
    ck_assert_int_eq(s->kind, SOCK_CAPTURED);
    ck_assert_int_eq(s->state, LIFE_FRESH);
    ck_assert_int_eq(s->family, AF_INET6);
    ck_assert_int_eq(s->protocol, 17);
    ck_assert(!sock_stream(s));
    ck_assert(s->patient);
    ck_assert_int_eq(s->hidden, -1);
    ck_assert_int_eq(s->ready_fd, -1);
    ck_assert_uint_eq(s->clear, 0);
    ck_assert(!s->direct);
    ck_assert_uint_eq(s->nfds, 1);
    ck_assert_int_eq(s->fds[0], 9);
}
END_TEST

START_TEST(several_numbers_lead_to_one_record_until_the_last_is_closed) {
    struct sock *s = labeled(3);
    ck_assert_int_eq(sock_alias(s, 2000), 0);
    ck_assert_int_eq(sock_alias(s, 5), 0);
    ck_assert_ptr_eq(sock_find(2000), s);
    ck_assert_ptr_eq(sock_find(5), s);
    ck_assert(!close_number(s, 3));
    ck_assert_ptr_null(sock_find(3));
    ck_assert_int_eq(s->fds[0], 2000); /* the oldest that is left */
    ck_assert_int_eq(s->fds[1], 5);
    ck_assert(!close_number(s, 2000));
    ck_assert_int_eq(count_open(), 1);
    ck_assert(close_number(s, 5));
    ck_assert_int_eq(count_open(), 0);
}
END_TEST

START_TEST(forgetting_a_number_that_is_not_its_own_changes_nothing) {
    struct sock *s = labeled(3), *other = labeled(4);
    ck_assert(!sock_forget(s, 4));
    ck_assert(!sock_forget(s, 77));
    ck_assert_ptr_eq(sock_find(4), other);
    ck_assert_uint_eq(s->nfds, 1);
    ck_assert_int_eq(count_open(), 2);
}
END_TEST

START_TEST(a_number_taken_over_by_another_record_is_not_taken_away_from_it) {
    struct sock *s = labeled(3);
    struct sock *other = labeled(4);
    ck_assert_int_eq(sock_alias(other, 3), 0); /* dup2 of 4 over 3, seen before the close of the old 3 */
    ck_assert(sock_forget(s, 3));
    ck_assert_ptr_eq(sock_find(3), other);
}
END_TEST

START_TEST(whoever_holds_a_reference_keeps_the_record) {
    struct sock *s = labeled(3);
    sock_get(s);
    ck_assert(close_number(s, 3));
    struct sock *next = labeled(3);
    ck_assert_ptr_ne(next, s);
    sock_put(s);
    ck_assert_ptr_eq(sock_find(3), next);
    ck_assert_ptr_eq(labeled(4), s);
}
END_TEST

START_TEST(a_record_used_again_remembers_nothing_but_that_it_changed) {
    struct sock *s = labeled(3);
    const int one = 1;
    const struct epoll_event event = {.events = EPOLLIN};
    const uint32_t swaps = s->swaps;
    ck_assert_int_eq(thunk_push(&s->thunks, 1, NULL, NULL), 0);
    ck_assert_int_eq(options_put(&s->options, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
    ck_assert_int_eq(stash_push(&s->unread, "a", 1), 0);
    ck_assert_int_eq(stash_push(&s->sent, "b", 1), 0);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_ADD, 3, &event), 0);
    ck_assert(sock_turn(s, LIFE_CONNECT));
    s->labels = 7;
    s->clear = 9;
    ck_assert(close_number(s, 3));
    struct sock *again = labeled(8);
    ck_assert_ptr_eq(again, s);
    ck_assert_uint_eq(again->thunks.count, 0);
    ck_assert_ptr_null(again->thunks.sets);
    ck_assert_ptr_null(again->options.first);
    ck_assert_ptr_null(again->unread.first);
    ck_assert_ptr_null(again->sent.first);
    ck_assert_uint_eq(again->nwatches, 0);
    ck_assert_int_eq(again->state, LIFE_FRESH);
    ck_assert_uint_eq(again->labels, 0);
    ck_assert_uint_eq(again->clear, 0);
    ck_assert_uint_ne(again->swaps, swaps); /* a call begun on the old one sees that it was overtaken */
}
END_TEST

START_TEST(many_sockets_come_and_go_in_any_order) {
    struct sock *s[300];
    for (int i = 0; i < 300; i++)
        s[i] = labeled(900 + i);
    for (int i = 0; i < 300; i++)
        ck_assert(close_number(s[i * 7 % 300], 900 + i * 7 % 300));
    ck_assert_int_eq(count_open(), 0);
}
END_TEST

START_TEST(the_machine_refuses_what_has_no_meaning) {
    struct sock *s = labeled(3);
    ck_assert(!sock_turn(s, LIFE_CONNECTED));
    ck_assert_int_eq(s->state, LIFE_FRESH);
    ck_assert(sock_turn(s, LIFE_CONNECT));
    ck_assert_int_eq(s->state, LIFE_WAITING);
}
END_TEST

/* ---- epoll sets ---- */

static const struct epoll_event in = {.events = EPOLLIN, .data.u64 = 11};
static const struct epoll_event out = {.events = EPOLLOUT | EPOLLET, .data.u64 = 22};

START_TEST(a_registration_is_remembered_as_the_program_asked) {
    struct sock *s = labeled(3);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_ADD, 3, &in), 0);
    ck_assert_int_eq(sock_watch(s, 51, EPOLL_CTL_ADD, 3, &out), 0);
    ck_assert_uint_eq(s->nwatches, 2);
    ck_assert_int_eq(s->watches[0].epfd, 50);
    ck_assert_uint_eq(s->watches[0].event.data.u64, 11);
    ck_assert_uint_eq(s->watches[1].event.events, EPOLLOUT | EPOLLET);
}
END_TEST

START_TEST(a_changed_registration_is_armed_again) {
    struct sock *s = labeled(3);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_ADD, 3, &in), 0);
    s->watches[0].disarmed = true;
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_MOD, 3, &out), 0);
    ck_assert_uint_eq(s->nwatches, 1);
    ck_assert_uint_eq(s->watches[0].event.data.u64, 22);
    ck_assert(!s->watches[0].disarmed);
}
END_TEST

START_TEST(a_removed_registration_is_gone_and_the_others_stay) {
    struct sock *s = labeled(3);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_ADD, 3, &in), 0);
    ck_assert_int_eq(sock_watch(s, 51, EPOLL_CTL_ADD, 3, &in), 0);
    ck_assert_int_eq(sock_watch(s, 52, EPOLL_CTL_ADD, 3, &in), 0);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_DEL, 3, NULL), 0);
    ck_assert_int_eq(sock_watch(s, 99, EPOLL_CTL_DEL, 3, NULL), 0);
    ck_assert_uint_eq(s->nwatches, 2);
    ck_assert_int_eq(s->watches[0].epfd + s->watches[1].epfd, 51 + 52);
}
END_TEST

START_TEST(each_number_of_a_socket_is_registered_by_itself) {
    struct sock *s = labeled(3);
    ck_assert_int_eq(sock_alias(s, 4), 0);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_ADD, 3, &in), 0);
    ck_assert_int_eq(sock_watch(s, 50, EPOLL_CTL_ADD, 4, &out), 0);
    ck_assert_uint_eq(s->nwatches, 2);
    close_number(s, 3);
    ck_assert_uint_eq(s->nwatches, 1);
    ck_assert_int_eq(s->watches[0].fd, 4);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("sock");
    Suite *s = suite_create("sock");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_number_nobody_gave_us_is_not_ours);
    tcase_add_test(t, a_record_is_found_by_its_number_low_or_high);
    tcase_add_test(t, numbers_that_have_a_record_are_found_in_order);
    tcase_add_test(t, that_epolls_events_must_be_looked_at_is_noted);
    tcase_add_test(t, a_number_beyond_the_table_is_refused_and_left_alone);
    tcase_add_test(t, a_new_record_is_fresh_silent_and_for_ever_patient);
    tcase_add_test(t, several_numbers_lead_to_one_record_until_the_last_is_closed);
    tcase_add_test(t, forgetting_a_number_that_is_not_its_own_changes_nothing);
    tcase_add_test(t, a_number_taken_over_by_another_record_is_not_taken_away_from_it);
    tcase_add_test(t, whoever_holds_a_reference_keeps_the_record);
    tcase_add_test(t, a_record_used_again_remembers_nothing_but_that_it_changed);
    tcase_add_test(t, many_sockets_come_and_go_in_any_order);
    tcase_add_test(t, the_machine_refuses_what_has_no_meaning);
    tcase_add_test(t, a_registration_is_remembered_as_the_program_asked);
    tcase_add_test(t, a_changed_registration_is_armed_again);
    tcase_add_test(t, a_removed_registration_is_gone_and_the_others_stay);
    tcase_add_test(t, each_number_of_a_socket_is_registered_by_itself);
    return suite_run(s);
}

/* unit_stash - the bytes kept for a socket: in order, across chunks or message by message, never too few. */
#include "stash.h"
#include "suite.h"

#include <check.h>
#include <string.h>

static struct stash s;
static char out[64];
static size_t full;

static void end(void) {
    stash_finish(&s);
}

static void push(const char *text) {
    ck_assert_int_eq(stash_push(&s, text, strlen(text)), 0);
}

static const char *take(size_t room, bool stream, bool peek) {
    struct iovec iov = {out, room};
    memset(out, 0, sizeof out);
    stash_take(&s, &iov, 1, stream, peek, &full);
    return out;
}

START_TEST(a_stream_is_read_across_chunks) {
    push("one");
    push("two");
    push("three");
    ck_assert_uint_eq(s.bytes, 11);
    ck_assert_str_eq(take(4, true, false), "onet");
    ck_assert_uint_eq(full, 4);
    ck_assert_uint_eq(s.bytes, 7);
    ck_assert_str_eq(take(60, true, false), "wothree");
    ck_assert_uint_eq(s.bytes, 0);
    ck_assert_ptr_null(s.first);
    ck_assert_ptr_null(s.last);
}
END_TEST

START_TEST(to_take_frees_nothing_what_comes_next_does) {
    push("one");
    push("two");
    take(60, true, false);
    ck_assert_ptr_nonnull(s.spent);
    push("three");
    ck_assert_ptr_null(s.spent);
    take(60, true, false);
    end();
    ck_assert_ptr_null(s.spent);
}
END_TEST

START_TEST(a_peek_leaves_everything) {
    push("one");
    push("two");
    ck_assert_str_eq(take(5, true, true), "onetw");
    ck_assert_str_eq(take(2, false, true), "on");
    ck_assert_uint_eq(full, 3);
    ck_assert_uint_eq(s.bytes, 6);
    ck_assert_str_eq(take(60, true, false), "onetwo");
}
END_TEST

START_TEST(a_datagram_is_read_alone_and_its_rest_dropped) {
    push("first");
    push("second");
    ck_assert_str_eq(take(3, false, false), "fir");
    ck_assert_uint_eq(full, 5);
    ck_assert_str_eq(take(60, false, false), "second");
    ck_assert_uint_eq(full, 6);
    ck_assert_uint_eq(s.bytes, 0);
}
END_TEST

START_TEST(an_empty_datagram_is_one_too) {
    push("");
    push("next");
    ck_assert_ptr_nonnull(s.first);
    ck_assert_str_eq(take(60, false, false), "");
    ck_assert_uint_eq(full, 0);
    ck_assert_str_eq(take(60, false, false), "next");
}
END_TEST

START_TEST(reading_fills_every_buffer_of_a_vector) {
    char a[3], b[1], c[10] = "";
    struct iovec iov[] = {{a, 3}, {NULL, 0}, {b, 1}, {c, 9}};
    push("abcd");
    push("efg");
    ck_assert_uint_eq(stash_take(&s, iov, 4, true, false, &full), 7);
    ck_assert_int_eq(memcmp(a, "abc", 3), 0);
    ck_assert_int_eq(b[0], 'd');
    ck_assert_str_eq(c, "efg");
}
END_TEST

START_TEST(reading_an_empty_stash_gives_nothing) {
    ck_assert_str_eq(take(10, true, false), "");
    ck_assert_uint_eq(full, 0);
}
END_TEST

START_TEST(reading_into_no_room_takes_nothing_of_a_stream) {
    push("abc");
    take(0, true, false);
    ck_assert_uint_eq(s.bytes, 3);
    ck_assert_str_eq(take(10, true, false), "abc");
}
END_TEST

START_TEST(a_vector_is_kept_as_one_message) {
    const struct iovec iov[] = {{(void *)"ab", 2}, {NULL, 0}, {(void *)"cde", 3}};
    ck_assert_int_eq(stash_push_iov(&s, iov, 3), 5);
    ck_assert_str_eq(take(10, false, false), "abcde");
    ck_assert_uint_eq(full, 5);
}
END_TEST

START_TEST(cutting_takes_bytes_off_the_last_chunk) {
    push("one");
    push("twofour");
    stash_cut(&s, 4);
    ck_assert_uint_eq(s.bytes, 6);
    push("!");
    ck_assert_str_eq(take(10, true, false), "onetwo!");
}
END_TEST

START_TEST(a_chunk_cut_to_nothing_is_gone) {
    push("one");
    push("two");
    stash_cut(&s, 3);
    ck_assert_ptr_eq(s.first, s.last);
    stash_cut(&s, 3);
    ck_assert_ptr_null(s.first);
    ck_assert_ptr_null(s.last);
    stash_cut(&s, 0);
    push("again");
    ck_assert_str_eq(take(10, true, false), "again");
}
END_TEST

START_TEST(what_is_unacknowledged_is_kept_in_whole_calls) {
    push("aaaa");
    push("bbbb");
    push("cccc");
    stash_trim(&s, 12);
    ck_assert_uint_eq(s.bytes, 12);
    stash_trim(&s, 7); /* three of b's bytes are unacknowledged: b stays whole */
    ck_assert_uint_eq(s.bytes, 8);
    stash_trim(&s, 5);
    ck_assert_uint_eq(s.bytes, 8);
    stash_trim(&s, 4);
    ck_assert_str_eq(take(10, true, true), "cccc");
    stash_trim(&s, 0);
    ck_assert_ptr_null(s.first);
    stash_trim(&s, 100);
}
END_TEST

START_TEST(finishing_frees_all_and_leaves_an_empty_stash) {
    push("one");
    push("two");
    stash_finish(&s);
    ck_assert_uint_eq(s.bytes, 0);
    push("three");
    ck_assert_str_eq(take(10, true, false), "three");
}
END_TEST

START_TEST(a_datagram_keeps_its_sender_behind_its_bytes) {
    ck_assert_int_eq(stash_push_from(&s, "bytes", 5, "who", 3), 0);
    ck_assert_int_eq(stash_push_from(&s, "", 0, "else", 4), 0);
    ck_assert_uint_eq(s.bytes, 5);
    ck_assert_uint_eq(s.first->from_len, 3);
    ck_assert_int_eq(memcmp(s.first->bytes + s.first->len, "who", 3), 0);
    ck_assert_str_eq(take(60, false, false), "bytes");
    ck_assert_int_eq(memcmp(s.first->bytes, "else", 4), 0);
    ck_assert_str_eq(take(60, false, false), "");
    ck_assert_ptr_null(s.first);
    push("stream");
    ck_assert_uint_eq(s.first->from_len, 0);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("stash");
    Suite *suite = suite_create("stash");
    suite_add_tcase(suite, t);
    tcase_add_checked_fixture(t, NULL, end);
    tcase_add_test(t, a_stream_is_read_across_chunks);
    tcase_add_test(t, to_take_frees_nothing_what_comes_next_does);
    tcase_add_test(t, a_peek_leaves_everything);
    tcase_add_test(t, a_datagram_is_read_alone_and_its_rest_dropped);
    tcase_add_test(t, an_empty_datagram_is_one_too);
    tcase_add_test(t, reading_fills_every_buffer_of_a_vector);
    tcase_add_test(t, reading_an_empty_stash_gives_nothing);
    tcase_add_test(t, reading_into_no_room_takes_nothing_of_a_stream);
    tcase_add_test(t, a_vector_is_kept_as_one_message);
    tcase_add_test(t, cutting_takes_bytes_off_the_last_chunk);
    tcase_add_test(t, a_chunk_cut_to_nothing_is_gone);
    tcase_add_test(t, what_is_unacknowledged_is_kept_in_whole_calls);
    tcase_add_test(t, a_datagram_keeps_its_sender_behind_its_bytes);
    tcase_add_test(t, finishing_frees_all_and_leaves_an_empty_stash);
    return suite_run(suite);
}

/* reconnect_kept - what had arrived before the loss and what the next connection brings are one stream, to
 * who waits for it and to who looks at it. */
#include "moving.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int epoll;
static struct epoll_event seen[4];

static struct epoll_event asked(uint32_t events) {
    return (struct epoll_event){.events = events, .data.u64 = 0x1234567890};
}

static void watch(uint32_t events) {
    struct epoll_event event = asked(events);
    epoll = epoll_create1(0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, moving_sock, &event), 0);
}

static void change(uint32_t events) {
    struct epoll_event event = asked(events);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_MOD, moving_sock, &event), 0);
}

static int heard_now(void) {
    return epoll_wait(epoll, seen, 4, 0);
}

static long in_recv_of(size_t count) {
    return recv(moving_sock, moving_heard, count, 0);
}

static long in_peek(void) {
    return recv(moving_sock, moving_heard, sizeof moving_heard, MSG_PEEK);
}

/* "old" is kept, and "news" has come by the next connection. */
static void both_have_come(uint32_t events) {
    moving_live(0);
    if (events)
        watch(events);
    stage_say(0, "old");
    stage_wait(moving_available() == 3);
    moving_part();
    moving_find();
    stage_say(1, "news");
    stage_wait(moving_available() == 7);
}

static void an_epoll_set_tells_of_both_by_one_event(void) {
    both_have_come(EPOLLIN);
    stage_wait(heard_now() == 1);
    stage_equal(seen[0].events, EPOLLIN);
    stage_expect(seen[0].data.u64 == 0x1234567890);
    change(EPOLLIN | EPOLLOUT);
    stage_equal(heard_now(), 1);
    stage_equal(seen[0].events, EPOLLIN | EPOLLOUT);
    stage_equal(in_recv_of(3), 3);
    stage_equal(heard_now(), 1);
    stage_equal(moving_in_recv(), 4);
    stage_equal(heard_now(), 1);
    stage_equal(seen[0].events, EPOLLOUT);
}

static void a_one_shot_fires_once_for_both(void) {
    both_have_come(EPOLLIN | EPOLLONESHOT);
    stage_wait(heard_now() == 1);
    stage_equal(epoll_wait(epoll, seen, 4, 20), 0);
    stage_equal(in_recv_of(3), 3);
    stage_equal(epoll_wait(epoll, seen, 4, 20), 0);
    change(EPOLLIN | EPOLLONESHOT);
    stage_equal(heard_now(), 1);
    stage_equal(epoll_wait(epoll, seen, 4, 20), 0);
}

static void a_one_shot_fires_once_for_both_also_to_who_takes_one_event_at_a_time(void) {
    both_have_come(EPOLLIN | EPOLLONESHOT);
    stage_wait(epoll_wait(epoll, seen, 1, 0) == 1);
    stage_equal(epoll_wait(epoll, seen, 1, 20), 0);
    change(EPOLLIN | EPOLLONESHOT);
    stage_equal(epoll_wait(epoll, seen, 1, 0), 1);
    stage_equal(epoll_wait(epoll, seen, 1, 20), 0);
}

static void a_one_shot_that_has_fired_stays_silent_while_what_is_kept_is_read(void) {
    both_have_come(EPOLLIN | EPOLLONESHOT);
    stage_wait(heard_now() == 1);
    stage_equal(recv(moving_sock, moving_heard, 1, 0), 1);
    stage_equal(heard_now(), 0);
}

static void it_is_told_by_the_latest_user_data(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};
    both_have_come(EPOLLIN);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_MOD, moving_sock, &event), 0);
    stage_wait(heard_now() == 1);
    stage_equal(seen[0].data.u64, 5);
}

static void what_is_kept_is_to_be_read_also_where_nothing_can_be_written(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLOUT);
    stage_say(0, "old");
    stage_wait(moving_available() == 3);
    moving_part();
    stage_wait(heard_now() == 1 && seen[0].events == EPOLLIN);
}

static void taken_out_of_the_set_it_is_told_no_more(void) {
    both_have_come(EPOLLIN);
    stage_wait(heard_now() == 1);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_DEL, moving_sock, NULL), 0);
    stage_equal(heard_now(), 0);
}

/* A pipe in the set that is readable from now on; the other end stays open. */
static void watch_another(uint64_t data) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
    int ends[2];
    stage_equal(pipe(ends), 0);
    stage_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), 0);
    stage_equal(write(ends[1], "x", 1), 1);
}

static int heard_of(uint64_t data, int count) {
    int times = 0;
    for (int i = 0; i < count; i++)
        times += seen[i].data.u64 == data && seen[i].events == EPOLLIN;
    return times;
}

/* Before and after those two in the kernel's order. */
static void what_others_have_to_tell_is_told_beside_both(void) {
    moving_live(0);
    watch(EPOLLIN);
    watch_another(1);
    stage_say(0, "old");
    stage_wait(moving_available() == 3);
    moving_part();
    moving_find();
    stage_equal(heard_now(), 2);
    stage_equal(heard_of(1, 2), 1);
    stage_say(1, "news");
    stage_wait(moving_available() == 7);
    watch_another(2);
    stage_equal(heard_now(), 3);
    stage_equal(heard_of(1, 3), 1);
    stage_equal(heard_of(2, 3), 1);
    stage_equal(heard_of(0x1234567890, 3), 1);
}

static void what_others_have_told_disarms_no_one_shot(void) {
    moving_live(0);
    watch(EPOLLIN | EPOLLONESHOT);
    watch_another(1);
    stage_equal(heard_now(), 1);
    moving_part();
    moving_find();
    stage_say(1, "news");
    stage_wait(heard_now() == 2);
    stage_equal(heard_of(0x1234567890, 2), 1);
}

static void what_is_kept_is_no_event_to_who_waits_for_none(void) {
    both_have_come(EPOLLIN);
    stage_wait(heard_now() == 1);
    change(EPOLLOUT);
    stage_equal(heard_now(), 1);
    stage_equal(seen[0].events, EPOLLOUT);
    change(0);
    stage_equal(heard_now(), 0);
    change(EPOLLIN);
    stage_equal(heard_now(), 1);
}

static void who_peeks_sees_both(void) {
    both_have_come(0);
    stage_equal(in_peek(), 7);
    stage_expect(memcmp(moving_heard, "oldnews", 7) == 0);
    stage_say(1, "!");
    stage_wait(moving_available() == 8);
    stage_equal(in_peek(), 8);
    stage_finish(1);
    stage_equal(in_peek(), 8);
    stage_equal(moving_in_recv(), 8);
    stage_expect(memcmp(moving_heard, "oldnews!", 8) == 0);
    stage_equal(in_peek(), 0);
    stage_equal(moving_in_recv(), 0);
}

/* To look is not to be told of the reset. */
static void after_what_is_kept_the_peers_reset_is_told(void) {
    both_have_come(0);
    stage_hang_up(1);
    stage_wait(moving_polled(POLLIN) & POLLHUP);
    stage_expect(in_peek() >= 3);
    stage_expect(moving_in_recv() >= 3);
    stage_fails(moving_in_recv(), ECONNRESET);
}

static void what_is_kept_can_be_thrown_away_unread(void) {
    both_have_come(0);
    stage_equal(recv(moving_sock, NULL, 2, MSG_TRUNC), 2);
    stage_equal(in_recv_of(1), 1);
    stage_expect(*moving_heard == 'd');
}

/* With less than it asked for many a program takes it that nothing more is there. */
static void who_asks_for_more_than_is_kept_gets_what_has_come_too(void) {
    both_have_come(0);
    stage_equal(in_recv_of(5), 5);
    stage_expect(memcmp(moving_heard, "oldne", 5) == 0);
    stage_equal(moving_in_recv(), 2);
    stage_fails(recv(moving_sock, moving_heard, 1, MSG_DONTWAIT), EAGAIN);
}

/* ---- SO_RCVLOWAT ---- */

static void set_mark(int mark) {
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark), 0);
}

static int mark_told(void) {
    int mark = -1;
    socklen_t len = sizeof mark;
    stage_equal(getsockopt(moving_sock, SOL_SOCKET, SO_RCVLOWAT, &mark, &len), 0);
    return mark;
}

/* "old" is kept, and more is asked for. */
static void kept_below_the_mark(int mark) {
    moving_live(0);
    watch(EPOLLIN);
    set_mark(mark);
    stage_say(0, "old");
    stage_wait(moving_available() == 3);
    moving_part();
}

static void expect_silence(void) {
    stage_equal(moving_polled(POLLIN), 0);
    stage_equal(heard_now(), 0);
    stage_equal(mark_told(), 6);
}

static void a_receive_waits_for_its_mark_across_the_connections(void) {
    kept_below_the_mark(6);
    moving_begin(moving_in_recv);
    moving_expect_waiting();
    moving_find();
    moving_expect_waiting();
    stage_say(1, "ne");
    moving_expect_waiting();
    stage_say(1, "w");
    stage_equal(moving_outcome(), 6);
    stage_expect(memcmp(moving_heard, "oldnew", 6) == 0);
}

static void below_the_mark_it_is_not_readable(void) {
    kept_below_the_mark(6);
    expect_silence();
    moving_find();
    stage_say(1, "ne");
    stage_wait(moving_available() == 5);
    expect_silence();
    stage_say(1, "w");
    stage_wait(moving_polled(POLLIN) == POLLIN);
    stage_wait(heard_now() == 1);
    stage_equal(moving_in_recv(), 6);
    expect_silence();
    stage_say(1, "again"); /* of what is not kept all counts */
    stage_wait(moving_available() == 5);
    expect_silence();
}

static void a_mark_that_is_lowered_meanwhile_counts(void) {
    kept_below_the_mark(6);
    moving_find();
    stage_wait(!moving_parked());
    stage_equal(moving_polled(POLLIN), 0);
    set_mark(2);
    stage_equal(moving_polled(POLLIN), POLLIN);
    stage_equal(heard_now(), 1);
    stage_equal(mark_told(), 2);
    stage_equal(moving_in_recv(), 3);
}

static void below_the_mark_the_end_is_told_and_what_there_is(void) {
    kept_below_the_mark(6);
    moving_find();
    moving_begin(moving_in_recv);
    moving_expect_waiting();
    stage_finish(1);
    stage_equal(moving_outcome(), 3);
    stage_equal(moving_in_recv(), 0);
}

static void below_the_mark_who_does_not_wait_gets_what_there_is(void) {
    kept_below_the_mark(6);
    stage_equal(recv(moving_sock, moving_heard, 2, 0), 2);
    stage_equal(recv(moving_sock, moving_heard, 8, MSG_DONTWAIT), 1);
    stage_fails(recv(moving_sock, moving_heard, 8, MSG_DONTWAIT), EAGAIN);
}

static void its_own_time_ends_the_wait_for_the_mark(void) {
    kept_below_the_mark(6);
    moving_set_timeout(SO_RCVTIMEO, 100);
    stage_equal(moving_in_recv(), 3);
}

static long in_peek_of_all(void) {
    return recv(moving_sock, moving_heard, 5, MSG_PEEK | MSG_WAITALL);
}

static void who_peeks_for_all_waits_for_it(void) {
    kept_below_the_mark(1);
    moving_begin(in_peek_of_all);
    moving_expect_waiting();
    moving_find();
    moving_expect_waiting();
    stage_say(1, "new");
    stage_equal(moving_outcome(), 5);
    stage_equal(moving_in_recv(), 6);
}

static const struct stage_test tests[] = {
    MOVING_TEST(an_epoll_set_tells_of_both_by_one_event),
    MOVING_TEST(a_one_shot_fires_once_for_both),
    MOVING_TEST(a_one_shot_fires_once_for_both_also_to_who_takes_one_event_at_a_time),
    MOVING_TEST(a_one_shot_that_has_fired_stays_silent_while_what_is_kept_is_read),
    MOVING_TEST(it_is_told_by_the_latest_user_data),
    MOVING_TEST(what_is_kept_is_to_be_read_also_where_nothing_can_be_written),
    MOVING_TEST(taken_out_of_the_set_it_is_told_no_more),
    MOVING_TEST(what_others_have_to_tell_is_told_beside_both),
    MOVING_TEST(what_others_have_told_disarms_no_one_shot),
    MOVING_TEST(what_is_kept_is_no_event_to_who_waits_for_none),
    MOVING_TEST(who_peeks_sees_both),
    MOVING_TEST(after_what_is_kept_the_peers_reset_is_told),
    MOVING_TEST(what_is_kept_can_be_thrown_away_unread),
    MOVING_TEST(who_asks_for_more_than_is_kept_gets_what_has_come_too),
    MOVING_TEST(a_receive_waits_for_its_mark_across_the_connections),
    MOVING_TEST(below_the_mark_it_is_not_readable),
    MOVING_TEST(a_mark_that_is_lowered_meanwhile_counts),
    MOVING_TEST(below_the_mark_the_end_is_told_and_what_there_is),
    MOVING_TEST(below_the_mark_who_does_not_wait_gets_what_there_is),
    MOVING_TEST(its_own_time_ends_the_wait_for_the_mark),
    MOVING_TEST(who_peeks_for_all_waits_for_it),
};

STAGE_MAIN(moving_world, tests)

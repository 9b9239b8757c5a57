/* ends - a captured stream one or both of whose sides had ended before its network went: what had come by
 * then stays true. */
#include "moving.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Its last bytes and its end have come. */
static void peer_ends(void) {
    stage_say(0, "last");
    stage_finish(0);
    stage_wait(moving_polled(POLLRDHUP) & POLLRDHUP);
    stage_equal(moving_available(), 4);
}

/* Another connection tells when the loss has been heard of. */
static int witness;

static void live_with_a_witness(void) {
    struct sockaddr_in to = stage_tcp();
    moving_live(0);
    witness = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(witness, (struct sockaddr *)&to, sizeof to), 0);
}

static void lose(void) {
    moving_lose();
    stage_wait(stage_polled(witness, POLLOUT, 0) != POLLOUT);
}

static void both_end(void) {
    live_with_a_witness();
    stage_equal(shutdown(moving_sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    peer_ends();
    stage_wait(moving_polled(POLLIN) & POLLHUP);
}

static void expect_its_end(void) {
    stage_equal(moving_in_recv(), 4);
    stage_expect(memcmp(moving_heard, "last", 4) == 0);
    stage_equal(moving_in_recv(), 0);
    stage_equal(moving_in_recv(), 0);
}

static void expect_over(void) {
    stage_equal(moving_polled(POLLIN | POLLOUT), POLLIN | POLLOUT | POLLHUP);
    expect_its_end();
    stage_fails(send(moving_sock, "x", 1, MSG_NOSIGNAL), EPIPE);
    stage_equal(moving_in_recv(), 0);
}

static void ended_both_ways_it_is_read_to_its_end(void) {
    both_end();
    lose();
    expect_over();
}

static void ended_by_the_peer_it_is_read_to_its_end_after_a_withdrawal(void) {
    moving_live(0);
    peer_ends();
    stage_down("wifi");
    expect_its_end();
    stage_fails(send(moving_sock, "x", 1, MSG_NOSIGNAL), ECONNRESET);
    stage_equal(moving_in_recv(), 0);
}

static void ended_on_this_side_it_fails_by_a_withdrawal_too(void) {
    moving_live(0);
    stage_equal(shutdown(moving_sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    moving_begin(moving_in_recv);
    stage_down("wifi");
    stage_fails(moving_outcome(), ECONNRESET);
}

static long in_recv(void) {
    return moving_in_recv();
}

static void who_ends_it_both_ways_between_two_connections_hears_its_end(void) {
    moving_live(0);
    moving_begin(in_recv);
    moving_part();
    moving_expect_waiting();
    stage_equal(shutdown(moving_sock, SHUT_RDWR), 0);
    stage_equal(moving_outcome(), 0);
    stage_equal(moving_in_recv(), 0);
    stage_expect(moving_polled(POLLIN | POLLRDHUP) & POLLIN);
}

static void who_has_said_all_between_two_connections_hears_the_answer(void) {
    moving_live(0);
    moving_begin(in_recv);
    moving_part();
    stage_equal(shutdown(moving_sock, SHUT_WR), 0);
    moving_expect_waiting();
    stage_fails(send(moving_sock, "x", 1, MSG_NOSIGNAL), EPIPE);
    moving_find();
    stage_wait(stage_end(1) == STAGE_EOF);
    moving_expect_waiting();
    stage_say(1, "answer");
    stage_equal(moving_outcome(), 6);
    stage_equal(stage_received(1), 0);
    stage_fails(send(moving_sock, "x", 1, MSG_NOSIGNAL), EPIPE);
    stage_finish(1);
    stage_equal(moving_in_recv(), 0);
}

static void who_will_hear_nothing_more_between_two_connections_still_sends(void) {
    moving_live(0);
    moving_begin(in_recv);
    moving_part();
    stage_equal(shutdown(moving_sock, SHUT_RD), 0);
    stage_equal(moving_outcome(), 0);
    moving_find();
    stage_equal(send(moving_sock, "more", 4, 0), 4);
    stage_expect_text(1, "more");
    stage_equal(moving_in_recv(), 0);
}

#define FAILING_TEST(name)                                                                                   \
    STAGE_TEST_WITH(name, STAGE_WORLD | STAGE_PRELOAD, moving_world, "CMM_LABELS=small")

static const struct stage_test tests[] = {
    MOVING_TEST(ended_both_ways_it_is_read_to_its_end),
    FAILING_TEST(ended_both_ways_it_is_read_to_its_end),
    MOVING_TEST(ended_by_the_peer_it_is_read_to_its_end_after_a_withdrawal),
    FAILING_TEST(ended_by_the_peer_it_is_read_to_its_end_after_a_withdrawal),
    FAILING_TEST(ended_on_this_side_it_fails_by_a_withdrawal_too),
    MOVING_TEST(who_ends_it_both_ways_between_two_connections_hears_its_end),
    MOVING_TEST(who_has_said_all_between_two_connections_hears_the_answer),
    MOVING_TEST(who_will_hear_nothing_more_between_two_connections_still_sends),
};

STAGE_MAIN(moving_world, tests)

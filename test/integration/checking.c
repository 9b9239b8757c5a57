/* checking - what cmm_check_label says and leaves behind, and connect(2) on a cmm socket, which is
 * cmm_connect without a word for "deferred". Networks are addresses of the loopback interface. */
#include "talk.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background, small\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

#define BG    CMM_LABEL_BACKGROUND
#define CELL  CMM_LABEL_ONDEMAND
#define SMALL CMM_LABEL_SMALL

static int check(unsigned long labels, void *arg) {
    return cmm_check_label(talk_sock, labels, arg ? talk_note : NULL, arg);
}

/* ---- cmm_check_label ---- */

static void check_label_is_0_where_a_send_would_go_out_and_stores_nothing(void) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(check(BG, (void *)"note"), 0);
    stage_equal(check(0, (void *)"note"), 0);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_equal(talk_put("x", BG), 1);
    stage_equal(talk_count, 0);
}

static void check_label_stores_the_thunk_which_runs_when_a_network_comes(void) {
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    stage_equal(check(BG, (void *)"note"), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(talk_sock), 1);
    stage_up("wifi");
    stage_wait(talk_count == 1);
    stage_expect(talk_events[0].what == 't' && strcmp(talk_events[0].arg, "note") == 0);
}

static void check_label_without_a_thunk_is_deferred_and_stores_nothing(void) {
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    stage_equal(check(BG, NULL), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(talk_sock), 0);
}

static void check_label_never_connects(void) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_up("cell");
    stage_equal(check(CELL, (void *)"note"), 0);
    stage_expect(talk_on("wifi"));
    stage_equal(talk_put("x", BG), 1);
    stage_expect_text(0, "x");
    stage_equal(stage_connections(), 1);
    stage_equal(talk_count, 0);
}

/* A send, too, would be deferred behind them. */
static void check_label_goes_behind_stored_thunks(void) {
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    stage_equal(check(BG, (void *)"one"), CMM_DEFERRED);
    stage_equal(check(BG, (void *)"two"), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_count == 2);
    stage_expect(strcmp(talk_events[0].arg, "one") == 0 && strcmp(talk_events[1].arg, "two") == 0);
}

static void thunk_at_gate(void *unused) {
    (void)unused;
    talk_inside = true;
    stage_wait(talk_gate);
}

static void check_label_goes_behind_a_running_thunk(void) {
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    stage_equal(cmm_check_label(talk_sock, BG, thunk_at_gate, NULL), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_inside);
    stage_equal(check(BG, NULL), CMM_DEFERRED);
    stage_equal(check(BG, (void *)"note"), CMM_DEFERRED);
    stage_equal(check(SMALL, (void *)"other labels"), 0);
    stage_equal(cmm_thunk_count(talk_sock), 1);
    talk_gate = true;
    stage_wait(talk_count == 1);
}

/* So it is of a send. */
static void a_family_that_can_never_be_reached_is_told_once_the_scout_has_spoken(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = 9};
    talk_sock = cmm_socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (talk_sock < 0)
        stage_skip("there is no IPv6 here");
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL),
                CMM_DEFERRED);
    stage_equal(check(BG, NULL), CMM_DEFERRED);
    stage_scout_start();
    stage_wait(check(BG, NULL) == CMM_FAILED);
    stage_fails(check(BG, (void *)"note"), ENETUNREACH);
    stage_fails(talk_defer("x", BG), ENETUNREACH);
    stage_fails(talk_put("x", BG), ENETUNREACH);
}

static void check_label_of_a_failed_socket_tells_its_failure(void) {
    stage_refuse(true);
    stage_up("wifi");
    stage_fails(talk_dial_plainly(0, BG), ECONNREFUSED);
    stage_fails(check(BG, (void *)"note"), ECONNREFUSED);
    stage_fails(check(CELL, (void *)"note"), ECONNREFUSED);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_equal(talk_count, 0);
}

/* ---- connect(2) ---- */

static int plain_connect(void) {
    struct sockaddr_in to = stage_tcp();
    return connect(talk_sock, (struct sockaddr *)&to, sizeof to);
}

static void plain_connect_goes_by_the_default_labels_before_any(void) {
    stage_up("wifi");
    stage_up("cell");
    stage_equal(cmm_set_default_labels(CELL), 0);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(plain_connect(), 0);
    stage_expect_connection(0, "127.0.2.1");
    stage_equal(write(talk_sock, "x", 1), 1);
    stage_expect_text(0, "x");
    stage_fails(plain_connect(), EISCONN);
}

static void plain_connect_after_a_reset_has_the_last_labels_and_the_handlers(void) {
    stage_up("wifi");
    stage_up("cell");
    stage_equal(talk_dial(0, BG, (void *)"mine"), 0);
    stage_equal(talk_put("x", CELL), 1);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(plain_connect(), 0);
    stage_expect_connection(2, "127.0.2.1");
    stage_expect(strcmp(talk_diary(), "<><><>") == 0);
    stage_expect(strcmp(talk_events[5].arg, "mine") == 0 && talk_events[5].labels == CELL);
}

static long connecting(void) {
    return plain_connect();
}

static void plain_connect_waits_for_a_network_as_long_as_patience_has_it(void) {
    const struct timespec moment = {0, 20000000};
    stage_equal(cmm_set_default_labels(BG), 0);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_set_patience(talk_sock, &moment), 0);
    stage_fails(plain_connect(), ETIMEDOUT);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(cmm_set_patience(talk_sock, NULL), 0);
    talk_begin(connecting);
    stage_wait(talk_asleep());
    stage_up("wifi");
    stage_equal(talk_join(), 0);
    stage_expect_connection(0, "127.0.1.1");
}

static long connecting_again(void) {
    const struct timespec moment = {0, 20000000};
    stage_equal(cmm_set_default_labels(BG), 0);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_set_patience(talk_sock, &moment), 0);
    stage_fails(plain_connect(), ETIMEDOUT);
    stage_equal(cmm_set_patience(talk_sock, NULL), 0);
    talk_begin(connecting);
    stage_wait(talk_asleep());
    stage_up("wifi");
    return talk_join();
}

static void a_plain_connect_that_is_called_again_tells_how_it_ends(void) {
    stage_equal(connecting_again(), 0);
    stage_fails(plain_connect(), EISCONN);
}

static void also_that_it_is_refused(void) {
    stage_refuse(true);
    stage_fails(connecting_again(), ECONNREFUSED);
}

static void a_reset_ends_a_plain_connects_wait_with_ENOTCONN(void) {
    stage_equal(cmm_set_default_labels(BG), 0);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    talk_begin(connecting);
    stage_wait(talk_asleep());
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_join(), ENOTCONN);
}

static void a_nonblocking_plain_connect_is_EINPROGRESS_until_it_is_made(void) {
    struct pollfd p = {.events = POLLOUT};
    stage_equal(cmm_set_default_labels(BG), 0);
    p.fd = talk_sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_fails(plain_connect(), EINPROGRESS);
    stage_fails(plain_connect(), EALREADY);
    stage_equal(poll(&p, 1, 0), 0);
    stage_up("wifi");
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
    stage_fails(plain_connect(), EISCONN);
    stage_equal(write(talk_sock, "x", 1), 1);
    stage_expect_text(0, "x");
}

static void make_with_a_limit(void) {
    const struct timeval moment = {0, 100000};
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(setsockopt(talk_sock, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof moment), 0);
}

static void SO_SNDTIMEO_ends_a_plain_connect_as_it_does_on_any_socket(void) {
    stage_equal(cmm_set_default_labels(BG), 0);
    make_with_a_limit();
    stage_fails(plain_connect(), EINPROGRESS);
    stage_fails(plain_connect(), EALREADY);
    cmm_close(talk_sock);
    stage_up("wifi");
    stage_crowd(true);
    make_with_a_limit();
    stage_fails(plain_connect(), EINPROGRESS);
    stage_crowd(false);
    talk_expect_moved(0, "127.0.1.1", "wifi");
}

static const struct stage_test tests[] = {
    STAGE_TEST(check_label_is_0_where_a_send_would_go_out_and_stores_nothing),
    STAGE_TEST(check_label_stores_the_thunk_which_runs_when_a_network_comes),
    STAGE_TEST(check_label_without_a_thunk_is_deferred_and_stores_nothing),
    STAGE_TEST(check_label_never_connects),
    STAGE_TEST(check_label_goes_behind_stored_thunks),
    STAGE_TEST(check_label_goes_behind_a_running_thunk),
    STAGE_TEST_IN(a_family_that_can_never_be_reached_is_told_once_the_scout_has_spoken, STAGE_ALONE, config),
    STAGE_TEST(check_label_of_a_failed_socket_tells_its_failure),
    STAGE_TEST(plain_connect_goes_by_the_default_labels_before_any),
    STAGE_TEST(plain_connect_after_a_reset_has_the_last_labels_and_the_handlers),
    STAGE_TEST(plain_connect_waits_for_a_network_as_long_as_patience_has_it),
    STAGE_TEST(a_plain_connect_that_is_called_again_tells_how_it_ends),
    STAGE_TEST(also_that_it_is_refused),
    STAGE_TEST(a_reset_ends_a_plain_connects_wait_with_ENOTCONN),
    STAGE_TEST(a_nonblocking_plain_connect_is_EINPROGRESS_until_it_is_made),
    STAGE_TEST(SO_SNDTIMEO_ends_a_plain_connect_as_it_does_on_any_socket),
};

STAGE_MAIN(config, tests)

/* scenarios - the three scenarios of a labeled send.
 * Each test is a sentence of the contract, on networks that are addresses of the loopback interface. */
#include "talk.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

/* ---- 1: matching network, and the socket is connected on it ---- */

static void on_a_matching_network_the_underlying_call_runs_and_its_result_is_returned(void) {
    struct iovec two[] = {{(void *)"wri", 3}, {(void *)"tev", 3}};
    struct msghdr msg = {.msg_iov = two, .msg_iovlen = 2};
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(talk_put("send", BG), 4);
    stage_equal(cmm_write(talk_sock, "write", 5, BG, NULL, NULL), 5);
    stage_equal(cmm_writev(talk_sock, two, 2, BG, NULL, NULL), 6);
    stage_equal(cmm_sendmsg(talk_sock, &msg, 0, BG, NULL, NULL), 6);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "sendwritewritevwritev");
}

static void on_a_matching_network_the_thunk_is_ignored_and_its_argument_stays_the_callers(void) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(talk_put_noting("one", BG, "mine"), 3);
    stage_equal(talk_put_noting("two", SMALL, "mine"), 3);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_expect_text(0, "onetwo");
    stage_equal(cmm_thunk_cancel(talk_sock, NULL, NULL), 0);
    stage_equal(talk_count, 0);
}

static void a_network_with_equal_labels_is_not_that_network(void) {
    struct cmm_network before, after;
    stage_up("wifi");
    stage_up("twin");
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_wait(talk_put("old", BG) == 3);
    stage_expect_text(0, "old");
    stage_equal(cmm_socket_network(talk_sock, &before), 0);
    /* The way to the twin takes its time: what is sent meanwhile may not use what is left of wifi. */
    stage_crowd(true);
    stage_down("wifi");
    stage_wait(talk_defer("new", BG) == CMM_DEFERRED);
    stage_crowd(false);
    stage_expect_connection(1, "127.0.3.1");
    stage_wait(talk_count > 0);
    stage_expect(stage_is_text(0, "old"));
    stage_equal(cmm_socket_network(talk_sock, &after), 0);
    stage_expect(strcmp(after.name, "twin") == 0 && after.id != before.id);
    stage_equal(after.labels, before.labels);
    stage_expect_text(1, "new");
}

static void a_working_connection_is_not_moved_because_a_preferred_network_appears(void) {
    char back[8];
    stage_echo(true);
    stage_up("twin");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_up("wifi");
    for (int i = 0; i < 50; i++) {
        stage_equal(talk_put_noting("x", BG, NULL), 1);
        stage_equal(cmm_recv(talk_sock, back, sizeof back, 0), 1);
    }
    stage_expect(talk_on("twin"));
    stage_equal(stage_connections(), 1);
    stage_equal(talk_count, 0);
}

/* ---- 2: matching network, the socket is not connected on a matching one ---- */

static void elsewhere_the_socket_is_reconnected_and_the_thunk_runs_at_once_in_the_callers_thread(void) {
    char argument[] = "wifi";
    talk_on_cell_with_wifi_there(0);
    stage_equal(talk_defer(argument, BG), CMM_THUNK_EXECUTED);
    stage_equal(talk_count, 1);
    stage_expect(pthread_equal(talk_events[0].thread, pthread_self()));
    stage_expect(talk_events[0].arg == argument);
    stage_wait(talk_events[0].result == 4);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
    stage_expect_text(0, "cell");
    stage_wait(stage_end(0) == STAGE_EOF);
}

static void elsewhere_with_a_null_handler_the_data_is_sent_after_the_reconnect(void) {
    talk_on_cell_with_wifi_there(0);
    stage_equal(talk_put("wifi", BG), 4);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
    stage_expect(stage_is_text(0, "cell"));
}

static void elsewhere_a_nonblocking_send_is_deferred_and_fires_once_connected(void) {
    talk_on_cell_with_wifi_there(SOCK_NONBLOCK);
    stage_equal(talk_defer("wifi", BG), CMM_DEFERRED);
    stage_wait(talk_count == 1);
    stage_wait(talk_events[0].result == 4);
    stage_expect(!pthread_equal(talk_events[0].thread, pthread_self()));
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
}

static void elsewhere_a_nonblocking_send_without_handler_gets_EAGAIN_and_the_way_is_made(void) {
    talk_on_cell_with_wifi_there(SOCK_NONBLOCK);
    stage_crowd(true);
    stage_fails(talk_put("wifi", BG), EAGAIN);
    stage_crowd(false);
    stage_wait(talk_put("wifi", BG) == 4);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
}

static void elsewhere_MSG_DONTWAIT_makes_one_call_nonblocking(void) {
    talk_on_cell_with_wifi_there(0);
    stage_crowd(true);
    stage_equal(talk_defer_at_once("wifi", BG), CMM_DEFERRED);
    stage_equal(talk_count, 0);
    stage_crowd(false);
    stage_wait(talk_count == 1);
    stage_expect_text(1, "wifi");
}

static long asked = 1;
static _Atomic int nested = -1;

/* Runs on cell, waits for wifi and asks for it. */
static void ask_for_wifi(void *arg) {
    talk_note(arg);
    stage_wait(stage_offered("wifi"));
    const int before = talk_count;
    asked = talk_defer("c", BG);
    nested = talk_count - before;
}

static void inside_a_running_thunk_it_is_deferred_at_the_front_of_the_queue(void) {
    stage_equal(talk_dial_plainly(0, SMALL), CMM_DEFERRED);
    stage_equal(cmm_send(talk_sock, "a", 1, 0, SMALL, ask_for_wifi, NULL), CMM_DEFERRED);
    stage_equal(talk_defer("d", BG), CMM_DEFERRED);
    stage_up("cell");
    stage_expect_connection(0, "127.0.2.1");
    stage_up("wifi");
    stage_wait(talk_count == 3);
    stage_equal(asked, CMM_DEFERRED);
    stage_equal(nested, 0);
    stage_expect(strcmp(talk_events[1].arg, "c") == 0 && strcmp(talk_events[2].arg, "d") == 0);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "cd");
}

/* ---- 3: no matching network ---- */

static void without_a_matching_network_the_thunk_is_stored_and_runs_when_one_comes(void) {
    char argument[] = "later";
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_equal(talk_defer(argument, BG), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(talk_sock), 1);
    stage_equal(talk_put_noting("now", SMALL, NULL), 3);
    stage_equal(talk_count, 0);
    stage_up("wifi");
    stage_wait(talk_count == 1);
    stage_expect(talk_events[0].arg == argument);
    stage_wait(talk_events[0].result == 5);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "later");
    stage_expect(stage_is_text(0, "now"));
}

static void without_a_matching_network_a_blocking_send_without_handler_waits_for_one(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    talk_begin_call("wifi", BG, false);
    stage_equal(talk_put("cell", SMALL), 4);
    stage_expect(!talk_back());
    stage_up("wifi");
    stage_equal(talk_join(), 4);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
    stage_expect(stage_is_text(0, "cell"));
}

static void without_a_matching_network_a_blocking_send_ends_with_ETIMEDOUT_when_patience_is_over(void) {
    const struct timespec short_one = {0, 50000000};
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_equal(cmm_set_patience(talk_sock, &short_one), 0);
    stage_fails(talk_put("wifi", BG), ETIMEDOUT);
    stage_equal(cmm_set_patience(talk_sock, &(struct timespec){0, 0}), 0);
    stage_fails(talk_put("wifi", BG), ETIMEDOUT);
    stage_equal(talk_put("cell", SMALL), 4);
    stage_expect_text(0, "cell");
    stage_equal(cmm_set_patience(talk_sock, NULL), 0);
    talk_begin_call("wifi", BG, false);
    stage_up("wifi");
    stage_equal(talk_join(), 4);
}

static void without_a_matching_network_a_nonblocking_send_is_deferred_or_gets_EAGAIN(void) {
    stage_up("cell");
    talk_dial_plainly(SOCK_NONBLOCK, SMALL);
    stage_wait(talk_on("cell"));
    stage_fails(talk_put("no", BG), EAGAIN);
    stage_equal(talk_defer("yes", BG), CMM_DEFERRED);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "yes");
}

static void without_a_matching_network_MSG_DONTWAIT_gets_EAGAIN_on_a_blocking_socket(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_fails(cmm_send(talk_sock, "no", 2, MSG_DONTWAIT, BG, NULL, NULL), EAGAIN);
    stage_equal(talk_put("yes", SMALL), 3);
}

static void before_any_network_connect_is_deferred_and_sends_may_follow_at_once(void) {
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    stage_equal(talk_defer("1", BG), CMM_DEFERRED);
    stage_equal(talk_defer("2", BG), CMM_DEFERRED);
    stage_equal(talk_defer("3", BG), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(talk_sock), 3);
    stage_up("wifi");
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "123");
    stage_wait(talk_count == 3);
    stage_equal(cmm_thunk_count(talk_sock), 0);
}

static void write_plainly(void *text) {
    talk_note(text);
    stage_equal(write(talk_sock, text, strlen(text)), strlen(text));
}

static void a_send_whose_thunk_was_executed_is_the_last_that_was_not_deferred(void) {
    stage_up("wifi");
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_down("wifi");
    stage_wait(!talk_on("wifi"));
    stage_equal(cmm_send(talk_sock, "x", 1, 0, SMALL, write_plainly, (void *)"plain"), CMM_THUNK_EXECUTED);
    stage_expect_connection(1, "127.0.2.1");
    stage_expect_text(1, "plain");
    stage_equal(write(talk_sock, "too", 3), 3);
    stage_expect_text(1, "plaintoo");
    stage_down("cell");
    stage_wait(!talk_on("cell"));
    stage_up("cell");
    stage_expect_connection(2, "127.0.2.1");
}

static void datagrams_are_deferred_and_sent_as_streams_are(void) {
    struct sockaddr_in to = stage_udp();
    const void *bytes;
    talk_sock = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL),
                CMM_DEFERRED);
    stage_equal(talk_defer("late", SMALL), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(stage_datagrams() == 1);
    stage_equal(talk_put("soon", SMALL), 4);
    stage_wait(stage_datagrams() == 2);
    stage_equal(stage_datagram(0, &bytes), 4);
    stage_expect(memcmp(bytes, "late", 4) == 0 && strcmp(stage_datagram_peer(0), "127.0.2.1") == 0);
    stage_up("wifi");
    stage_equal(talk_defer("wifi", BG), CMM_THUNK_EXECUTED);
    stage_wait(stage_datagrams() == 3);
    stage_expect(strcmp(stage_datagram_peer(2), "127.0.1.1") == 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(on_a_matching_network_the_underlying_call_runs_and_its_result_is_returned),
    STAGE_TEST(on_a_matching_network_the_thunk_is_ignored_and_its_argument_stays_the_callers),
    STAGE_TEST(a_network_with_equal_labels_is_not_that_network),
    STAGE_TEST(a_working_connection_is_not_moved_because_a_preferred_network_appears),
    STAGE_TEST(elsewhere_the_socket_is_reconnected_and_the_thunk_runs_at_once_in_the_callers_thread),
    STAGE_TEST(elsewhere_with_a_null_handler_the_data_is_sent_after_the_reconnect),
    STAGE_TEST(elsewhere_a_nonblocking_send_is_deferred_and_fires_once_connected),
    STAGE_TEST(elsewhere_a_nonblocking_send_without_handler_gets_EAGAIN_and_the_way_is_made),
    STAGE_TEST(elsewhere_MSG_DONTWAIT_makes_one_call_nonblocking),
    STAGE_TEST(inside_a_running_thunk_it_is_deferred_at_the_front_of_the_queue),
    STAGE_TEST(without_a_matching_network_the_thunk_is_stored_and_runs_when_one_comes),
    STAGE_TEST(without_a_matching_network_a_blocking_send_without_handler_waits_for_one),
    STAGE_TEST(without_a_matching_network_a_blocking_send_ends_with_ETIMEDOUT_when_patience_is_over),
    STAGE_TEST(without_a_matching_network_a_nonblocking_send_is_deferred_or_gets_EAGAIN),
    STAGE_TEST(without_a_matching_network_MSG_DONTWAIT_gets_EAGAIN_on_a_blocking_socket),
    STAGE_TEST(before_any_network_connect_is_deferred_and_sends_may_follow_at_once),
    STAGE_TEST(a_send_whose_thunk_was_executed_is_the_last_that_was_not_deferred),
    STAGE_TEST(datagrams_are_deferred_and_sent_as_streams_are),
};

STAGE_MAIN(talk_config, tests)

/* thunks - what is promised of deferred work: its one fate and what it may do.
 * Its order is in thunk_order, where it runs in dispatching, races in thunk_races, forks in forks.
 */
#include "notes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- never on the listening thread ---- */

static void wait_for_cell(void *arg) {
    struct note *n = arg;
    note_begin(n);
    stage_wait(stage_offered("cell"));
    note_end();
}

static void a_thunk_may_wait_for_a_network_that_only_the_listening_thread_can_announce(void) {
    struct note n = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    note_defer(&n, wait_for_cell);
    stage_up("wifi");
    stage_wait(n.entered);
    stage_up("cell");
    stage_wait(note_finished == 1);
    stage_expect(!pthread_equal(n.thread, pthread_self()));
}

static int blocking_other = -1;
static void send_by_cell_and_wait(void *arg) {
    struct note *n = arg;
    note_begin(n);
    n->result = cmm_send(blocking_other, n->text, strlen(n->text), 0, CELL, NULL, NULL);
    note_end();
}

static void a_thunk_may_wait_for_a_network_on_another_socket(void) {
    blocking_other = note_socket(CELL);
    struct note n = {.sock = note_socket(WIFI), .text = "by cell", .labels = WIFI};
    note_defer(&n, send_by_cell_and_wait);
    stage_up("wifi");
    stage_wait(n.entered);
    stage_up("cell");
    stage_wait(note_finished == 1);
    stage_equal(n.result, 7);
}

static void a_thunk_may_wait_for_another_network_on_its_own_socket(void) {
    blocking_other = note_socket(WIFI);
    struct note n = {.sock = blocking_other, .text = "by cell", .labels = WIFI};
    note_defer(&n, send_by_cell_and_wait);
    stage_up("wifi");
    stage_wait(n.entered);
    stage_up("cell");
    stage_wait(note_finished == 1);
    stage_equal(n.result, 7);
    stage_expect_connection(1, "127.0.2.1");
    note_carries(1, "by cell");
}

static void in_manual_mode_a_thunk_may_wait_for_a_network(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    blocking_other = note_socket(CELL);
    struct note n = {.sock = note_socket(WIFI), .text = "by cell", .labels = WIFI};
    struct note cell = {.sock = blocking_other, .text = "cell", .labels = CELL};
    note_defer(&n, wait_for_cell);
    note_defer(&cell, note_send);
    stage_up("wifi");
    stage_up("cell");
    stage_wait(cmm_dispatch() >= 0 && note_finished == 2);
}

static void while_a_thunk_blocks_the_thunks_of_other_sockets_go_on(void) {
    enum { COUNT = 8 };
    struct note stopped[COUNT], free_one = {.sock = note_socket(WIFI), .text = "free", .labels = WIFI};
    for (int i = 0; i < COUNT; i++) {
        stopped[i] = (struct note){.sock = note_socket(WIFI), .text = "s", .labels = WIFI};
        note_defer(&stopped[i], note_stop_and_send);
    }
    note_defer(&free_one, note_send);
    stage_up("wifi");
    stage_wait(free_one.runs == 1);
    for (int i = 0; i < COUNT; i++)
        stage_wait(stopped[i].entered);
    stage_equal(note_most >= COUNT, 1);
    for (int i = 0; i < COUNT; i++)
        stopped[i].gate = true;
    stage_wait(note_finished == COUNT + 1);
}

static struct note met[2];
static void meet(void *arg) {
    note_begin(arg);
    stage_wait(met[0].entered && met[1].entered);
    note_end();
}

/* The thread that there is takes one of them, and comes back when the other has run. Nothing else is about to
 * wake the listening thread. */
static void of_thunks_that_become_ready_at_once_none_waits_for_the_end_of_another(void) {
    struct note before = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    note_defer(&before, note_send);
    stage_up("wifi");
    stage_wait(note_finished == 1);
    stage_down("wifi");
    for (int i = 0; i < 2; i++) {
        met[i] = (struct note){.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
        note_defer(&met[i], meet);
    }
    for (int calm = 0; calm < 100; calm++)
        stage_pause();
    stage_up("wifi");
    stage_wait(note_finished == 3);
}

/* ---- one fate ---- */

static void each_stored_thunk_runs_exactly_once(void) {
    enum { COUNT = 2000 };
    static struct note n[COUNT];
    int sock = note_socket(WIFI);
    for (int i = 0; i < COUNT; i++) {
        n[i] = (struct note){.sock = sock, .text = ".", .labels = WIFI};
        note_defer(&n[i], note_send);
    }
    stage_equal(cmm_thunk_count(sock), COUNT);
    stage_up("wifi");
    stage_wait(note_finished == COUNT);
    stage_down("wifi");
    stage_up("wifi");
    stage_equal(cmm_thunk_count(sock), 0);
    for (int i = 0; i < COUNT; i++)
        stage_equal(n[i].runs, 1);
    stage_wait(stage_received(0) + (stage_connections() > 1 ? stage_received(1) : 0) == COUNT);
    stage_equal(note_finished, COUNT);
}

static void cmm_close_drops_thunks_without_running_them(void) {
    struct note n = {.sock = note_socket(WIFI), .text = "never", .labels = WIFI};
    struct note last = {.sock = note_socket(WIFI), .text = "last", .labels = WIFI};
    for (int i = 0; i < 10; i++)
        note_defer(&n, note_send);
    note_defer(&last, note_send);
    stage_equal(cmm_close(n.sock), 0);
    stage_up("wifi");
    stage_wait(last.runs == 1);
    note_carries(0, "last");
    stage_equal(n.runs, 0);
    stage_equal(stage_connections(), 1);
}

static void a_thunk_ignored_because_the_send_went_out_is_not_stored(void) {
    struct sockaddr_in to = stage_tcp();
    stage_up("wifi");
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), 0);
    struct note n = {.sock = sock, .text = "direct", .labels = WIFI};
    stage_equal(cmm_send(sock, "direct", 6, 0, WIFI, note_send, &n), 6);
    stage_equal(cmm_thunk_count(sock), 0);
    note_carries(0, "direct");
    stage_equal(n.runs, 0);
}

static void a_thunk_whose_reconnect_really_failed_still_runs_and_its_send_reports_it(void) {
    struct note n[2];
    int sock = note_socket(WIFI);
    for (int i = 0; i < 2; i++) {
        n[i] = (struct note){.sock = sock, .text = "x", .labels = WIFI};
        note_defer(&n[i], note_send);
    }
    stage_refuse(true);
    stage_up("wifi");
    stage_wait(note_finished == 2);
    for (int i = 0; i < 2; i++) {
        stage_equal(n[i].runs, 1);
        stage_equal(n[i].result, CMM_FAILED);
        stage_equal(n[i].error, ECONNREFUSED);
    }
    stage_equal(cmm_thunk_count(sock), 0);
}

static void after_a_reset_stored_thunks_wait_for_the_next_connection(void) {
    struct sockaddr_in to = stage_tcp();
    struct note n = {.sock = note_socket(WIFI), .text = "kept", .labels = WIFI};
    note_defer(&n, note_send);
    stage_equal(cmm_reset(n.sock), 0);
    stage_equal(cmm_thunk_count(n.sock), 1);
    stage_up("wifi");
    stage_equal(n.runs, 0);
    stage_equal(cmm_connect(n.sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), 0);
    stage_wait(note_finished == 1);
    note_carries(0, "kept");
}

/* ---- what it may do ---- */

static _Atomic int deleted;
static void delete_note(void *arg) {
    (void)arg;
    deleted++;
}

static _Atomic int cancelled = -1;
static void cancel_my_like(void *arg) {
    struct note *n = arg;
    note_begin(n);
    cancelled = cmm_thunk_cancel(n->sock, cancel_my_like, delete_note);
    note_end();
}

static void a_running_thunk_may_cancel_itself_and_others_of_its_round(void) {
    struct note n[5], last;
    int sock = note_socket(WIFI);
    for (int i = 0; i < 5; i++) {
        n[i] = (struct note){.sock = sock, .text = "x", .labels = WIFI};
        note_defer(&n[i], cancel_my_like);
    }
    last = (struct note){.sock = sock, .text = "last", .labels = WIFI};
    note_defer(&last, note_send);
    stage_up("wifi");
    stage_wait(note_finished == 2);
    stage_equal(cancelled, 4);
    stage_equal(deleted, 4);
    stage_equal(n[0].runs, 1);
    for (int i = 1; i < 5; i++)
        stage_equal(n[i].runs, 0);
    note_carries(0, "last");
}

static void cancelling_counts_and_deletes_what_is_stored_not_what_runs(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note other = {.sock = sock, .text = "2", .labels = WIFI};
    stage_equal(cmm_thunk_cancel(sock, NULL, delete_note), 0);
    note_defer(&one, note_stop_and_send);
    note_defer(&one, note_stop_and_send);
    note_defer(&one, note_stop_and_send);
    note_defer(&other, note_send);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_equal(cmm_thunk_cancel(sock, note_stop_and_send, delete_note), 2);
    stage_equal(deleted, 2);
    stage_equal(cmm_thunk_count(sock), 1);
    stage_equal(cmm_thunk_cancel(sock, NULL, NULL), 1);
    stage_equal(deleted, 2);
    one.gate = true;
    stage_wait(note_finished == 1);
    note_carries(0, "1");
    stage_equal(one.runs, 1);
    stage_equal(other.runs, 0);
    stage_fails(cmm_thunk_cancel(0, NULL, NULL), EBADF);
}

static void defer_into(void *arg) {
    struct note *n = arg;
    deleted++;
    stage_equal(cmm_send(n->sock, "", 0, 0, WIFI, note_send, n), CMM_DEFERRED);
}

static void a_deleter_may_call_anything(void) {
    struct note n = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    note_defer(&n, note_stop_and_send);
    stage_equal(cmm_thunk_cancel(n.sock, note_stop_and_send, defer_into), 1);
    stage_equal(cmm_thunk_count(n.sock), 1);
}

static void close_my_socket(void *arg) {
    struct note *n = arg;
    note_begin(n);
    n->result = cmm_close(n->sock);
    n->error = cmm_send(n->sock, "x", 1, 0, WIFI, NULL, NULL) == -1 ? errno : 0;
    note_end();
}

static void a_running_thunk_may_close_its_socket(void) {
    struct note n[3], last = {.sock = note_socket(WIFI), .text = "last", .labels = WIFI};
    int sock = note_socket(WIFI);
    for (int i = 0; i < 3; i++) {
        n[i] = (struct note){.sock = sock, .text = "x", .labels = WIFI};
        note_defer(&n[i], close_my_socket);
    }
    stage_up("wifi");
    stage_wait(note_finished == 1);
    stage_equal(n[0].result, 0);
    stage_equal(n[0].error, EBADF);
    stage_equal(cmm_send(last.sock, "last", 4, 0, WIFI, NULL, NULL), 4);
    stage_equal(n[1].runs + n[2].runs, 0);
    stage_equal(note_running, 0);
}

static void close_and_make_another(void *arg) {
    struct note *n = arg;
    note_begin(n);
    n->result = cmm_close(n->sock);
    n->error = note_socket(CELL);
    note_end();
}

static void a_running_thunk_may_close_its_socket_and_make_another_of_the_same_number(void) {
    int sock = note_socket(WIFI);
    struct note n = {.sock = sock, .text = "x", .labels = WIFI};
    note_defer(&n, close_and_make_another);
    stage_up("wifi");
    stage_wait(note_finished == 1);
    struct note next = {.sock = n.error, .text = "next", .labels = CELL};
    stage_equal(n.result, 0);
    note_defer(&next, note_send);
    stage_up("cell");
    stage_wait(note_finished == 2);
    stage_wait(stage_connections() == 2);
    note_carries(1, "next");
}

static void end_my_thread(void *arg) {
    note_begin(arg);
    note_end();
    pthread_exit(NULL);
}

static void a_thunk_that_ends_its_thread_stops_no_other(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    note_defer(&one, end_my_thread);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_wait(note_finished == 2);
    note_carries(0, "2");
}

static void call_everything(void *arg) {
    struct note *n = arg;
    struct cmm_network network;
    unsigned long labels;
    char text[64];
    int one = 1, got;
    socklen_t len = sizeof got;
    note_begin(n);
    stage_equal(cmm_setsockopt(n->sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
    stage_equal(cmm_getsockopt(n->sock, SOL_SOCKET, SO_KEEPALIVE, &got, &len), 0);
    stage_equal(cmm_networks(&network, 1), 1);
    stage_equal(cmm_socket_network(n->sock, &network), 0);
    stage_equal(cmm_thunk_count(n->sock), 0);
    stage_equal(cmm_unacked(n->sock), 0);
    stage_equal(cmm_set_replay(n->sock, 0), 0);
    stage_equal(cmm_set_patience(n->sock, NULL), 0);
    stage_equal(cmm_labels_parse("red", &labels), 0);
    stage_equal(cmm_labels_format(labels, text, sizeof text), 3);
    stage_equal(cmm_check_label(n->sock, WIFI, NULL, NULL), 0);
    stage_equal(cmm_dispatch(), 0);
    stage_expect(cmm_dispatch_fd() >= 0);
    note_end();
}

static void a_thunk_may_call_anything_for_no_lock_is_held(void) {
    struct note n = {.sock = note_socket(WIFI), .text = "x", .labels = WIFI};
    note_defer(&n, call_everything);
    stage_up("wifi");
    stage_wait(note_finished == 1);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_thunk_may_wait_for_a_network_that_only_the_listening_thread_can_announce),
    STAGE_TEST(a_thunk_may_wait_for_a_network_on_another_socket),
    STAGE_TEST(a_thunk_may_wait_for_another_network_on_its_own_socket),
    STAGE_TEST(while_a_thunk_blocks_the_thunks_of_other_sockets_go_on),
    STAGE_TEST(of_thunks_that_become_ready_at_once_none_waits_for_the_end_of_another),
    STAGE_TEST(each_stored_thunk_runs_exactly_once),
    STAGE_TEST(cmm_close_drops_thunks_without_running_them),
    STAGE_TEST(a_thunk_ignored_because_the_send_went_out_is_not_stored),
    STAGE_TEST(a_thunk_whose_reconnect_really_failed_still_runs_and_its_send_reports_it),
    STAGE_TEST(after_a_reset_stored_thunks_wait_for_the_next_connection),
    STAGE_TEST(a_running_thunk_may_cancel_itself_and_others_of_its_round),
    STAGE_TEST(cancelling_counts_and_deletes_what_is_stored_not_what_runs),
    STAGE_TEST(a_deleter_may_call_anything),
    STAGE_TEST(a_running_thunk_may_close_its_socket),
    STAGE_TEST(a_running_thunk_may_close_its_socket_and_make_another_of_the_same_number),
    STAGE_TEST(a_thunk_that_ends_its_thread_stops_no_other),
    STAGE_TEST(a_thunk_may_call_anything_for_no_lock_is_held),
    STAGE_TEST(in_manual_mode_a_thunk_may_wait_for_a_network),
};

STAGE_MAIN(note_config, tests)

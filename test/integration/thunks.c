/* thunks - what is promised of deferred work: its one fate, its order, where it runs and what it may do.
 *
 * A note is a thunk's argument: it sends its text by its labels, or says that it was deferred again. The far
 * end's record proves the order. Races have a test of their own, thunk_races; forks are in forks.
 */
#include "stage.h"

#include <errno.h>
#include <libcmm.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background, large\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

struct note {
    int sock;
    const char *text;
    unsigned long labels;
    _Atomic ssize_t result;
    _Atomic int error;
    _Atomic int runs;
    _Atomic bool entered, gate; /* of those that stop */
    pthread_t thread;
};

/* The connection comes, and carries this text. */
#define carries(i, text)                                                                                     \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        stage_expect_text(i, text);                                                                          \
    } while (0)

static _Atomic int running, most_running, finished;

static void begin(struct note *n) {
    int now = ++running;
    if (now > most_running)
        most_running = now;
    n->thread = pthread_self();
    n->runs++;
    n->entered = true;
}

static void end(void) {
    running--;
    finished++;
}

static void send_note(void *arg) {
    struct note *n = arg;
    begin(n);
    n->result = cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, send_note, n);
    n->error = errno;
    end();
}

/* As send_note, but first waits for its gate. */
static void stop_and_send(void *arg) {
    struct note *n = arg;
    begin(n);
    stage_wait(n->gate);
    n->result = cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, send_note, n);
    n->error = errno;
    end();
}

static int waiting_socket(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), CMM_DEFERRED);
    return sock;
}

static void defer(struct note *n, resume_handler_t handler) {
    stage_equal(cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, handler, n), CMM_DEFERRED);
}

static void *send_without_thunk(void *arg) {
    struct note *n = arg;
    n->entered = true;
    n->result = cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, NULL, NULL);
    n->error = errno;
    n->gate = true;
    return NULL;
}

/* ---- never on the listening thread ---- */

static void wait_for_cell(void *arg) {
    struct note *n = arg;
    begin(n);
    stage_wait(stage_offered("cell"));
    end();
}

static void a_thunk_may_wait_for_a_network_that_only_the_listening_thread_can_announce(void) {
    struct note n = {.sock = waiting_socket(WIFI), .text = "x", .labels = WIFI};
    defer(&n, wait_for_cell);
    stage_up("wifi");
    stage_wait(n.entered);
    stage_up("cell");
    stage_wait(finished == 1);
    stage_expect(!pthread_equal(n.thread, pthread_self()));
}

static void a_thunk_may_block_in_a_send_until_a_network_comes(void) {
    int other = waiting_socket(CELL);
    struct note n = {.sock = waiting_socket(WIFI), .text = "x", .labels = WIFI};
    struct note by_cell = {.sock = other, .text = "by cell", .labels = CELL};
    defer(&n, stop_and_send);
    stage_up("wifi");
    stage_wait(n.entered);
    pthread_t thread;
    pthread_create(&thread, NULL, send_without_thunk, &by_cell);
    stage_wait(by_cell.entered);
    n.gate = true;
    stage_wait(finished == 1);
    stage_expect(!by_cell.gate);
    stage_up("cell");
    stage_wait(by_cell.gate);
    pthread_join(thread, NULL);
    stage_equal(by_cell.result, 7);
}

static int blocking_other = -1;
static void send_by_cell_and_wait(void *arg) {
    struct note *n = arg;
    begin(n);
    n->result = cmm_send(blocking_other, n->text, strlen(n->text), 0, CELL, NULL, NULL);
    end();
}

static void a_thunk_may_wait_for_a_network_on_another_socket(void) {
    blocking_other = waiting_socket(CELL);
    struct note n = {.sock = waiting_socket(WIFI), .text = "by cell", .labels = WIFI};
    defer(&n, send_by_cell_and_wait);
    stage_up("wifi");
    stage_wait(n.entered);
    stage_up("cell");
    stage_wait(finished == 1);
    stage_equal(n.result, 7);
}

static void a_thunk_may_wait_for_another_network_on_its_own_socket(void) {
    blocking_other = waiting_socket(WIFI);
    struct note n = {.sock = blocking_other, .text = "by cell", .labels = WIFI};
    defer(&n, send_by_cell_and_wait);
    stage_up("wifi");
    stage_wait(n.entered);
    stage_up("cell");
    stage_wait(finished == 1);
    stage_equal(n.result, 7);
    stage_expect_connection(1, "127.0.2.1");
    carries(1, "by cell");
}

static void while_a_thunk_blocks_the_thunks_of_other_sockets_go_on(void) {
    enum { COUNT = 8 };
    struct note stopped[COUNT], free_one = {.sock = waiting_socket(WIFI), .text = "free", .labels = WIFI};
    for (int i = 0; i < COUNT; i++) {
        stopped[i] = (struct note){.sock = waiting_socket(WIFI), .text = "s", .labels = WIFI};
        defer(&stopped[i], stop_and_send);
    }
    defer(&free_one, send_note);
    stage_up("wifi");
    stage_wait(free_one.runs == 1);
    for (int i = 0; i < COUNT; i++)
        stage_wait(stopped[i].entered);
    stage_equal(most_running >= COUNT, 1);
    for (int i = 0; i < COUNT; i++)
        stopped[i].gate = true;
    stage_wait(finished == COUNT + 1);
}

/* ---- one fate ---- */

static void each_stored_thunk_runs_exactly_once(void) {
    enum { COUNT = 2000 };
    static struct note n[COUNT];
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < COUNT; i++) {
        n[i] = (struct note){.sock = sock, .text = ".", .labels = WIFI};
        defer(&n[i], send_note);
    }
    stage_equal(cmm_thunk_count(sock), COUNT);
    stage_up("wifi");
    stage_wait(finished == COUNT);
    stage_down("wifi");
    stage_up("wifi");
    stage_equal(cmm_thunk_count(sock), 0);
    for (int i = 0; i < COUNT; i++)
        stage_equal(n[i].runs, 1);
    stage_wait(stage_received(0) + (stage_connections() > 1 ? stage_received(1) : 0) == COUNT);
    stage_equal(finished, COUNT);
}

static void cmm_close_drops_thunks_without_running_them(void) {
    struct note n = {.sock = waiting_socket(WIFI), .text = "never", .labels = WIFI};
    struct note last = {.sock = waiting_socket(WIFI), .text = "last", .labels = WIFI};
    for (int i = 0; i < 10; i++)
        defer(&n, send_note);
    defer(&last, send_note);
    stage_equal(cmm_close(n.sock), 0);
    stage_up("wifi");
    stage_wait(last.runs == 1);
    carries(0, "last");
    stage_equal(n.runs, 0);
    stage_equal(stage_connections(), 1);
}

static void a_thunk_ignored_because_the_send_went_out_is_not_stored(void) {
    struct sockaddr_in to = stage_tcp();
    stage_up("wifi");
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), 0);
    struct note n = {.sock = sock, .text = "direct", .labels = WIFI};
    stage_equal(cmm_send(sock, "direct", 6, 0, WIFI, send_note, &n), 6);
    stage_equal(cmm_thunk_count(sock), 0);
    carries(0, "direct");
    stage_equal(n.runs, 0);
}

static void a_thunk_whose_reconnect_really_failed_still_runs_and_its_send_reports_it(void) {
    struct note n[2];
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 2; i++) {
        n[i] = (struct note){.sock = sock, .text = "x", .labels = WIFI};
        defer(&n[i], send_note);
    }
    stage_refuse(true);
    stage_up("wifi");
    stage_wait(finished == 2);
    for (int i = 0; i < 2; i++) {
        stage_equal(n[i].runs, 1);
        stage_equal(n[i].result, CMM_FAILED);
        stage_equal(n[i].error, ECONNREFUSED);
    }
    stage_equal(cmm_thunk_count(sock), 0);
}

static void after_a_reset_stored_thunks_wait_for_the_next_connection(void) {
    struct sockaddr_in to = stage_tcp();
    struct note n = {.sock = waiting_socket(WIFI), .text = "kept", .labels = WIFI};
    defer(&n, send_note);
    stage_equal(cmm_reset(n.sock), 0);
    stage_equal(cmm_thunk_count(n.sock), 1);
    stage_up("wifi");
    stage_equal(n.runs, 0);
    stage_equal(cmm_connect(n.sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), 0);
    stage_wait(finished == 1);
    carries(0, "kept");
}

/* ---- order ---- */

static void thunks_of_one_label_set_run_in_the_order_they_were_deferred(void) {
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    struct note n[10];
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 10; i++) {
        n[i] = (struct note){.sock = sock, .text = texts[i], .labels = WIFI};
        defer(&n[i], send_note);
    }
    stage_up("wifi");
    stage_wait(finished == 10);
    carries(0, "0123456789");
}

static void a_send_of_another_thread_is_deferred_behind_stored_and_running_thunks(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note mine = {.sock = sock, .text = "3", .labels = WIFI};
    struct note again = {.sock = sock, .text = "4", .labels = WIFI};
    defer(&one, stop_and_send);
    defer(&two, send_note);
    stage_up("wifi");
    stage_wait(one.entered);
    defer(&mine, send_note);
    stage_equal(cmm_thunk_cancel(sock, NULL, NULL), 2);
    defer(&again, send_note); /* behind a running one alone */
    stage_equal(cmm_thunk_count(sock), 1);
    one.gate = true;
    stage_wait(finished == 2);
    carries(0, "14");
    stage_equal(two.runs + mine.runs, 0);
}

static void a_send_without_thunk_waits_its_turn(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    pthread_t thread;
    defer(&one, stop_and_send);
    defer(&two, send_note);
    stage_up("wifi");
    stage_wait(one.entered);
    pthread_create(&thread, NULL, send_without_thunk, &three);
    stage_wait(three.entered);
    one.gate = true;
    stage_wait(three.gate);
    pthread_join(thread, NULL);
    stage_equal(three.result, 1);
    carries(0, "123");
}

static void a_send_without_thunk_that_came_before_the_network_goes_behind_the_thunks_too(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    pthread_t thread;
    defer(&one, send_note);
    pthread_create(&thread, NULL, send_without_thunk, &two);
    stage_wait(two.entered);
    stage_up("wifi");
    stage_wait(two.gate);
    pthread_join(thread, NULL);
    stage_equal(two.result, 1);
    carries(0, "12");
}

static void a_nonblocking_send_without_thunk_does_not_overtake_either(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    defer(&one, stop_and_send);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_fails(cmm_send(sock, "2", 1, MSG_DONTWAIT, WIFI, NULL, NULL), EAGAIN);
    one.gate = true;
    stage_wait(finished == 1);
    carries(0, "1");
}

static void a_running_thunks_own_sends_are_exempt(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    defer(&one, stop_and_send);
    defer(&two, send_note);
    stage_up("wifi");
    stage_wait(one.entered);
    one.gate = true;
    stage_wait(finished == 2);
    stage_equal(one.result, 1);
    carries(0, "12");
}

static void what_a_running_thunk_defers_again_goes_back_to_the_front(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    defer(&one, stop_and_send);
    defer(&two, send_note);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_down("wifi");
    defer(&three, send_note);
    one.gate = true;
    stage_wait(finished == 1);
    stage_equal(one.result, CMM_DEFERRED);
    stage_equal(cmm_thunk_count(sock), 3);
    stage_up("wifi");
    stage_wait(finished == 4);
    stage_equal(one.runs, 2);
    stage_expect_connection(1, "127.0.1.1");
    carries(1, "123");
}

static struct note parts[3];
static void send_in_parts(void *arg) {
    struct note *n = arg;
    begin(n);
    stage_wait(n->gate);
    for (int i = 0; i < 3; i++)
        parts[i].result = cmm_send(n->sock, parts[i].text, 1, 0, WIFI, send_note, &parts[i]);
    end();
}

static void several_that_one_thunk_defers_again_keep_their_order_at_the_front(void) {
    static const char *const texts[] = {"a", "b", "c"};
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .labels = WIFI, .text = ""};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    for (int i = 0; i < 3; i++)
        parts[i] = (struct note){.sock = sock, .text = texts[i], .labels = WIFI};
    defer(&one, send_in_parts);
    defer(&two, send_note);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_down("wifi");
    one.gate = true;
    stage_wait(finished == 1);
    for (int i = 0; i < 3; i++)
        stage_equal(parts[i].result, CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(finished == 5);
    carries(1, "abc2");
}

static void a_send_for_another_network_inside_a_thunk_is_deferred_never_nested(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "by cell", .labels = CELL};
    stage_equal(cmm_send(sock, "", 0, 0, WIFI, stop_and_send, &one), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_up("cell");
    one.gate = true;
    stage_wait(finished == 2);
    stage_equal(one.runs, 2);
    stage_equal(most_running, 1);
    stage_expect_connection(1, "127.0.2.1");
    carries(1, "by cell");
}

static void all_runnable_thunks_of_a_label_set_run_before_the_socket_moves(void) {
    static const char *const texts[] = {"0", "a", "1", "b", "2", "c"};
    struct note n[6];
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 6; i++) {
        n[i] = (struct note){.sock = sock, .text = texts[i], .labels = i % 2 ? CELL : WIFI};
        defer(&n[i], i ? send_note : stop_and_send);
    }
    stage_up("wifi");
    stage_wait(n[0].entered);
    stage_up("cell");
    n[0].gate = true;
    stage_wait(finished == 6);
    stage_equal(stage_connections(), 2);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_connection(1, "127.0.2.1");
    carries(0, "012");
    carries(1, "abc");
}

static void of_several_label_sets_the_oldest_that_can_run_goes_first(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = waiting_socket(WIFI);
    struct note none = {.sock = sock, .text = "-", .labels = CMM_LABEL_RED};
    struct note cell = {.sock = sock, .text = "c", .labels = CELL};
    struct note wifi = {.sock = sock, .text = "w", .labels = WIFI};
    defer(&none, send_note);
    defer(&cell, send_note);
    defer(&wifi, send_note);
    stage_up("wifi");
    stage_up("cell");
    stage_wait(cmm_dispatch() >= 0 && finished >= 1);
    stage_equal(cell.runs, 1);
    stage_wait(cmm_dispatch() >= 0 && finished == 2);
    stage_equal(wifi.runs, 1);
    stage_equal(none.runs, 0);
    stage_equal(cmm_thunk_count(sock), 1);
}

static void one_thunk_of_a_socket_runs_at_a_time(void) {
    enum { COUNT = 500 };
    static struct note n[COUNT];
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < COUNT; i++) {
        n[i] = (struct note){.sock = sock, .text = ".", .labels = i % 2 ? CELL : WIFI};
        defer(&n[i], send_note);
    }
    stage_up("cell");
    stage_up("wifi");
    stage_wait(finished == COUNT);
    stage_equal(most_running, 1);
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
    begin(n);
    cancelled = cmm_thunk_cancel(n->sock, cancel_my_like, delete_note);
    end();
}

static void a_running_thunk_may_cancel_itself_and_others_of_its_round(void) {
    struct note n[5], last;
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 5; i++) {
        n[i] = (struct note){.sock = sock, .text = "x", .labels = WIFI};
        defer(&n[i], cancel_my_like);
    }
    last = (struct note){.sock = sock, .text = "last", .labels = WIFI};
    defer(&last, send_note);
    stage_up("wifi");
    stage_wait(finished == 2);
    stage_equal(cancelled, 4);
    stage_equal(deleted, 4);
    stage_equal(n[0].runs, 1);
    for (int i = 1; i < 5; i++)
        stage_equal(n[i].runs, 0);
    carries(0, "last");
}

static void cancelling_counts_and_deletes_what_is_stored_not_what_runs(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note other = {.sock = sock, .text = "2", .labels = WIFI};
    stage_equal(cmm_thunk_cancel(sock, NULL, delete_note), 0);
    defer(&one, stop_and_send);
    defer(&one, stop_and_send);
    defer(&one, stop_and_send);
    defer(&other, send_note);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_equal(cmm_thunk_cancel(sock, stop_and_send, delete_note), 2);
    stage_equal(deleted, 2);
    stage_equal(cmm_thunk_count(sock), 1);
    stage_equal(cmm_thunk_cancel(sock, NULL, NULL), 1);
    stage_equal(deleted, 2);
    one.gate = true;
    stage_wait(finished == 1);
    carries(0, "1");
    stage_equal(one.runs, 1);
    stage_equal(other.runs, 0);
    stage_fails(cmm_thunk_cancel(0, NULL, NULL), EBADF);
}

static void defer_into(void *arg) {
    struct note *n = arg;
    deleted++;
    stage_equal(cmm_send(n->sock, "", 0, 0, WIFI, send_note, n), CMM_DEFERRED);
}

static void a_deleter_may_call_anything(void) {
    struct note n = {.sock = waiting_socket(WIFI), .text = "x", .labels = WIFI};
    defer(&n, stop_and_send);
    stage_equal(cmm_thunk_cancel(n.sock, stop_and_send, defer_into), 1);
    stage_equal(cmm_thunk_count(n.sock), 1);
}

static void close_my_socket(void *arg) {
    struct note *n = arg;
    begin(n);
    n->result = cmm_close(n->sock);
    n->error = cmm_send(n->sock, "x", 1, 0, WIFI, NULL, NULL) == -1 ? errno : 0;
    end();
}

static void a_running_thunk_may_close_its_socket(void) {
    struct note n[3], last = {.sock = waiting_socket(WIFI), .text = "last", .labels = WIFI};
    int sock = waiting_socket(WIFI);
    for (int i = 0; i < 3; i++) {
        n[i] = (struct note){.sock = sock, .text = "x", .labels = WIFI};
        defer(&n[i], close_my_socket);
    }
    stage_up("wifi");
    stage_wait(finished == 1);
    stage_equal(n[0].result, 0);
    stage_equal(n[0].error, EBADF);
    stage_equal(cmm_send(last.sock, "last", 4, 0, WIFI, NULL, NULL), 4);
    stage_equal(n[1].runs + n[2].runs, 0);
    stage_equal(running, 0);
}

static void close_and_make_another(void *arg) {
    struct note *n = arg;
    begin(n);
    n->result = cmm_close(n->sock);
    n->error = waiting_socket(CELL);
    end();
}

static void a_running_thunk_may_close_its_socket_and_make_another_of_the_same_number(void) {
    int sock = waiting_socket(WIFI);
    struct note n = {.sock = sock, .text = "x", .labels = WIFI};
    defer(&n, close_and_make_another);
    stage_up("wifi");
    stage_wait(finished == 1);
    struct note next = {.sock = n.error, .text = "next", .labels = CELL};
    stage_equal(n.result, 0);
    defer(&next, send_note);
    stage_up("cell");
    stage_wait(finished == 2);
    stage_wait(stage_connections() == 2);
    carries(1, "next");
}

static void end_my_thread(void *arg) {
    begin(arg);
    end();
    pthread_exit(NULL);
}

static void a_thunk_that_ends_its_thread_stops_no_other(void) {
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    defer(&one, end_my_thread);
    defer(&two, send_note);
    stage_up("wifi");
    stage_wait(finished == 2);
    carries(0, "2");
}

static void call_everything(void *arg) {
    struct note *n = arg;
    struct cmm_network network;
    unsigned long labels;
    char text[64];
    int one = 1, got;
    socklen_t len = sizeof got;
    begin(n);
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
    end();
}

static void a_thunk_may_call_anything_for_no_lock_is_held(void) {
    struct note n = {.sock = waiting_socket(WIFI), .text = "x", .labels = WIFI};
    defer(&n, call_everything);
    stage_up("wifi");
    stage_wait(finished == 1);
}

/* ---- where it runs ---- */

static sigset_t seen[3];
static int handled;

static int see_mask(int sock, unsigned long labels, void *arg) {
    (void)sock;
    (void)labels;
    (void)arg;
    pthread_sigmask(SIG_SETMASK, NULL, &seen[handled++]);
    return 0;
}

static void see_mask_in_thunk(void *arg) {
    begin(arg);
    pthread_sigmask(SIG_SETMASK, NULL, &seen[2]);
    end();
}

static void on_library_threads_the_signal_mask_is_that_of_the_sockets_maker(void) {
    struct sockaddr_in to = stage_tcp();
    sigset_t mask, before;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigaddset(&mask, SIGTERM);
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, see_mask, see_mask, NULL),
                CMM_DEFERRED);
    struct note n = {.sock = sock, .text = "x", .labels = WIFI};
    defer(&n, see_mask_in_thunk);
    stage_up("wifi");
    stage_wait(finished == 1);
    stage_equal(handled, 2);
    stage_expect(!pthread_equal(n.thread, pthread_self()));
    for (int i = 0; i < 3; i++)
        for (int signal = 1; signal < SIGRTMIN; signal++)
            stage_equal(sigismember(&seen[i], signal), signal == SIGUSR2 || signal == SIGTERM);
}

static void in_manual_mode_thunks_and_handlers_run_in_cmm_dispatch(void) {
    struct sockaddr_in to = stage_tcp();
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int fd = cmm_dispatch_fd(), sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    stage_expect(fd >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, see_mask, see_mask, NULL),
                CMM_DEFERRED);
    struct note n = {.sock = sock, .text = "x", .labels = WIFI};
    defer(&n, send_note);
    stage_equal(cmm_dispatch(), 0);
    stage_equal(poll(&p, 1, 0), 0);
    stage_up("wifi");
    int count = 0;
    while (!finished) {
        stage_equal(poll(&p, 1, 25000), 1);
        count += cmm_dispatch();
    }
    stage_equal(count, 3); /* two handlers and a thunk */
    stage_expect(pthread_equal(n.thread, pthread_self()));
    stage_equal(cmm_dispatch(), 0);
    stage_equal(poll(&p, 1, 0), 0);
    carries(0, "x");
}

static void dispatch_nested(void *arg) {
    begin(arg);
    stage_equal(cmm_dispatch(), 0);
    end();
}

static void a_nested_cmm_dispatch_runs_nothing(void) {
    struct note n[2];
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    for (int i = 0; i < 2; i++) {
        n[i] = (struct note){.sock = waiting_socket(WIFI), .text = "x", .labels = WIFI};
        defer(&n[i], dispatch_nested);
    }
    stage_up("wifi");
    stage_wait(cmm_dispatch() >= 0 && finished == 2);
    stage_equal(most_running, 1);
}

static void the_mode_is_set_before_the_first_cmm_socket(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_THREAD), 0);
    stage_fails(cmm_set_dispatch(7), EINVAL);
    stage_expect(cmm_socket(AF_INET, SOCK_STREAM, 0) >= 0);
    stage_fails(cmm_set_dispatch(CMM_DISPATCH_MANUAL), EBUSY);
}

static void in_manual_mode_a_blocking_call_runs_the_thunks_before_it_itself(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = waiting_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    defer(&one, send_note);
    defer(&two, send_note);
    stage_up("wifi");
    defer(&three, send_note); /* also of the same thread, also with a network there */
    stage_equal(cmm_send(sock, "4", 1, 0, WIFI, NULL, NULL), 1);
    stage_equal(finished, 3);
    stage_expect(pthread_equal(one.thread, pthread_self()));
    carries(0, "1234");
}

static void in_manual_mode_a_thunk_may_wait_for_a_network(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    blocking_other = waiting_socket(CELL);
    struct note n = {.sock = waiting_socket(WIFI), .text = "by cell", .labels = WIFI};
    struct note cell = {.sock = blocking_other, .text = "cell", .labels = CELL};
    defer(&n, wait_for_cell);
    defer(&cell, send_note);
    stage_up("wifi");
    stage_up("cell");
    stage_wait(cmm_dispatch() >= 0 && finished == 2);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_thunk_may_wait_for_a_network_that_only_the_listening_thread_can_announce),
    STAGE_TEST(a_thunk_may_block_in_a_send_until_a_network_comes),
    STAGE_TEST(a_thunk_may_wait_for_a_network_on_another_socket),
    STAGE_TEST(a_thunk_may_wait_for_another_network_on_its_own_socket),
    STAGE_TEST(while_a_thunk_blocks_the_thunks_of_other_sockets_go_on),
    STAGE_TEST(each_stored_thunk_runs_exactly_once),
    STAGE_TEST(cmm_close_drops_thunks_without_running_them),
    STAGE_TEST(a_thunk_ignored_because_the_send_went_out_is_not_stored),
    STAGE_TEST(a_thunk_whose_reconnect_really_failed_still_runs_and_its_send_reports_it),
    STAGE_TEST(after_a_reset_stored_thunks_wait_for_the_next_connection),
    STAGE_TEST(thunks_of_one_label_set_run_in_the_order_they_were_deferred),
    STAGE_TEST(a_send_of_another_thread_is_deferred_behind_stored_and_running_thunks),
    STAGE_TEST(a_send_without_thunk_waits_its_turn),
    STAGE_TEST(a_send_without_thunk_that_came_before_the_network_goes_behind_the_thunks_too),
    STAGE_TEST(a_nonblocking_send_without_thunk_does_not_overtake_either),
    STAGE_TEST(a_running_thunks_own_sends_are_exempt),
    STAGE_TEST(what_a_running_thunk_defers_again_goes_back_to_the_front),
    STAGE_TEST(several_that_one_thunk_defers_again_keep_their_order_at_the_front),
    STAGE_TEST(a_send_for_another_network_inside_a_thunk_is_deferred_never_nested),
    STAGE_TEST(all_runnable_thunks_of_a_label_set_run_before_the_socket_moves),
    STAGE_TEST(of_several_label_sets_the_oldest_that_can_run_goes_first),
    STAGE_TEST(one_thunk_of_a_socket_runs_at_a_time),
    STAGE_TEST(a_running_thunk_may_cancel_itself_and_others_of_its_round),
    STAGE_TEST(cancelling_counts_and_deletes_what_is_stored_not_what_runs),
    STAGE_TEST(a_deleter_may_call_anything),
    STAGE_TEST(a_running_thunk_may_close_its_socket),
    STAGE_TEST(a_running_thunk_may_close_its_socket_and_make_another_of_the_same_number),
    STAGE_TEST(a_thunk_that_ends_its_thread_stops_no_other),
    STAGE_TEST(a_thunk_may_call_anything_for_no_lock_is_held),
    STAGE_TEST(on_library_threads_the_signal_mask_is_that_of_the_sockets_maker),
    STAGE_TEST(in_manual_mode_thunks_and_handlers_run_in_cmm_dispatch),
    STAGE_TEST(a_nested_cmm_dispatch_runs_nothing),
    STAGE_TEST(the_mode_is_set_before_the_first_cmm_socket),
    STAGE_TEST(in_manual_mode_a_blocking_call_runs_the_thunks_before_it_itself),
    STAGE_TEST(in_manual_mode_a_thunk_may_wait_for_a_network),
};

STAGE_MAIN(config, tests)

/* thunk_order - thunks and sends of one socket go out in the order the contract promises: the far end's
 * record proves it.
 */
#include "notes.h"
#include "talk.h"

#include <errno.h>
#include <signal.h>

static void thunks_of_one_label_set_run_in_the_order_they_were_deferred(void) {
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    struct note n[10];
    int sock = note_socket(WIFI);
    for (int i = 0; i < 10; i++) {
        n[i] = (struct note){.sock = sock, .text = texts[i], .labels = WIFI};
        note_defer(&n[i], note_send);
    }
    stage_up("wifi");
    stage_wait(note_finished == 10);
    note_carries(0, "0123456789");
}

static void a_send_of_another_thread_is_deferred_behind_stored_and_running_thunks(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note mine = {.sock = sock, .text = "3", .labels = WIFI};
    struct note again = {.sock = sock, .text = "4", .labels = WIFI};
    note_defer(&one, note_stop_and_send);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_wait(one.entered);
    note_defer(&mine, note_send);
    stage_equal(cmm_thunk_cancel(sock, NULL, NULL), 2);
    note_defer(&again, note_send); /* behind a running one alone */
    stage_equal(cmm_thunk_count(sock), 1);
    one.gate = true;
    stage_wait(note_finished == 2);
    note_carries(0, "14");
    stage_equal(two.runs + mine.runs, 0);
}

static void a_send_without_thunk_waits_its_turn(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    pthread_t thread;
    note_defer(&one, note_stop_and_send);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_wait(one.entered);
    pthread_create(&thread, NULL, note_send_without_thunk, &three);
    stage_wait(three.entered);
    one.gate = true;
    stage_wait(three.gate);
    pthread_join(thread, NULL);
    stage_equal(three.result, 1);
    note_carries(0, "123");
}

static void a_send_without_thunk_that_came_before_the_network_goes_behind_the_thunks_too(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    pthread_t thread;
    note_defer(&one, note_send);
    pthread_create(&thread, NULL, note_send_without_thunk, &two);
    stage_wait(two.entered);
    stage_up("wifi");
    stage_wait(two.gate);
    pthread_join(thread, NULL);
    stage_equal(two.result, 1);
    note_carries(0, "12");
}

static void a_nonblocking_send_without_thunk_does_not_overtake_either(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    note_defer(&one, note_stop_and_send);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_fails(cmm_send(sock, "2", 1, MSG_DONTWAIT, WIFI, NULL, NULL), EAGAIN);
    one.gate = true;
    stage_wait(note_finished == 1);
    note_carries(0, "1");
}

static void a_running_thunks_own_sends_are_exempt(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    note_defer(&one, note_stop_and_send);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_wait(one.entered);
    one.gate = true;
    stage_wait(note_finished == 2);
    stage_equal(one.result, 1);
    note_carries(0, "12");
}

static int agree(int sock, unsigned long labels, void *arg) {
    return 0;
}

static void connect_another_and_send(void *arg) {
    struct note *n = arg;
    struct sockaddr_in to = stage_tcp();
    const int other = cmm_socket(AF_INET, SOCK_STREAM, 0);
    note_begin(n);
    stage_equal(cmm_connect(other, (struct sockaddr *)&to, sizeof to, WIFI, agree, agree, NULL), 0);
    n->result = cmm_send(n->sock, n->text, 1, 0, n->labels, note_send, n);
    note_end();
}

static void they_are_also_after_handlers_of_another_socket_have_run_within(void) {
    struct note n = {.sock = note_socket(WIFI), .text = "1", .labels = WIFI};
    note_defer(&n, connect_another_and_send);
    stage_up("wifi");
    stage_wait(note_finished == 1);
    stage_equal(n.result, 1);
    note_carries(0, "1");
}

static void what_a_running_thunk_defers_again_goes_back_to_the_front(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "1", .labels = WIFI};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    struct note three = {.sock = sock, .text = "3", .labels = WIFI};
    note_defer(&one, note_stop_and_send);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_down("wifi");
    note_defer(&three, note_send);
    one.gate = true;
    stage_wait(note_finished == 1);
    stage_equal(one.result, CMM_DEFERRED);
    stage_equal(cmm_thunk_count(sock), 3);
    stage_up("wifi");
    stage_wait(note_finished == 4);
    stage_equal(one.runs, 2);
    stage_expect_connection(1, "127.0.1.1");
    note_carries(1, "123");
}

static struct note parts[3];
static void send_in_parts(void *arg) {
    struct note *n = arg;
    note_begin(n);
    stage_wait(n->gate);
    for (int i = 0; i < 3; i++)
        parts[i].result = cmm_send(n->sock, parts[i].text, 1, 0, WIFI, note_send, &parts[i]);
    note_end();
}

static void several_that_one_thunk_defers_again_keep_their_order_at_the_front(void) {
    static const char *const texts[] = {"a", "b", "c"};
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .labels = WIFI, .text = ""};
    struct note two = {.sock = sock, .text = "2", .labels = WIFI};
    for (int i = 0; i < 3; i++)
        parts[i] = (struct note){.sock = sock, .text = texts[i], .labels = WIFI};
    note_defer(&one, send_in_parts);
    note_defer(&two, note_send);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_down("wifi");
    one.gate = true;
    stage_wait(note_finished == 1);
    for (int i = 0; i < 3; i++)
        stage_equal(parts[i].result, CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(note_finished == 5);
    note_carries(1, "abc2");
}

static void a_send_for_another_network_inside_a_thunk_is_deferred_never_nested(void) {
    int sock = note_socket(WIFI);
    struct note one = {.sock = sock, .text = "by cell", .labels = CELL};
    stage_equal(cmm_send(sock, "", 0, 0, WIFI, note_stop_and_send, &one), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(one.entered);
    stage_up("cell");
    one.gate = true;
    stage_wait(note_finished == 2);
    stage_equal(one.runs, 2);
    stage_equal(note_most, 1);
    stage_expect_connection(1, "127.0.2.1");
    note_carries(1, "by cell");
}

static void all_runnable_thunks_of_a_label_set_run_before_the_socket_moves(void) {
    static const char *const texts[] = {"0", "a", "1", "b", "2", "c"};
    struct note n[6];
    int sock = note_socket(WIFI);
    for (int i = 0; i < 6; i++) {
        n[i] = (struct note){.sock = sock, .text = texts[i], .labels = i % 2 ? CELL : WIFI};
        note_defer(&n[i], i ? note_send : note_stop_and_send);
    }
    stage_up("wifi");
    stage_wait(n[0].entered);
    stage_up("cell");
    n[0].gate = true;
    stage_wait(note_finished == 6);
    stage_equal(stage_connections(), 2);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_connection(1, "127.0.2.1");
    note_carries(0, "012");
    note_carries(1, "abc");
}

static void of_several_label_sets_the_oldest_that_can_run_goes_first(void) {
    stage_equal(cmm_set_dispatch(CMM_DISPATCH_MANUAL), 0);
    int sock = note_socket(WIFI);
    struct note none = {.sock = sock, .text = "-", .labels = CMM_LABEL_RED};
    struct note cell = {.sock = sock, .text = "c", .labels = CELL};
    struct note wifi = {.sock = sock, .text = "w", .labels = WIFI};
    note_defer(&none, note_send);
    note_defer(&cell, note_send);
    note_defer(&wifi, note_send);
    stage_up("wifi");
    stage_up("cell");
    stage_wait(cmm_dispatch() >= 0 && note_finished >= 1);
    stage_equal(cell.runs, 1);
    stage_wait(cmm_dispatch() >= 0 && note_finished == 2);
    stage_equal(wifi.runs, 1);
    stage_equal(none.runs, 0);
    stage_equal(cmm_thunk_count(sock), 1);
}

static void one_thunk_of_a_socket_runs_at_a_time(void) {
    enum { COUNT = 500 };
    static struct note n[COUNT];
    int sock = note_socket(WIFI);
    for (int i = 0; i < COUNT; i++) {
        n[i] = (struct note){.sock = sock, .text = ".", .labels = i % 2 ? CELL : WIFI};
        note_defer(&n[i], note_send);
    }
    stage_up("cell");
    stage_up("wifi");
    stage_wait(note_finished == COUNT);
    stage_equal(note_most, 1);
}

/* ---- behind a thunk that its sender runs itself ---- */

static _Atomic bool held, held_enough;

static void hold(int number) {
    (void)number;
    held = true;
    while (!held_enough)
        stage_pause();
}

static struct note own = {.text = "1", .labels = CELL};

static long send_with_thunk(void) {
    return cmm_send(own.sock, own.text, 1, 0, own.labels, note_stop_and_send, &own);
}

/* Between the connection and the thunk another thread's send has found the way free. */
static void a_thunk_that_its_sender_runs_is_not_overtaken_either(void) {
    stage_not_under_tsan("holds signals back while a call blocks");
    struct sigaction act = {.sa_flags = SA_RESTART};
    act.sa_handler = hold;
    sigaction(SIGUSR1, &act, NULL);
    stage_up("wifi");
    own.sock = note_socket(CELL);
    stage_up("cell");
    stage_equal(cmm_send(own.sock, "0", 1, 0, CELL, NULL, NULL), 1);
    stage_equal(cmm_send(own.sock, "0", 1, 0, WIFI, NULL, NULL), 1);
    stage_crowd(true);
    talk_begin(send_with_thunk);
    /* What tells of the network takes the library's lock: so it is not the sleeper's, who will not go on. */
    stage_wait(cmm_socket_network(own.sock, &(struct cmm_network){0}) < 0 && talk_asleep());
    pthread_kill(talk_thread, SIGUSR1);
    stage_wait(held);
    stage_crowd(false);
    stage_equal(cmm_send(own.sock, "0", 1, 0, CELL, NULL, NULL), 1);
    held_enough = true;
    stage_wait(own.entered);
    struct note next = {.sock = own.sock, .text = "2", .labels = CELL};
    note_defer(&next, note_send);
    own.gate = true;
    stage_equal(talk_join(), CMM_THUNK_EXECUTED);
    stage_wait(note_finished == 2);
    note_carries(2, "012");
}

static const struct stage_test tests[] = {
    STAGE_TEST(thunks_of_one_label_set_run_in_the_order_they_were_deferred),
    STAGE_TEST(a_send_of_another_thread_is_deferred_behind_stored_and_running_thunks),
    STAGE_TEST(a_send_without_thunk_waits_its_turn),
    STAGE_TEST(a_send_without_thunk_that_came_before_the_network_goes_behind_the_thunks_too),
    STAGE_TEST(a_nonblocking_send_without_thunk_does_not_overtake_either),
    STAGE_TEST(a_running_thunks_own_sends_are_exempt),
    STAGE_TEST(they_are_also_after_handlers_of_another_socket_have_run_within),
    STAGE_TEST(what_a_running_thunk_defers_again_goes_back_to_the_front),
    STAGE_TEST(several_that_one_thunk_defers_again_keep_their_order_at_the_front),
    STAGE_TEST(a_send_for_another_network_inside_a_thunk_is_deferred_never_nested),
    STAGE_TEST(all_runnable_thunks_of_a_label_set_run_before_the_socket_moves),
    STAGE_TEST(of_several_label_sets_the_oldest_that_can_run_goes_first),
    STAGE_TEST(a_thunk_that_its_sender_runs_is_not_overtaken_either),
    STAGE_TEST(one_thunk_of_a_socket_runs_at_a_time),
};

STAGE_MAIN(note_config, tests)

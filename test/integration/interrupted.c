/* interrupted - labeled sends that a signal, a cancellation or a reset comes into.
 * Each test is a sentence of the contract. */
#include "talk.h"

#include <errno.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/ioctl.h>

#define BG CMM_LABEL_BACKGROUND

/* ---- signals ---- */

static _Atomic int signals;

static void count_signal(int number) {
    (void)number;
    signals++;
}

static void on_signal(int flags) {
    struct sigaction act = {.sa_handler = count_signal, .sa_flags = flags};
    sigaction(SIGUSR1, &act, NULL);
}

/* Again and again: one that comes before the wait begins counts for nothing. */
static void interrupt_until_over(void) {
    stage_wait_begins();
    while (!talk_back() && !stage_late()) {
        pthread_kill(talk_thread, SIGUSR1);
        stage_pause();
    }
}

static void interrupt_often(void) {
    stage_not_under_tsan("holds signals back while a call blocks");
    for (int i = 0; i < 30; i++) {
        int before = signals;
        pthread_kill(talk_thread, SIGUSR1);
        stage_wait(signals > before);
    }
}

static void a_wait_for_a_network_ends_with_EINTR_without_SA_RESTART(void) {
    on_signal(0);
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    talk_begin_call("x", BG, false);
    interrupt_until_over();
    stage_fails(talk_join(), EINTR);
    stage_up("wifi");
    stage_equal(talk_put("y", BG), 1);
    stage_expect_text(0, "y");
}

static void a_wait_for_a_network_goes_on_with_SA_RESTART(void) {
    on_signal(SA_RESTART);
    stage_equal(talk_dial_plainly(0, BG), CMM_DEFERRED);
    talk_begin_call("x", BG, false);
    interrupt_often();
    stage_expect(!talk_back());
    stage_up("wifi");
    stage_equal(talk_join(), 1);
    stage_expect_text(0, "x");
}

static void an_interrupted_reconnect_is_EINTR_and_the_argument_stays_the_callers(void) {
    on_signal(0);
    talk_on_cell_with_wifi_there(0);
    stage_crowd(true);
    talk_begin_call("x", BG, true);
    interrupt_until_over();
    stage_fails(talk_join(), EINTR);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_crowd(false);
    stage_equal(talk_put("y", BG), 1);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "y");
    stage_equal(talk_count, 0);
}

static void a_wait_for_the_handshake_goes_on_with_SA_RESTART(void) {
    on_signal(SA_RESTART);
    talk_on_cell_with_wifi_there(0);
    stage_crowd(true);
    talk_begin_call("x", BG, true);
    interrupt_often();
    stage_expect(!talk_back());
    stage_crowd(false);
    stage_equal(talk_join(), CMM_THUNK_EXECUTED);
    stage_expect(pthread_equal(talk_events[0].thread, talk_thread));
    stage_expect_text(1, "x");
}

static void a_blocking_connect_is_interrupted_and_the_connection_made_all_the_same(void) {
    on_signal(0);
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    talk_set_blocking();
    talk_begin_call("x", BG, false);
    interrupt_until_over();
    stage_fails(talk_join(), EINTR);
    stage_crowd(false);
    stage_expect_connection(0, "127.0.1.1");
}

/* ---- in the middle of a send that is kept for replay ---- */

static _Atomic long taken = -1;

static void *send_bulk(void *unused) {
    static char bulk[8 << 20];
    taken = cmm_send(talk_sock, bulk, sizeof bulk, 0, BG, NULL, NULL);
    return unused;
}

/* Kept for replay, and its bytes are on their way. */
static void begin_kept_send(pthread_t *ret_sender) {
    int unread = 0;
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_hold(true);
    stage_equal(pthread_create(ret_sender, NULL, send_bulk, NULL), 0);
    stage_wait(ioctl(talk_sock, SIOCOUTQ, &unread) == 0 && unread > 100000);
}

static void who_waits_its_turn_behind_an_interrupted_send_goes_on(void) {
    pthread_t first;
    on_signal(0);
    begin_kept_send(&first);
    talk_begin_call("x", BG, false);
    stage_wait(talk_asleep());
    stage_wait((pthread_kill(first, SIGUSR1), taken >= 0));
    stage_equal(pthread_join(first, NULL), 0);
    stage_expect(taken > 0 && taken < 8 << 20);
    stage_hold(false);
    stage_equal(talk_join(), 1);
    stage_wait(stage_received(0) == (size_t)taken + 1);
}

static void who_waits_its_turn_behind_a_cancelled_send_goes_on(void) {
    stage_not_under_tsan("sees no locks of a thread that is cancelled in a call it looks on");
    pthread_t first;
    void *result;
    begin_kept_send(&first);
    talk_begin_call("x", BG, false);
    stage_equal(pthread_cancel(first), 0);
    stage_equal(pthread_join(first, &result), 0);
    stage_expect(result == PTHREAD_CANCELED);
    stage_hold(false);
    stage_equal(talk_join(), 1);
    stage_equal(talk_put("y", BG), 1);
}

static void a_send_under_way_goes_on_when_replay_is_switched_off(void) {
    pthread_t first;
    begin_kept_send(&first);
    stage_equal(cmm_set_replay(talk_sock, 0), 0);
    stage_hold(false);
    stage_equal(pthread_join(first, NULL), 0);
    stage_equal(taken, 8 << 20);
    stage_equal(talk_put("y", BG), 1);
    stage_wait(stage_received(0) == (8 << 20) + 1);
}

static void after_a_reset_in_the_middle_of_a_send_the_next_has_its_turn(void) {
    pthread_t first;
    begin_kept_send(&first);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_hold(false);
    stage_equal(pthread_join(first, NULL), 0);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_equal(talk_put("y", BG), 1);
    stage_expect_text(1, "y");
}

static void a_send_that_a_reset_ends_is_not_done_though_another_connection_is_there_at_once(void) {
    pthread_t first;
    begin_kept_send(&first);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_equal(pthread_join(first, NULL), 0);
    stage_expect(taken > 0 && taken < 8 << 20);
    stage_hold(false);
    stage_equal(talk_put("y", BG), 1);
    stage_expect_text(1, "y");
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_wait_for_a_network_ends_with_EINTR_without_SA_RESTART),
    STAGE_TEST(a_wait_for_a_network_goes_on_with_SA_RESTART),
    STAGE_TEST(an_interrupted_reconnect_is_EINTR_and_the_argument_stays_the_callers),
    STAGE_TEST(a_wait_for_the_handshake_goes_on_with_SA_RESTART),
    STAGE_TEST(a_blocking_connect_is_interrupted_and_the_connection_made_all_the_same),
    STAGE_TEST(who_waits_its_turn_behind_an_interrupted_send_goes_on),
    STAGE_TEST(who_waits_its_turn_behind_a_cancelled_send_goes_on),
    STAGE_TEST(a_send_under_way_goes_on_when_replay_is_switched_off),
    STAGE_TEST(after_a_reset_in_the_middle_of_a_send_the_next_has_its_turn),
    STAGE_TEST(a_send_that_a_reset_ends_is_not_done_though_another_connection_is_there_at_once),
};

STAGE_MAIN(talk_config, tests)

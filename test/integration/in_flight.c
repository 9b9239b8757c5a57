/* in_flight - what is promised for data that is on its way when its network is lost: it is known exactly what
 * the peer lacks, and with replay that is sent again. In a world, where the kernel says that an interface is
 * gone. */
#include "leaving.h"

#include <errno.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <string.h>
#include <sys/ioctl.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static void swallow_three_messages(void) {
    leaving_live_in_world(0);
    stage_equal(talk_put("first.", SMALL), 6);
    stage_wait(leaving_number(SIOCOUTQ) == 0);
    stage_swallow("wifi0", true, false);
    stage_equal(talk_put("second.", SMALL), 7);
    stage_equal(talk_put("third.", SMALL), 6);
    stage_equal(leaving_number(SIOCOUTQ), 13);
    stage_link("wifi0", false);
}

static void what_the_peer_had_not_acknowledged_is_known_exactly(void) {
    swallow_three_messages();
    talk_expect_moved(1, "10.2.0.2", "cell");
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
    stage_equal(talk_events[2].unacked, 13);
    stage_equal(talk_events[3].unacked, 13);
    stage_equal(cmm_unacked(talk_sock), 13);
    stage_equal(talk_put("fourth.", SMALL), 7);
    stage_expect_text(1, "fourth.");
    stage_expect(stage_is_text(0, "first."));
    stage_equal(cmm_unacked(talk_sock), 13);
}

static int greet(int s) {
    stage_equal(cmm_write(s, "hello.", 6, SMALL, NULL, NULL), 6);
    return 0;
}

static int replay_then_greet(int s) {
    stage_equal(cmm_set_replay(s, 1), 0);
    return greet(s);
}

static void with_replay_what_was_not_acknowledged_is_sent_again_first_thing_after_post_reconnect(void) {
    talk_in_post = replay_then_greet;
    swallow_three_messages();
    talk_expect_moved(1, "10.2.0.2", "cell");
    stage_equal(talk_events[2].unacked, 13);
    stage_equal(talk_put("fourth.", SMALL), 7);
    stage_expect_text(1, "hello.second.third.fourth.");
    stage_expect(stage_is_text(0, "hello.first."));
}

static void with_replay_a_message_is_repeated_only_if_its_acknowledgement_was_lost(void) {
    talk_sock = -1;
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_equal(talk_put("first.", SMALL), 6);
    stage_wait(leaving_number(SIOCOUTQ) == 0);
    stage_swallow("wifi0", false, true);
    stage_equal(talk_put("second.", SMALL), 7);
    stage_expect_text(0, "first.second.");
    stage_equal(leaving_number(SIOCOUTQ), 7);
    stage_link("wifi0", false);
    stage_expect_text(1, "second.");
    talk_expect_moved(1, "10.2.0.2", "cell");
    stage_equal(cmm_unacked(talk_sock), 7);
}

static void with_replay_what_was_acknowledged_is_not_sent_again(void) {
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_equal(talk_put("heard.", SMALL), 6);
    stage_wait(leaving_number(SIOCOUTQ) == 0);
    stage_link("wifi0", false);
    talk_expect_moved(1, "10.2.0.2", "cell");
    stage_equal(cmm_unacked(talk_sock), 0);
    stage_equal(talk_put("next.", SMALL), 5);
    stage_expect_text(1, "next.");
}

static void with_replay_nothing_is_lost_through_two_losses(void) {
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_swallow("wifi0", true, false);
    stage_equal(talk_put("one.", SMALL), 4);
    stage_swallow("cell0", true, false);
    stage_link("wifi0", false);
    /* cell swallows the handshake too. */
    stage_wait(strcmp(talk_diary(), "<><") == 0);
    stage_equal(leaving_number(SIOCOUTQ), 4);
    stage_link("cell0", false);
    stage_swallow("wifi0", false, false);
    stage_link("wifi0", true);
    talk_expect_moved(1, "10.1.0.2", "wifi");
    stage_equal(talk_put("two.", SMALL), 4);
    stage_expect_text(1, "one.two.");
    stage_equal(cmm_unacked(talk_sock), 4);
}

static long in_large_send(void) {
    return leaving_put(3 << 20, 0);
}

static void *send_last(void *ret) {
    *(_Atomic long *)ret = cmm_send(talk_sock, "last", 4, 0, SMALL, NULL, NULL);
    return NULL;
}

static void with_replay_two_sends_never_mingle(void) {
    _Atomic long said = 0;
    pthread_t other;
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_hold(true);
    talk_begin(in_large_send);
    stage_wait(leaving_number(SIOCOUTQ) > 100000 && talk_asleep());
    stage_fails(cmm_send(talk_sock, "x", 1, MSG_DONTWAIT, SMALL, NULL, NULL), EAGAIN);
    stage_equal(pthread_create(&other, NULL, send_last, &said), 0);
    for (int calm = 0; calm < 100 && !said; calm++)
        stage_pause();
    stage_equal(said, 0);
    stage_hold(false);
    stage_equal(talk_join(), 3 << 20);
    stage_wait(said == 4);
    pthread_join(other, NULL);
    stage_wait(stage_received(0) == (3 << 20) + 4);
    stage_expect(memcmp(stage_bytes(0) + (3 << 20), "last", 4) == 0);
}

/* Not all that was ever sent. */
static void with_replay_no_more_is_kept_than_the_peer_may_lack(void) {
    static char bytes[1 << 16];
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    const size_t before = mallinfo2().hblkhd + mallinfo2().uordblks;
    for (int i = 0; i < 1024; i++)
        stage_equal(cmm_send(talk_sock, bytes, sizeof bytes, 0, SMALL, NULL, NULL), sizeof bytes);
    stage_expect(mallinfo2().hblkhd + mallinfo2().uordblks < before + (32 << 20));
}

static void with_replay_a_call_cut_short_goes_out_again_whole(void) {
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_hold(true);
    talk_begin(in_large_send);
    stage_wait(leaving_number(SIOCOUTQ) > 100000 && talk_asleep());
    stage_link("wifi0", false);
    stage_hold(false);
    stage_equal(talk_join(), 3 << 20);
    stage_wait(stage_connections() == 2 && stage_received(1) >= 3 << 20);
    leaving_expect(1, 0, 3 << 20);
}

static void with_replay_short_counts_are_repeated_as_they_were_told(void) {
    stage_receive_buffer(65536);
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_hold(true);
    stage_wait(leaving_put(33333, MSG_DONTWAIT) == CMM_FAILED && errno == EAGAIN);
    stage_link("wifi0", false);
    stage_hold(false);
    talk_expect_moved(1, "10.2.0.2", "cell");
    const size_t unacked = (size_t)cmm_unacked(talk_sock);
    stage_expect(unacked > 0 && unacked <= leaving_put_at);
    stage_equal(leaving_put(1000, 0), 1000);
    stage_wait(stage_received(1) >= unacked + 1000 &&
               memcmp(stage_bytes(1) + stage_received(1) - 1,
                      (unsigned char[]){leaving_at(leaving_put_at - 1)}, 1) == 0);
    leaving_expect(1, leaving_put_at - stage_received(1), stage_received(1));
    stage_expect(stage_received(1) < unacked + 1000 + 33333);
}

static int narrow(int s) {
    const int little = 4096;
    return cmm_setsockopt(s, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
}

static void with_replay_a_loss_in_the_middle_of_the_repetition_repeats_it(void) {
    const int large = 400000;
    stage_receive_buffer(8192);
    leaving_live_in_world(0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_SNDBUF, &large, sizeof large), 0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_swallow("wifi0", true, false);
    while (leaving_put_at < 200000)
        stage_equal(leaving_put(10000, MSG_DONTWAIT), 10000);
    /* By cell it cannot all go at once: neither end has room for it. */
    talk_in_pre = narrow;
    stage_hold(true);
    stage_link("wifi0", false);
    stage_expect_connection(1, "10.2.0.2");
    stage_wait(strcmp(talk_diary(), "<><>") == 0);
    stage_swallow("wifi0", false, false);
    stage_link("wifi0", true);
    stage_wait(stage_offered("wifi"));
    stage_expect(!talk_on("cell"));
    stage_link("cell0", false);
    stage_expect_connection(2, "10.1.0.2");
    stage_hold(false);
    stage_wait(talk_on("wifi"));
    stage_equal(leaving_put(1000, 0), 1000);
    stage_wait(stage_received(2) >= 201000);
    leaving_expect(2, 0, 201000);
}

static void without_replay_a_blocking_send_cut_short_is_made_again_as_a_whole(void) {
    leaving_live_in_world(0);
    stage_hold(true);
    talk_begin(in_large_send);
    stage_wait(leaving_number(SIOCOUTQ) > 100000 && talk_asleep());
    stage_link("wifi0", false);
    stage_hold(false);
    stage_equal(talk_join(), 3 << 20);
    stage_wait(stage_connections() == 2 && stage_received(1) >= 3 << 20);
    leaving_expect(1, 0, 3 << 20);
}

static const struct stage_test tests[] = {
    STAGE_TEST_IN(what_the_peer_had_not_acknowledged_is_known_exactly, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_what_was_not_acknowledged_is_sent_again_first_thing_after_post_reconnect,
                  STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_a_message_is_repeated_only_if_its_acknowledgement_was_lost, STAGE_WORLD,
                  leaving_world),
    STAGE_TEST_IN(with_replay_what_was_acknowledged_is_not_sent_again, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_nothing_is_lost_through_two_losses, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_two_sends_never_mingle, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_no_more_is_kept_than_the_peer_may_lack, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_a_call_cut_short_goes_out_again_whole, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_short_counts_are_repeated_as_they_were_told, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_replay_a_loss_in_the_middle_of_the_repetition_repeats_it, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(without_replay_a_blocking_send_cut_short_is_made_again_as_a_whole, STAGE_WORLD,
                  leaving_world),
};

STAGE_MAIN(leaving_world, tests)

/* losing - what is promised when the peer ends a connection and when its network is lost.
 * Each test is a sentence of the contract. Loss needs a world, where the kernel says that an interface is
 * gone. */
#include "leaving.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

/* Any blip is short. */
static const char patient_world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                                    "[scout]\nhold-down = 0\ngrace = 60\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static char heard[256];

static long in_recv(void) {
    return recv(talk_sock, heard, sizeof heard, 0);
}

/* ---- the peer's word ---- */

static void expect_no_other_connection_until_reset(void) {
    stage_up("cell");
    stage_down("wifi");
    stage_wait(talk_put("x", SMALL) == CMM_FAILED);
    stage_equal(stage_connections(), 1);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(talk_connect(SMALL, NULL), 0);
    stage_expect_connection(1, "127.0.2.1");
    stage_equal(talk_put("again", SMALL), 5);
    stage_expect_text(1, "again");
}

static void a_peers_end_of_file_is_not_loss(void) {
    leaving_live(0);
    stage_say(0, "last");
    stage_finish(0);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 0);
    expect_no_other_connection_until_reset();
}

static void a_peers_end_of_file_is_read_also_after_its_network_is_gone(void) {
    leaving_live(0);
    stage_say(0, "last");
    stage_finish(0);
    stage_wait(leaving_polled(POLLIN | POLLRDHUP) & POLLRDHUP);
    stage_up("cell");
    stage_down("wifi");
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 0);
    stage_equal(stage_connections(), 1);
}

static void a_peers_reset_is_not_loss(void) {
    leaving_live(0);
    stage_hang_up(0);
    stage_fails(recv(talk_sock, heard, sizeof heard, 0), ECONNRESET);
    expect_no_other_connection_until_reset();
}

static void a_thread_blocked_in_recv_hears_the_peers_end(void) {
    leaving_live(0);
    talk_begin(in_recv);
    stage_wait(talk_asleep());
    stage_finish(0);
    stage_equal(talk_join(), 0);
}

/* ---- an end of our own ---- */

static void after_SHUT_WR_the_socket_is_not_moved_any_more(void) {
    leaving_live(0);
    stage_equal(talk_put("request", SMALL), 7);
    stage_equal(cmm_shutdown(talk_sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_up("cell");
    stage_down("wifi");
    stage_say(0, "reply");
    stage_finish(0);
    stage_equal(recv(talk_sock, heard, 5, MSG_WAITALL), 5);
    stage_expect(memcmp(heard, "reply", 5) == 0);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 0);
    stage_equal(stage_connections(), 1);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
}

static void reset_keeps_options_handlers_and_thunks(void) {
    int value = 77;
    socklen_t len = sizeof value;
    leaving_live(0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value), 0);
    stage_equal(talk_defer("later", CMM_LABEL_CELLULAR), CMM_DEFERRED);
    stage_equal(talk_defer("background", BG), 10);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(cmm_thunk_count(talk_sock), 1);
    stage_fails(talk_put("x", SMALL), ENOTCONN);
    stage_equal(talk_connect(SMALL, (void *)"other"), 0);
    stage_equal(cmm_getsockopt(talk_sock, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    stage_equal(value, 1);
    stage_expect(strcmp(talk_diary(), "<><>") == 0 && strcmp(talk_events[3].arg, "other") == 0);
    stage_equal(cmm_thunk_count(talk_sock), 1);
}

/* ---- loss ---- */

static void a_lost_connection_is_remade_also_for_a_program_that_only_receives(void) {
    leaving_live_in_world(0);
    talk_begin(in_recv);
    stage_wait(talk_asleep());
    stage_link("wifi0", false);
    stage_expect_connection(1, "10.2.0.2");
    stage_say(1, "news");
    stage_equal(talk_join(), 4);
}

static void a_lost_connection_is_remade_though_nobody_is_in_a_call(void) {
    leaving_live_in_world(SOCK_NONBLOCK);
    stage_link("wifi0", false);
    talk_expect_moved(1, "10.2.0.2", "cell");
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
    stage_equal(talk_events[3].labels, SMALL);
}

static _Atomic bool later;

/* Loses the network in the middle of what a call may take; ends before that counted anew would. */
static void *in_longer_wait(void *unused) {
    poll(NULL, 0, 1500);
    stage_link("wifi0", false);
    poll(NULL, 0, 2500);
    later = true;
    return unused;
}

static void the_time_a_receive_may_take_runs_on_when_its_network_is_lost(void) {
    const struct timeval limit = {.tv_sec = 3};
    pthread_t thread;
    leaving_live_in_world(0);
    stage_say(0, "early");
    stage_equal(cmm_recv(talk_sock, heard, sizeof heard, 0), 5);
    stage_equal(cmm_read(talk_sock, heard, 0), 0); /* to read nothing takes no time */
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    stage_equal(pthread_create(&thread, NULL, in_longer_wait, NULL), 0);
    stage_fails(cmm_recv(talk_sock, heard, sizeof heard, 0), EAGAIN);
    stage_expect(!later);
    stage_expect_connection(1, "10.2.0.2");
    pthread_join(thread, NULL);
}

static void a_lost_connection_waits_for_a_network_that_has_its_last_labels(void) {
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(SOCK_NONBLOCK, SMALL, NULL), CMM_DEFERRED);
    stage_wait(talk_put("x", BG) == 1);
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_wait(leaving_polled(POLLOUT) == 0);
    stage_fails(talk_put("x", BG), EAGAIN);
    stage_equal(stage_connections(), 1);
    stage_link("wifi0", true);
    talk_expect_moved(1, "10.1.0.2", "wifi");
}

static void a_short_blip_is_no_loss(void) {
    leaving_live_in_world(0);
    stage_link("wifi0", false);
    stage_link("wifi0", true);
    stage_equal(talk_put("still here", SMALL), 10);
    stage_expect_text(0, "still here");
    stage_equal(stage_connections(), 1);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
}

/* A socket that is connected by IPv6 and wifi, or -1. */
static int by_six(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    struct cmm_network n;
    const int sock = cmm_socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    if (cmm_connect(sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL) == 0 &&
        cmm_socket_network(sock, &n) == 0 && strcmp(n.name, "wifi") == 0)
        return sock;
    cmm_close(sock);
    return -1;
}

static void a_lost_IPv6_address_costs_a_connection_by_IPv4_nothing(void) {
    struct cmm_network n;
    int six = -1;
    leaving_live_in_world(0);
    stage_shell("ip -6 addr add fd00:1::2/64 dev wifi0 nodad && ip -6 route add default via fd00:1::1");
    stage_wait((six = by_six()) >= 0);
    stage_shell("ip -6 addr del fd00:1::2/64 dev wifi0");
    stage_wait(!stage_offered("wifi"));
    stage_equal(cmm_socket_network(six, &n), 0); /* it has its grace */
    stage_wait(stage_offered("wifi"));
    stage_wait(cmm_socket_network(six, &n) != 0);
    stage_equal(errno, ENOTCONN);
    stage_equal(talk_put("still here", SMALL), 10);
    stage_expect_text(0, "still here");
    stage_equal(stage_connections(), 1);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
}

static void after_SHUT_WR_a_loss_ends_what_can_still_be_read_with_ECONNRESET(void) {
    leaving_live_in_world(0);
    stage_equal(cmm_shutdown(talk_sock, SHUT_WR), 0);
    stage_say(0, "half");
    stage_wait(leaving_number(FIONREAD) == 4);
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_fails(recv(talk_sock, heard, sizeof heard, 0), ECONNRESET);
    stage_equal(stage_connections(), 1);
}

static void ended_both_ways_before_a_loss_it_is_read_to_its_end(void) {
    struct cmm_network on;
    leaving_live_in_world(0);
    stage_equal(cmm_shutdown(talk_sock, SHUT_WR), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_say(0, "last");
    stage_finish(0);
    stage_wait(stage_polled(talk_sock, POLLIN, 0) & POLLHUP);
    stage_link("wifi0", false);
    stage_wait(cmm_socket_network(talk_sock, &on) < 0);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 0);
    stage_equal(cmm_recv(talk_sock, heard, sizeof heard, 0), 0);
    stage_fails(talk_put("x", SMALL), ECONNRESET);
}

static void a_network_lost_while_it_is_being_left_is_not_waited_for(void) {
    stage_receive_buffer(65536);
    leaving_live_in_world(0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_swallow("wifi0", true, false);
    stage_equal(talk_put("unheard.", SMALL), 8);
    stage_down("wifi");
    stage_link("wifi0", false);
    talk_expect_moved(1, "10.2.0.2", "cell");
    stage_equal(cmm_unacked(talk_sock), 8);
    stage_equal(talk_put("heard.", SMALL), 6);
    stage_expect_text(1, "unheard.heard.");
}

static void labels_0_wait_only_while_there_is_no_route_at_all(void) {
    stage_wait(stage_offered("wifi"));
    stage_link("wifi0", false);
    stage_link("cell0", false);
    stage_wait(!stage_offered("wifi") && !stage_offered("cell"));
    stage_equal(talk_dial(SOCK_NONBLOCK, 0, NULL), CMM_DEFERRED);
    stage_fails(talk_put("x", 0), EAGAIN);
    stage_link("cell0", true);
    stage_expect_connection(0, "10.2.0.2");
    stage_wait(talk_put("x", 0) == 1);
}

/* The scout, which would tell, is gone: its last word stands. */
static void what_has_no_way_by_its_network_any_more_goes_by_the_other(void) {
    struct sockaddr_in to = stage_udp();
    const void *bytes;
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    talk_sock = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL), 0);
    stage_expect(talk_on("wifi"));
    stage_scout_kill();
    stage_link("wifi0", false);
    stage_equal(talk_put("one", SMALL), 3);
    stage_wait(stage_datagrams() == 1);
    stage_equal(stage_datagram(0, &bytes), 3);
    stage_expect(strcmp(stage_datagram_peer(0), "10.2.0.2") == 0);
}

static void with_labels_0_the_source_address_tells_which_network_it_is(void) {
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    stage_shell("ip route replace default via 10.2.0.1 dev cell0 metric 50");
    stage_equal(talk_dial_plainly(0, 0), 0);
    stage_expect_connection(0, "10.2.0.2");
    stage_expect(talk_on("cell"));
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi"));
    stage_equal(talk_put("x", 0), 1);
    stage_expect_text(0, "x");
    stage_link("wifi0", true);
    stage_link("cell0", false);
    talk_expect_moved(1, "10.1.0.2", "wifi");
}

/* Each is tried, then all rest; it is no real failure yet, and nothing is tried within itself. */
static void several_young_networks_without_a_way_by_IPv6_are_no_network_yet(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    const struct timespec soon = {0, 400000000};
    stage_equal(inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr), 1);
    stage_shell("ip -6 addr add fd00:1::2/64 dev wifi0 nodad && ip -6 addr add fd00:2::2/64 dev cell0 nodad");
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    talk_sock = cmm_socket(AF_INET6, SOCK_STREAM, 0);
    stage_expect(talk_sock >= 0);
    stage_equal(cmm_set_patience(talk_sock, &soon), 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL),
                CMM_DEFERRED);
    stage_fails(talk_put("x", SMALL), ETIMEDOUT);
    stage_equal(stage_connections(), 0);
    stage_equal(cmm_close(talk_sock), 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_peers_end_of_file_is_not_loss),
    STAGE_TEST(a_peers_end_of_file_is_read_also_after_its_network_is_gone),
    STAGE_TEST(a_peers_reset_is_not_loss),
    STAGE_TEST(a_thread_blocked_in_recv_hears_the_peers_end),
    STAGE_TEST_IN(a_lost_connection_is_remade_also_for_a_program_that_only_receives, STAGE_WORLD,
                  leaving_world),
    STAGE_TEST_IN(a_lost_connection_is_remade_though_nobody_is_in_a_call, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(a_lost_connection_waits_for_a_network_that_has_its_last_labels, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(the_time_a_receive_may_take_runs_on_when_its_network_is_lost, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(a_short_blip_is_no_loss, STAGE_WORLD, patient_world),
    STAGE_TEST_IN(a_lost_IPv6_address_costs_a_connection_by_IPv4_nothing, STAGE_WORLD, leaving_world),
    STAGE_TEST(after_SHUT_WR_the_socket_is_not_moved_any_more),
    STAGE_TEST(reset_keeps_options_handlers_and_thunks),
    STAGE_TEST_IN(after_SHUT_WR_a_loss_ends_what_can_still_be_read_with_ECONNRESET, STAGE_WORLD,
                  leaving_world),
    STAGE_TEST_IN(ended_both_ways_before_a_loss_it_is_read_to_its_end, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(a_network_lost_while_it_is_being_left_is_not_waited_for, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(labels_0_wait_only_while_there_is_no_route_at_all, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(what_has_no_way_by_its_network_any_more_goes_by_the_other, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(with_labels_0_the_source_address_tells_which_network_it_is, STAGE_WORLD, leaving_world),
    STAGE_TEST_IN(several_young_networks_without_a_way_by_IPv6_are_no_network_yet, STAGE_WORLD,
                  leaving_world),
};

STAGE_MAIN(leaving_config, tests)

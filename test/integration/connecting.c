/* connecting - what is promised of connecting and reconnecting: outcomes of cmm_connect, and the handlers.
 * Each test is a sentence of the contract; networks are addresses of the loopback interface but where a world
 * is asked for. What moves with a socket and what is lost on the way is proven in carrying. */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

/* Any blip is short. */
static const char patient_world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                                    "[scout]\nhold-down = 0\ngrace = 60\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

/* ---- cmm_connect ---- */

static void on_a_matching_network_connect_is_made_at_once(void) {
    struct sockaddr_in to = stage_tcp(), peer;
    socklen_t len = sizeof peer;
    stage_up("cell");
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_expect(talk_source_is("127.0.1.1") && talk_on("wifi"));
    stage_equal(cmm_getpeername(talk_sock, (struct sockaddr *)&peer, &len), 0);
    stage_expect(peer.sin_port == to.sin_port && peer.sin_addr.s_addr == to.sin_addr.s_addr);
    stage_expect_connection(0, "127.0.1.1");
}

static long dial_blocking(void) {
    return talk_dial(0, BG, NULL);
}

static void a_blocking_connect_waits_for_the_handshake(void) {
    stage_up("wifi");
    stage_crowd(true);
    talk_begin(dial_blocking);
    stage_wait(strcmp(talk_diary(), "<") == 0 && talk_asleep());
    stage_expect(!talk_back());
    stage_crowd(false);
    stage_equal(talk_join(), 0);
    stage_expect(strcmp(talk_diary(), "<>") == 0);
}

static void a_nonblocking_connect_is_deferred_while_the_handshake_is_under_way(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_expect(talk_silent());
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_crowd(false);
    talk_expect_moved(0, "127.0.1.1", "wifi");
}

static void SO_SNDTIMEO_ends_the_wait_for_a_handshake_not_the_handshake(void) {
    const struct timeval moment = {0, 100000};
    stage_up("wifi");
    stage_crowd(true);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof moment), 0);
    stage_equal(talk_connect(BG, NULL), CMM_DEFERRED);
    stage_expect(talk_silent());
    stage_fails(talk_put("early", BG), EAGAIN);
    stage_crowd(false);
    talk_expect_moved(0, "127.0.1.1", "wifi");
    stage_wait(strcmp(talk_diary(), "<>") == 0);
    stage_equal(talk_put("late", BG), 4);
    stage_expect_text(0, "late");
}

static void without_a_matching_network_connect_is_deferred_and_made_when_one_comes(void) {
    stage_up("cell");
    stage_equal(talk_dial(0, BG, NULL), CMM_DEFERRED);
    stage_equal(talk_count, 0);
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_up("wifi");
    talk_expect_moved(0, "127.0.1.1", "wifi");
    stage_wait(strcmp(talk_diary(), "<>") == 0);
}

static void a_second_connect_is_EISCONN_and_one_after_reset_is_not(void) {
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_fails(talk_connect(BG, NULL), EISCONN);
    stage_equal(talk_put("x", BG), 1);
    stage_expect_text(0, "x");
    stage_equal(cmm_reset(talk_sock), 0);
    stage_wait(stage_end(0) != STAGE_OPEN);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_expect_connection(1, "127.0.1.1");
}

static void a_refused_connect_fails_until_reset(void) {
    char byte;
    stage_up("wifi");
    stage_refuse(true);
    stage_fails(talk_dial(0, BG, NULL), ECONNREFUSED);
    stage_refuse(false);
    stage_fails(talk_put("x", BG), ECONNREFUSED);
    stage_fails(cmm_recv(talk_sock, &byte, 1, 0), ECONNREFUSED);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_equal(talk_connect(BG, NULL), 0);
    stage_equal(talk_put("x", BG), 1);
}

static void a_family_no_network_can_ever_reach_is_ENETUNREACH(void) {
    struct sockaddr_in6 to = {
        .sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int s = cmm_socket(AF_INET6, SOCK_STREAM, 0);
    stage_fails(cmm_connect(s, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL), ENETUNREACH);
    stage_up("wifi");
    stage_fails(cmm_connect(s, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL), ENETUNREACH);
}

static void labels_0_mean_no_wish_nothing_is_bound(void) {
    stage_equal(talk_dial(0, 0, NULL), 0);
    stage_expect_connection(0, "127.0.0.1");
    stage_equal(talk_put("x", 0), 1);
    stage_expect_text(0, "x");
}

static void connect_refuses_what_makes_no_sense(void) {
    struct sockaddr_in to = stage_tcp();
    int plain = socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(cmm_connect(plain, (struct sockaddr *)&to, sizeof to, BG, NULL, NULL, NULL), EBADF);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(talk_connect(0x1000, NULL), EINVAL);
    stage_fails(cmm_connect(talk_sock, NULL, 0, BG, NULL, NULL, NULL), EINVAL);
    stage_fails(cmm_connect(talk_sock, (struct sockaddr *)&to, 1000, BG, NULL, NULL, NULL), EINVAL);
    stage_fails(cmm_connect(talk_sock, (struct sockaddr *)&to, 3, BG, NULL, NULL, NULL), EINVAL);
    stage_up("wifi");
    stage_equal(talk_connect(BG, NULL), 0);
}

/* ---- the order of things, and what a fresh socket has ---- */

static ino_t inode(void) {
    struct stat st;
    return fstat(talk_sock, &st) == 0 ? st.st_ino : 0;
}

static int option(int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    stage_equal(getsockopt(talk_sock, level, name, &value, &len), 0);
    return value;
}

static void handlers_come_before_and_after_connect_and_then_the_thunks(void) {
    char me[] = "me";
    stage_equal(talk_dial(0, BG, me), CMM_DEFERRED);
    stage_equal(talk_defer("1", BG), CMM_DEFERRED);
    stage_equal(talk_defer("2", BG), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(talk_count == 4);
    stage_expect(strcmp(talk_diary(), "<>tt") == 0);
    for (int i = 0; i < 2; i++) {
        stage_equal(talk_events[i].sock, talk_sock);
        stage_equal(talk_events[i].labels, BG);
        stage_expect(talk_events[i].arg == me);
    }
    stage_expect_text(0, "12");
}

static int unconnected(int s) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    stage_equal(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    stage_equal(info.tcpi_state, TCP_CLOSE);
    return 0;
}

static int connected(int s) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    stage_equal(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    stage_equal(info.tcpi_state, TCP_ESTABLISHED);
    return 0;
}

static void pre_reconnect_is_after_socket_and_before_connect(void) {
    talk_in_pre = unconnected;
    talk_in_post = connected;
    stage_up("wifi");
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_up("cell");
    stage_down("wifi");
    stage_equal(talk_put("x", SMALL), 1);
    stage_expect(strcmp(talk_diary(), "<><>") == 0);
}

static void a_reconnection_is_a_fresh_socket_under_the_same_number(void) {
    stage_up("cell");
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    const int number = talk_sock, copy = dup(talk_sock);
    const ino_t before = inode();
    stage_expect(before);
    stage_up("wifi");
    stage_equal(talk_put("wifi", BG), 4);
    stage_equal(talk_sock, number);
    stage_expect(inode() != before);
    stage_expect_text(1, "wifi");
    stage_equal(write(copy, "copy", 4), 4);
    stage_expect_text(1, "wificopy");
    stage_equal(talk_events[2].labels, BG);
}

static void options_and_flags_are_replayed(void) {
    const int on = 1, idle = 77;
    struct linger linger = {1, 9}, got;
    socklen_t len = sizeof got;
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_equal(cmm_setsockopt(talk_sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), 0);
    stage_equal(setsockopt(talk_sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    stage_up("cell");
    stage_equal(talk_connect(SMALL, NULL), 0);
    stage_equal(cmm_setsockopt(talk_sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle), 0);
    stage_equal(setsockopt(talk_sock, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    stage_up("wifi");
    stage_equal(talk_put("x", BG), 1);
    stage_expect_connection(1, "127.0.1.1");
    stage_equal(option(SOL_SOCKET, SO_KEEPALIVE), 1);
    stage_equal(option(IPPROTO_TCP, TCP_NODELAY), 1);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 77);
    stage_equal(cmm_getsockopt(talk_sock, SOL_SOCKET, SO_LINGER, &got, &len), 0);
    stage_expect(got.l_onoff == 1 && got.l_linger == 9);
    stage_equal(fcntl(talk_sock, F_GETFD), FD_CLOEXEC);
    stage_equal(fcntl(talk_sock, F_GETFL) & O_NONBLOCK, 0);
    stage_equal(fcntl(talk_sock, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    stage_equal(fcntl(talk_sock, F_SETFD, 0), 0);
    stage_down("wifi");
    stage_wait(talk_put("y", SMALL) == 1);
    stage_expect_connection(2, "127.0.2.1");
    stage_equal(fcntl(talk_sock, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    stage_equal(fcntl(talk_sock, F_GETFD), 0);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 77);
}

static int set_idle(int s) {
    const int idle = 55;
    stage_equal(setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle), 0);
    talk_in_pre = NULL;
    return 0;
}

static void an_option_set_in_a_handler_is_the_new_connections_and_remembered(void) {
    talk_in_pre = set_idle;
    stage_up("cell");
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 55);
    stage_up("wifi");
    stage_equal(talk_put("x", BG), 1);
    stage_equal(option(IPPROTO_TCP, TCP_KEEPIDLE), 55);
}

static int bound_to_wifi(int s) {
    char device[32] = "";
    socklen_t len = sizeof device;
    stage_equal(getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, device, &len), 0);
    stage_expect(strcmp(device, "wifi0") == 0);
    return 0;
}

static void a_connection_is_bound_to_its_network(void) {
    talk_in_pre = talk_in_post = bound_to_wifi;
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(0, BG, NULL), 0);
    stage_equal(bound_to_wifi(talk_sock), 0);
    stage_expect_connection(0, "10.1.0.2");
}

/* ---- networks that are not ready ---- */

static void unreachable_by_a_young_network_is_no_network_yet(void) {
    stage_far_shell("echo 1 >/proc/sys/net/ipv4/ip_forward");
    stage_far_shell("ip addr del 10.9.0.1/32 dev lo && ip route add unreachable 10.9.0.1/32");
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(talk_count >= 3);
    stage_expect(strncmp(talk_diary(), "<<<", 3) == 0);
    stage_fails(talk_put("x", BG), EAGAIN);
    stage_far_shell("ip route del unreachable 10.9.0.1/32 && ip addr add 10.9.0.1/32 dev lo");
    talk_expect_moved(0, "10.1.0.2", "wifi");
    stage_wait(talk_put("x", BG) == 1);
}

static void timed_out_by_a_young_network_is_no_network_yet(void) {
    const int once = 1;
    stage_wait(stage_offered("wifi"));
    stage_swallow("wifi0", true, false);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(cmm_setsockopt(talk_sock, IPPROTO_TCP, TCP_SYNCNT, &once, sizeof once), 0);
    stage_equal(talk_connect(BG, NULL), CMM_DEFERRED);
    stage_wait(strncmp(talk_diary(), "<<", 2) == 0);
    stage_swallow("wifi0", false, false);
    talk_expect_moved(0, "10.1.0.2", "wifi");
}

static bool older_than_ten_seconds(const struct timespec *then) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > then->tv_sec + 10;
}

static void wifi_has_long_been_there(void) {
    struct timespec then;
    stage_wait(stage_offered("wifi"));
    clock_gettime(CLOCK_MONOTONIC, &then);
    stage_wait(older_than_ten_seconds(&then));
}

static void unreachable_by_a_network_that_has_long_been_there_is_a_real_failure(void) {
    stage_far_shell("echo 1 >/proc/sys/net/ipv4/ip_forward");
    stage_far_shell("ip addr del 10.9.0.1/32 dev lo && ip route add unreachable 10.9.0.1/32");
    wifi_has_long_been_there();
    stage_fails(talk_dial(0, BG, NULL), EHOSTUNREACH);
    stage_fails(talk_put("x", BG), EHOSTUNREACH);
}

/* Its routes come later than its carrier; and nobody on its link answers for others. */
static void a_network_that_was_away_without_a_scouts_word_is_young_when_it_is_back(void) {
    stage_far_shell("for f in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 1 >$f; done");
    stage_shell(
        "f=/proc/sys/net/ipv4/neigh/wifi0/retrans_time_ms; [ ! -w $f ] || echo 50 >$f"); /* is soon known */
    wifi_has_long_been_there();
    stage_scout_kill();
    stage_link("wifi0", false);
    stage_equal(talk_dial(SOCK_NONBLOCK, BG, NULL), CMM_DEFERRED);
    stage_wait(strncmp(talk_diary(), "<<", 2) == 0);
    stage_shell("ip link set wifi0 up");
    const int tries = talk_count;
    stage_wait(talk_count > tries + 1);
    stage_fails(talk_put("x", BG), EAGAIN);
    stage_link("wifi0", true);
    talk_expect_moved(0, "10.1.0.2", "wifi");
}

/* A blip, shorter than grace: it is the same network. */
static void timed_out_by_a_network_that_was_away_meanwhile_is_no_network_yet(void) {
    int tries = 1, before;
    stage_crowd(true);
    do {
        wifi_has_long_been_there();
        cmm_close(talk_sock);
        talk_sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        stage_equal(cmm_setsockopt(talk_sock, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof tries), 0);
        before = talk_count;
        stage_equal(talk_connect(BG, NULL), CMM_DEFERRED);
        stage_link("wifi0", false);
        stage_wait(!stage_offered("wifi"));
        stage_link("wifi0", true);
        stage_wait(stage_offered("wifi"));
        tries++;
    } while (talk_count > before + 1); /* the first attempt was over before: that proves nothing */
    stage_wait(talk_count > before + 1);
    stage_expect(strncmp(talk_diary() + before, "<<", 2) == 0);
    stage_crowd(false);
    talk_expect_moved(0, "10.1.0.2", "wifi");
}

static void refused_is_refused_also_by_a_young_network(void) {
    stage_wait(stage_offered("wifi"));
    stage_refuse(true);
    stage_fails(talk_dial(0, BG, NULL), ECONNREFUSED);
}

static const struct stage_test tests[] = {
    STAGE_TEST(on_a_matching_network_connect_is_made_at_once),
    STAGE_TEST(a_blocking_connect_waits_for_the_handshake),
    STAGE_TEST(a_nonblocking_connect_is_deferred_while_the_handshake_is_under_way),
    STAGE_TEST(SO_SNDTIMEO_ends_the_wait_for_a_handshake_not_the_handshake),
    STAGE_TEST(without_a_matching_network_connect_is_deferred_and_made_when_one_comes),
    STAGE_TEST(a_second_connect_is_EISCONN_and_one_after_reset_is_not),
    STAGE_TEST(a_refused_connect_fails_until_reset),
    STAGE_TEST(a_family_no_network_can_ever_reach_is_ENETUNREACH),
    STAGE_TEST(labels_0_mean_no_wish_nothing_is_bound),
    STAGE_TEST(connect_refuses_what_makes_no_sense),
    STAGE_TEST(handlers_come_before_and_after_connect_and_then_the_thunks),
    STAGE_TEST(pre_reconnect_is_after_socket_and_before_connect),
    STAGE_TEST(a_reconnection_is_a_fresh_socket_under_the_same_number),
    STAGE_TEST(options_and_flags_are_replayed),
    STAGE_TEST(an_option_set_in_a_handler_is_the_new_connections_and_remembered),
    STAGE_TEST_IN(a_connection_is_bound_to_its_network, STAGE_WORLD, world),
    STAGE_TEST_IN(unreachable_by_a_young_network_is_no_network_yet, STAGE_WORLD, world),
    STAGE_TEST_IN(refused_is_refused_also_by_a_young_network, STAGE_WORLD, world),
    STAGE_TEST_IN(timed_out_by_a_young_network_is_no_network_yet, STAGE_WORLD, world),
    STAGE_TEST_IN(unreachable_by_a_network_that_has_long_been_there_is_a_real_failure, STAGE_WORLD, world),
    STAGE_TEST_IN(timed_out_by_a_network_that_was_away_meanwhile_is_no_network_yet, STAGE_WORLD,
                  patient_world),
    STAGE_TEST_IN(a_network_that_was_away_without_a_scouts_word_is_young_when_it_is_back, STAGE_WORLD, world),
};

STAGE_MAIN(talk_config, tests)

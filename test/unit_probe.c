/* unit_probe - a network is good while a connection through it works. */
#include "probe.h"
#include "suite.h"

#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct probe_table t;
static struct fact_network lab;
static const struct fact_address home = {
    .family = AF_INET, .prefix = 32, .preferred = true, .bytes = {127, 0, 0, 1}};
static int server, place; /* the latter keeps the port, and never listens */
static uint16_t port;
static int64_t now;

/* To port, or to one the kernel picks if that is 0. */
static int bound(void) {
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int on = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(sock, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    ck_assert_int_eq(bind(sock, (struct sockaddr *)&at, sizeof at), 0);
    getsockname(sock, (struct sockaddr *)&at, &len);
    port = ntohs(at.sin_port);
    return sock;
}

static void bind_server(void) {
    server = bound();
}

static void start(void) {
    port = 0;
    place = bound();
    bind_server();
    ck_assert_int_eq(probe_init(&t), 0);
    lab = (struct fact_network){.name = "lab", .works = true, .address = home};
    now = 1000;
}

static void finish(void) {
    probe_finish(&t);
    close(server);
    close(place);
}

static enum fact_check look(void) {
    probe_begin(&t);
    enum fact_check result = probe_see(&t, &lab, &home, port, now);
    probe_end(&t);
    return result;
}

/* Until the connection under way is decided; on loopback it may be so at once. */
static void wait_for_it(void) {
    struct pollfd p = {.fd = probe_fd(&t), .events = POLLIN};
    if (t.probes[0].sock >= 0)
        ck_assert_int_eq(poll(&p, 1, -1), 1);
    probe_step(&t, now);
}

static void to_the_next_try(void) {
    now = probe_deadline(&t);
    probe_step(&t, now);
}

START_TEST(a_network_that_never_worked_is_pending_and_tried_ever_later) {
    ck_assert_int_eq(look(), FACT_CHECK_PENDING);
    wait_for_it(); /* nobody listens */
    int64_t before = 0;
    for (int i = 0; i < 9; i++) {
        ck_assert_int_eq(look(), FACT_CHECK_PENDING);
        int64_t pause = probe_deadline(&t) - now;
        ck_assert_int_ge(pause, before);
        before = pause;
        to_the_next_try();
        wait_for_it();
    }
    ck_assert_int_eq(before, PROBE_LATE_MS);
}
END_TEST

START_TEST(it_is_good_when_connected_and_failed_when_not_any_more) {
    ck_assert_int_eq(listen(server, 5), 0);
    look();
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
    ck_assert_int_eq(probe_deadline(&t), now + PROBE_AGAIN_MS);
    close(server);
    bind_server();
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
    to_the_next_try();
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_FAILED);
    ck_assert_int_eq(probe_deadline(&t), now + PROBE_SOON_MS);
    ck_assert_int_eq(listen(server, 5), 0);
    to_the_next_try();
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
}
END_TEST

START_TEST(what_is_down_is_not_tried_and_tried_at_once_when_it_is_back) {
    ck_assert_int_eq(listen(server, 5), 0);
    look();
    wait_for_it();
    lab.works = false;
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
    ck_assert_int_eq(probe_deadline(&t), -1);
    lab.works = true;
    look();
    ck_assert_int_ge(t.probes[0].sock, 0);
}
END_TEST

START_TEST(another_way_is_tried_at_once_whatever_came_of_the_one_before) {
    look();
    wait_for_it(); /* nobody listens */
    for (int i = 0; i < 5; i++) {
        to_the_next_try();
        wait_for_it();
    }
    ck_assert_int_eq(listen(server, 5), 0);
    ck_assert_int_eq(look(), FACT_CHECK_PENDING);
    lab.ways = WIRE_HAS4;
    look();
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
    close(server);
    bind_server();
    lab.ways = 0;
    look();
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_FAILED);
}
END_TEST

START_TEST(another_target_is_another_question) {
    ck_assert_int_eq(listen(server, 5), 0);
    look();
    wait_for_it();
    port++;
    ck_assert_int_eq(look(), FACT_CHECK_PENDING);
}
END_TEST

START_TEST(with_another_address_or_access_point_it_is_asked_anew) {
    ck_assert_int_eq(listen(server, 5), 0);
    strcpy(lab.iface, "lo");
    strcpy(lab.ssid, "home");
    look();
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
    lab.address.bytes[3]++;
    ck_assert_int_eq(look(), FACT_CHECK_PENDING);
    wait_for_it();
    ck_assert_int_eq(look(), FACT_CHECK_GOOD);
    strcpy(lab.ssid, "cafe");
    ck_assert_int_eq(look(), FACT_CHECK_PENDING);
}
END_TEST

START_TEST(what_nobody_asks_about_is_not_tried) {
    look();
    ck_assert(t.probes[0].sock < 0 || probe_deadline(&t) == now + PROBE_LIMIT_MS);
    probe_begin(&t);
    probe_end(&t); /* nobody asks any more */
    ck_assert_uint_eq(t.count, 0);
    ck_assert_int_eq(probe_deadline(&t), -1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("probe");
    TCase *c = tcase_create("probe");
    tcase_add_checked_fixture(c, start, finish);
    tcase_add_test(c, a_network_that_never_worked_is_pending_and_tried_ever_later);
    tcase_add_test(c, it_is_good_when_connected_and_failed_when_not_any_more);
    tcase_add_test(c, what_is_down_is_not_tried_and_tried_at_once_when_it_is_back);
    tcase_add_test(c, another_way_is_tried_at_once_whatever_came_of_the_one_before);
    tcase_add_test(c, another_target_is_another_question);
    tcase_add_test(c, with_another_address_or_access_point_it_is_asked_anew);
    tcase_add_test(c, what_nobody_asks_about_is_not_tried);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}

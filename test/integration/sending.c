/* sending - what else is said of a labeled send: real failures, handshakes and plain calls. Signals are in
 * interrupted.
 * Each test is a sentence of the contract. Networks are addresses of the loopback interface, but where one is
 * lost in the middle of a call. */
#include "talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

/* ---- real failures ---- */

static void a_refused_connect_is_a_real_failure(void) {
    stage_up("wifi");
    stage_refuse(true);
    stage_fails(talk_dial_plainly(0, BG), ECONNREFUSED);
    stage_fails(talk_put_noting("x", BG, "mine"), ECONNREFUSED);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_equal(talk_count, 0);
}

static void a_refused_reconnect_is_CMM_FAILED_and_the_argument_stays_the_callers(void) {
    talk_on_cell_with_wifi_there(0);
    stage_refuse(true);
    stage_fails(talk_put_noting("wifi", BG, "mine"), ECONNREFUSED);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_fails(talk_put_noting("wifi", BG, "mine"), ECONNREFUSED);
    stage_equal(talk_count, 0);
}

static void a_reset_by_the_peer_is_CMM_FAILED_without_SIGPIPE(void) {
    struct iovec one = {(void *)"x", 1};
    const struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
    char byte;
    signal(SIGPIPE, SIG_DFL);
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(talk_put("hello", BG), 5);
    stage_expect_text(0, "hello");
    stage_hang_up(0);
    stage_fails(cmm_recv(talk_sock, &byte, 1, 0), ECONNRESET);
    stage_equal(talk_put_noting("x", BG, "mine"), CMM_FAILED);
    stage_expect(errno == ECONNRESET || errno == EPIPE);
    stage_equal(cmm_write(talk_sock, "x", 1, BG, talk_note, (void *)"mine"), CMM_FAILED);
    stage_equal(cmm_writev(talk_sock, &one, 1, BG, talk_note, (void *)"mine"), CMM_FAILED);
    stage_equal(cmm_sendmsg(talk_sock, &msg, 0, BG, talk_note, (void *)"mine"), CMM_FAILED);
    stage_equal(write(talk_sock, "x", 1), -1);
    stage_equal(send(talk_sock, "x", 1, 0), -1);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_equal(talk_count, 0);
    stage_equal(stage_connections(), 1);
}

static void cmm_calls_never_raise_SIGPIPE(void) {
    signal(SIGPIPE, SIG_DFL);
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_expect_connection(0, "127.0.1.1");
    stage_hang_up(0);
    stage_wait(talk_put("x", BG) == CMM_FAILED);
    stage_equal(talk_put("x", BG), CMM_FAILED);
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_put("x", BG), ENOTCONN);
}

static void after_shutdown_a_send_fails_with_EPIPE_and_no_signal(void) {
    signal(SIGPIPE, SIG_DFL);
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(cmm_shutdown(talk_sock, SHUT_WR), 0);
    stage_fails(talk_put_noting("x", BG, "mine"), EPIPE);
    stage_equal(talk_count, 0);
}

static void bad_arguments_are_real_failures(void) {
    int plain = socket(AF_INET, SOCK_STREAM, 0);
    stage_up("wifi");
    stage_fails(cmm_send(plain, "x", 1, 0, BG, talk_note, NULL), EBADF);
    stage_fails(cmm_send(-1, "x", 1, 0, BG, talk_note, NULL), EBADF);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(talk_put_noting("x", BG, NULL), ENOTCONN);
    cmm_close(talk_sock);
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_fails(talk_put_noting("x", BG | 0x1000, NULL), EINVAL);
    stage_fails(cmm_send(talk_sock, (void *)8, 1, 0, BG, talk_note, NULL), EFAULT);
    stage_fails(cmm_writev(talk_sock, NULL, -1, BG, talk_note, NULL), EINVAL);
    stage_equal(talk_put_noting("x", BG, NULL), 1);
    stage_equal(talk_count, 0);
    stage_expect_text(0, "x");
}

static void MSG_OOB_and_MSG_ZEROCOPY_are_EOPNOTSUPP(void) {
    struct iovec one = {(void *)"x", 1};
    const struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
    char byte[1];
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_fails(cmm_send(talk_sock, "x", 1, MSG_OOB, BG, talk_note, NULL), EOPNOTSUPP);
    stage_fails(cmm_send(talk_sock, "x", 1, MSG_ZEROCOPY, BG, talk_note, NULL), EOPNOTSUPP);
    stage_fails(cmm_sendmsg(talk_sock, &msg, MSG_OOB, BG, NULL, NULL), EOPNOTSUPP);
    stage_fails(cmm_sendmsg(talk_sock, &msg, MSG_ZEROCOPY, BG, NULL, NULL), EOPNOTSUPP);
    stage_fails(send(talk_sock, "x", 1, MSG_OOB), EOPNOTSUPP);
    stage_fails(cmm_recv(talk_sock, byte, 1, MSG_OOB), EOPNOTSUPP);
    stage_fails(recv(talk_sock, byte, 1, MSG_OOB), EOPNOTSUPP);
    stage_equal(talk_count, 0);
}

/* A call far longer than what both kernels can take. */
static long long_call(void) {
    enum { LONG = 64 << 20 };
    void *bytes = calloc(1, LONG);
    return cmm_send(talk_sock, bytes, LONG, 0, CMM_LABEL_ONDEMAND, talk_note, bytes);
}

static void begin_long_call(void) {
    stage_wait(stage_offered("wifi"));
    stage_wait(stage_offered("cell"));
    stage_receive_buffer(8192);
    stage_equal(talk_dial_plainly(0, CMM_LABEL_ONDEMAND), 0);
    stage_expect_connection(0, "10.1.0.2");
    stage_hold(true);
    talk_begin(long_call);
    /* It is in the middle when the kernel takes no more of anybody. */
    stage_wait(send(talk_sock, "x", 1, MSG_DONTWAIT) == -1 && errno == EAGAIN && talk_asleep());
}

static void a_network_lost_in_the_middle_of_a_send_is_scenario_two(void) {
    begin_long_call();
    stage_link("wifi0", false);
    stage_equal(talk_join(), CMM_THUNK_EXECUTED);
    stage_equal(talk_count, 1);
    stage_expect(pthread_equal(talk_events[0].thread, talk_thread));
    stage_expect_connection(1, "10.2.0.2");
}

static void all_networks_lost_in_the_middle_of_a_send_is_scenario_three(void) {
    begin_long_call();
    stage_link("cell0", false);
    stage_wait(!stage_offered("cell"));
    stage_link("wifi0", false);
    stage_equal(talk_join(), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(talk_sock), 1);
    stage_link("cell0", true);
    stage_wait(talk_count == 1);
    stage_expect_connection(1, "10.2.0.2");
}

/* ---- still connecting ---- */

static void while_connecting_a_blocking_send_waits_for_the_handshake(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    talk_set_blocking();
    talk_begin_call("hello", BG, false);
    stage_expect(stage_connections() == 0 && !talk_back());
    stage_crowd(false);
    stage_equal(talk_join(), 5);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "hello");
}

static void while_connecting_a_nonblocking_send_is_deferred_or_gets_EAGAIN(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_fails(talk_put("no", BG), EAGAIN);
    stage_equal(talk_defer("yes", BG), CMM_DEFERRED);
    stage_equal(talk_count, 0);
    stage_crowd(false);
    stage_wait(talk_count == 1);
    stage_expect_text(0, "yes");
}

static void what_a_blocking_send_has_left_polls_silent_until_the_next_is_there(void) {
    talk_on_cell_with_wifi_there(0);
    stage_crowd(true);
    talk_begin_call("hello", BG, false);
    struct pollfd p = {.fd = talk_sock, .events = POLLIN | POLLOUT | POLLRDHUP};
    stage_equal(poll(&p, 1, 0), 0);
    stage_crowd(false);
    stage_equal(talk_join(), 5);
    stage_expect_text(1, "hello");
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLOUT);
}

/* Past every door: the library is not to know of it. */
static short polled(void) {
    struct pollfd p = {.fd = talk_sock, .events = POLLIN | POLLOUT | POLLRDHUP};
    stage_expect(syscall(SYS_poll, &p, 1, 0) >= 0);
    return p.revents;
}

static long put_hello(void) {
    return talk_put("hello", BG);
}

static void it_polls_silent_as_soon_as_a_descriptor_can_be_had(void) {
    const struct rlimit few = {48, 4096}, many = {4096, 4096};
    int last = -1;
    talk_on_cell_with_wifi_there(0);
    stage_crowd(true);
    stage_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int fd; (fd = dup(STDERR_FILENO)) >= 0; last = fd)
        ;
    stage_equal(close(last), 0);
    talk_begin(put_hello);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_expect(polled());
    stage_equal(setrlimit(RLIMIT_NOFILE, &many), 0);
    stage_wait(polled() == 0);
    stage_crowd(false);
    stage_equal(talk_join(), 5);
    stage_expect_text(1, "hello");
}

static void patience_never_covers_the_handshake(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_equal(cmm_set_patience(talk_sock, &(struct timespec){0, 1000000}), 0);
    talk_set_blocking();
    talk_begin_call("hello", BG, false);
    for (int i = 0; i < 100; i++)
        stage_pause();
    stage_crowd(false);
    stage_equal(talk_join(), 5);
}

/* ---- plain calls ---- */

static void plain_calls_are_the_cmm_ones(void) {
    struct iovec two[] = {{(void *)"wri", 3}, {(void *)"tev", 3}};
    const struct msghdr msg = {.msg_iov = two, .msg_iovlen = 2};
    char back[64];
    stage_echo(true);
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(send(talk_sock, "send", 4, 0), 4);
    stage_equal(write(talk_sock, "write", 5), 5);
    stage_equal(writev(talk_sock, two, 2), 6);
    stage_equal(sendmsg(talk_sock, &msg, 0), 6);
    stage_equal(sendto(talk_sock, "to", 2, 0, NULL, 0), 2);
    stage_expect_text(0, "sendwritewritevwritevto");
    stage_equal(recv(talk_sock, back, 4, MSG_WAITALL), 4);
    stage_expect(read(talk_sock, back, sizeof back) > 0);
    stage_equal(close(talk_sock), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_fails(talk_put("x", BG), EBADF);
}

static void plain_calls_wait_for_a_network_and_never_defer(void) {
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_fails(write(talk_sock, "no", 2), EAGAIN);
    stage_equal(cmm_thunk_count(talk_sock), 0);
    stage_up("cell");
    stage_fails(write(talk_sock, "no", 2), EAGAIN);
    stage_equal(stage_connections(), 0);
    stage_up("wifi");
    stage_wait(write(talk_sock, "yes", 3) == 3);
    stage_expect_connection(0, "127.0.1.1");
}

static void plain_calls_have_the_labels_of_connect_before_any_send(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_fails(send(talk_sock, "x", 1, 0), EAGAIN);
    stage_up("twin");
    stage_wait(send(talk_sock, "x", 1, 0) == 1);
    stage_expect_connection(0, "127.0.3.1");
}

static void plain_calls_have_the_labels_of_the_last_send_that_was_not_deferred(void) {
    stage_up("wifi");
    stage_equal(talk_dial_plainly(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_wait(talk_put("one", BG) == 3);
    stage_equal(talk_put("two", SMALL), 3);
    stage_up("cell");
    stage_down("wifi");
    /* Labels of connect would wait for another wifi. */
    stage_wait(write(talk_sock, "plain", 5) == 5);
    stage_expect_connection(1, "127.0.2.1");
    stage_expect_text(1, "plain");
    stage_equal(talk_put_noting("later", BG, NULL), CMM_DEFERRED);
    stage_equal(write(talk_sock, "again", 5), 5);
    stage_expect_text(1, "plainagain");
}

/* ---- by two threads ---- */

struct puller {
    unsigned long labels;
    int failed;
};

enum { PULLS = 20 };

static void *pull(void *arg) {
    struct puller *p = arg;
    for (int i = 0; i < PULLS; i++)
        p->failed += talk_put("x", p->labels) != 1;
    return NULL;
}

static size_t arrived(void) {
    size_t bytes = 0;
    for (int i = 0; i < stage_connections(); i++)
        bytes += stage_received(i);
    return bytes;
}

static const char apart[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n"
                            "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

static void two_threads_that_want_different_networks_both_get_on(void) {
    struct puller a = {.labels = BG}, b = {.labels = CMM_LABEL_ONDEMAND};
    pthread_t threads[2];
    stage_up("wifi");
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, BG), 0);
    pthread_create(&threads[0], NULL, pull, &a);
    pthread_create(&threads[1], NULL, pull, &b);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    stage_equal(a.failed + b.failed, 0);
    stage_wait(arrived() == 2 * PULLS);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_refused_connect_is_a_real_failure),
    STAGE_TEST(a_refused_reconnect_is_CMM_FAILED_and_the_argument_stays_the_callers),
    STAGE_TEST(a_reset_by_the_peer_is_CMM_FAILED_without_SIGPIPE),
    STAGE_TEST(cmm_calls_never_raise_SIGPIPE),
    STAGE_TEST(after_shutdown_a_send_fails_with_EPIPE_and_no_signal),
    STAGE_TEST(bad_arguments_are_real_failures),
    STAGE_TEST(MSG_OOB_and_MSG_ZEROCOPY_are_EOPNOTSUPP),
    STAGE_TEST_IN(a_network_lost_in_the_middle_of_a_send_is_scenario_two, STAGE_WORLD, world),
    STAGE_TEST_IN(all_networks_lost_in_the_middle_of_a_send_is_scenario_three, STAGE_WORLD, world),
    STAGE_TEST(while_connecting_a_blocking_send_waits_for_the_handshake),
    STAGE_TEST(while_connecting_a_nonblocking_send_is_deferred_or_gets_EAGAIN),
    STAGE_TEST(what_a_blocking_send_has_left_polls_silent_until_the_next_is_there),
    STAGE_TEST(it_polls_silent_as_soon_as_a_descriptor_can_be_had),
    STAGE_TEST(patience_never_covers_the_handshake),
    STAGE_TEST_IN(two_threads_that_want_different_networks_both_get_on, 0, apart),
    STAGE_TEST(plain_calls_are_the_cmm_ones),
    STAGE_TEST(plain_calls_wait_for_a_network_and_never_defer),
    STAGE_TEST(plain_calls_have_the_labels_of_connect_before_any_send),
    STAGE_TEST(plain_calls_have_the_labels_of_the_last_send_that_was_not_deferred),
};

STAGE_MAIN(talk_config, tests)

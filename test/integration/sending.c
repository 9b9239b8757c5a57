/* sending - what else is said of a labeled send: real failures, handshakes, plain calls and signals.
 * Each test is a sentence of the contract. Networks are addresses of the loopback interface, but where one is
 * lost in the middle of a call. */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static void set_blocking(void) {
    stage_equal(fcntl(talk_sock, F_SETFL, O_RDWR), 0);
}

static void connect_on_cell_with_wifi_there(int flags) {
    stage_up("cell");
    int r = talk_dial_plainly(flags, SMALL);
    stage_expect(r == 0 || (flags && r == CMM_DEFERRED));
    stage_wait(talk_put("cell", SMALL) == 4);
    stage_expect_connection(0, "127.0.2.1");
    stage_up("wifi");
    stage_expect(talk_on("cell"));
}

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
    connect_on_cell_with_wifi_there(0);
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
    set_blocking();
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
    connect_on_cell_with_wifi_there(0);
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
    connect_on_cell_with_wifi_there(0);
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
    set_blocking();
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

static _Atomic long taken = -1;

static void *send_bulk(void *unused) {
    static char bulk[8 << 20];
    taken = cmm_send(talk_sock, bulk, sizeof bulk, 0, BG, NULL, NULL);
    return unused;
}

static void who_waits_its_turn_behind_an_interrupted_send_goes_on(void) {
    pthread_t first;
    int unread = 0;
    on_signal(0);
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, BG), 0);
    stage_equal(cmm_set_replay(talk_sock, 1), 0);
    stage_hold(true);
    stage_equal(pthread_create(&first, NULL, send_bulk, NULL), 0);
    stage_wait(ioctl(talk_sock, SIOCOUTQ, &unread) == 0 && unread > 100000);
    talk_begin_call("x", BG, false);
    stage_wait(talk_asleep());
    stage_wait((pthread_kill(first, SIGUSR1), taken >= 0));
    stage_equal(pthread_join(first, NULL), 0);
    stage_expect(taken > 0 && taken < 8 << 20);
    stage_hold(false);
    stage_equal(talk_join(), 1);
    stage_wait(stage_received(0) == (size_t)taken + 1);
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
    connect_on_cell_with_wifi_there(0);
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
    connect_on_cell_with_wifi_there(0);
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
    set_blocking();
    talk_begin_call("x", BG, false);
    interrupt_until_over();
    stage_fails(talk_join(), EINTR);
    stage_crowd(false);
    stage_expect_connection(0, "127.0.1.1");
}

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
    STAGE_TEST(a_wait_for_a_network_ends_with_EINTR_without_SA_RESTART),
    STAGE_TEST(who_waits_its_turn_behind_an_interrupted_send_goes_on),
    STAGE_TEST(who_waits_its_turn_behind_a_cancelled_send_goes_on),
    STAGE_TEST(a_send_under_way_goes_on_when_replay_is_switched_off),
    STAGE_TEST(after_a_reset_in_the_middle_of_a_send_the_next_has_its_turn),
    STAGE_TEST(a_send_that_a_reset_ends_is_not_done_though_another_connection_is_there_at_once),
    STAGE_TEST(a_wait_for_a_network_goes_on_with_SA_RESTART),
    STAGE_TEST(an_interrupted_reconnect_is_EINTR_and_the_argument_stays_the_callers),
    STAGE_TEST(a_wait_for_the_handshake_goes_on_with_SA_RESTART),
    STAGE_TEST(a_blocking_connect_is_interrupted_and_the_connection_made_all_the_same),
};

STAGE_MAIN(talk_config, tests)

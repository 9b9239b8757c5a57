/* scenarios - the three scenarios of a labeled send, and what else is said of one.
 * Each test is a sentence of the contract, on networks that are addresses of the loopback interface. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n"
                             "[network twin]\naddress = 127.0.3.1\nlabels = all\nmetric = 300\n";
static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand, small\n";

static const unsigned long BG = CMM_LABEL_BACKGROUND, SMALL = CMM_LABEL_SMALL;

/* ---- a socket, and thunks that note what became of them ---- */

static int sock = -1;

static int dial(int flags, unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    sock = cmm_socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(sock >= 0);
    return cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL);
}

static void set_blocking(bool on) {
    int flags = fcntl(sock, F_GETFL);
    stage_equal(fcntl(sock, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), 0);
}

enum { NOTES = 16 };

static struct note {
    pthread_t thread;
    void *arg;
    long result; /* of the thunk's own send */
} notes[NOTES];
static _Atomic int noted;

static struct note *note(void *arg) {
    struct note *n = &notes[noted];
    n->thread = pthread_self();
    n->arg = arg;
    return n;
}

static void only_note(void *arg) {
    note(arg);
    noted++;
}

/* The argument is the text to send again. */
static void send_small(void *arg) {
    struct note *n = note(arg);
    n->result = cmm_send(sock, arg, strlen(arg), 0, SMALL, send_small, arg);
    noted++;
}

static void send_background(void *arg) {
    struct note *n = note(arg);
    n->result = cmm_send(sock, arg, strlen(arg), 0, BG, send_background, arg);
    noted++;
}

static long put(const char *text, unsigned long labels, resume_handler_t handler, const void *arg) {
    return cmm_send(sock, text, strlen(text), 0, labels, handler, (void *)arg);
}

static bool on_network(const char *name) {
    struct cmm_network n;
    return cmm_socket_network(sock, &n) == 0 && strcmp(n.name, name) == 0;
}

/* ---- a thread in one call ---- */

static struct caller {
    pthread_t thread;
    const char *text;
    unsigned long labels;
    resume_handler_t handler;
    long result;
    int error;
    _Atomic bool begun, over;
} caller;

static void *call(void *unused) {
    (void)unused;
    caller.begun = true;
    caller.result = cmm_send(sock, caller.text, strlen(caller.text), 0, caller.labels, caller.handler,
                             caller.handler ? (void *)caller.text : NULL);
    caller.error = errno;
    caller.over = true;
    return NULL;
}

static void begin_call(const char *text, unsigned long labels, resume_handler_t handler) {
    caller.text = text;
    caller.labels = labels;
    caller.handler = handler;
    caller.begun = caller.over = false;
    stage_equal(pthread_create(&caller.thread, NULL, call, NULL), 0);
    stage_wait(caller.begun);
}

static long end_call(void) {
    stage_wait(caller.over);
    pthread_join(caller.thread, NULL);
    errno = caller.error;
    return caller.result;
}

/* ---- 1: matching network, and the socket is connected on it ---- */

static void on_a_matching_network_the_underlying_call_runs_and_its_result_is_returned(void) {
    struct iovec two[] = {{(void *)"wri", 3}, {(void *)"tev", 3}};
    struct msghdr msg = {.msg_iov = two, .msg_iovlen = 2};
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_equal(put("send", BG, NULL, NULL), 4);
    stage_equal(cmm_write(sock, "write", 5, BG, NULL, NULL), 5);
    stage_equal(cmm_writev(sock, two, 2, BG, NULL, NULL), 6);
    stage_equal(cmm_sendmsg(sock, &msg, 0, BG, NULL, NULL), 6);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "sendwritewritevwritev");
}

static void on_a_matching_network_the_thunk_is_ignored_and_its_argument_stays_the_callers(void) {
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_equal(put("one", BG, only_note, "mine"), 3);
    stage_equal(put("two", SMALL, only_note, "mine"), 3);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_expect_text(0, "onetwo");
    stage_equal(cmm_thunk_cancel(sock, NULL, NULL), 0);
    stage_equal(noted, 0);
}

static void a_network_with_equal_labels_is_not_that_network(void) {
    struct cmm_network before, after;
    stage_up("wifi");
    stage_up("twin");
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_wait(put("old", BG, NULL, NULL) == 3);
    stage_expect_text(0, "old");
    stage_equal(cmm_socket_network(sock, &before), 0);
    /* The way to the twin takes its time: what is sent meanwhile may not use what is left of wifi. */
    stage_crowd(true);
    stage_down("wifi");
    stage_wait(put("new", BG, send_background, "new") == CMM_DEFERRED);
    stage_crowd(false);
    stage_expect_connection(1, "127.0.3.1");
    stage_wait(noted > 0);
    stage_expect(stage_is_text(0, "old"));
    stage_equal(cmm_socket_network(sock, &after), 0);
    stage_expect(strcmp(after.name, "twin") == 0 && after.id != before.id);
    stage_equal(after.labels, before.labels);
    stage_expect_text(1, "new");
}

static void a_working_connection_is_not_moved_because_a_preferred_network_appears(void) {
    char back[8];
    stage_echo(true);
    stage_up("twin");
    stage_equal(dial(0, BG), 0);
    stage_up("wifi");
    for (int i = 0; i < 50; i++) {
        stage_equal(put("x", BG, only_note, NULL), 1);
        stage_equal(cmm_recv(sock, back, sizeof back, 0), 1);
    }
    stage_expect(on_network("twin"));
    stage_equal(stage_connections(), 1);
    stage_equal(noted, 0);
}

/* ---- 2: matching network, the socket is not connected on a matching one ---- */

static void connect_on_cell_with_wifi_there(int flags) {
    stage_up("cell");
    int r = dial(flags, SMALL);
    stage_expect(r == 0 || (flags && r == CMM_DEFERRED));
    stage_wait(put("cell", SMALL, NULL, NULL) == 4);
    stage_expect_connection(0, "127.0.2.1");
    stage_up("wifi");
    stage_expect(on_network("cell"));
}

static void elsewhere_the_socket_is_reconnected_and_the_thunk_runs_at_once_in_the_callers_thread(void) {
    char argument[] = "wifi";
    connect_on_cell_with_wifi_there(0);
    stage_equal(put("wifi", BG, send_background, argument), CMM_THUNK_EXECUTED);
    stage_equal(noted, 1);
    stage_expect(pthread_equal(notes[0].thread, pthread_self()));
    stage_expect(notes[0].arg == argument);
    stage_equal(notes[0].result, 4);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
    stage_expect_text(0, "cell");
    stage_wait(stage_end(0) == STAGE_EOF);
}

static void elsewhere_with_a_null_handler_the_data_is_sent_after_the_reconnect(void) {
    connect_on_cell_with_wifi_there(0);
    stage_equal(put("wifi", BG, NULL, NULL), 4);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
    stage_expect(stage_is_text(0, "cell"));
}

static void elsewhere_a_nonblocking_send_is_deferred_and_fires_once_connected(void) {
    connect_on_cell_with_wifi_there(SOCK_NONBLOCK);
    stage_equal(put("wifi", BG, send_background, "wifi"), CMM_DEFERRED);
    stage_wait(noted == 1);
    stage_equal(notes[0].result, 4);
    stage_expect(!pthread_equal(notes[0].thread, pthread_self()));
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
}

static void elsewhere_a_nonblocking_send_without_handler_gets_EAGAIN_and_the_way_is_made(void) {
    connect_on_cell_with_wifi_there(SOCK_NONBLOCK);
    stage_crowd(true);
    stage_fails(put("wifi", BG, NULL, NULL), EAGAIN);
    stage_crowd(false);
    stage_wait(put("wifi", BG, NULL, NULL) == 4);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
}

static void elsewhere_MSG_DONTWAIT_makes_one_call_nonblocking(void) {
    connect_on_cell_with_wifi_there(0);
    stage_crowd(true);
    stage_equal(cmm_send(sock, "wifi", 4, MSG_DONTWAIT, BG, send_background, (void *)"wifi"), CMM_DEFERRED);
    stage_equal(noted, 0);
    stage_crowd(false);
    stage_wait(noted == 1);
    stage_expect_text(1, "wifi");
}

static _Atomic int nested;

/* Runs on cell, waits for wifi and asks for it. */
static void ask_for_wifi(void *arg) {
    struct note *n = note(arg);
    stage_wait(stage_offered("wifi"));
    int before = ++noted;
    n->result = put("c", BG, send_background, "c");
    nested = noted - before;
}

static void inside_a_running_thunk_it_is_deferred_at_the_front_of_the_queue(void) {
    stage_equal(dial(0, SMALL), CMM_DEFERRED);
    stage_equal(put("a", SMALL, ask_for_wifi, "a"), CMM_DEFERRED);
    stage_equal(put("d", BG, send_background, "d"), CMM_DEFERRED);
    stage_up("cell");
    stage_expect_connection(0, "127.0.2.1");
    stage_up("wifi");
    stage_wait(noted == 3);
    stage_equal(notes[0].result, CMM_DEFERRED);
    stage_equal(nested, 0);
    stage_expect(strcmp(notes[1].arg, "c") == 0 && strcmp(notes[2].arg, "d") == 0);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "cd");
}

/* ---- 3: no matching network ---- */

static void without_a_matching_network_the_thunk_is_stored_and_runs_when_one_comes(void) {
    char argument[] = "later";
    stage_up("cell");
    stage_equal(dial(0, SMALL), 0);
    stage_equal(put("later", BG, send_background, argument), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(sock), 1);
    stage_equal(put("now", SMALL, only_note, NULL), 3);
    stage_equal(noted, 0);
    stage_up("wifi");
    stage_wait(noted == 1);
    stage_expect(notes[0].arg == argument);
    stage_equal(notes[0].result, 5);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "later");
    stage_expect(stage_is_text(0, "now"));
}

static void without_a_matching_network_a_blocking_send_without_handler_waits_for_one(void) {
    stage_up("cell");
    stage_equal(dial(0, SMALL), 0);
    begin_call("wifi", BG, NULL);
    stage_equal(put("cell", SMALL, NULL, NULL), 4);
    stage_expect(!caller.over);
    stage_up("wifi");
    stage_equal(end_call(), 4);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "wifi");
    stage_expect(stage_is_text(0, "cell"));
}

static void without_a_matching_network_a_blocking_send_ends_with_ETIMEDOUT_when_patience_is_over(void) {
    const struct timespec short_one = {0, 50000000};
    stage_up("cell");
    stage_equal(dial(0, SMALL), 0);
    stage_equal(cmm_set_patience(sock, &short_one), 0);
    stage_fails(put("wifi", BG, NULL, NULL), ETIMEDOUT);
    stage_equal(cmm_set_patience(sock, &(struct timespec){0, 0}), 0);
    stage_fails(put("wifi", BG, NULL, NULL), ETIMEDOUT);
    stage_equal(put("cell", SMALL, NULL, NULL), 4);
    stage_expect_text(0, "cell");
    stage_equal(cmm_set_patience(sock, NULL), 0);
    begin_call("wifi", BG, NULL);
    stage_up("wifi");
    stage_equal(end_call(), 4);
}

static void without_a_matching_network_a_nonblocking_send_is_deferred_or_gets_EAGAIN(void) {
    stage_up("cell");
    dial(SOCK_NONBLOCK, SMALL);
    stage_wait(on_network("cell"));
    stage_fails(put("no", BG, NULL, NULL), EAGAIN);
    stage_equal(put("yes", BG, send_background, "yes"), CMM_DEFERRED);
    stage_up("wifi");
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "yes");
}

static void without_a_matching_network_MSG_DONTWAIT_gets_EAGAIN_on_a_blocking_socket(void) {
    stage_up("cell");
    stage_equal(dial(0, SMALL), 0);
    stage_fails(cmm_send(sock, "no", 2, MSG_DONTWAIT, BG, NULL, NULL), EAGAIN);
    stage_equal(put("yes", SMALL, NULL, NULL), 3);
}

static void before_any_network_connect_is_deferred_and_sends_may_follow_at_once(void) {
    stage_equal(dial(0, BG), CMM_DEFERRED);
    stage_equal(put("1", BG, send_background, "1"), CMM_DEFERRED);
    stage_equal(put("2", BG, send_background, "2"), CMM_DEFERRED);
    stage_equal(put("3", BG, send_background, "3"), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(sock), 3);
    stage_up("wifi");
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "123");
    stage_wait(noted == 3);
    stage_equal(cmm_thunk_count(sock), 0);
}

static void datagrams_are_deferred_and_sent_as_streams_are(void) {
    struct sockaddr_in to = stage_udp();
    const void *bytes;
    sock = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL), CMM_DEFERRED);
    stage_equal(put("late", SMALL, send_small, "late"), CMM_DEFERRED);
    stage_up("cell");
    stage_wait(stage_datagrams() == 1);
    stage_equal(put("soon", SMALL, NULL, NULL), 4);
    stage_wait(stage_datagrams() == 2);
    stage_equal(stage_datagram(0, &bytes), 4);
    stage_expect(memcmp(bytes, "late", 4) == 0 && strcmp(stage_datagram_peer(0), "127.0.2.1") == 0);
    stage_up("wifi");
    stage_equal(put("wifi", BG, send_background, "wifi"), CMM_THUNK_EXECUTED);
    stage_wait(stage_datagrams() == 3);
    stage_expect(strcmp(stage_datagram_peer(2), "127.0.1.1") == 0);
}

/* ---- real failures ---- */

static void a_refused_connect_is_a_real_failure(void) {
    stage_up("wifi");
    stage_refuse(true);
    stage_fails(dial(0, BG), ECONNREFUSED);
    stage_fails(put("x", BG, only_note, "mine"), ECONNREFUSED);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_equal(noted, 0);
}

static void a_refused_reconnect_is_CMM_FAILED_and_the_argument_stays_the_callers(void) {
    connect_on_cell_with_wifi_there(0);
    stage_refuse(true);
    stage_fails(put("wifi", BG, only_note, "mine"), ECONNREFUSED);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_fails(put("wifi", BG, only_note, "mine"), ECONNREFUSED);
    stage_equal(noted, 0);
}

static void a_reset_by_the_peer_is_CMM_FAILED_without_SIGPIPE(void) {
    struct iovec one = {(void *)"x", 1};
    const struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
    char byte;
    signal(SIGPIPE, SIG_DFL);
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_equal(put("hello", BG, NULL, NULL), 5);
    stage_expect_text(0, "hello");
    stage_hang_up(0);
    stage_fails(cmm_recv(sock, &byte, 1, 0), ECONNRESET);
    stage_equal(put("x", BG, only_note, "mine"), CMM_FAILED);
    stage_expect(errno == ECONNRESET || errno == EPIPE);
    stage_equal(cmm_write(sock, "x", 1, BG, only_note, (void *)"mine"), CMM_FAILED);
    stage_equal(cmm_writev(sock, &one, 1, BG, only_note, (void *)"mine"), CMM_FAILED);
    stage_equal(cmm_sendmsg(sock, &msg, 0, BG, only_note, (void *)"mine"), CMM_FAILED);
    stage_equal(write(sock, "x", 1), -1);
    stage_equal(send(sock, "x", 1, 0), -1);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_equal(noted, 0);
    stage_equal(stage_connections(), 1);
}

static void cmm_calls_never_raise_SIGPIPE(void) {
    signal(SIGPIPE, SIG_DFL);
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_expect_connection(0, "127.0.1.1");
    stage_hang_up(0);
    stage_wait(put("x", BG, NULL, NULL) == CMM_FAILED);
    stage_equal(put("x", BG, NULL, NULL), CMM_FAILED);
    stage_equal(cmm_reset(sock), 0);
    stage_fails(put("x", BG, NULL, NULL), ENOTCONN);
}

static void after_shutdown_a_send_fails_with_EPIPE_and_no_signal(void) {
    signal(SIGPIPE, SIG_DFL);
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_equal(cmm_shutdown(sock, SHUT_WR), 0);
    stage_fails(put("x", BG, only_note, "mine"), EPIPE);
    stage_equal(noted, 0);
}

static void bad_arguments_are_real_failures(void) {
    int plain = socket(AF_INET, SOCK_STREAM, 0);
    stage_up("wifi");
    stage_fails(cmm_send(plain, "x", 1, 0, BG, only_note, NULL), EBADF);
    stage_fails(cmm_send(-1, "x", 1, 0, BG, only_note, NULL), EBADF);
    sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_fails(put("x", BG, only_note, NULL), ENOTCONN);
    cmm_close(sock);
    stage_equal(dial(0, BG), 0);
    stage_fails(put("x", BG | 0x1000, only_note, NULL), EINVAL);
    stage_fails(cmm_send(sock, (void *)8, 1, 0, BG, only_note, NULL), EFAULT);
    stage_fails(cmm_writev(sock, NULL, -1, BG, only_note, NULL), EINVAL);
    stage_equal(put("x", BG, only_note, NULL), 1);
    stage_equal(noted, 0);
    stage_expect_text(0, "x");
}

static void MSG_OOB_and_MSG_ZEROCOPY_are_EOPNOTSUPP(void) {
    struct iovec one = {(void *)"x", 1};
    const struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_fails(cmm_send(sock, "x", 1, MSG_OOB, BG, only_note, NULL), EOPNOTSUPP);
    stage_fails(cmm_send(sock, "x", 1, MSG_ZEROCOPY, BG, only_note, NULL), EOPNOTSUPP);
    stage_fails(cmm_sendmsg(sock, &msg, MSG_OOB, BG, NULL, NULL), EOPNOTSUPP);
    stage_fails(cmm_sendmsg(sock, &msg, MSG_ZEROCOPY, BG, NULL, NULL), EOPNOTSUPP);
    stage_fails(send(sock, "x", 1, MSG_OOB), EOPNOTSUPP);
    stage_equal(noted, 0);
}

/* A call far longer than what both kernels can take. */
static void *long_call(void *bytes) {
    caller.begun = true;
    caller.result = cmm_send(sock, bytes, 64 << 20, 0, CMM_LABEL_ONDEMAND, caller.handler, bytes);
    caller.error = errno;
    caller.over = true;
    return NULL;
}

static void begin_long_call(resume_handler_t handler) {
    void *bytes = calloc(64, 1 << 20);
    stage_expect(bytes);
    caller.handler = handler;
    stage_wait(stage_offered("wifi"));
    stage_wait(stage_offered("cell"));
    stage_receive_buffer(8192);
    stage_equal(dial(0, CMM_LABEL_ONDEMAND), 0);
    stage_expect_connection(0, "10.1.0.2");
    stage_hold(true);
    stage_equal(pthread_create(&caller.thread, NULL, long_call, bytes), 0);
    /* It is in the middle when the kernel takes no more of anybody. */
    stage_wait(caller.begun && cmm_send(sock, "", 0, MSG_DONTWAIT, CMM_LABEL_ONDEMAND, NULL, NULL) == 0 &&
               send(sock, "x", 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
}

static void a_network_lost_in_the_middle_of_a_send_is_scenario_two(void) {
    begin_long_call(only_note);
    stage_link("wifi0", false);
    stage_equal(end_call(), CMM_THUNK_EXECUTED);
    stage_equal(noted, 1);
    stage_expect(pthread_equal(notes[0].thread, caller.thread));
    stage_expect_connection(1, "10.2.0.2");
}

static void all_networks_lost_in_the_middle_of_a_send_is_scenario_three(void) {
    begin_long_call(only_note);
    stage_link("cell0", false);
    stage_wait(!stage_offered("cell"));
    stage_link("wifi0", false);
    stage_equal(end_call(), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(sock), 1);
    stage_link("cell0", true);
    stage_wait(noted == 1);
    stage_expect_connection(1, "10.2.0.2");
}

/* ---- still connecting ---- */

static void while_connecting_a_blocking_send_waits_for_the_handshake(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    set_blocking(true);
    begin_call("hello", BG, NULL);
    stage_expect(stage_connections() == 0 && !caller.over);
    stage_crowd(false);
    stage_equal(end_call(), 5);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "hello");
}

static void while_connecting_a_nonblocking_send_is_deferred_or_gets_EAGAIN(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_fails(put("no", BG, NULL, NULL), EAGAIN);
    stage_equal(put("yes", BG, send_background, "yes"), CMM_DEFERRED);
    stage_equal(noted, 0);
    stage_crowd(false);
    stage_wait(noted == 1);
    stage_expect_text(0, "yes");
}

static void patience_never_covers_the_handshake(void) {
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_equal(cmm_set_patience(sock, &(struct timespec){0, 1000000}), 0);
    set_blocking(true);
    begin_call("hello", BG, NULL);
    for (int i = 0; i < 100; i++)
        stage_pause();
    stage_crowd(false);
    stage_equal(end_call(), 5);
}

/* ---- plain calls ---- */

static void plain_calls_are_the_cmm_ones(void) {
    struct iovec two[] = {{(void *)"wri", 3}, {(void *)"tev", 3}};
    const struct msghdr msg = {.msg_iov = two, .msg_iovlen = 2};
    char back[64];
    stage_echo(true);
    stage_up("wifi");
    stage_equal(dial(0, BG), 0);
    stage_equal(send(sock, "send", 4, 0), 4);
    stage_equal(write(sock, "write", 5), 5);
    stage_equal(writev(sock, two, 2), 6);
    stage_equal(sendmsg(sock, &msg, 0), 6);
    stage_equal(sendto(sock, "to", 2, 0, NULL, 0), 2);
    stage_expect_text(0, "sendwritewritevwritevto");
    stage_equal(recv(sock, back, 4, MSG_WAITALL), 4);
    stage_expect(read(sock, back, sizeof back) > 0);
    stage_equal(close(sock), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_fails(put("x", BG, NULL, NULL), EBADF);
}

static void plain_calls_wait_for_a_network_and_never_defer(void) {
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_fails(write(sock, "no", 2), EAGAIN);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_up("cell");
    stage_fails(write(sock, "no", 2), EAGAIN);
    stage_equal(stage_connections(), 0);
    stage_up("wifi");
    stage_wait(write(sock, "yes", 3) == 3);
    stage_expect_connection(0, "127.0.1.1");
}

static void plain_calls_have_the_labels_of_connect_before_any_send(void) {
    stage_up("cell");
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_fails(send(sock, "x", 1, 0), EAGAIN);
    stage_up("twin");
    stage_wait(send(sock, "x", 1, 0) == 1);
    stage_expect_connection(0, "127.0.3.1");
}

static void plain_calls_have_the_labels_of_the_last_send_that_was_not_deferred(void) {
    stage_up("wifi");
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    stage_wait(put("one", BG, NULL, NULL) == 3);
    stage_equal(put("two", SMALL, NULL, NULL), 3);
    stage_up("cell");
    stage_down("wifi");
    /* Labels of connect would wait for another wifi. */
    stage_wait(write(sock, "plain", 5) == 5);
    stage_expect_connection(1, "127.0.2.1");
    stage_expect_text(1, "plain");
    stage_equal(put("later", BG, only_note, NULL), CMM_DEFERRED);
    stage_equal(write(sock, "again", 5), 5);
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
    while (!caller.over && !stage_late()) {
        pthread_kill(caller.thread, SIGUSR1);
        stage_pause();
    }
}

static void interrupt_often(void) {
    for (int i = 0; i < 30; i++) {
        int before = signals;
        pthread_kill(caller.thread, SIGUSR1);
        stage_wait(signals > before);
    }
}

static void a_wait_for_a_network_ends_with_EINTR_without_SA_RESTART(void) {
    on_signal(0);
    stage_equal(dial(0, BG), CMM_DEFERRED);
    begin_call("x", BG, NULL);
    interrupt_until_over();
    stage_fails(end_call(), EINTR);
    stage_up("wifi");
    stage_equal(put("y", BG, NULL, NULL), 1);
    stage_expect_text(0, "y");
}

static void a_wait_for_a_network_goes_on_with_SA_RESTART(void) {
    on_signal(SA_RESTART);
    stage_equal(dial(0, BG), CMM_DEFERRED);
    begin_call("x", BG, NULL);
    interrupt_often();
    stage_expect(!caller.over);
    stage_up("wifi");
    stage_equal(end_call(), 1);
    stage_expect_text(0, "x");
}

static void an_interrupted_reconnect_is_EINTR_and_the_argument_stays_the_callers(void) {
    on_signal(0);
    connect_on_cell_with_wifi_there(0);
    stage_crowd(true);
    begin_call("x", BG, only_note);
    interrupt_until_over();
    stage_fails(end_call(), EINTR);
    stage_equal(cmm_thunk_count(sock), 0);
    stage_crowd(false);
    stage_equal(put("y", BG, NULL, NULL), 1);
    stage_expect_connection(1, "127.0.1.1");
    stage_expect_text(1, "y");
    stage_equal(noted, 0);
}

static void a_wait_for_the_handshake_goes_on_with_SA_RESTART(void) {
    on_signal(SA_RESTART);
    connect_on_cell_with_wifi_there(0);
    stage_crowd(true);
    begin_call("x", BG, send_background);
    interrupt_often();
    stage_expect(!caller.over);
    stage_crowd(false);
    stage_equal(end_call(), CMM_THUNK_EXECUTED);
    stage_expect(pthread_equal(notes[0].thread, caller.thread));
    stage_expect_text(1, "x");
}

static void a_blocking_connect_is_interrupted_and_the_connection_made_all_the_same(void) {
    on_signal(0);
    stage_up("wifi");
    stage_crowd(true);
    stage_equal(dial(SOCK_NONBLOCK, BG), CMM_DEFERRED);
    set_blocking(true);
    begin_call("x", BG, NULL);
    interrupt_until_over();
    stage_fails(end_call(), EINTR);
    stage_crowd(false);
    stage_expect_connection(0, "127.0.1.1");
}

static const struct stage_test tests[] = {
    STAGE_TEST(on_a_matching_network_the_underlying_call_runs_and_its_result_is_returned),
    STAGE_TEST(on_a_matching_network_the_thunk_is_ignored_and_its_argument_stays_the_callers),
    STAGE_TEST(a_network_with_equal_labels_is_not_that_network),
    STAGE_TEST(a_working_connection_is_not_moved_because_a_preferred_network_appears),
    STAGE_TEST(elsewhere_the_socket_is_reconnected_and_the_thunk_runs_at_once_in_the_callers_thread),
    STAGE_TEST(elsewhere_with_a_null_handler_the_data_is_sent_after_the_reconnect),
    STAGE_TEST(elsewhere_a_nonblocking_send_is_deferred_and_fires_once_connected),
    STAGE_TEST(elsewhere_a_nonblocking_send_without_handler_gets_EAGAIN_and_the_way_is_made),
    STAGE_TEST(elsewhere_MSG_DONTWAIT_makes_one_call_nonblocking),
    STAGE_TEST(inside_a_running_thunk_it_is_deferred_at_the_front_of_the_queue),
    STAGE_TEST(without_a_matching_network_the_thunk_is_stored_and_runs_when_one_comes),
    STAGE_TEST(without_a_matching_network_a_blocking_send_without_handler_waits_for_one),
    STAGE_TEST(without_a_matching_network_a_blocking_send_ends_with_ETIMEDOUT_when_patience_is_over),
    STAGE_TEST(without_a_matching_network_a_nonblocking_send_is_deferred_or_gets_EAGAIN),
    STAGE_TEST(without_a_matching_network_MSG_DONTWAIT_gets_EAGAIN_on_a_blocking_socket),
    STAGE_TEST(before_any_network_connect_is_deferred_and_sends_may_follow_at_once),
    STAGE_TEST(datagrams_are_deferred_and_sent_as_streams_are),
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
    STAGE_TEST(patience_never_covers_the_handshake),
    STAGE_TEST(plain_calls_are_the_cmm_ones),
    STAGE_TEST(plain_calls_wait_for_a_network_and_never_defer),
    STAGE_TEST(plain_calls_have_the_labels_of_connect_before_any_send),
    STAGE_TEST(plain_calls_have_the_labels_of_the_last_send_that_was_not_deferred),
    STAGE_TEST(a_wait_for_a_network_ends_with_EINTR_without_SA_RESTART),
    STAGE_TEST(a_wait_for_a_network_goes_on_with_SA_RESTART),
    STAGE_TEST(an_interrupted_reconnect_is_EINTR_and_the_argument_stays_the_callers),
    STAGE_TEST(a_wait_for_the_handshake_goes_on_with_SA_RESTART),
    STAGE_TEST(a_blocking_connect_is_interrupted_and_the_connection_made_all_the_same),
};

STAGE_MAIN(config, tests)

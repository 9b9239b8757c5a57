/* direct - the way of a call that nothing stands in the way of: whoever takes it, whatever the number. */
#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n";

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

enum { HIGH = 5000, TIMES = 3 };

/* The second call of a kind finds the way that the first has opened. */
static void send_and_receive(int fd) {
    char back[8] = "";
    for (int i = 0; i < TIMES; i++) {
        stage_equal(send(fd, "ping", 4, 0), 4);
        stage_equal(recv(fd, back, 4, MSG_WAITALL), 4);
        stage_equal(cmm_send(fd, "p", 1, 0, SMALL, NULL, NULL), 1);
        stage_equal(cmm_recv(fd, back, sizeof back, 0), 1);
        stage_equal(write(fd, "pong", 4), 4);
        stage_equal(read(fd, back, sizeof back), 4);
    }
}

static void dial_small(void) {
    stage_echo(true);
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
}

static void numbers_beyond_the_first_thousand_are_served_as_others(void) {
    const struct rlimit many = {2 * HIGH, 2 * HIGH};
    stage_equal(setrlimit(RLIMIT_NOFILE, &many), 0);
    dial_small();
    const int high = fcntl(talk_sock, F_DUPFD, HIGH);
    stage_equal(high, HIGH);
    send_and_receive(talk_sock);
    send_and_receive(high);
    stage_equal(close(talk_sock), 0);
    send_and_receive(high);
    stage_fails(send(talk_sock, "x", 1, 0), EBADF);
    stage_equal(close(high), 0);
    stage_fails(send(high, "x", 1, 0), EBADF);
    stage_wait(stage_end(0) == STAGE_EOF);
}

/* ---- a signal handler in the middle of a direct call ---- */

static volatile sig_atomic_t sent;

static void on_signal(int number) {
    (void)number;
    sent = (sig_atomic_t)send(talk_sock, "in", 2, 0);
}

static char brought[8];

static long receive(void) {
    return recv(talk_sock, brought, sizeof brought, 0);
}

static void a_signal_handler_may_send_while_its_thread_receives(void) {
    stage_not_under_tsan("holds signals back while a call blocks");
    struct sigaction act = {.sa_flags = SA_RESTART};
    act.sa_handler = on_signal;
    sigaction(SIGUSR1, &act, NULL);
    dial_small();
    send_and_receive(talk_sock);
    for (int i = 0; i < TIMES; i++) {
        sent = 0;
        talk_begin(receive);
        stage_wait(talk_asleep());
        pthread_kill(talk_thread, SIGUSR1);
        stage_equal(talk_join(), 2);
        stage_equal(memcmp(brought, "in", 2), 0);
        stage_equal(sent, 2);
    }
    send_and_receive(talk_sock);
}

/* ---- threads ---- */

static long send_once(void) {
    return write(talk_sock, "t", 1);
}

static void a_thread_is_known_from_its_first_call_on(void) {
    dial_small();
    send_and_receive(talk_sock);
    for (int i = 0; i < TIMES; i++) {
        char back;
        talk_begin(send_once);
        stage_equal(talk_join(), 1);
        stage_equal(read(talk_sock, &back, 1), 1);
    }
}

/* ---- the number is closed in the middle of one ---- */

/* The first call of a thread makes it known. */
static long receive_labeled(void) {
    stage_fails(cmm_recv(talk_sock, brought, sizeof brought, MSG_DONTWAIT), EAGAIN);
    return cmm_recv(talk_sock, brought, sizeof brought, 0);
}

static void a_receive_whose_socket_is_closed_takes_nothing_from_the_next_of_its_number(void) {
    stage_not_under_tsan("takes a close beside a receive for a mistake");
    dial_small();
    send_and_receive(talk_sock);
    const int number = talk_sock;
    talk_begin(receive_labeled);
    stage_wait(talk_asleep());
    stage_equal(cmm_close(number), 0);
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_equal(talk_sock, number);
    stage_say(1, "next");
    stage_fails(talk_join(), ECANCELED);
    stage_equal(recv(talk_sock, brought, 4, MSG_WAITALL), 4);
}

static long receive_datagram(void) {
    return cmm_recv(talk_sock, brought, sizeof brought, 0);
}

static void a_receive_of_datagrams_ends_with_a_close_too(void) {
    struct sockaddr_in to = stage_udp();
    stage_not_under_tsan("takes a close beside a receive for a mistake");
    stage_up("cell");
    talk_sock = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL), 0);
    talk_begin(receive_datagram);
    stage_wait(talk_asleep());
    stage_equal(cmm_close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
}

/* ---- all of it ---- */

static long receive_all(void) {
    return cmm_recv(talk_sock, brought, 8, MSG_WAITALL);
}

static void move_to_wifi(void) {
    stage_up("wifi");
    stage_down("cell");
    talk_expect_moved(1, "127.0.1.1", "wifi");
}

static int unread(void) {
    int bytes = -1;
    stage_equal(ioctl(talk_sock, FIONREAD, &bytes), 0);
    return bytes;
}

static void who_waits_for_all_gets_the_rest_from_the_next_connection(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_say(0, "half");
    stage_wait(unread() == 4);
    talk_begin(receive_all);
    stage_wait(unread() == 0 && talk_asleep());
    move_to_wifi();
    stage_say(1, "rest");
    stage_equal(talk_join(), 8);
    stage_expect(memcmp(brought, "halfrest", 8) == 0);
}

static void who_asks_for_all_gets_what_was_kept_and_the_rest_from_the_connection_there_is(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_say(0, "half");
    stage_wait(unread() == 4);
    move_to_wifi();
    talk_begin(receive_all);
    stage_wait(talk_asleep());
    stage_say(1, "rest");
    stage_equal(talk_join(), 8);
    stage_expect(memcmp(brought, "halfrest", 8) == 0);
}

/* ---- news ---- */

static void any_news_of_networks_ends_it(void) {
    dial_small();
    send_and_receive(talk_sock);
    stage_down("cell");
    stage_equal(cmm_send(talk_sock, "late", 4, 0, SMALL, talk_note, NULL), CMM_DEFERRED);
    stage_equal(cmm_thunk_count(talk_sock), 1);
}

static const struct stage_test tests[] = {
    STAGE_TEST(numbers_beyond_the_first_thousand_are_served_as_others),
    STAGE_TEST(a_signal_handler_may_send_while_its_thread_receives),
    STAGE_TEST(a_thread_is_known_from_its_first_call_on),
    STAGE_TEST(a_receive_whose_socket_is_closed_takes_nothing_from_the_next_of_its_number),
    STAGE_TEST(a_receive_of_datagrams_ends_with_a_close_too),
    STAGE_TEST(who_waits_for_all_gets_the_rest_from_the_next_connection),
    STAGE_TEST(who_asks_for_all_gets_what_was_kept_and_the_rest_from_the_connection_there_is),
    STAGE_TEST(any_news_of_networks_ends_it),
};
STAGE_MAIN(config, tests)

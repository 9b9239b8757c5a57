/* arriving - bytes that had arrived unread when their connection was left or lost are what the next receives
 * return; whoever asks hears of them. Each test is a sentence of the contract. */
#include "leaving.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static char heard[256];

static void expect_unread(int ep) {
    char bytes[16];
    stage_equal(leaving_number(FIONREAD), 6);
    stage_expect(leaving_polled(POLLIN) & POLLIN);
    stage_expect(leaving_selected(true));
    stage_expect(leaving_look(ep, 0) & EPOLLIN);
    stage_equal(recv(talk_sock, bytes, sizeof bytes, MSG_PEEK), 6);
    stage_expect(memcmp(bytes, "unread", 6) == 0);
    stage_equal(cmm_recv(talk_sock, bytes, 2, 0), 2);
    stage_equal(leaving_number(FIONREAD), 4);
    stage_equal(read(talk_sock, bytes + 2, sizeof bytes - 2), 4);
    stage_expect(memcmp(bytes, "unread", 6) == 0);
    stage_equal(leaving_number(FIONREAD), 0);
    stage_equal(leaving_polled(POLLIN), 0);
    stage_expect(!leaving_selected(true));
    stage_equal(leaving_look(ep, 0), 0);
    stage_fails(recv(talk_sock, bytes, 1, MSG_DONTWAIT), EAGAIN);
}

static void arrive_unread(void) {
    stage_say(0, "unread");
    stage_wait(leaving_number(FIONREAD) == 6);
}

static void bytes_that_had_arrived_unread_are_what_the_next_receives_return(void) {
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN);
    arrive_unread();
    leaving_move();
    expect_unread(ep);
    stage_say(1, "news");
    stage_equal(leaving_look(ep, 20000), EPOLLIN);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_expect(memcmp(heard, "news", 4) == 0);
}

static void bytes_of_the_new_connection_come_after_those_that_had_arrived(void) {
    leaving_live(0);
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    arrive_unread();
    leaving_move();
    stage_equal(recvfrom(talk_sock, heard, 1, MSG_PEEK, (struct sockaddr *)&from, &len), 1);
    stage_equal(len, 0); /* as of any stream */
    stage_say(1, "news");
    for (size_t got = 0; got < 10;) {
        ssize_t n = recv(talk_sock, heard + got, sizeof heard - got, 0);
        stage_expect(n > 0);
        got += (size_t)n;
    }
    stage_expect(memcmp(heard, "unreadnews", 10) == 0);
}

static void bytes_that_had_arrived_are_there_also_while_there_is_no_connection(void) {
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN);
    arrive_unread();
    stage_down("wifi");
    stage_wait(stage_end(0) == STAGE_EOF);
    expect_unread(ep);
}

static void bytes_that_were_read_are_told_no_more_though_a_child_still_has_them(void) {
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN);
    arrive_unread();
    leaving_move();
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    expect_unread(ep);
    stage_equal(kill(child, SIGKILL), 0);
    stage_equal(waitpid(child, NULL, 0), child);
}

static void bytes_that_a_child_has_read_are_still_told_to_its_parent(void) {
    int status = 1;
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN);
    arrive_unread();
    leaving_move();
    const pid_t child = fork();
    if (child == 0)
        _exit(recv(talk_sock, heard, sizeof heard, MSG_DONTWAIT) == 6 ? 0 : 1);
    stage_equal(waitpid(child, &status, 0), child);
    stage_equal(status, 0);
    expect_unread(ep);
}

static void an_edge_tells_once_of_bytes_that_had_arrived(void) {
    leaving_live(0);
    int ep = leaving_watch(EPOLLIN | EPOLLET);
    arrive_unread();
    leaving_move();
    stage_expect(leaving_look(ep, 20000) & EPOLLIN);
    stage_equal(leaving_look(ep, 0), 0);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 6);
    stage_say(1, "news");
    stage_expect(leaving_look(ep, 20000) & EPOLLIN);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
}

static void a_large_arrival_unread_is_whole_after_a_move(void) {
    enum { LARGE = 60000 };
    unsigned char *bytes = malloc(LARGE);
    leaving_live(0);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = leaving_at(i);
    stage_say_bytes(0, bytes, LARGE);
    stage_wait(leaving_number(FIONREAD) == LARGE);
    leaving_move();
    for (size_t got = 0; got < LARGE;) {
        ssize_t n = recv(talk_sock, bytes, 7777, 0);
        stage_expect(n > 0);
        for (ssize_t i = 0; i < n; i++)
            stage_equal(bytes[i], leaving_at(got + (size_t)i));
        got += (size_t)n;
    }
    stage_equal(leaving_number(FIONREAD), 0);
}

static void datagrams_that_had_arrived_keep_their_bounds(void) {
    struct sockaddr_in to = stage_udp(), from;
    socklen_t len = sizeof from;
    struct iovec two = {heard, 2};
    char control[64];
    struct msghdr msg = {
        .msg_iov = &two, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    stage_up("wifi");
    stage_echo(true);
    talk_sock = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, SMALL, NULL, NULL, NULL), 0);
    stage_equal(talk_put("one", SMALL), 3);
    stage_equal(talk_put("three", SMALL), 5);
    stage_wait(stage_datagrams() == 2 && leaving_number(FIONREAD) == 3);
    stage_up("cell");
    stage_down("wifi");
    stage_wait(talk_on("cell"));
    stage_equal(leaving_number(FIONREAD), 3);
    stage_expect(leaving_polled(POLLIN) & POLLIN);
    stage_equal(recvfrom(talk_sock, heard, sizeof heard, 0, (struct sockaddr *)&from, &len), 3);
    stage_expect(len == sizeof from && memcmp(&from, &to, sizeof from) == 0);
    stage_equal(recvmsg(talk_sock, &msg, MSG_PEEK), 2);
    stage_equal(msg.msg_flags, MSG_TRUNC);
    stage_equal(msg.msg_controllen, 0);
    stage_equal(recv(talk_sock, heard, 2, MSG_TRUNC), 5);
    stage_equal(talk_put("next", SMALL), 4);
    stage_equal(recv(talk_sock, heard, sizeof heard, 0), 4);
    stage_expect(memcmp(heard, "next", 4) == 0);
}

/* Nobody polls it, so that it is left and connected again in one step. */
static void a_send_that_moves_its_socket_keeps_what_had_arrived(void) {
    stage_up("cell");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    stage_up("wifi");
    arrive_unread();
    stage_equal(talk_put("hello", BG), 5);
    stage_expect(talk_on("wifi"));
    stage_expect_text(1, "hello");
    stage_say(1, "news");
    stage_equal(recv(talk_sock, heard, 6, MSG_WAITALL), 6);
    stage_equal(recv(talk_sock, heard + 6, sizeof heard - 6, 0), 4);
    stage_expect(memcmp(heard, "unreadnews", 10) == 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_equal(cmm_unacked(talk_sock), 0);
}

static void bytes_that_had_arrived_survive_a_loss(void) {
    stage_wait(stage_offered("wifi"));
    stage_equal(talk_dial(0, SMALL, NULL), 0);
    stage_expect_connection(0, "10.1.0.2");
    int ep = leaving_watch(EPOLLIN);
    arrive_unread();
    stage_link("wifi0", false);
    talk_expect_moved(1, "10.2.0.2", "cell");
    expect_unread(ep);
}

static const struct stage_test tests[] = {
    STAGE_TEST(bytes_that_had_arrived_unread_are_what_the_next_receives_return),
    STAGE_TEST(bytes_of_the_new_connection_come_after_those_that_had_arrived),
    STAGE_TEST(bytes_that_had_arrived_are_there_also_while_there_is_no_connection),
    STAGE_TEST(bytes_that_were_read_are_told_no_more_though_a_child_still_has_them),
    STAGE_TEST(bytes_that_a_child_has_read_are_still_told_to_its_parent),
    STAGE_TEST(an_edge_tells_once_of_bytes_that_had_arrived),
    STAGE_TEST(a_large_arrival_unread_is_whole_after_a_move),
    STAGE_TEST_IN(bytes_that_had_arrived_survive_a_loss, STAGE_WORLD, leaving_world),
    STAGE_TEST(datagrams_that_had_arrived_keep_their_bounds),
    STAGE_TEST(a_send_that_moves_its_socket_keeps_what_had_arrived),
};

STAGE_MAIN(leaving_config, tests)

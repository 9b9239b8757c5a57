/* beckoning - a labeled socket's program that waits for signals only is told of what comes by the connection
 * that its reconnect handlers still have to themselves. */
#include "talk.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define SMALL CMM_LABEL_SMALL

static _Atomic int signals;

static void on_signal(int number) {
    (void)number;
    signals++;
}

/* ---- a far end that speaks first ---- */

static struct sockaddr_in at = {.sin_family = AF_INET};
static int urgently;

static void *speak_first(void *listener) {
    const int fd = accept(*(int *)listener, NULL, NULL);
    stage_equal(send(fd, "!", 1, urgently), 1);
    return NULL;
}

static void begin_speaker(int flags) {
    static int listener;
    static pthread_t thread;
    socklen_t len = sizeof at;
    urgently = flags;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(bind(listener, (struct sockaddr *)&at, sizeof at) | listen(listener, 1), 0);
    stage_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    stage_equal(pthread_create(&thread, NULL, speak_first, &listener), 0);
    pthread_detach(thread); /* nobody waits for its end */
}

static int wait_to_hear(int sock, unsigned long labels, void *arg) {
    struct pollfd p = {.fd = sock, .events = urgently ? POLLPRI : POLLIN};
    (void)labels;
    (void)arg;
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(signals, 0);
    return 0;
}

static void is_told(int number, int flags, int how) {
    stage_up("wifi");
    begin_speaker(how);
    signal(number, on_signal);
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    stage_equal(fcntl(talk_sock, F_SETOWN, getpid()), 0);
    stage_equal(fcntl(talk_sock, F_SETFL, O_NONBLOCK | flags), 0);
    stage_equal(cmm_connect(talk_sock, (struct sockaddr *)&at, sizeof at, SMALL, NULL, wait_to_hear, NULL),
                CMM_DEFERRED);
    stage_wait(signals > 0);
}

static void what_came_before_its_handler_was_back_is_told(void) {
    is_told(SIGIO, O_ASYNC, 0);
    char byte;
    stage_wait(cmm_recv(talk_sock, &byte, 1, 0) == 1);
}

static void what_is_urgent_and_came_before_its_handler_was_back_is_told(void) {
    is_told(SIGURG, 0, MSG_OOB);
}

static const struct stage_test tests[] = {
    STAGE_TEST(what_came_before_its_handler_was_back_is_told),
    STAGE_TEST(what_is_urgent_and_came_before_its_handler_was_back_is_told),
};

STAGE_MAIN(talk_config, tests)

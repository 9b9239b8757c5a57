/* outlived - a child that has held a socket and is gone leaves its parent's as they were: also for who was
 * blocked on one before the fork. */
#include "talk.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BG    CMM_LABEL_BACKGROUND
#define SMALL CMM_LABEL_SMALL

static char heard[8];

static long receive(void) {
    return cmm_recv(talk_sock, heard, sizeof heard, 0);
}

static void block_before_a_fork(void) {
    int status;
    stage_up("wifi");
    stage_equal(talk_dial_plainly(0, SMALL), 0);
    talk_begin(receive);
    stage_wait(talk_asleep());
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    stage_equal(waitpid(child, &status, 0), child);
    stage_expect(!talk_back());
}

static void a_blocked_receive_is_carried_over_when_the_network_is_left(void) {
    block_before_a_fork();
    stage_up("cell");
    stage_down("wifi");
    talk_expect_moved(1, "127.0.2.1", "cell");
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_say(1, "hello");
    stage_equal(talk_join(), 5);
    stage_expect(memcmp(heard, "hello", 5) == 0);
}

static void a_blocked_receive_ends_with_a_close(void) {
    block_before_a_fork();
    stage_equal(cmm_close(talk_sock), 0);
    stage_fails(talk_join(), ECANCELED);
    stage_wait(stage_end(0) == STAGE_EOF);
}

static void a_blocked_receive_ends_with_a_reset(void) {
    block_before_a_fork();
    stage_equal(cmm_reset(talk_sock), 0);
    stage_fails(talk_join(), ENOTCONN);
    stage_wait(stage_end(0) == STAGE_EOF);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_blocked_receive_is_carried_over_when_the_network_is_left),
    STAGE_TEST(a_blocked_receive_ends_with_a_close),
    STAGE_TEST(a_blocked_receive_ends_with_a_reset),
};

STAGE_MAIN(talk_config, tests)

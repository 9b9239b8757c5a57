/* dialing - a stream of an unmodified program, and a thread of it in one call.
 * For tests of one socket a process. That a thread waits is told by its sleep, and that it goes on with it.
 */
#include "dialing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CALM = 50 };

const char dialing_config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                              "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";
_Atomic int dialing_sock = -1;

/* ---- a connect ---- */

int dialing_connect(int flags) {
    struct sockaddr_in to = stage_tcp();
    dialing_sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(dialing_sock >= 0);
    return connect(dialing_sock, (struct sockaddr *)&to, sizeof to);
}

int dialing_again(void) {
    struct sockaddr_in to = stage_tcp();
    return connect(dialing_sock, (struct sockaddr *)&to, sizeof to);
}

/* ---- a thread in one call ---- */

struct dialing_caller dialing_caller;

void dialing_begin(void *(*call)(void *), void *arg) {
    dialing_caller.tid = 0;
    dialing_caller.over = false;
    stage_equal(pthread_create(&dialing_caller.thread, NULL, call, arg), 0);
    stage_wait(dialing_caller.tid);
}

long dialing_done(long result) {
    dialing_caller.result = result;
    dialing_caller.error = errno;
    dialing_caller.over = true;
    return 0;
}

long dialing_outcome(void) {
    stage_wait(dialing_caller.over);
    pthread_join(dialing_caller.thread, NULL);
    errno = dialing_caller.error;
    return dialing_caller.result;
}

/* It sleeps, and goes on sleeping. */
void dialing_expect_waiting(void) {
    int calm = 0;
    stage_wait_begins();
    while (calm < CALM) {
        if (dialing_caller.over || stage_late())
            stage_fail(__FILE__, __LINE__, "it does not wait: %ld, %s", dialing_caller.result,
                       strerror(dialing_caller.error));
        calm = stage_asleep(dialing_caller.tid) ? calm + 1 : 0;
        stage_pause();
    }
}

void *dialing_blocking(void *unused) {
    (void)unused;
    dialing_caller.tid = gettid();
    dialing_done(dialing_connect(0));
    return NULL;
}

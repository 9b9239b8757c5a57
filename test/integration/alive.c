/* alive - a preloaded program with a connection, and the proof that the library in it is alive. */
#include "alive.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char alive_config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                            "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

int alive_sock = -1;

int alive_dial(int flags) {
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    return fd;
}

void alive_begin(void) {
    stage_up("wifi");
    alive_sock = alive_dial(0);
    stage_expect_connection(0, "127.0.1.1");
}

void alive_says(int fd, int connection, const char *text) {
    const size_t before = stage_connections() > connection ? stage_received(connection) : 0;
    stage_equal(send(fd, text, strlen(text), 0), strlen(text));
    stage_wait(stage_received(connection) == before + strlen(text));
}

bool alive_carried(int first, const char *text) {
    const int count = stage_connections();
    for (int i = first; i < count; i++)
        if (stage_is_text(i, text) && stage_is_peer(i, "127.0.1.1"))
            return true;
    return false;
}

/* Only the listening thread can do this. */
void alive_expect(void) {
    const int connections = stage_connections();
    stage_down("wifi");
    const int fd = alive_dial(SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    stage_equal(poll(&p, 1, 20), 0);
    stage_up("wifi");
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(send(fd, "alive", 5, 0), 5);
    stage_wait(alive_carried(connections, "alive"));
    close(fd);
}

void alive_ended(pid_t child, int code) {
    int status = -1;
    stage_equal(waitpid(child, &status, 0), child);
    if (status != code << 8)
        stage_fail(__FILE__, __LINE__, "the child ended with %#x, not with exit code %d", (unsigned)status,
                   code);
}

pid_t alive_fork(void) {
    const pid_t child = fork();
    if (!child)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

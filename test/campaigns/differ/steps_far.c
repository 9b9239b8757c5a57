/* steps_far - what others do: the far end, and children. */
#include "play.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void step_far(void) {
    static const int verbs[] = {FAR_SEND,     FAR_SEND,  FAR_SEND,  FAR_SEND,    FAR_URGENT,
                                FAR_FINISH,   FAR_CLOSE, FAR_RESET, FAR_CONNECT, FAR_DATAGRAM,
                                FAR_DATAGRAM, FAR_READ,  FAR_READ,  FAR_READ};
    static const char *const names[] = {"sends",  "is urgent", "finishes", "closes",
                                        "resets", "connects",  "datagram", "reads"};
    static const unsigned lengths[] = {1, 1, 5, 26, 100, 1448, 2000, 3000};
    const int verb = one_of(verbs), fd = a_socket();
    unsigned len = one_of(lengths);
    if (verb == FAR_DATAGRAM && chance(3) == 0)
        len = 0;
    if ((verb == FAR_DATAGRAM) != (type_of(fd) == SOCK_DGRAM) || (verb == FAR_URGENT && !urgent))
        return;
    rest();
    const struct far_answer a = far_do(verb, fd, len);
    say(" %s %d %u: %d", names[verb], fd, len, a.result);
    if (verb == FAR_READ || len == 0)
        say(" %u bytes %x end %d", a.received, a.sum, a.end);
}

/* A child does something with what it has, and ends. */
static void step_child(void) {
    const int fd = a_socket();
    /* An error of what both have the kernel tells one of them. */
    const unsigned what = polled(fd) & (POLLERR | POLLHUP) ? 4 : chance(6);
    char byte = '?';
    int line[2];
    struct {
        long result;
        int error;
        char byte;
    } said = {0};
    raw(SYS_pipe2, line, 0);
    const pid_t child = fork();
    if (child == 0) {
        errno = 0;
        said.result = what == 0   ? send(fd, "child", 5, MSG_DONTWAIT)
                      : what == 1 ? recv(fd, &byte, 1, MSG_DONTWAIT)
                      : what == 2 ? shutdown(fd, SHUT_WR)
                      : what == 3 ? close(fd)
                      : what == 4 ? read(-1, &byte, 1)
                                  : write(fd, "c", raw(SYS_fcntl, fd, 3) & 04000 ? 1 : 0);
        said.error = errno;
        said.byte = byte;
        raw(SYS_write, line[1], &said, sizeof said);
        _exit(0);
    }
    raw(SYS_close, line[1]);
    raw(SYS_read, line[0], &said, sizeof said);
    raw(SYS_close, line[0]);
    waitpid(child, NULL, 0);
    say(" %d what %u = %ld errno %d '%c'", fd, what, said.result, said.error, said.byte);
}

/* It is the child that goes on. */
static void step_fork(void) {
    const pid_t child = fork();
    if (child > 0) {
        raw(SYS_wait4, child, NULL, 0, NULL);
        _exit(0);
    }
    say(" = %d", child);
}

const struct step steps_far[] = {
    {"far", step_far, 24}, {"child", step_child, 2}, {"fork", step_fork, 1}, {NULL, NULL, 0}};

/* dial - a program that knows nothing of libcmm, for tests from outside.
 *
 *   dial tcp|udp ADDRESS PORT   connects, or sends a datagram, and prints what came of it
 *   dial alone                  talks to itself over loopback, between two marks that strace shows
 *   dial ring                   asks for an io_uring, in vain
 *   dial 2 tcp ADDRESS PORT     as the first, with a connection to a listener of its own at standard error,
 * and prints what arrived there, too
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Connected to a listener of its own; the other end. */
static int talk_to_itself(int *ret_listener, int *ret_fd) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    *ret_listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(*ret_listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(*ret_listener, 1) < 0 ||
        getsockname(*ret_listener, (struct sockaddr *)&at, &len) < 0)
        return -1;
    *ret_fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(*ret_fd, (struct sockaddr *)&at, len) < 0 ? -1 : accept(*ret_listener, NULL, NULL);
}

static int alone(void) {
    char byte = 0;
    int listener, fd;
    (void)!write(-1, "mark", 4);
    const int other = talk_to_itself(&listener, &fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    send(other, "x", 1, 0);
    poll(&p, 1, -1);
    recv(fd, &byte, 1, 0);
    const int datagrams = socket(AF_INET, SOCK_DGRAM, 0), copy = dup(fd);
    const pid_t child = fork();
    if (child == 0)
        _exit(write(copy, "y", 1) == 1 ? 0 : 1);
    waitpid(child, NULL, 0);
    shutdown(fd, SHUT_RDWR);
    close(copy);
    close(datagrams);
    close(fd);
    close(other);
    close(listener);
    (void)!write(-1, "mark", 4);
    return byte == 'x' ? 0 : 1;
}

static int dial(const char *how, const char *address, const char *port) {
    const int type = strcmp(how, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = type};
    struct addrinfo *to;
    if (getaddrinfo(address, port, &hints, &to))
        return 2;
    const int fd = socket(to->ai_family, type, 0);
    const ssize_t r = type == SOCK_DGRAM ? sendto(fd, "x", 1, 0, to->ai_addr, to->ai_addrlen)
                                         : connect(fd, to->ai_addr, to->ai_addrlen);
    puts(r < 0 ? strerrorname_np(errno) : "done");
    freeaddrinfo(to);
    return 0;
}

static int dial_beside_a_connection(char **argv) {
    char text[256];
    int listener, fd;
    const int other = talk_to_itself(&listener, &fd);
    dup2(fd, STDERR_FILENO);
    int r = dial(argv[0], argv[1], argv[2]);
    ssize_t n = recv(other, text, sizeof text, MSG_DONTWAIT);
    printf("%zd bytes at standard error\n", n < 0 ? 0 : n);
    return r;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "ring") == 0)
        return syscall(SYS_io_uring_setup, 0, NULL) < 0 &&
                       (errno == EFAULT || errno == ENOSYS || errno == EPERM)
                   ? 0
                   : 1;
    if (argc == 2)
        return alone();
    if (argc == 5)
        return dial_beside_a_connection(argv + 2);
    return argc == 4 ? dial(argv[1], argv[2], argv[3]) : 2;
}

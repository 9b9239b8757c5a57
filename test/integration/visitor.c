/* visitor - a library that uses a socket, for a program that loads it and lets it go. */
#include <netinet/in.h>
#include <sys/socket.h>

int visitor_dial(const struct sockaddr_in *to, int flags);

__attribute__((visibility("default"))) int visitor_dial(const struct sockaddr_in *to, int flags) {
    const int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    (void)!connect(fd, (const struct sockaddr *)to, sizeof *to);
    return fd;
}

/* caller PORT - connects, says a line, prints the answer: a plain program for the campaigns, of few calls. 0,
 * or 1 and what failed. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char answer[64];
    if (argc != 2)
        return 2;
    to.sin_port = htons((uint16_t)atoi(argv[1]));
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) < 0 || write(s, "hello\n", 6) != 6) {
        perror("caller");
        return 1;
    }
    ssize_t n = read(s, answer, sizeof answer);
    if (n <= 0 || write(STDOUT_FILENO, answer, (size_t)n) != n) {
        perror("caller");
        return 1;
    }
    close(s);
    return 0;
}

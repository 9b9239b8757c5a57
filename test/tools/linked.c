/* linked - a program that is linked with the library says whether its plain sockets are captured: then they
 * have the default labels, and a connect() gives up with the patience; else the kernel answers. */
#include <libcmm.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

int main(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    int error = connect(sock, (struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
    printf("%s, labels %lx\n", error == ETIMEDOUT ? "captured" : "untouched", cmm_get_default_labels());
    return 0;
}

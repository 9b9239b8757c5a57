/* at_end - a linked program that uses what there is and ends: with its socket closed, or open and with thunks
 * and bytes kept, or at once. at_end HOW */
#include <libcmm.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int greeted;

static int greet(mc_socket_t sock, unsigned long labels, void *arg) {
    (void)sock, (void)labels, (void)arg;
    greeted = 1;
    return 0;
}

static void never(void *arg) {
    (void)arg;
}

static int listener(struct sockaddr_in *ret) {
    socklen_t len = sizeof *ret;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)ret, len) < 0 || listen(fd, 5) < 0 ||
        getsockname(fd, (struct sockaddr *)ret, &len) < 0)
        exit(2);
    return fd;
}

int main(int argc, char **argv) {
    struct sockaddr_in to;
    if (argc < 2 || strcmp(argv[1], "at once") == 0)
        return 0;
    int far = listener(&to), sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    cmm_set_replay(sock, 1);
    cmm_connect(sock, (struct sockaddr *)&to, sizeof to, CMM_LABEL_SMALL, NULL, greet, NULL);
    /* Nobody waits for the connection: a thread of the library runs the handler. */
    while (!greeted && cmm_networks(NULL, 0))
        usleep(1000);
    cmm_send(sock, "x", 1, 0, CMM_LABEL_LARGE, never, NULL);
    if (strcmp(argv[1], "closed") == 0)
        cmm_close(sock);
    close(far);
    return 0;
}

/* upload - sends a file by networks that come and go: in order, nothing lost, and the server sees what is
 * repeated.
 *
 * `upload ADDRESS PORT LABELS <FILE`. With a NULL handler each call waits for its network, so the order is
 * that of the calls. With replay on, libcmm keeps the calls that the server's machine has not acknowledged
 * and makes them again on the next connection: at least once. Each call is a whole record with a number, so
 * that the server can leave out what it has already, and what a lost connection cut short.
 *
 * A connection begins with the name of the upload, then come records: number and length (8 and 4 bytes,
 * big-endian), data; a record without data is the last. The server answers it with one byte.
 *
 * cc upload.c $(pkg-config --cflags --libs libcmm)
 */
#include <libcmm.h>

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 16384 };

struct __attribute__((packed)) record {
    uint64_t number;
    uint32_t length;
};

static char name[32];

/* For every connection, before anything that is sent or sent again. */
static int introduce(mc_socket_t sock, unsigned long labels, void *none) {
    struct cmm_network by;
    (void)none;
    if (cmm_socket_network(sock, &by) == 0)
        fprintf(stderr, "upload: by %s, %zd bytes are not acknowledged\n", by.name, cmm_unacked(sock));
    return cmm_send(sock, name, sizeof name, 0, labels, NULL, NULL) != sizeof name;
}

static int put(mc_socket_t sock, unsigned long labels, uint64_t number, void *data, size_t length) {
    struct record r = {htobe64(number), htobe32((uint32_t)length)};
    struct iovec parts[] = {{&r, sizeof r}, {data, length}};
    ssize_t n = cmm_writev(sock, parts, 2, labels, NULL, NULL);
    if (n >= 0 && (size_t)n != sizeof r + length)
        errno = EIO;
    return n >= 0 && (size_t)n == sizeof r + length ? 0 : -1;
}

static int upload(mc_socket_t sock, unsigned long labels) {
    static char block[BLOCK];
    char answer;
    uint64_t number = 0;
    ssize_t n;
    while ((n = read(STDIN_FILENO, block, sizeof block)) > 0)
        if (put(sock, labels, number++, block, (size_t)n) < 0)
            return -1;
    if (n < 0 || put(sock, labels, number, block, 0) < 0)
        return -1;
    return cmm_read(sock, &answer, 1) == 1 ? 0 : -1;
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    unsigned long labels;
    if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
        cmm_labels_parse(argv[3], &labels) < 0) {
        fputs("usage: upload ADDRESS PORT LABELS <FILE\n", stderr);
        return 2;
    }
    to.sin_port = htons((in_port_t)atoi(argv[2]));
    snprintf(name, sizeof name, "upload %ld", (long)getpid());
    mc_socket_t sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    if (sock < 0 || cmm_set_replay(sock, 1) < 0 ||
        cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, introduce, NULL) == CMM_FAILED ||
        upload(sock, labels) < 0) {
        perror("upload");
        return 1;
    }
    return cmm_close(sock) < 0;
}

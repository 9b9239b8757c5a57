/* hello - labeled streams to the far end of a stage, and a thunk that says hello to it. */
#include "hello.h"

const char hello_config[] = "[label backup]\nbit = 40\n"
                            "[network wifi]\naddress = 127.0.1.1\nlabels = background, backup\n"
                            "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

_Atomic int hello_runs;
ssize_t hello_result;

void hello_send(void *sock) {
    hello_result = cmm_send((int)(long)sock, "hello", 5, 0, WIFI, hello_send, sock);
    hello_runs++;
}

void hello_defer(int sock) {
    stage_equal(cmm_send(sock, "hello", 5, 0, WIFI, hello_send, (void *)(long)sock), CMM_DEFERRED);
}

int hello_dial(int type, unsigned long labels, int *ret_sock) {
    struct sockaddr_in to = stage_tcp();
    *ret_sock = cmm_socket(AF_INET, type, 0);
    stage_expect(*ret_sock >= 0);
    return cmm_connect(*ret_sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL);
}

int hello_waiting(unsigned long labels) {
    int sock;
    stage_equal(hello_dial(SOCK_STREAM, labels, &sock), CMM_DEFERRED);
    return sock;
}

int hello_connected(unsigned long labels) {
    int sock;
    stage_equal(hello_dial(SOCK_STREAM, labels, &sock), 0);
    return sock;
}

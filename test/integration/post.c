/* post - one datagram socket of an unmodified program. */
#include "post.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

const char post_world[] = "[network wifi]\nmatch = wifi0\nlabels = background, large\n"
                          "[network cell]\nmatch = cell0\nlabels = small, large\n";

int post_sock = -1;

void post_make(int flags) {
    post_sock = socket(AF_INET, SOCK_DGRAM | flags, 0);
    stage_expect(post_sock >= 0);
}

int post_dial(void) {
    struct sockaddr_in to = stage_udp();
    return connect(post_sock, (struct sockaddr *)&to, sizeof to);
}

ssize_t post_put(const char *text) {
    return send(post_sock, text, strlen(text), 0);
}

ssize_t post_put_to(const char *text) {
    struct sockaddr_in to = stage_udp();
    return sendto(post_sock, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to);
}

void post_expect(int i, const char *source, const char *text) {
    const void *bytes;
    stage_wait(stage_datagrams() > i);
    size_t len = stage_datagram(i, &bytes);
    if (strcmp(stage_datagram_peer(i), source) != 0)
        stage_fail(__FILE__, __LINE__, "datagram %d comes from %s, not %s", i, stage_datagram_peer(i),
                   source);
    stage_equal(len, strlen(text));
    stage_expect(memcmp(bytes, text, len) == 0);
}

struct sockaddr_in6 post_six(void) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "fd00:9::1", &to.sin6_addr);
    return to;
}

void post_down(const char *interface) {
    stage_link(interface, false);
    stage_wait(!stage_offered(strcmp(interface, "wifi0") == 0 ? "wifi" : "cell"));
}

void post_up(const char *interface) {
    stage_link(interface, true);
    stage_wait(stage_offered(strcmp(interface, "wifi0") == 0 ? "wifi" : "cell"));
}

in_port_t post_port(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    stage_equal(getsockname(post_sock, (struct sockaddr *)&name, &len), 0);
    return name.sin_port;
}

static pthread_t thread;
static _Atomic bool over;
static ssize_t result;

static void *sender(void *unused) {
    (void)unused;
    result = post_put_to("patiently");
    over = true;
    return NULL;
}

void post_begin_blocked(void) {
    post_make(0);
    pthread_create(&thread, NULL, sender, NULL);
    stage_wait(stage_polled(post_sock, POLLOUT, 0) == 0); /* it has been put aside */
    stage_expect(!over);
    stage_equal(stage_datagrams(), 0);
}

void post_expect_sent(const char *source) {
    stage_wait(over);
    stage_equal(result, 9);
    post_expect(0, source, "patiently");
    pthread_join(thread, NULL);
}

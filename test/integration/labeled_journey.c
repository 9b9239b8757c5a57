/* labeled_journey SERVER PORT hello|replay - sends numbered, labeled messages until its standard input ends.
 * Three lanes, each with labels of its own and numbers of its own: a (blue: Wi-Fi alone), b (red: mobile
 * alone), c (ondemand: both). hello: an event loop with manual dispatch, whose post_reconnect asks what the
 * far end has and sends the rest again. replay: the library's threads, and its memory of what was not
 * acknowledged. What happened is told on standard output; anything unexpected ends it with 1. */
#include <arpa/inet.h>
#include <errno.h>
#include <libcmm.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LANES = 3, AHEAD = 300, MOST = 400000, PADDING = 200 };

static const unsigned long lane_labels[LANES] = {CMM_LABEL_BLUE, CMM_LABEL_RED, CMM_LABEL_ONDEMAND};

struct message {
    unsigned lane;
    long number;
    bool sent; /* hello: by some connection, perhaps in vain */
};

static struct message *messages[LANES];
static atomic_long made[LANES], acked[LANES];
static atomic_long went, deferred, executed, run, again, connections;
static atomic_bool closing;
static bool hello;
static mc_socket_t sock;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "labeled_journey: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %s\n", strerror(errno));
    va_end(args);
    _exit(1);
}

/* ---- sending ---- */

static size_t write_message(const struct message *m, char line[PADDING + 64]) {
    char padding[PADDING + 1];
    memset(padding, 'x', PADDING);
    padding[PADDING] = 0;
    return (size_t)snprintf(line, PADDING + 64, "m %c %ld %s\n", 'a' + (int)m->lane, m->number, padding);
}

static void resume(void *arg);

static void send_message(struct message *m) {
    char line[PADDING + 64];
    const size_t len = write_message(m, line);
    ssize_t r = cmm_send(sock, line, len, 0, lane_labels[m->lane], resume, m);
    if (r == (ssize_t)len) {
        m->sent = true;
        went++;
    } else if (r == CMM_DEFERRED) {
        deferred++;
    } else if (r == CMM_THUNK_EXECUTED) {
        executed++;
    } else {
        fail("message %c %ld: cmm_send returned %zd", 'a' + (int)m->lane, m->number, r);
    }
}

static void resume(void *arg) {
    run++;
    send_message(arg);
}

static void make(unsigned lane) {
    struct message *m = &messages[lane][made[lane]];
    m->lane = lane;
    m->number = ++made[lane];
    send_message(m);
}

/* ---- what the far end says ---- */

static char said[8192];
static size_t filled;

/* A line may be cut where a connection ended: what is left of a number is smaller, and known already. */
static bool take_line(const char *line) {
    long have[LANES];
    if (sscanf(line, "have %ld %ld %ld", &have[0], &have[1], &have[2]) != LANES)
        return false;
    for (unsigned lane = 0; lane < LANES; lane++)
        if (have[lane] > acked[lane])
            acked[lane] = have[lane];
    return true;
}

static void take_bytes(const char *bytes, size_t len) {
    if (filled + len >= sizeof said)
        filled = 0;
    memcpy(said + filled, bytes, len);
    filled += len;
    said[filled] = 0;
    for (char *end; (end = strchr(said, '\n'));) {
        *end = 0;
        take_line(said);
        filled -= (size_t)(end + 1 - said);
        memmove(said, end + 1, filled + 1);
    }
}

/* ---- a new connection ---- */

/* One line, byte by byte: what follows it is none of the handler's. */
static int read_line(char *line, size_t size) {
    for (size_t n = 0; n + 1 < size; n++) {
        if (cmm_recv(sock, line + n, 1, 0) != 1)
            return -1;
        if (line[n] == '\n') {
            line[n] = 0;
            return 0;
        }
    }
    return -1;
}

static int send_again(const struct cmm_network *network, unsigned lane) {
    char line[PADDING + 64];
    if ((network->labels & lane_labels[lane]) != lane_labels[lane])
        return 0; /* that lane's turn comes when its network does */
    for (long i = acked[lane]; i < made[lane] && messages[lane][i].sent; i++) {
        const size_t len = write_message(&messages[lane][i], line);
        if (cmm_send(sock, line, len, 0, lane_labels[lane], NULL, NULL) != (ssize_t)len)
            return -1;
        again++;
    }
    return 0;
}

static int greet(mc_socket_t fd, unsigned long labels, void *arg) {
    char line[128];
    struct cmm_network network;
    connections++;
    if (!hello)
        return 0;
    if (cmm_send(fd, "h\n", 2, 0, labels, NULL, NULL) != 2 || read_line(line, sizeof line) < 0 ||
        cmm_socket_network(fd, &network) < 0)
        return -1;
    if (!take_line(line))
        return -1;
    for (unsigned lane = 0; lane < LANES; lane++)
        if (send_again(&network, lane) < 0)
            return -1;
    return 0;
}

/* ---- the two ways to run ---- */

static bool all_acked(void) {
    for (unsigned lane = 0; lane < LANES; lane++)
        if (acked[lane] < made[lane])
            return false;
    return true;
}

static void make_some(void) {
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (made[lane] == MOST - 2)
            fail("more messages than there is room for");
        if (made[lane] - acked[lane] < AHEAD)
            make(lane);
    }
}

static void receive(int flags) {
    char bytes[2048];
    ssize_t n = cmm_recv(sock, bytes, sizeof bytes, flags);
    if (n > 0)
        take_bytes(bytes, (size_t)n);
    else if (n == 0 && !closing)
        fail("the far end has hung up");
    else if (errno != EAGAIN && !closing)
        fail("cmm_recv");
}

static void make_last(void) {
    for (unsigned lane = 0; lane < LANES; lane++)
        make(lane);
}

static void run_event_loop(void) {
    bool over = false;
    while (!over || !all_acked()) {
        struct pollfd fds[3] = {{.fd = sock, .events = POLLIN},
                                {.fd = cmm_dispatch_fd(), .events = POLLIN},
                                {.fd = over ? -1 : 0, .events = POLLIN}};
        if (poll(fds, 3, 1) < 0)
            fail("poll");
        cmm_dispatch();
        if (fds[0].revents)
            receive(MSG_DONTWAIT);
        if (!over)
            make_some();
        if (fds[2].revents) {
            over = true;
            make_last();
        }
    }
}

static void *receive_for_ever(void *unused) {
    while (!closing)
        receive(0);
    return unused;
}

static void run_threads(void) {
    pthread_t reader;
    struct pollfd in = {.fd = 0, .events = POLLIN};
    if (pthread_create(&reader, NULL, receive_for_ever, NULL) != 0)
        fail("pthread_create");
    while (poll(&in, 1, 1) == 0)
        make_some();
    make_last();
    while (!all_acked())
        poll(NULL, 0, 1);
}

static void connect_to(const char *server, const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(port))};
    inet_pton(AF_INET, server, &to.sin_addr);
    sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    if (sock < 0 || (!hello && cmm_set_replay(sock, 1) < 0))
        fail("cmm_socket");
    int r = cmm_connect(sock, (struct sockaddr *)&to, sizeof to, CMM_LABEL_ONDEMAND, NULL, greet, NULL);
    if (r != 0 && r != CMM_DEFERRED)
        fail("cmm_connect");
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    hello = strcmp(argv[3], "hello") == 0;
    if (hello && cmm_set_dispatch(CMM_DISPATCH_MANUAL) < 0)
        fail("cmm_set_dispatch");
    for (unsigned lane = 0; lane < LANES; lane++)
        if (!(messages[lane] = calloc(MOST, sizeof *messages[lane])))
            fail("calloc");
    connect_to(argv[1], argv[2]);
    if (hello)
        run_event_loop();
    else
        run_threads();
    printf("made %ld went %ld deferred %ld executed %ld run %ld again %ld connections %ld\n",
           made[0] + made[1] + made[2], went, deferred, executed, run, again, connections);
    closing = true;
    return cmm_close(sock) < 0;
}

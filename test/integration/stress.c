/* stress - networks that flip 200 times a second under many threads, whose messages the server counts:
 * nothing lost, nothing doubled, nothing out of order, no hang.
 *
 * A lane is one thread's messages with one label set on one socket, numbered from 1. What a lane cannot send
 * its thunks send again. The server is a thread with plain sockets in this process; it reads its connections
 * in the order they came, as a socket makes its next one only when the last is delivered.
 * CMM_STRESS_SECONDS sets the length.
 */
#include "stage.h"

#include "private/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RED  CMM_LABEL_RED
#define BLUE CMM_LABEL_BLUE

static const char config[] = "[network one]\naddress = 127.0.1.1\nlabels = red\n"
                             "[network two]\naddress = 127.0.2.1\nlabels = red, blue\n"
                             "[network three]\naddress = 127.0.3.1\nlabels = blue\n";
static const char *const networks[] = {"one", "two", "three"};

enum { SOCKETS = 3, LANES = 12, FLIP_US = 5000, MOST_STORED = 500, CONNECTIONS = 512 };

/* ---- the server ---- */

struct message {
    uint32_t lane, mark;
    uint64_t number;
};

static const uint32_t mark = 0x636d6d21;

struct connection {
    int fd;
    size_t have;
    bool used;
    struct message part;
};

static struct sockaddr_in server;
static int listener;
static struct connection connections[CONNECTIONS]; /* in the order they came */
static int count, accepted;
static _Atomic uint64_t last[LANES];
static _Atomic bool closing;

static void take(const struct message *m) {
    if (m->mark != mark || m->lane >= LANES)
        stage_fail(__FILE__, __LINE__, "no message of ours: lane %u", m->lane);
    if (m->number != last[m->lane] + 1)
        stage_fail(__FILE__, __LINE__, "lane %u: %llu came after %llu", m->lane,
                   (unsigned long long)m->number, (unsigned long long)last[m->lane]);
    last[m->lane] = m->number;
}

/* False: it has ended. */
static bool read_all(struct connection *c) {
    char buf[16384];
    ssize_t n;
    while ((n = recv(c->fd, buf, sizeof buf, 0)) > 0)
        for (ssize_t at = 0; at < n; at++) {
            c->used = true;
            ((char *)&c->part)[c->have++] = buf[at];
            if (c->have == sizeof c->part) {
                take(&c->part);
                c->have = 0;
            }
        }
    if (n < 0 && errno == EAGAIN)
        return true;
    /* One whose network goes while its handler runs is given up before it has carried anything. */
    if (n < 0 && c->used)
        stage_fail(__FILE__, __LINE__, "a connection ended with %s", strerror(errno));
    if (c->have)
        stage_fail(__FILE__, __LINE__, "a connection ended inside a message");
    return false;
}

static void accept_all(void) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (count == CONNECTIONS)
            stage_fail(__FILE__, __LINE__, "%d connections are open at once", count);
        connections[count++] = (struct connection){.fd = fd};
        accepted++;
    }
}

static void *serve(void *unused) {
    struct pollfd p[CONNECTIONS + 1];
    unsigned passes = 0;
    while (!closing || count) {
        int kept = 0;
        accept_all();
        for (int i = 0; i < count; i++) {
            if (read_all(&connections[i]))
                connections[kept++] = connections[i];
            else
                close(connections[i].fd);
        }
        count = kept;
        p[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        /* A busy server: its small buffers fill, and what is left behind must be waited for. */
        for (int ms = passes++ % 32 ? 0 : 20; ms > 0; ms--)
            stage_pause();
        for (int i = 0; i < count; i++)
            p[i + 1] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        poll(p, (nfds_t)count + 1, 50);
    }
    return unused;
}

static pthread_t start_server(void) {
    pthread_t thread;
    socklen_t len = sizeof server;
    /* So small that a pause fills it, not so small that the kernel must drop what its own window allowed:
     * three retransmissions in a row take longer than a leaving may. */
    const int small = 32768;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    stage_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    stage_equal(bind(listener, (struct sockaddr *)&server, sizeof server), 0);
    stage_equal(listen(listener, 128), 0);
    stage_equal(getsockname(listener, (struct sockaddr *)&server, &len), 0);
    stage_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    return thread;
}

/* ---- the lanes ---- */

static int sockets[SOCKETS];
static _Atomic int busy[SOCKETS]; /* user code of it at work */
static _Atomic long thunks, direct, executed;
static _Atomic bool over;

struct lane {
    uint32_t index;
    int sock;
    unsigned long labels;
    int flags;
    uint64_t sent;
    pthread_t thread;
};

struct letter {
    struct lane *lane;
    struct message message;
};

/* Has it arrived where it should? A short count would break the far end's framing: it is a failure. */
static void send_again(void *arg) {
    struct letter *l = arg;
    const int socket = (int)(l->lane->index % SOCKETS);
    if (busy[socket]++)
        stage_fail(__FILE__, __LINE__, "two thunks or handlers of one socket at a time");
    ssize_t n = cmm_send(l->lane->sock, &l->message, sizeof l->message, l->lane->flags, l->lane->labels,
                         send_again, l);
    busy[socket]--;
    if (n == (ssize_t)sizeof l->message) {
        thunks++;
        free(l);
    } else if (n != CMM_DEFERRED) {
        stage_fail(__FILE__, __LINE__, "a thunk's send: %zd, %s", n, strerror(errno));
    }
}

static void send_one(struct lane *lane) {
    struct letter *l = malloc(sizeof *l);
    *l = (struct letter){lane, {lane->index, mark, ++lane->sent}};
    /* Now and then one waits its turn itself. */
    const bool waits = lane->sent % 16 == 0 && !lane->flags;
    ssize_t n = cmm_send(lane->sock, &l->message, sizeof l->message, lane->flags, lane->labels,
                         waits ? NULL : send_again, l);
    if (n == (ssize_t)sizeof l->message) {
        direct++;
        free(l);
    } else if (n == CMM_THUNK_EXECUTED && !waits) {
        executed++;
    } else if (n != CMM_DEFERRED || waits) {
        stage_fail(__FILE__, __LINE__, "a send: %zd, %s", n, strerror(errno));
    }
}

static void *send_many(void *arg) {
    struct lane *lane = arg;
    while (!over) {
        send_one(lane);
        if (lane->sent % 8 == 0)
            stage_pause();
        while (!over && cmm_thunk_count(lane->sock) > MOST_STORED)
            stage_pause();
    }
    return NULL;
}

static int note_handler(int sock, unsigned long labels, void *arg) {
    (void)labels;
    if (busy[(long)arg]++)
        stage_fail(__FILE__, __LINE__, "a handler beside other user code of its socket");
    stage_expect(sock == sockets[(long)arg]);
    busy[(long)arg]--;
    return 0;
}

static void open_sockets(void) {
    for (long i = 0; i < SOCKETS; i++) {
        sockets[i] = cmm_socket(AF_INET, SOCK_STREAM, 0);
        stage_expect(sockets[i] >= 0);
        /* A thunk that waits runs its socket's handlers itself: only one socket has some. */
        const connection_event_cb_t handler = i == 2 ? note_handler : NULL;
        int r = cmm_connect(sockets[i], (struct sockaddr *)&server, sizeof server, i == 1 ? BLUE : RED,
                            handler, handler, (void *)i);
        stage_expect(r == 0 || r == CMM_DEFERRED);
    }
}

/* Socket 0: both label sets; socket 1: one of them, several threads; socket 2: with handlers. */
static void start_lanes(struct lane *lanes) {
    for (uint32_t i = 0; i < LANES; i++) {
        const uint32_t socket = i % SOCKETS, turn = i / SOCKETS;
        lanes[i] = (struct lane){.index = i, .sock = sockets[socket]};
        lanes[i].labels = socket == 1 ? BLUE : turn % 2 ? BLUE : RED;
        lanes[i].flags = turn == 3 ? MSG_DONTWAIT : 0;
        stage_equal(pthread_create(&lanes[i].thread, NULL, send_many, &lanes[i]), 0);
    }
}

/* ---- the flips ---- */

static int scout = -1;

static void set(const char *network, bool up) {
    struct wire_set m = {.header = {WIRE_VERSION, WIRE_SET, sizeof m},
                         .action = up ? WIRE_SET_UP : WIRE_SET_DOWN};
    struct wire_done done;
    snprintf(m.network, sizeof m.network, "%s", network);
    stage_equal(send(scout, &m, sizeof m, MSG_NOSIGNAL), sizeof m);
    stage_equal(recv(scout, &done, sizeof done, 0), sizeof done);
    stage_equal(done.error, 0);
}

static void dial_scout(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.90s", getenv("CMM_SCOUT"));
    scout = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    stage_equal(connect(scout, (struct sockaddr *)&at, sizeof at), 0);
}

static double seconds(void) {
    const char *text = getenv("CMM_STRESS_SECONDS");
    return text && atof(text) > 0 ? atof(text) : 20;
}

static long flip(double length) {
    bool up[3] = {false, false, false};
    unsigned seed = 1;
    struct timespec next;
    const long flips = (long)(length * 1e6 / FLIP_US);
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (long i = 0; i < flips; i++) {
        const int which = rand_r(&seed) % 3;
        up[which] = !up[which];
        set(networks[which], up[which]);
        next.tv_nsec += FLIP_US * 1000;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    return flips;
}

/* ---- the test ---- */

static void while_networks_flip_200_times_a_second_nothing_is_lost_doubled_or_out_of_order(void) {
    static struct lane lanes[LANES];
    uint64_t sent = 0;
    pthread_t thread = start_server();
    dial_scout();
    open_sockets();
    start_lanes(lanes);
    const long flips = flip(seconds());
    over = true;
    for (int i = 0; i < 3; i++)
        set(networks[i], true);
    for (int i = 0; i < LANES; i++) {
        stage_equal(pthread_join(lanes[i].thread, NULL), 0);
        sent += lanes[i].sent;
    }
    for (int i = 0; i < SOCKETS; i++)
        stage_wait(cmm_thunk_count(sockets[i]) == 0);
    for (int i = 0; i < LANES; i++)
        stage_wait(last[i] == lanes[i].sent);
    for (int i = 0; i < SOCKETS; i++)
        stage_equal(cmm_close(sockets[i]), 0);
    closing = true;
    stage_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < LANES; i++)
        stage_equal(last[i], lanes[i].sent);
    printf("# %ld flips, %d connections, %llu messages: %ld at once, %ld after a reconnect, %ld by thunks\n",
           flips, accepted, (unsigned long long)sent, (long)direct, (long)executed, (long)thunks);
}

static const struct stage_test tests[] = {
    STAGE_TEST(while_networks_flip_200_times_a_second_nothing_is_lost_doubled_or_out_of_order),
};

STAGE_MAIN(config, tests)

/* calls [ROW...] - what libc's calls cost through whatever is preloaded, beside libc's own. Not linked with
 * the library: it measures what an unmodified program gets, of us or of another preloaded library. libc's
 * symbols come from libc's own handle, the others are what the linker found. calls --count ROW N does N of
 * one row's calls and nothing else, for a tool that counts instructions. Prints lines of a table; asserts
 * nothing. */
#include "bench.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libcmm.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>

#pragma weak cmm_socket
#pragma weak cmm_connect
#pragma weak cmm_send
#pragma weak cmm_recv

enum { PAIRS = 401, BULK_PAIRS = 120, BULK_BLOCK = 128 << 10, BULK_BLOCKS = 40, HIGH_FD = 5000 };

struct calls {
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*recv)(int, void *, size_t, int);
    int (*close)(int);
    int (*socket)(int, int, int);
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*accept)(int, struct sockaddr *, socklen_t *);
};
static struct calls libc, got = {write, send, read, recv, close, socket, connect, accept};

static int null_fd, high_fd, zero_fd, unix_out, unix_in; /* not ours */
static int out, in, peer; /* a TCP connection into a sink, and one with both ends here */
static int labeled_out, labeled_in, labeled_peer; /* the same with cmm sockets */
static struct sockaddr_in sink_at;
static char bytes[BULK_BLOCK];

/* ---- one call of each kind ---- */

static void do_write(const struct calls *c) {
    c->write(null_fd, bytes, 1);
}
static void do_write_high(const struct calls *c) {
    c->write(high_fd, bytes, 1);
}
static void do_read(const struct calls *c) {
    c->read(zero_fd, bytes, 1);
}
static void do_send(const struct calls *c) {
    c->send(unix_out, bytes, 1, 0);
    libc.recv(unix_in, bytes, 1, 0);
}
static void do_recv(const struct calls *c) {
    libc.send(unix_out, bytes, 1, 0);
    c->recv(unix_in, bytes, 1, 0);
}
static void do_close(const struct calls *c) {
    c->close(libc.socket(AF_UNIX, SOCK_STREAM, 0));
}
static void do_socket(const struct calls *c) {
    libc.close(c->socket(AF_UNIX, SOCK_STREAM, 0));
}
static void do_inet(const struct calls *c) {
    c->close(c->socket(AF_INET, SOCK_STREAM, 0));
}
/* Left alone: to the machine itself. */
static void do_connect(const struct calls *c) {
    static const struct linger reset = {1, 0};
    int fd = c->socket(AF_INET, SOCK_STREAM, 0);
    if (c->connect(fd, (const struct sockaddr *)&sink_at, sizeof sink_at) < 0)
        bench_fail("connect");
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    c->close(fd);
}
static void do_managed_send(const struct calls *c) {
    c->send(out, bytes, 64, 0);
}
static void do_managed_write(const struct calls *c) {
    c->write(out, bytes, 64);
}
static void do_cmm_send(const struct calls *c) {
    if (c == &got)
        cmm_send(labeled_out, bytes, 64, 0, CMM_LABEL_ONDEMAND, NULL, NULL);
    else
        c->send(labeled_out, bytes, 64, 0);
}
static void never(void *arg) {
    (void)arg;
}
/* For counting alone. */
static void do_cmm_defer(const struct calls *c) {
    (void)c;
    if (cmm_send(labeled_out, bytes, 64, 0, CMM_LABEL_BACKGROUND, never, NULL) != CMM_DEFERRED)
        bench_fail("cmm_send");
}
static void do_cmm_recv(const struct calls *c) {
    libc.send(labeled_peer, bytes, 1, 0);
    if (c == &got)
        cmm_recv(labeled_in, bytes, 1, 0);
    else
        c->recv(labeled_in, bytes, 1, 0);
}
static void do_managed_recv(const struct calls *c) {
    libc.send(peer, bytes, 1, 0);
    c->recv(in, bytes, 1, 0);
}
static void do_managed_read(const struct calls *c) {
    libc.send(peer, bytes, 1, 0);
    c->read(in, bytes, 1);
}

static const struct row {
    const char *name, *title;
    void (*call)(const struct calls *);
    int rounds; /* a block: short, so that a disturbance hits few */
} rows[] = {
    {"write", "write, not ours", do_write, 400},
    {"write-high", "write, not ours, descriptor 5000", do_write_high, 400},
    {"read", "read, not ours", do_read, 400},
    {"send", "send, not ours (with libc's recv)", do_send, 100},
    {"recv", "recv, not ours (with libc's send)", do_recv, 100},
    {"close", "close, not ours (with libc's socket)", do_close, 30},
    {"socket", "socket, not ours (with libc's close)", do_socket, 30},
    {"connect", "socket, connect, close: to the machine itself", do_connect, 5},
    {"inet", "socket, close: inet, not connected", do_inet, 30},
    {"cmm-send", "cmm_send", do_cmm_send, 100},
    {"cmm-recv", "cmm_recv, data is there (with libc's send)", do_cmm_recv, 100},
    {"cmm-defer", NULL, do_cmm_defer, 0},
    {"managed-send", "send, managed", do_managed_send, 100},
    {"managed-write", "write, managed", do_managed_write, 100},
    {"managed-recv", "recv, managed, data is there (with libc's send)", do_managed_recv, 100},
    {"managed-read", "read, managed, data is there (with libc's send)", do_managed_read, 100},
};

static double block(const struct row *r, const struct calls *c) {
    const double began = bench_now_ns();
    for (int i = 0; i < r->rounds; i++)
        r->call(c);
    return (bench_now_ns() - began) / r->rounds;
}

static double theirs(void *row) {
    return block(row, &libc);
}

static double ours(void *row) {
    return block(row, &got);
}

/* ---- two threads on one descriptor ---- */

struct pair {
    const struct calls *calls;
    pthread_barrier_t start;
};

static void *send_many(void *arg) {
    struct pair *p = arg;
    pthread_barrier_wait(&p->start);
    for (int i = 0; i < 200; i++)
        p->calls->write(out, bytes, 64);
    return NULL;
}

static double in_two(const struct calls *c) {
    struct pair p = {.calls = c};
    pthread_t thread;
    pthread_barrier_init(&p.start, NULL, 2);
    if (pthread_create(&thread, NULL, send_many, &p) != 0)
        bench_fail("a thread");
    const double began = bench_now_ns();
    send_many(&p);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&p.start);
    return (bench_now_ns() - began) / 400;
}

static double two_theirs(void *unused) {
    (void)unused;
    return in_two(&libc);
}

static double two_ours(void *unused) {
    (void)unused;
    return in_two(&got);
}

/* ---- bulk ---- */

static double bulk(const struct calls *c) {
    const double began = bench_now_ns();
    for (int i = 0; i < BULK_BLOCKS; i++)
        for (size_t done = 0; done < sizeof bytes;) {
            ssize_t n = c->write(out, bytes + done, sizeof bytes - done);
            if (n <= 0)
                bench_fail("bulk");
            done += (size_t)n;
        }
    return (bench_now_ns() - began) / BULK_BLOCKS / 1000;
}

static double bulk_theirs(void *unused) {
    (void)unused;
    return bulk(&libc);
}

static double bulk_ours(void *unused) {
    (void)unused;
    return bulk(&got);
}

/* ---- the other side ---- */

static int dial(const struct sockaddr_in *to) {
    int fd = got.socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || got.connect(fd, (const struct sockaddr *)to, sizeof *to) < 0)
        bench_fail("connect");
    return fd;
}

static int dial_labeled(const struct sockaddr_in *to) {
    int fd = cmm_socket(AF_INET, SOCK_STREAM, 0);
    if (cmm_connect(fd, (const struct sockaddr *)to, sizeof *to, CMM_LABEL_ONDEMAND, NULL, NULL, NULL) ==
        CMM_FAILED)
        bench_fail("cmm_connect");
    return fd;
}

static int accept_one(int listener) {
    const int one = 1;
    int fd = libc.accept(listener, NULL, NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void look_up(void) {
    void *handle = dlopen("libc.so.6", RTLD_NOW);
    *(void **)&libc.write = dlsym(handle, "write");
    *(void **)&libc.send = dlsym(handle, "send");
    *(void **)&libc.read = dlsym(handle, "read");
    *(void **)&libc.recv = dlsym(handle, "recv");
    *(void **)&libc.close = dlsym(handle, "close");
    *(void **)&libc.socket = dlsym(handle, "socket");
    *(void **)&libc.connect = dlsym(handle, "connect");
    *(void **)&libc.accept = dlsym(handle, "accept");
}

static void set_up(void) {
    struct sockaddr_in swallows, swallows_too, mine;
    int two[2];
    bench_sink(bench_listen(&swallows), true);
    bench_sink(bench_listen(&swallows_too), true);
    bench_sink(bench_listen(&sink_at), false);
    null_fd = open("/dev/null", O_WRONLY);
    zero_fd = open("/dev/zero", O_RDONLY);
    high_fd = fcntl(null_fd, F_DUPFD, HIGH_FD);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, two) < 0)
        bench_fail("socketpair");
    unix_out = two[0];
    unix_in = two[1];
    int listener = bench_listen(&mine);
    in = dial(&mine);
    peer = accept_one(listener);
    out = dial(&swallows);
    if (!cmm_socket)
        return;
    labeled_out = dial_labeled(&swallows_too);
    labeled_in = dial_labeled(&mine);
    labeled_peer = accept_one(listener);
}

static bool wanted(int argc, char **argv, const char *name) {
    bool any = argc < 2;
    for (int i = 1; i < argc; i++)
        any |= strcmp(argv[i], name) == 0;
    return any;
}

static int count(const char *name, long times) {
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        if (strcmp(r->name, name) == 0) {
            for (long i = 0; i < times; i++)
                r->call(&got);
            return 0;
        }
    return 2;
}

int main(int argc, char **argv) {
    const struct rlimit many = {HIGH_FD + 100, HIGH_FD + 100};
    setrlimit(RLIMIT_NOFILE, &many);
    look_up();
    set_up();
    if (argc == 4 && strcmp(argv[1], "--count") == 0)
        return count(argv[2], atol(argv[3]));
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        if (r->rounds && wanted(argc, argv, r->name))
            bench_compare(r->title, "ns", PAIRS, theirs, ours, (void *)(uintptr_t)r);
    if (wanted(argc, argv, "two"))
        bench_compare("write, managed, two threads on one descriptor", "ns", PAIRS, two_theirs, two_ours,
                      NULL);
    if (wanted(argc, argv, "bulk"))
        bench_compare("128 KiB written, managed", "us", BULK_PAIRS, bulk_theirs, bulk_ours, NULL);
    return 0;
}

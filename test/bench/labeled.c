/* labeled - what thunks and reconnects cost. Thunks by themselves, for few and for many; a reconnect beside
 * the system calls that no library can do without. Prints lines of a table; asserts nothing. */
#include "bench.h"
#include "stage.h"

#include <fcntl.h>
#include <libcmm.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

static const char config[] = "[network lab]\naddress = 127.0.1.1\nlabels = ondemand, red\n"
                             "[network idle]\naddress = 127.0.2.1\nlabels = background, blue\n";

enum { MOST = 1000000, MOVES = 201, RUNS = 11 };

static int labeled;
static struct sockaddr_in sink, sink_floor;
static const char byte = 'x';

/* ---- thunks ---- */

static atomic_long runs;
static long wanted;
static double first_run, last_run;

static void run(void *arg) {
    (void)arg;
    const long i = atomic_fetch_add_explicit(&runs, 1, memory_order_relaxed);
    if (i == 0)
        first_run = bench_now_ns();
    if (i == wanted - 1)
        last_run = bench_now_ns();
}

static void defer(long count) {
    for (long i = 0; i < count; i++)
        if (cmm_send(labeled, &byte, 1, 0, CMM_LABEL_BACKGROUND, run, NULL) != CMM_DEFERRED)
            bench_fail("deferring");
}

/* Cheap ones are repeated within a run; the clock's own cost is taken off. */
static void defer_many(long count) {
    const long times = count < 1000 ? 5000 / count : 1;
    double spent[RUNS], cancelling[RUNS], clock = bench_now_ns();
    for (long i = 0; i < 1000; i++)
        (void)bench_now_ns();
    clock = (bench_now_ns() - clock) / 1000;
    for (int k = 0; k < RUNS; k++) {
        spent[k] = cancelling[k] = 0;
        for (long i = 0; i < times; i++) {
            const double began = bench_now_ns();
            defer(count);
            const double between = bench_now_ns();
            cmm_thunk_cancel(labeled, run, NULL);
            spent[k] += between - began - clock;
            cancelling[k] += bench_now_ns() - between - clock;
        }
    }
    char title[64];
    snprintf(title, sizeof title, "deferring a thunk, %ld of them", count);
    bench_alone(title, "ns", bench_median(spent, RUNS) / (double)(times * count));
    snprintf(title, sizeof title, "cancelling one of %ld", count);
    bench_alone(title, "ns", bench_median(cancelling, RUNS) / (double)(times * count));
}

static void run_many(long count) {
    char title[64];
    double took[RUNS];
    for (int i = 0; i < RUNS; i++) {
        runs = 0;
        wanted = count;
        defer(count);
        stage_up("idle");
        stage_wait(runs == count);
        stage_down("idle");
        took[i] = (last_run - first_run) / (double)(count - 1);
    }
    snprintf(title, sizeof title, "taking and calling one of %ld", count);
    bench_alone(title, "ns", bench_median(took, RUNS));
}

static void connect_labeled(int type, const struct sockaddr_in *to) {
    labeled = cmm_socket(AF_INET, type, 0);
    if (cmm_connect(labeled, (const struct sockaddr *)to, sizeof *to, CMM_LABEL_ONDEMAND, NULL, NULL, NULL) <
        0)
        bench_fail("cmm_connect");
}

static void thunks(void) {
    stage_up("lab");
    bench_sink(bench_listen(&sink), true);
    connect_labeled(SOCK_STREAM, &sink);
    for (long count = 1; count <= MOST; count *= 10)
        defer_many(count);
    for (long count = 1000; count <= MOST; count *= 10)
        run_many(count);
}

/* ---- reconnects ---- */

static int floor_fd = -1, floor_at;

/* Leaving waits for what the peer has not acknowledged yet: that is no cost of ours. */
static void settle(int fd) {
    int left = 1;
    while (ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0)
        usleep(100);
}

/* What no library can do without: a fresh connection from the other address, under the old number. */
static double move_bare(void *type) {
    const int one = 1, kind = *(int *)type;
    struct sockaddr_in from = {.sin_family = AF_INET};
    floor_at = !floor_at;
    settle(floor_fd);
    from.sin_addr.s_addr = htonl(floor_at ? 0x7f000101 : 0x7f000201);
    const double began = bench_now_ns();
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        connect(fd, (struct sockaddr *)(kind == SOCK_STREAM ? &sink_floor : &sink), sizeof sink) < 0)
        bench_fail("the floor's connection");
    if (floor_fd < 0) {
        floor_fd = fd;
    } else {
        dup3(fd, floor_fd, O_CLOEXEC);
        close(fd);
    }
    send(floor_fd, &byte, 1, 0);
    return (bench_now_ns() - began) / 1000;
}

static bool on_idle;

static double move_labeled(void *unused) {
    (void)unused;
    on_idle = !on_idle;
    settle(labeled);
    const double began = bench_now_ns();
    if (cmm_send(labeled, &byte, 1, 0, on_idle ? CMM_LABEL_BACKGROUND : CMM_LABEL_ONDEMAND, NULL, NULL) != 1)
        bench_fail("a send that reconnects");
    return (bench_now_ns() - began) / 1000;
}

static void reconnects_of(int type, const char *title) {
    stage_up("lab");
    stage_up("idle");
    if (type == SOCK_STREAM) {
        bench_sink(bench_listen(&sink), true);
        bench_sink(bench_listen(&sink_floor), true);
    } else {
        socklen_t len = sizeof sink;
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        sink = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bind(fd, (struct sockaddr *)&sink, sizeof sink);
        getsockname(fd, (struct sockaddr *)&sink, &len);
    }
    connect_labeled(type, &sink);
    bench_compare(title, "us", MOVES, move_bare, move_labeled, &type);
}

static void streams(void) {
    reconnects_of(SOCK_STREAM, "a send that reconnects, TCP (with the bare calls)");
}

static void datagrams(void) {
    reconnects_of(SOCK_DGRAM, "the same, UDP");
}

static const struct stage_test tests[] = {STAGE_TEST(thunks), STAGE_TEST(streams), STAGE_TEST(datagrams)};
STAGE_MAIN(config, tests)

/* subscribers SOCKET NETWORK PID - from a change of networks to the subscribers' code, beside what cannot be
 * done without: a message into a queue and a signal for each. A subscriber is a process that waits for its
 * mailbox, or its socket where the mailboxes have run out; the clock starts when the change is asked for, and
 * the bare twin is asked in the same way. The scout PID at SOCKET lists NETWORK, an address. Also what an
 * idle scout costs. Prints lines of a table; asserts nothing. */
#include "bench.h"
#include "private/wire.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>

enum { MANY = 1000, CHANGES = 101, MESSAGE = 1500 };

/* Shared by all: how many have woken, and when the last. */
static struct {
    atomic_int ready, woken;
    _Atomic uint64_t round;
} * shared;

static const char *scout_at;
static pid_t children[MANY];
static mqd_t queues[MANY];

static int dial(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", scout_at);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        bench_fail(scout_at);
    return fd;
}

/* ---- subscribers ---- */

/* Its mailbox, or the socket itself. */
static int subscribe(void) {
    struct wire_subscribe s = {.header = {WIRE_VERSION, WIRE_SUBSCRIBE, sizeof s}, .flags = WIRE_WANT_QUEUE};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    static char bytes[WIRE_MAX];
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd = dial(), queue;
    s.tid = (uint32_t)syscall(SYS_gettid);
    if (send(fd, &s, sizeof s, 0) != sizeof s || recvmsg(fd, &m, 0) <= 0)
        bench_fail("subscribing");
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS)
        return fd;
    memcpy(&queue, CMSG_DATA(c), sizeof queue);
    return queue;
}

static void take(int fd, bool socket) {
    char bytes[WIRE_MAX];
    const struct timespec now = {0};
    if (socket)
        recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    else
        mq_timedreceive(fd, bytes, sizeof bytes, NULL, &now);
}

static bool is_socket(int fd) {
    int type;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

__attribute__((noreturn)) static void wait_for_news(int fd) {
    const bool socket = is_socket(fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    atomic_fetch_add(&shared->ready, 1);
    while (poll(&p, 1, -1) > 0) {
        atomic_fetch_add(&shared->woken, 1);
        take(fd, socket);
    }
    _exit(0);
}

static void ignore_hangups(void) {
    sigset_t hangup;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hangup, NULL);
}

static void start(int count, int (*join)(int i)) {
    shared->ready = 0;
    for (int i = 0; i < count; i++)
        if ((children[i] = fork()) == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            wait_for_news(join(i));
        }
    while (shared->ready < count)
        usleep(1000);
}

static void stop(int count) {
    for (int i = 0; i < count; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(children[i], NULL, 0);
}

static double until_all(double began, int count) {
    while (shared->woken < count)
        if (bench_now_ns() - began > 2e9)
            bench_fail("not everybody was told");
    const double took = (bench_now_ns() - began) / 1000;
    usleep(2000 + 20 * (unsigned)count); /* they sleep again */
    return took;
}

/* ---- the change, by the scout ---- */

struct change {
    int count, control, bare;
    bool up;
    const char *network;
};

static int join_scout(int i) {
    (void)i;
    return subscribe();
}

static double by_scout(void *arg) {
    struct change *c = arg;
    struct wire_set set = {.header = {WIRE_VERSION, WIRE_SET, sizeof set}};
    char answer[WIRE_MAX];
    c->up = !c->up;
    set.action = c->up ? WIRE_SET_UP : WIRE_SET_DOWN;
    snprintf(set.network, sizeof set.network, "%s", c->network);
    shared->woken = 0;
    const double began = bench_now_ns();
    send(c->control, &set, sizeof set, 0);
    const double took = until_all(began, c->count);
    recv(c->control, answer, sizeof answer, 0);
    return took;
}

/* ---- bare: queues that another process fills ---- */

static int join_queue(int i) {
    return queues[i];
}

__attribute__((noreturn)) static void tell_all(int control, int count) {
    static const char snapshot[MESSAGE];
    char byte[sizeof(struct wire_set)];
    while (recv(control, byte, sizeof byte, 0) > 0)
        for (int i = 0; i < count; i++) {
            mq_timedsend(queues[i], snapshot, sizeof snapshot, 0, &(struct timespec){0});
            syscall(SYS_tgkill, children[i], children[i], SIGHUP);
        }
    _exit(0);
}

static double bare(void *arg) {
    struct change *c = arg;
    static const char ask[sizeof(struct wire_set)];
    shared->woken = 0;
    const double began = bench_now_ns();
    send(c->bare, ask, sizeof ask, 0);
    return until_all(began, c->count);
}

/* A user has room for 819200 bytes of queues, unless he may raise that: 250 must fit. */
static bool make_queues(int count) {
    for (int i = 0; i < count; i++) {
        char name[64];
        struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = MESSAGE};
        snprintf(name, sizeof name, "/cmm-bench-%d", i);
        queues[i] = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
        mq_unlink(name);
        if (queues[i] < 0) {
            while (i-- > 0)
                close(queues[i]);
            return false;
        }
    }
    return true;
}

static void compare(const char *title, struct change *c) {
    int control[2];
    pid_t scout;
    double *took = calloc(CHANGES, sizeof *took), *floor = calloc(CHANGES, sizeof *floor);
    const bool queued = make_queues(c->count);
    if (queued) {
        start(c->count, join_queue);
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control);
        if ((scout = fork()) == 0)
            tell_all(control[1], c->count);
        c->bare = control[0];
        for (int i = 0; i < CHANGES; i++)
            floor[i] = bare(c);
        kill(scout, SIGKILL);
        waitpid(scout, NULL, 0);
        stop(c->count);
        for (int i = 0; i < c->count; i++)
            close(queues[i]);
    }
    start(c->count, join_scout);
    for (int i = 0; i < CHANGES; i++)
        took[i] = by_scout(c);
    stop(c->count);
    if (queued)
        bench_line(title, "us", bench_median(floor, CHANGES), bench_median(took, CHANGES),
                   bench_median(took, CHANGES) / bench_median(floor, CHANGES));
    else
        bench_alone(title, "us", bench_median(took, CHANGES));
}

/* ---- an idle scout ---- */

struct use {
    long cpu_us, wakeups, kb;
};

static struct use use_of(pid_t pid) {
    char path[64], line[256];
    struct use u = {0};
    double seconds = 0;
    long switches;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &switches) == 1)
            u.wakeups = switches;
        sscanf(line, "VmRSS: %ld", &u.kb);
    }
    if (file)
        fclose(file);
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    file = fopen(path, "re");
    if (file && fscanf(file, "%lf", &seconds) == 1)
        u.cpu_us = (long)(seconds / 1000);
    if (file)
        fclose(file);
    return u;
}

static void idle(pid_t scout) {
    const struct use alone = use_of(scout);
    start(200, join_scout);
    usleep(500000);
    const struct use before = use_of(scout);
    sleep(10);
    const struct use after = use_of(scout);
    stop(200);
    bench_alone("idle scout, 200 subscribers: wakeups in 10 s", "", (double)(after.wakeups - before.wakeups));
    bench_alone("the same: CPU in 10 s", "us", (double)(after.cpu_us - before.cpu_us));
    bench_alone("memory of a scout without subscribers", "KiB", (double)alone.kb);
    bench_alone("memory a subscriber", "B", (double)(after.kb - alone.kb) * 1024 / 200);
}

int main(int argc, char **argv) {
    const struct rlimit many = {65536, 65536}, all = {RLIM_INFINITY, RLIM_INFINITY};
    if (argc != 4)
        return 2;
    scout_at = argv[1];
    setrlimit(RLIMIT_NOFILE, &many);
    setrlimit(RLIMIT_MSGQUEUE, &all);
    ignore_hangups();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    idle((pid_t)atoi(argv[3]));
    struct change c = {.control = dial(), .network = argv[2]};
    c.count = 1;
    compare("scout to one subscriber's code (bare twin)", &c);
    c.count = 250;
    compare("to the last of 250", &c);
    c.count = 1000;
    compare("to the last of 1000", &c);
    return 0;
}

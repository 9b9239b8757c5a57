/* stress_captured - an unmodified program's threads connect, send, receive, poll, copy, fork and close while
 * networks flip: no crash, and no call that does not come back. A watchdog says which call hangs.
 * CMM_STRESS_SECONDS sets the length. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char config[] = "[network one]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network two]\naddress = 127.0.2.1\nlabels = all\n";

/* The locks of AddressSanitizer's own do not bear a fork among threads: the child waits for them for ever. */
#ifdef __SANITIZE_ADDRESS__
static const bool forks = false;
#else
static const bool forks = true;
#endif

#ifdef __SANITIZE_THREAD__
static const bool by_hand = true;
#else
static const bool by_hand = false;
#endif

enum { THREADS = 8, HANGS_SECONDS = 20, CALL_MS = 20 };

/* ---- an echo server of its own: a thread a connection, and one for datagrams ---- */

static struct sockaddr_in server;
static int listener;

static void *echo(void *arg) {
    const int fd = (int)(long)arg;
    char bytes[4096];
    for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL) < 0)
            break;
    close(fd);
    return NULL;
}

static void *echo_datagrams(void *arg) {
    const int fd = (int)(long)arg;
    char bytes[2048];
    struct sockaddr_in from;
    for (socklen_t len = sizeof from;; len = sizeof from) {
        const ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &len);
        if (n >= 0)
            (void)!sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
    return NULL;
}

static void *serve(void *unused) {
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, echo, (void *)(long)fd) == 0)
            pthread_detach(thread);
        else
            close(fd);
    }
    return unused;
}

static void start_server(void) {
    pthread_t thread;
    socklen_t len = sizeof server;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_equal(bind(listener, (struct sockaddr *)&server, len), 0);
    stage_equal(listen(listener, 128), 0);
    stage_equal(getsockname(listener, (struct sockaddr *)&server, &len), 0);
    stage_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    const int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    stage_equal(bind(datagrams, (struct sockaddr *)&server, len), 0);
    stage_equal(pthread_create(&thread, NULL, echo_datagrams, (void *)(long)datagrams), 0);
}

/* ---- the workers ---- */

static struct worker {
    pthread_t thread;
    _Atomic(const char *) call;
    _Atomic long since, rounds;
} workers[THREADS];
static _Atomic bool over;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static void in(struct worker *w, const char *call) {
    w->since = now();
    w->call = call;
}

static void fork_and_use(struct worker *w, int fd) {
    in(w, "fork");
    const pid_t child = fork();
    if (!child) {
        alarm(HANGS_SECONDS);
        (void)!send(fd, "child", 5, MSG_DONTWAIT | MSG_NOSIGNAL);
        close(fd);
        _exit(0);
    }
    in(w, "waitpid");
    int status = 0;
    if (child > 0 && (waitpid(child, &status, 0) != child || status))
        stage_fail(__FILE__, __LINE__, "a child ended with %#x", (unsigned)status);
}

/* Another thread receives on the same number while its worker talks. */
static void *receive_along(void *arg) {
    char bytes[512];
    for (int i = 0; i < 5; i++)
        (void)!recv((int)(long)arg, bytes, sizeof bytes, 0);
    return NULL;
}

static void wait_for_data(struct worker *w, int fd, int set, int how) {
    struct epoll_event e;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timeval limit = {0, CALL_MS * 1000};
    fd_set readers;
    in(w, how == 0 ? "poll" : how == 1 ? "select" : "epoll_wait");
    if (how == 0)
        poll(&p, 1, CALL_MS);
    else if (how == 2)
        epoll_wait(set, &e, 1, CALL_MS);
    if (how != 1 || fd >= FD_SETSIZE)
        return;
    FD_ZERO(&readers);
    FD_SET(fd, &readers);
    select(fd + 1, &readers, NULL, NULL, &limit);
}

static void talk(struct worker *w, int fd, int set, int how) {
    char bytes[512] = "";
    in(w, "send");
    (void)!send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    wait_for_data(w, fd, set, how);
    in(w, "recv");
    (void)!recv(fd, bytes, sizeof bytes, 0);
    in(w, "dup");
    const int copy = dup(fd);
    (void)!write(copy, bytes, 1);
    in(w, "close");
    close(copy);
}

static int dial(struct worker *w, bool stream) {
    const struct timeval limit = {0, CALL_MS * 1000};
    in(w, "connect");
    const int fd = socket(AF_INET, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) == 0)
        return fd;
    close(fd);
    return -1;
}

static void use(struct worker *w, int fd, unsigned *seed) {
    const int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN | (*seed % 2 ? EPOLLONESHOT : EPOLLET)};
    pthread_t along;
    const bool shared = rand_r(seed) % 4 == 0;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    if (shared)
        stage_equal(pthread_create(&along, NULL, receive_along, (void *)(long)fd), 0);
    for (int i = 0; i < 10; i++)
        talk(w, fd, set, rand_r(seed) % 3);
    if (forks && rand_r(seed) % 8 == 0)
        fork_and_use(w, fd);
    in(w, "recv of another thread");
    if (shared)
        stage_equal(pthread_join(along, NULL), 0);
    in(w, "close");
    /* To ThreadSanitizer a set that is closed with what is in it is one that the library still knows. */
    if (by_hand || *seed % 2)
        epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
    close(set);
    close(fd);
}

static void *work(void *arg) {
    struct worker *w = arg;
    unsigned seed = (unsigned)(w - workers);
    while (!over) {
        const int fd = dial(w, rand_r(&seed) % 4 != 0);
        if (fd >= 0)
            use(w, fd, &seed);
        w->rounds++;
    }
    return NULL;
}

static void watch(void) {
    for (int i = 0; i < THREADS; i++)
        if (workers[i].call && now() - workers[i].since > HANGS_SECONDS)
            stage_fail(__FILE__, __LINE__, "%s hangs", workers[i].call);
}

/* ---- the test ---- */

static long seconds(void) {
    const char *text = getenv("CMM_STRESS_SECONDS");
    return text && atol(text) > 0 ? atol(text) : 10;
}

static void no_call_hangs_or_raises_a_signal_while_networks_flip(void) {
    static const char *const names[] = {"one", "two"};
    bool up[2] = {true, true};
    unsigned seed = 7;
    long rounds = 0, flips = 0;
    start_server();
    stage_up("one");
    stage_up("two");
    const long end = now() + seconds();
    for (int i = 0; i < THREADS; i++)
        stage_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (; now() < end; flips++) {
        const int which = rand_r(&seed) % 2;
        up[which] = !up[which];
        (up[which] ? stage_up : stage_down)(names[which]);
        stage_pause();
        watch();
    }
    over = true;
    stage_up("one");
    stage_up("two");
    for (int i = 0; i < THREADS; i++) {
        while (pthread_tryjoin_np(workers[i].thread, NULL) == EBUSY) {
            watch();
            stage_pause();
        }
        workers[i].call = NULL;
        rounds += workers[i].rounds;
    }
    stage_expect(rounds > THREADS);
    printf("# %ld flips, %ld connections\n", flips, rounds);
}

static const struct stage_test tests[] = {
    STAGE_TEST_WITH(no_call_hangs_or_raises_a_signal_while_networks_flip, STAGE_PRELOAD, NULL,
                    "CMM_RULES=127.0.0.0/8=small+reconnect"),
};

STAGE_MAIN(config, tests)

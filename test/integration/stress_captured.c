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
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char config[] = "[network one]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network two]\naddress = 127.0.2.1\nlabels = all\n";

enum { THREADS = 8, HANGS_SECONDS = 20, CALL_MS = 100 };

/* ---- an echo server of its own: a thread a connection ---- */

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

static void talk(struct worker *w, int fd, int set) {
    struct epoll_event e;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char bytes[512] = "";
    in(w, "send");
    (void)!send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    in(w, "poll");
    poll(&p, 1, CALL_MS);
    in(w, "recv");
    (void)!recv(fd, bytes, sizeof bytes, 0);
    in(w, "epoll_wait");
    epoll_wait(set, &e, 1, 1);
    in(w, "dup");
    const int copy = dup(fd);
    (void)!write(copy, bytes, 1);
    in(w, "close");
    close(copy);
}

static void *work(void *arg) {
    struct worker *w = arg;
    unsigned seed = (unsigned)(w - workers);
    const struct timeval limit = {0, CALL_MS * 1000};
    while (!over) {
        struct epoll_event e = {.events = EPOLLIN | (seed % 2 ? EPOLLONESHOT : EPOLLET)};
        in(w, "connect");
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), set = epoll_create1(EPOLL_CLOEXEC);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        const bool there = connect(fd, (struct sockaddr *)&server, sizeof server) == 0;
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
        for (int i = 0; there && i < 10; i++)
            talk(w, fd, set);
        if (rand_r(&seed) % 8 == 0)
            fork_and_use(w, fd);
        in(w, "close");
        close(fd);
        close(set);
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

/* bench - what the benchmarks share: clocks and medians. Everything is compared with its twin in blocks that
 * take turns, and what counts is the median of the pairs' ratios: a disturbance of the machine hits a pair,
 * or both halves of it, and moves no median. */
#ifndef BENCH_H
#define BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline double bench_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline int bench_ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof *values, bench_ascending);
    return values[count / 2];
}

__attribute__((noreturn)) static inline void bench_fail(const char *what) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- lines of the table ---- */

/* A line. unit: of the two figures. */
static inline void bench_line(const char *what, const char *unit, double theirs, double ours, double ratio) {
    printf("%-50s %10.1f %10.1f %-3s %8.3f\n", what, theirs, ours, unit, ratio);
    fflush(stdout);
}

static inline void bench_alone(const char *what, const char *unit, double ours) {
    printf("%-50s %10s %10.1f %-3s\n", what, "", ours, unit);
    fflush(stdout);
}

/* Runs theirs() and ours() in turn and prints the line. Each gives the cost of one block's single call. */
static inline void bench_compare(const char *what, const char *unit, int pairs, double (*theirs)(void *),
                                 double (*ours)(void *), void *context) {
    double *a = calloc((size_t)pairs, sizeof *a), *b = calloc((size_t)pairs, sizeof *b),
           *ratio = calloc((size_t)pairs, sizeof *ratio);
    theirs(context);
    ours(context);
    for (int i = 0; a && b && ratio && i < pairs; i++) {
        /* Rotated: who comes second finds a warmer machine. */
        if (i % 2)
            b[i] = ours(context);
        a[i] = theirs(context);
        if (i % 2 == 0)
            b[i] = ours(context);
        ratio[i] = b[i] / a[i];
    }
    if (a && b && ratio)
        bench_line(what, unit, bench_median(a, (size_t)pairs), bench_median(b, (size_t)pairs),
                   bench_median(ratio, (size_t)pairs));
    free(a);
    free(b);
    free(ratio);
}

/* ---- another side ---- */

static inline int bench_listen(struct sockaddr_in *ret_at) {
    socklen_t len = sizeof *ret_at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)ret_at, sizeof *ret_at) < 0 || listen(fd, 128) < 0 ||
        getsockname(fd, (struct sockaddr *)ret_at, &len) < 0)
        bench_fail("listen");
    return fd;
}

/* A process that takes in what comes by a listener, a connection after the other, or ends each at once. It
 * ends with its parent. */
static inline void bench_sink(int listener, bool swallows) {
    static char buf[256 << 10];
    const pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
            while (swallows && read(fd, buf, sizeof buf) > 0)
                ;
        _exit(1);
    }
    close(listener);
}

#endif

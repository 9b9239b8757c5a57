/* calls - what a call costs through the shim, beside libc's own, side by side in one run: blocks in turn,
 * medians. Prints a table; nothing is asserted. libc's symbols come from libc's own handle, ours are what the
 * program gets. */
#include "stage.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libcmm.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 201, THUNKS = 200000 };

static const char config[] = "[network lab]\naddress = 127.0.1.1\nlabels = ondemand\n"
                             "[network idle]\naddress = 127.0.2.1\nlabels = background\n";

static struct {
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*recv)(int, void *, size_t, int);
    int (*close)(int);
    int (*socket)(int, int, int);
} libc;

static int null_fd, plain, labeled, pair[2];
static char byte[64];

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct subject {
    const char *name;
    int rounds; /* calls a block */
    void (*theirs)(void);
    void (*ours)(void);
};

static double block(void (*call)(void), int rounds) {
    const double began = now_ns();
    for (int i = 0; i < rounds; i++)
        call();
    return (now_ns() - began) / rounds;
}

static void compare(const struct subject *s) {
    static double theirs[BLOCKS], ours[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        theirs[i] = block(s->theirs, s->rounds);
        ours[i] = block(s->ours, s->rounds);
    }
    qsort(theirs, BLOCKS, sizeof *theirs, ascending);
    qsort(ours, BLOCKS, sizeof *ours, ascending);
    printf("%-44s %9.1f %9.1f %7.3f\n", s->name, theirs[BLOCKS / 2], ours[BLOCKS / 2],
           ours[BLOCKS / 2] / theirs[BLOCKS / 2]);
}

static void libc_write(void) {
    libc.write(null_fd, byte, 1);
}
static void our_write(void) {
    (void)!write(null_fd, byte, 1);
}
static void libc_send(void) {
    libc.send(plain, byte, sizeof byte, 0);
}
static void plain_send(void) {
    send(plain, byte, sizeof byte, 0);
}
static void labeled_send(void) {
    cmm_send(labeled, byte, sizeof byte, 0, CMM_LABEL_ONDEMAND, NULL, NULL);
}
static void labeled_plain_send(void) {
    send(labeled, byte, sizeof byte, 0);
}
static void libc_recv(void) {
    libc.send(pair[0], byte, 1, 0);
    libc.recv(pair[1], byte, 1, 0);
}
static void our_recv(void) {
    libc.send(pair[0], byte, 1, 0);
    recv(pair[1], byte, 1, 0);
}
static void libc_close(void) {
    libc.close(libc.socket(AF_UNIX, SOCK_STREAM, 0));
}
static void our_close(void) {
    close(libc.socket(AF_UNIX, SOCK_STREAM, 0));
}
static void our_socket(void) {
    libc.close(socket(AF_UNIX, SOCK_STREAM, 0));
}

static const struct subject subjects[] = {
    {"write, not ours", 2000, libc_write, our_write},
    {"send, not ours", 500, libc_send, plain_send},
    {"recv, not ours (with libc's send)", 500, libc_recv, our_recv},
    {"close, not ours (with libc's socket)", 500, libc_close, our_close},
    {"socket, not ours (with libc's close)", 500, libc_close, our_socket},
    {"cmm_send, network unchanged", 500, libc_send, labeled_send},
    {"send on a cmm socket, network unchanged", 500, libc_send, labeled_plain_send},
};

static void never(void *arg) {
    (void)arg;
}

static void defer_and_cancel(void) {
    double began = now_ns();
    for (int i = 0; i < THUNKS; i++)
        cmm_send(labeled, byte, 1, 0, CMM_LABEL_BACKGROUND, never, NULL);
    printf("%-44s %9s %9.1f\n", "deferring a thunk", "", (now_ns() - began) / THUNKS);
    began = now_ns();
    const int count = cmm_thunk_cancel(labeled, never, NULL);
    printf("%-44s %9s %9.1f\n", "cancelling one of many", "", (now_ns() - began) / count);
}

static void table(void) {
    void *handle = dlopen("libc.so.6", RTLD_NOW);
    struct sockaddr_in to = stage_tcp();
    *(void **)&libc.write = dlsym(handle, "write");
    *(void **)&libc.send = dlsym(handle, "send");
    *(void **)&libc.recv = dlsym(handle, "recv");
    *(void **)&libc.close = dlsym(handle, "close");
    *(void **)&libc.socket = dlsym(handle, "socket");
    stage_up("lab");
    null_fd = open("/dev/null", O_WRONLY);
    stage_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    plain = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(plain, (struct sockaddr *)&to, sizeof to), 0);
    labeled = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm_connect(labeled, (struct sockaddr *)&to, sizeof to, CMM_LABEL_ONDEMAND, NULL, NULL, NULL),
                0);
    printf("%-44s %9s %9s %7s\n", "ns a call (medians, blocks in turn)", "libc", "shim", "ratio");
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        compare(&subjects[i]);
    defer_and_cancel();
}

static const struct stage_test tests[] = {STAGE_TEST(table)};
STAGE_MAIN(config, tests)

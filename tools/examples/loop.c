/* loop - a client with an event loop of its own: nothing of it ever blocks, and everything runs on its one
 * thread.
 *
 * `loop ADDRESS PORT LABELS` sends each line of its input with the labels and prints what comes back. What no
 * network takes now stays in the queue here; one thunk, "go on with the queue", is all that libcmm keeps. In
 * manual mode it runs inside cmm_dispatch(), when the loop sees cmm_dispatch_fd() readable.
 *
 * cc loop.c $(pkg-config --cflags --libs libcmm)
 */
#include <libcmm.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct line {
    struct line *next;
    size_t len, sent;
    char text[];
};

static struct line *first, **last = &first;
static int loop;
static mc_socket_t sock;
static unsigned long labels;
static bool deferred; /* a thunk will go on with the queue */
static bool at_end;   /* of the input */

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int op, int fd, unsigned events) {
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(loop, op, fd, &e) < 0)
        die("epoll_ctl");
}

static void drop_first(void) {
    struct line *l = first;
    first = l->next;
    if (!first)
        last = &first;
    free(l);
}

/* Also the thunk, whose argument is not needed. */
static void send_queue(void *none) {
    (void)none;
    deferred = false;
    while (first) {
        ssize_t n =
            cmm_send(sock, first->text + first->sent, first->len - first->sent, 0, labels, send_queue, NULL);
        deferred = n == CMM_DEFERRED;
        if (deferred || n == CMM_THUNK_EXECUTED)
            return; /* it runs when there is a network; or it has run, and has seen to the queue */
        if (n == CMM_FAILED && errno == EAGAIN)
            return watch(EPOLL_CTL_MOD, sock, EPOLLIN | EPOLLOUT); /* the kernel's buffer is full */
        if (n == CMM_FAILED)
            die("cmm_send");
        first->sent += (size_t)n;
        if (first->sent == first->len)
            drop_first();
    }
    watch(EPOLL_CTL_MOD, sock, EPOLLIN);
    if (at_end && cmm_shutdown(sock, SHUT_WR) < 0)
        die("cmm_shutdown");
}

/* On a new connection a line begins again: half of one makes no sense to the server. */
static int reconnected(mc_socket_t s, unsigned long by, void *none) {
    (void)s, (void)by, (void)none;
    if (first)
        first->sent = 0;
    return 0;
}

static void take_line(void) {
    char text[512];
    ssize_t n = read(STDIN_FILENO, text, sizeof text);
    if (n < 0)
        die("read");
    at_end = n == 0;
    if (at_end)
        watch(EPOLL_CTL_DEL, STDIN_FILENO, 0);
    struct line *l = at_end ? NULL : malloc(sizeof *l + (size_t)n);
    if (l) {
        *l = (struct line){.len = (size_t)n};
        memcpy(l->text, text, l->len);
        *last = l;
        last = &l->next;
    }
    if (!deferred)
        send_queue(NULL);
}

static bool print_answer(void) {
    char text[512];
    ssize_t n = cmm_recv(sock, text, sizeof text, 0);
    if (n == CMM_FAILED && errno != EAGAIN)
        die("cmm_recv");
    if (n > 0 && (fwrite(text, 1, (size_t)n, stdout) != (size_t)n || fflush(stdout)))
        die("stdout");
    return n != 0;
}

static void serve(void) {
    struct epoll_event e;
    for (;;) {
        if (epoll_wait(loop, &e, 1, -1) < 0)
            continue;
        if (e.data.fd == cmm_dispatch_fd())
            cmm_dispatch();
        else if (e.data.fd == STDIN_FILENO)
            take_line();
        else if (e.events & EPOLLOUT && !deferred)
            send_queue(NULL);
        else if (!print_answer())
            return;
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
        cmm_labels_parse(argv[3], &labels) < 0) {
        fputs("usage: loop ADDRESS PORT LABELS\n", stderr);
        return 2;
    }
    to.sin_port = htons((in_port_t)atoi(argv[2]));
    if (cmm_set_dispatch(CMM_DISPATCH_MANUAL) < 0) /* before the first socket */
        die("cmm_set_dispatch");
    loop = epoll_create1(EPOLL_CLOEXEC);
    sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (sock < 0 ||
        cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, reconnected, NULL) == CMM_FAILED)
        die("cmm_connect");
    watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN);
    watch(EPOLL_CTL_ADD, cmm_dispatch_fd(), EPOLLIN);
    watch(EPOLL_CTL_ADD, sock, EPOLLIN); /* carries over to every later connection */
    serve();
    return cmm_close(sock) < 0;
}

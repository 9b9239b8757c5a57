/* links FIGURE RUNS - how long from a link's change to the first byte at the server, measured and never
 * asserted. Runs in the world of test/integration/world.sh, which made the interfaces and a scout; the server
 * is a child in the network namespace /run/netns/server that notes when its first byte came. FIGURE: up (a
 * deferred send), down (by the other network), and both again for a floor: a program that listens to
 * rtnetlink itself and knows what to do. The clock starts when the change is asked for, so it includes the
 * kernel's own work on it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PORT = 7001, CONNECTIONS = 64, WIFI = 1, CELL = 2 };
static const char *const names[] = {"", "wifi0", "wwan0"};

/* Shared with the server: it stamps the first byte by the network armed. */
static struct {
    atomic_int armed;
    _Atomic uint64_t stamp;
    atomic_bool listens;
} * far;

__attribute__((noreturn)) static void fail(const char *what) {
    fprintf(stderr, "links: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the server ---- */

static int accept_one(int listener, int *ret_net) {
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    int fd = accept(listener, (struct sockaddr *)&from, &len);
    *ret_net = (ntohl(from.sin_addr.s_addr) >> 16) & 0xff; /* 10.NETWORK.0.x */
    return fd;
}

static void serve(int listener) {
    struct pollfd fds[CONNECTIONS] = {{.fd = listener, .events = POLLIN}};
    int nets[CONNECTIONS];
    unsigned count = 1;
    char bytes[256];
    while (poll(fds, count, -1) > 0) {
        const uint64_t at = now_ns();
        for (unsigned i = count; i-- > 1;) {
            if (!fds[i].revents)
                continue;
            if (recv(fds[i].fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
                int armed = nets[i];
                if (atomic_compare_exchange_strong(&far->armed, &armed, 0))
                    far->stamp = at;
            } else {
                close(fds[i].fd);
                fds[i] = fds[--count];
                nets[i] = nets[count];
            }
        }
        if (fds[0].revents) {
            if (count == CONNECTIONS) { /* the oldest was left behind long ago */
                close(fds[1].fd);
                fds[1] = fds[--count];
                nets[1] = nets[count];
            }
            fds[count] = (struct pollfd){.events = POLLIN};
            fds[count].fd = accept_one(listener, &nets[count]);
            count++;
        }
    }
}

static pid_t server;

static void stop_server(void) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

static void start_server(void) {
    const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    far = mmap(NULL, sizeof *far, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (far == MAP_FAILED)
        fail("mmap");
    if ((server = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int place = open("/run/netns/server", O_RDONLY | O_CLOEXEC);
        if (place < 0 || setns(place, CLONE_NEWNET) < 0)
            fail("/run/netns/server");
        const int one = 1;
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(listener, (const struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 16) < 0)
            fail("listen");
        far->listens = true;
        serve(listener);
        _exit(1);
    }
    atexit(stop_server);
    while (!far->listens) {
        if (waitpid(server, NULL, WNOHANG) != 0)
            fail("the server");
        usleep(1000);
    }
}

static void arm(int net) {
    far->stamp = 0;
    far->armed = net;
}

static uint64_t stamped(void) {
    const uint64_t limit = now_ns() + 30000000000u;
    while (!far->stamp) {
        if (now_ns() > limit) {
            errno = ETIMEDOUT;
            fail("no byte came");
        }
        usleep(100);
    }
    return far->stamp;
}

/* ---- links ---- */

static void set_link(int net, bool up) {
    static int control = -1;
    struct ifreq r = {0};
    if (control < 0)
        control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", names[net]);
    if (ioctl(control, SIOCGIFFLAGS, &r) < 0)
        fail(names[net]);
    r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
    if (ioctl(control, SIOCSIFFLAGS, &r) < 0)
        fail(names[net]);
}

static bool offered(int net) {
    struct cmm_network networks[8];
    int count = cmm_networks(networks, 8);
    for (int i = 0; i < count; i++)
        if (networks[i].ifindex == if_nametoindex(names[net]))
            return true;
    return false;
}

static void wait_offered(int net, bool there) {
    while (offered(net) != there)
        usleep(500);
}

/* ---- with libcmm ---- */

static struct sockaddr_in target(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    inet_pton(AF_INET, "10.9.0.1", &to.sin_addr);
    return to;
}

static mc_socket_t sock;

static int greet(mc_socket_t fd, unsigned long labels, void *arg) {
    (void)arg;
    return cmm_send(fd, "g", 1, 0, labels, NULL, NULL) == 1 ? 0 : -1;
}

static void resume(void *arg) {
    (void)arg;
    cmm_send(sock, "x", 1, 0, CMM_LABEL_BLUE, resume, NULL);
}

static void open_socket(connection_event_cb_t post) {
    const struct sockaddr_in to = target();
    sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    if (sock < 0 || cmm_connect(sock, (const struct sockaddr *)&to, sizeof to, CMM_LABEL_BLUE, NULL, post,
                                NULL) == CMM_FAILED)
        fail("cmm_connect");
}

static uint64_t up(void) {
    set_link(WIFI, false);
    wait_offered(WIFI, false);
    if (!sock)
        open_socket(NULL);
    if (cmm_send(sock, "x", 1, 0, CMM_LABEL_BLUE, resume, NULL) != CMM_DEFERRED)
        fail("the send was not deferred");
    arm(WIFI);
    const uint64_t began = now_ns();
    set_link(WIFI, true);
    return stamped() - began;
}

/* Blue is Wi-Fi alone; ondemand stays where it is and may go by both. */
static uint64_t down(void) {
    set_link(CELL, true);
    set_link(WIFI, true);
    wait_offered(CELL, true);
    wait_offered(WIFI, true);
    if (!sock)
        open_socket(greet);
    cmm_send(sock, "x", 1, 0, CMM_LABEL_BLUE, NULL, NULL);
    cmm_send(sock, "x", 1, 0, CMM_LABEL_ONDEMAND, NULL, NULL);
    arm(CELL);
    const uint64_t began = now_ns();
    set_link(WIFI, false);
    return stamped() - began;
}

/* ---- the floor ---- */

static int connect_by(int net) {
    const struct sockaddr_in to = target();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, names[net], (socklen_t)strlen(names[net]) + 1);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static int listen_to_kernel(void) {
    const struct sockaddr_nl all = {.nl_family = AF_NETLINK,
                                    .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&all, sizeof all) < 0)
        fail("rtnetlink");
    return fd;
}

static bool link_told(const char *messages, ssize_t len, int net, bool want_up) {
    for (const struct nlmsghdr *h = (const void *)messages; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
        const struct ifinfomsg *link = NLMSG_DATA(h);
        if (h->nlmsg_type == RTM_NEWLINK && link->ifi_index == (int)if_nametoindex(names[net]) &&
            !(link->ifi_flags & IFF_UP) == !want_up)
            return true;
    }
    return false;
}

/* In a process of its own, as the scout is: told by the kernel, connects by NET and sends. */
static void react(int net_changed, bool to_up, int net_used, int ready) {
    char messages[16384];
    int kernel = listen_to_kernel();
    (void)!write(ready, "r", 1);
    for (;;) {
        ssize_t n = recv(kernel, messages, sizeof messages, 0);
        if (n <= 0 || !link_told(messages, n, net_changed, to_up))
            continue;
        for (int fd; (fd = connect_by(net_used)) < 0 || send(fd, "x", 1, MSG_NOSIGNAL) != 1;)
            close(fd);
        pause();
    }
}

static uint64_t floor_of(int net_changed, bool to_up, int net_used) {
    int ready[2];
    char byte;
    set_link(net_changed, !to_up);
    wait_offered(net_changed, !to_up); /* also: the scout is quiet again */
    if (pipe(ready) < 0)
        fail("pipe");
    arm(net_used);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        react(net_changed, to_up, net_used, ready[1]);
    }
    if (read(ready[0], &byte, 1) != 1)
        fail("the floor's listener");
    const uint64_t began = now_ns();
    set_link(net_changed, to_up);
    const uint64_t took = stamped() - began;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    return took;
}

static uint64_t floor_up(void) {
    return floor_of(WIFI, true, WIFI);
}

static uint64_t floor_down(void) {
    set_link(CELL, true);
    wait_offered(CELL, true);
    return floor_of(WIFI, false, CELL);
}

/* ---- the figures ---- */

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void tell(const char *title, uint64_t *took, int runs) {
    qsort(took, (size_t)runs, sizeof *took, compare);
    printf("%-64s %5d %9.3f %9.3f %9.3f %9.3f\n", title, runs, (double)took[0] / 1e6,
           (double)took[runs / 2] / 1e6, (double)took[(runs * 9) / 10] / 1e6, (double)took[runs - 1] / 1e6);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        uint64_t (*run)(void);
    } figures[] = {{"up", up}, {"down", down}, {"floor-up", floor_up}, {"floor-down", floor_down}};
    int runs = argc == 4 ? atoi(argv[2]) : 0;
    uint64_t *took = runs > 0 ? calloc((size_t)runs, sizeof *took) : NULL;
    if (!took)
        return 2;
    start_server();
    for (unsigned i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (strcmp(argv[1], figures[i].name) != 0)
            continue;
        figures[i].run(); /* to warm up */
        for (int k = 0; k < runs; k++)
            took[k] = figures[i].run();
        tell(argv[3], took, runs);
        return 0;
    }
    return 2;
}

/* doors - a call by any name of libc's that the library takes arrives there, and is libc's own elsewhere.
 * Each name is called by the address the program gets, and again by libc's own: on a socket that waits the
 * two differ, which is the proof; on what is not managed they do not. The list of names is that of
 * exports.map. */
#include "door_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

static void every_name_the_library_takes_is_tried_here(void) {
    const char *map = getenv("CMM_EXPORTS_MAP");
    char line[256];
    bool listed = false;
    int count = 0;
    FILE *f = map ? fopen(map, "re") : NULL;
    stage_expect(f);
    while (fgets(line, sizeof line, f) && line[0] == '#') {
        for (char *word = strtok(line, "# \n"); listed && word; word = strtok(NULL, " \n"), count++)
            if (!door_find(word))
                stage_fail(__FILE__, __LINE__, "%s is not", word);
        listed |= strstr(line, "interposed:") != NULL;
    }
    fclose(f);
    stage_expect(count > 50);
}

/* ---- what is not managed ---- */

/* A byte is there to read, and nothing blocks. */
static int open_thing(int kind, int *ret_other) {
    int pair[2] = {-1, -1};
    *ret_other = -1;
    switch (kind) {
    case 0:
        return -1;
    case 1:
        return 200; /* nothing is open there */
    case 2:
        stage_equal(pipe2(pair, O_NONBLOCK), 0);
        break;
    case 3:
        stage_equal(pipe2(pair, O_NONBLOCK), 0);
        *ret_other = pair[0];
        return pair[1];
    case 4:
        stage_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        break;
    case 5:
        return memfd_create("file", 0);
    case 6:
        return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    case 7:
        return socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, 0);
    default:
        return epoll_create1(0);
    }
    stage_equal(syscall(SYS_write, pair[1], "x", 1), 1);
    *ret_other = pair[1];
    return pair[0];
}

enum { THINGS = 9 };

static void close_thing(int fd, int other) {
    if (fd >= 0)
        syscall(SYS_close, fd);
    if (other >= 0)
        syscall(SYS_close, other);
    syscall(SYS_close, 190);
}

static long tried(const struct door *d, void *f, int kind, int *ret_error) {
    int other, fd = open_thing(kind, &other);
    errno = 0;
    long r = d->use(f, fd);
    *ret_error = r < 0 ? errno : 0;
    close_thing(fd, other);
    return r;
}

static void result_and_errno_are_libcs_on_what_is_not_managed(void) {
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < DOORS; i++)
        for (int kind = 0; doors[i].use && kind < THINGS; kind++) {
            int theirs, mine;
            long r = tried(&doors[i], door_libcs(doors[i].name), kind, &theirs);
            long s = tried(&doors[i], door_ours(doors[i].name), kind, &mine);
            if (r != s || theirs != mine)
                stage_fail(__FILE__, __LINE__, "%s on thing %d: %ld (%s), libc's %ld (%s)", doors[i].name,
                           kind, s, strerror(mine), r, strerror(theirs));
        }
}

/* ---- what is ---- */

static void calls_on_a_socket_that_waits_arrive(void) {
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < DOORS; i++) {
        const struct door *d = &doors[i];
        if (d->proof != DOOR_BY_ERROR)
            continue;
        int fd = door_waiting();
        long r = d->use(door_ours(d->name), fd);
        if ((r < 0 ? -errno : r) != d->waiting)
            stage_fail(__FILE__, __LINE__, "%s: %ld (%m)", d->name, r);
        r = d->use(door_libcs(d->name), fd);
        if ((r < 0 ? -errno : r) == d->waiting)
            stage_fail(__FILE__, __LINE__, "%s: libc's own says the same; this proves nothing", d->name);
        close(fd);
    }
}

/* Live on wifi, a byte has arrived; then wifi is withdrawn, and the byte moves into the library. */
static int socket_with_a_kept_byte(void) {
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.events = POLLIN};
    const int i = stage_connections();
    stage_up("wifi");
    p.fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(p.fd, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(i, "127.0.1.1");
    stage_say(i, "k");
    stage_equal(poll(&p, 1, -1), 1);
    stage_down("wifi");
    stage_wait(door_find("poll")->use(door_libcs("poll"), p.fd) == 0);
    return p.fd;
}

static void waits_know_of_bytes_the_library_keeps(void) {
    int fd = socket_with_a_kept_byte();
    for (size_t i = 0; i < DOORS; i++) {
        if (doors[i].proof != DOOR_BY_KEPT)
            continue;
        if (doors[i].use(door_ours(doors[i].name), fd) <= 0)
            stage_fail(__FILE__, __LINE__, "%s sees nothing", doors[i].name);
        stage_equal(doors[i].use(door_libcs(doors[i].name), fd), 0);
    }
}

static void epoll_ctl_arrives(void) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = 5};
    int fd = socket_with_a_kept_byte(), set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    stage_equal(door_find("epoll_wait")->use(door_libcs("epoll_wait"), set), 1);
    char byte;
    stage_equal(recv(fd, &byte, 1, 0), 1);
    stage_equal(door_find("epoll_wait")->use(door_libcs("epoll_wait"), set), 0);
    stage_equal(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL), 0);
    stage_fails(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL), ENOENT);
}

static bool fires(int set) {
    return door_find("epoll_wait")->use(door_libcs("epoll_wait"), set) == 1;
}

/* A one-shot registration fires by f; then the connection is made, and the kernel is asked again: it is
 * connected an instant before it is in the set again. */
static void expect_again(const struct door *d, void *f, bool again) {
    struct epoll_event e = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = 9};
    struct sockaddr_in to = stage_tcp();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(EPOLL_CLOEXEC);
    stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), 0);
    stage_equal(d->use(f, set), 1);
    stage_fails(connect(fd, (struct sockaddr *)&to, sizeof to), EINPROGRESS);
    stage_up("wifi");
    stage_wait(door_writable(fd));
    if (again)
        stage_wait(fires(set));
    else
        stage_expect(!fires(set));
    stage_down("wifi");
    close(fd);
    close(set);
}

static void epoll_waits_arrive(void) {
    for (size_t i = 0; i < DOORS; i++)
        if (doors[i].proof == DOOR_BY_ONE_SHOT) {
            expect_again(&doors[i], door_ours(doors[i].name), false);
            expect_again(&doors[i], door_libcs(doors[i].name), true);
        }
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background")
#define TEST_MOVING(name)                                                                                    \
    STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=background+reconnect")
    TEST(every_name_the_library_takes_is_tried_here),
    TEST(result_and_errno_are_libcs_on_what_is_not_managed),
    TEST(calls_on_a_socket_that_waits_arrive),
    TEST_MOVING(waits_know_of_bytes_the_library_keeps),
    TEST_MOVING(epoll_ctl_arrives),
    TEST(epoll_waits_arrive),
};

STAGE_MAIN(config, tests)

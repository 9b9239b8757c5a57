/* moving - calls of an unmodified program whose connection is replaced under them.
 * For tests of one socket a process: everything here is static. */
#include "moving.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLERS = 8, CALM = 30, TCP_LISTENING = 10 };

const char moving_world[] = "[network wifi]\nmatch = wifi0\nlabels = all\n"
                            "[network cell]\nmatch = cell0\nlabels = all\n";
const char moving_loopback[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                               "[network cell]\naddress = 127.0.2.1\nlabels = all\nmetric = 200\n";

int moving_sock = -1;
char moving_heard[256];

/* ---- threads in one call each ---- */

struct moving_caller moving_callers[CALLERS];
static int ncallers, back;

static void *run(void *arg) {
    struct moving_caller *c = arg;
    c->tid = gettid();
    errno = 0;
    c->result = c->call();
    c->error = errno;
    c->over = true;
    return NULL;
}

/* All of them sleep, and go on sleeping. */
void moving_expect_waiting(void) {
    int calm = 0;
    stage_wait_begins();
    while (calm < CALM) {
        bool all = true;
        for (int i = back; i < ncallers; i++) {
            if (moving_callers[i].over || stage_late())
                stage_fail(__FILE__, __LINE__, "call %d does not wait: %ld, %s", i, moving_callers[i].result,
                           strerror(moving_callers[i].error));
            all = all && stage_asleep(moving_callers[i].tid);
        }
        calm = all ? calm + 1 : 0;
        stage_pause();
    }
}

void moving_begin(long (*call)(void)) {
    struct moving_caller *c = &moving_callers[ncallers++];
    c->call = call;
    stage_equal(pthread_create(&c->thread, NULL, run, c), 0);
    stage_wait(c->tid);
}

/* The oldest caller is back. */
long moving_outcome(void) {
    struct moving_caller *c = &moving_callers[back++];
    stage_wait(c->over);
    pthread_join(c->thread, NULL);
    errno = c->error;
    return c->result;
}

/* ---- one connection and the next ---- */

void moving_live(int flags) {
    struct sockaddr_in to = stage_tcp();
    struct pollfd p = {.events = POLLOUT};
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    p.fd = moving_sock = socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(connect(moving_sock, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS);
    stage_equal(poll(&p, 1, -1), 1);
    stage_expect_connection(0, "10.1.0.2");
}

/* Past the hooks: there is no connection under the number. */
bool moving_parked(void) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    const long fd = moving_sock; /* nothing may come between the registers and their use */
    long r = -1;
#if defined(__x86_64__)
    register long r10 __asm__("r10") = (long)&info;
    register long r8 __asm__("r8") = (long)&len;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(SYS_getsockopt), "D"(fd), "S"(IPPROTO_TCP), "d"(TCP_INFO), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
#else
    struct pollfd p = {.fd = (int)fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 0;
#endif
    return r == 0 && info.tcpi_state == TCP_LISTENING;
}

void moving_lose(void) {
    stage_link("cell0", false);
    stage_link("wifi0", false);
    stage_wait(!stage_offered("wifi") && !stage_offered("cell"));
}

/* It is lost, and waits. */
void moving_part(void) {
    moving_lose();
    stage_wait(moving_parked());
}

void moving_find(void) {
    stage_link("cell0", true);
    stage_expect_connection(1, "10.2.0.2");
}

/* Everybody who is in a call sleeps through it. */
void moving_move(void) {
    moving_expect_waiting();
    moving_part();
    moving_expect_waiting();
    moving_find();
    moving_expect_waiting();
}

int moving_available(void) {
    int bytes = -1;
    stage_equal(ioctl(moving_sock, FIONREAD, &bytes), 0);
    return bytes;
}

int moving_unacknowledged(void) {
    int bytes = -1;
    stage_equal(ioctl(moving_sock, SIOCOUTQ, &bytes), 0);
    return bytes;
}

bool moving_stuck(void) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    stage_equal(getsockopt(moving_sock, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_unacked == 0 && info.tcpi_notsent_bytes > 0;
}

int moving_polled(short events) {
    struct pollfd p = {.fd = moving_sock, .events = events};
    int n = poll(&p, 1, 0);
    return n < 0 ? n : p.revents;
}

/* The connection there is now carries both ways. */
void moving_expect_talk(int connection) {
    stage_say(connection, "answer");
    stage_equal(recv(moving_sock, moving_heard, 6, MSG_WAITALL), 6);
    stage_expect(memcmp(moving_heard, "answer", 6) == 0);
    const size_t before = stage_received(connection);
    stage_equal(send(moving_sock, "question", 8, 0), 8);
    stage_wait(stage_received(connection) == before + 8);
}

/* ---- what is moved ---- */

long moving_in_recv(void) {
    return recv(moving_sock, moving_heard, sizeof moving_heard, 0);
}

void moving_set_timeout(int name, int ms) {
    struct timeval limit = {ms / 1000, ms % 1000 * 1000};
    stage_equal(setsockopt(moving_sock, SOL_SOCKET, name, &limit, sizeof limit), 0);
}

/* Words of four bytes count up. */
unsigned char moving_at(size_t i) {
    return (unsigned char)(i / 4 >> i % 4 * 8);
}

static size_t word_at(const unsigned char *b) {
    return b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
}

size_t moving_place(int connection) {
    stage_wait(stage_received(connection) >= 16);
    const unsigned char *b = stage_bytes(connection);
    for (size_t i = 0; i < 4; i++)
        if (word_at(b + i + 4) == word_at(b + i) + 1 && word_at(b + i + 8) == word_at(b + i) + 2)
            return word_at(b + i) * 4 - i;
    stage_fail(__FILE__, __LINE__, "connection %d does not carry the pattern", connection);
}

unsigned char *moving_pattern(void) {
    unsigned char *bytes = malloc(MOVING_LARGE);
    for (size_t i = 0; i < MOVING_LARGE; i++)
        bytes[i] = moving_at(i);
    return bytes;
}

long moving_in_send(void) {
    unsigned char *bytes = moving_pattern();
    long n = send(moving_sock, bytes, MOVING_LARGE, 0);
    free(bytes);
    return n;
}

void moving_expect_part(int connection, size_t from) {
    const size_t count = stage_received(connection);
    const unsigned char *bytes = stage_bytes(connection);
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != moving_at(from + i))
            stage_fail(__FILE__, __LINE__, "byte %zu of connection %d is wrong", i, connection);
}

/* Connection 1 goes on with what connection 0's kernel never took: bytes in order to the end, none twice
 * that had arrived. */
void moving_expect_rest(void) {
    stage_wait(stage_received(1) > 0 &&
               stage_bytes(1)[stage_received(1) - 1] == moving_at(MOVING_LARGE - 1) &&
               stage_received(0) + stage_received(1) <= MOVING_LARGE);
    moving_expect_part(0, 0);
    moving_expect_part(1, MOVING_LARGE - stage_received(1));
}

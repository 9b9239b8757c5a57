/* stage - what a test of the shim plays on: the test's side.
 * Lives in the process that runs one test. What it records was recorded by the far end, what it steers is
 * the scout's or the far end's; who sets all that up is stage_keeper. */
#include "stage.h"
#include "private/wire.h"
#include "stage_far.h"
#include "stage_keeper.h"

#include <errno.h>
#include <libcmm.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma weak cmm_networks

enum { LIMIT_SECONDS = 25 }; /* or CMM_STAGE_SECONDS */

static struct far_record *record;
static int commands = -1;
static const struct stage_test *self;
static __thread struct timespec limit;

/* ---- expectations ---- */

void stage_fail(const char *file, int line, const char *format, ...) {
    char what[400];
    const int error = errno;
    va_list list;
    va_start(list, format);
    errno = error;
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    const char *base = strrchr(file, '/');
    /* A child's failure says more than that it failed. */
    if (!record->failure[0])
        snprintf(record->failure, sizeof record->failure, "%s:%d: %s", base ? base + 1 : file, line, what);
    _exit(1);
}

void stage_skip(const char *why) {
    snprintf(record->failure, sizeof record->failure, "%s", why);
    _exit(77);
}

void stage_pause(void) {
    const struct timespec ms = {0, 1000000};
    const int error = errno;
    nanosleep(&ms, NULL);
    errno = error;
}

int stage_polled(int fd, short events, int timeout_ms) {
    struct pollfd p = {.fd = fd, .events = events};
    int n = poll(&p, 1, timeout_ms);
    return n < 0 ? n : p.revents;
}

int stage_so_error(int fd) {
    int error = -1;
    socklen_t len = sizeof error;
    stage_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    return error;
}

/* The name, in parentheses, may hold anything. */
bool stage_asleep(pid_t thread) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)thread);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    line[fread(line, 1, sizeof line - 1, f)] = 0;
    fclose(f);
    const char *end = strrchr(line, ')');
    return end && end[1] == ' ' && end[2] == 'S';
}

void stage_wait_begins(void) {
    const char *seconds = getenv("CMM_STAGE_SECONDS");
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += seconds ? atoi(seconds) : LIMIT_SECONDS;
}

bool stage_late(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > limit.tv_sec || (now.tv_sec == limit.tv_sec && now.tv_nsec > limit.tv_nsec);
}

/* ---- the scout ---- */

const char *stage_directory(void) {
    return record->directory;
}

bool stage_offered(const char *network) {
    struct cmm_network networks[32];
    int count = cmm_networks ? cmm_networks(networks, 32) : 0;
    for (int i = 0; i < count && i < 32; i++)
        if (strcmp(networks[i].name, network) == 0)
            return true;
    return false;
}

static void set(const char *network, int action) {
    stage_wait_begins();
    int r;
    while ((r = keeper_set(record, network, action)) == -ECONNREFUSED && !stage_late())
        stage_pause();
    if (r < 0)
        stage_fail(__FILE__, __LINE__, "the scout did not set %s: %s", network, strerror(-r));
}

void stage_up(const char *network) {
    set(network, WIRE_SET_UP);
    if (cmm_networks)
        stage_wait(stage_offered(network));
}

void stage_down(const char *network) {
    set(network, WIRE_SET_DOWN);
    if (cmm_networks)
        stage_wait(!stage_offered(network));
}

void stage_auto(const char *network) {
    set(network, WIRE_SET_AUTO);
}

void stage_scout_kill(void) {
    keeper_scout_kill(record);
}

void stage_scout_start(void) {
    if (keeper_scout_start(record) < 0)
        stage_fail(__FILE__, __LINE__, "no scout could be started");
}

/* ---- the far end ---- */

struct sockaddr_in stage_tcp(void) {
    return record->tcp;
}

struct sockaddr_in stage_udp(void) {
    return record->udp;
}

/* A test may have closed every number, and others may have taken them. */
static bool reaches_far(void) {
    static ino_t line;
    struct stat st;
    const bool there = fstat(commands, &st) == 0;
    if (there && !line)
        line = st.st_ino;
    return there && st.st_ino == line;
}

/* 0 or -errno. */
static int ask(int verb, int number, const void *bytes, size_t len) {
    static struct far_command c;
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    int answer = -EPIPE;
    const int error = errno;
    pthread_mutex_lock(&one_at_a_time);
    c.verb = verb;
    c.number = number;
    c.len = len;
    if (len)
        memcpy(c.bytes, bytes, len);
    if (reaches_far() && write(commands, &c, offsetof(struct far_command, bytes) + len) > 0)
        while (read(commands, &answer, sizeof answer) < 0 && errno == EINTR)
            ;
    pthread_mutex_unlock(&one_at_a_time);
    errno = error;
    return answer;
}

/* The kernel accepts connections and bytes a moment before the far end does: it counts what has been taken. A
 * test that has closed every number goes by what is known. */
static void catch_up(void) {
    ask(FAR_CATCH_UP, 0, NULL, 0);
}

static struct far_connection *connection(int i) {
    const struct timespec outer = limit;
    if (i >= record->connections)
        stage_wait(i < stage_connections());
    limit = outer;
    return &record->connection[i];
}

int stage_connections(void) {
    catch_up();
    return record->connections;
}

const char *stage_peer(int i) {
    return connection(i)->peer;
}

bool stage_is_peer(int i, const char *source) {
    return strcmp(stage_peer(i), source) == 0;
}

size_t stage_received(int i) {
    catch_up();
    return connection(i)->received;
}

const unsigned char *stage_bytes(int i) {
    return connection(i)->bytes;
}

bool stage_is_text(int i, const char *text) {
    return stage_received(i) == strlen(text) && memcmp(stage_bytes(i), text, strlen(text)) == 0;
}

enum stage_end stage_end(int i) {
    catch_up();
    return (enum stage_end)connection(i)->end;
}

int stage_datagrams(void) {
    catch_up();
    return record->datagrams;
}

const char *stage_datagram_peer(int i) {
    return record->datagram[i % STAGE_DATAGRAMS].peer;
}

size_t stage_datagram(int i, const void **ret_bytes) {
    *ret_bytes = record->datagram[i % STAGE_DATAGRAMS].bytes;
    return record->datagram[i % STAGE_DATAGRAMS].len;
}

static void command(int verb, int number, const void *bytes, size_t len) {
    const int answer = ask(verb, number, bytes, len);
    if (answer < 0)
        stage_fail(__FILE__, __LINE__, "the far end refused command %d: %s", verb, strerror(-answer));
}

void stage_say_bytes(int i, const void *bytes, size_t len) {
    const unsigned char *at = bytes;
    for (size_t part; len; at += part, len -= part) {
        part = len < FAR_PART ? len : FAR_PART;
        command(FAR_SAY, i, at, part);
    }
}

void stage_say(int i, const char *text) {
    stage_say_bytes(i, text, strlen(text));
}

void stage_finish(int i) {
    command(FAR_FINISH, i, NULL, 0);
}

void stage_hang_up(int i) {
    command(FAR_HANG_UP, i, NULL, 0);
}

void stage_hold(bool on) {
    command(FAR_HOLD, on, NULL, 0);
}

void stage_echo(bool on) {
    command(FAR_ECHO, on, NULL, 0);
}

void stage_refuse(bool on) {
    command(FAR_REFUSE, on, NULL, 0);
}

void stage_crowd(bool on) {
    command(FAR_CROWD, on, NULL, 0);
}

bool stage_multipath(void) {
    return ask(FAR_MULTIPATH, 0, NULL, 0) > 0;
}

void stage_receive_buffer(int bytes) {
    command(FAR_BUFFER, bytes, NULL, 0);
}

/* ---- the world ---- */

/* Not system(): it blocks SIGCHLD meanwhile, which then interrupts another thread's call; nor fork: the
 * library would hear of it. It holds none of the test's sockets: those would be shared for as long. */
static void shell(const char *line) {
    static char name[] = "sh", how[] = "-c", path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char *const argv[] = {name, how, (char *)line, NULL}, *const environment[] = {path, NULL};
    int status = -1;
    const pid_t pid = vfork();
    if (pid == 0) {
        syscall(SYS_close_range, 3, ~0U, 0);
        syscall(SYS_execve, "/bin/sh", argv, environment); /* execve() would bring the library in */
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        stage_fail(__FILE__, __LINE__, "'%s' ended with %d", line, status);
}

void stage_shell(const char *format, ...) {
    char line[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    shell(line);
}

void stage_far_shell(const char *format, ...) {
    char line[1024], there[1100];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    snprintf(there, sizeof there, "nsenter -t %d -n sh -c '%s'", (int)record->far, line);
    shell(there);
}

void stage_link(const char *interface, bool up) {
    const int lane = strcmp(interface, "wifi0") == 0 ? 1 : 2;
    stage_shell("ip link set %s %s", interface, up ? "up" : "down");
    if (up)
        stage_shell("ip route replace default via 10.%d.0.1 dev %s metric %d", lane, interface, lane * 100);
}

/* A neighbour's wrong address swallows without a word to either side's routing. */
void stage_swallow(const char *interface, bool outgoing, bool incoming) {
    const int lane = strcmp(interface, "wifi0") == 0 ? 1 : 2;
    if (outgoing)
        stage_shell("ip neigh replace 10.%d.0.1 lladdr 02:00:00:00:00:99 dev %s nud permanent", lane,
                    interface);
    else
        stage_shell("ip neigh flush dev %s nud permanent", interface);
    if (incoming)
        stage_far_shell("ip neigh replace 10.%d.0.2 lladdr 02:00:00:00:00:99 dev far-%s nud permanent", lane,
                        interface);
    else
        stage_far_shell("ip neigh flush dev far-%s nud permanent", interface);
}

/* ---- the test's process ---- */

int stage_main(int argc, char **argv, const char *config, const struct stage_test *tests, size_t count) {
    record = keeper_inherited(&commands);
    if (!record)
        return keeper_main(argc, argv, config, tests, count);
    for (size_t i = 0; i < count; i++)
        if (argc > 1 && strcmp(argv[1], tests[i].name) == 0)
            self = &tests[i];
    if (!self)
        return 2;
    stage_expect(reaches_far());
    self->run();
    /* Threads of the library may be at work: what a failed expectation does, success does too. */
    fflush(NULL);
    _exit(0);
}

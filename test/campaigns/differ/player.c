/* player - a program that plays: calls on sockets by chance, and what came of each.
 *
 *   player NAMESPACE NUMBER SEED STEP,STEP,...
 *
 * NAMESPACE: a path to the network namespace of the far end. NUMBER: of this play, for ports of its own.
 * PLAYER_PRELOAD is what the play itself is preloaded with. A line a step goes to standard output. */
#include "play.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

long (*raw)(long, ...);
int slots[SLOTS], sets[SETS];

static struct far_shared *shared;
static unsigned long state;
static unsigned number;
static pid_t scout;
bool mapped, urgent;
static _Atomic int pipes, told;

/* ---- chance ---- */

static unsigned long mixed(unsigned long x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9UL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebUL;
    return x ^ x >> 31;
}

unsigned chance(unsigned n) {
    state += 0x9e3779b97f4a7c15UL;
    return (unsigned)(mixed(state) >> 33) % n;
}

/* ---- the line ---- */

static char line[16384];
static size_t length;

void say(const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int n = vsnprintf(line + length, sizeof line - length, format, list);
    va_end(list);
    length += n > 0 && (size_t)n < sizeof line - length ? (size_t)n : 0;
}

static void end_line(void) {
    line[length++] = '\n';
    raw(SYS_write, 1, line, length);
    length = 0;
}

void say_bytes(const void *bytes, long len) {
    const unsigned char *at = bytes;
    unsigned sum = 0;
    for (long i = 0; i < len; i++)
        sum = sum * 31 + at[i];
    say(" '");
    for (long i = 0; i < len && i < 12; i++)
        say(at[i] >= ' ' && at[i] < 127 ? "%c" : "\\%02x", at[i]);
    say(len > 12 ? "'..%x" : "'", sum);
}

/* Ports that the kernel chose are all one. */
static void say_port(uint16_t port) {
    const unsigned p = ntohs(port);
    if (p >= 32768 || p == 0)
        say(":*");
    else if (p - ntohs(own_port(0)) < 16)
        say(":own%u", p - ntohs(own_port(0)));
    else
        say(":%u", p);
}

void say_address(const void *address, socklen_t len, socklen_t room) {
    const struct sockaddr_in6 *in6 = address;
    const struct sockaddr_in *in = address;
    char text[64] = "";
    say(" {%u of %u", room, len);
    if (room >= 8 && len >= 16 && in->sin_family == AF_INET) {
        say(" %s", inet_ntop(AF_INET, &in->sin_addr, text, sizeof text));
        say_port(in->sin_port);
    } else if (room >= 28 && len >= 28 && in6->sin6_family == AF_INET6) {
        say(" %s%%%u/%x", inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text), in6->sin6_scope_id,
            in6->sin6_flowinfo);
        say_port(in6->sin6_port);
    } else if (room >= 2) {
        say(" family %d", in->sin_family);
    }
    say("}");
}

static int pipes_before, told_before;

void before(void) {
    pipes_before = pipes;
    told_before = told;
    errno = 0;
}

long after(long result) {
    const int error = errno;
    if (shared->under_way & 1)
        shared->under_way++;
    say(" = %ld", result);
    if (error)
        say(" %s", strerrorname_np(error));
    if (pipes != pipes_before)
        say(" SIGPIPE");
    if (told != told_before)
        say(" told");
    errno = error;
    return result;
}

/* ---- the far end ---- */

static void fill_in(struct far_order *o, int fd) {
    struct sockaddr_in6 here = {0}, there = {0};
    socklen_t len = sizeof here, size = sizeof there;
    raw(SYS_getsockname, fd, &here, &len);
    raw(SYS_getpeername, fd, &there, &size);
    o->family = here.sin6_family;
    o->port = here.sin6_port;
    o->peer = there.sin6_port;
    const struct in6_addr *in6 = &here.sin6_addr;
    if (o->family == AF_INET)
        memcpy(o->at, &((struct sockaddr_in *)&here)->sin_addr, 4);
    else
        memcpy(o->at, in6, 16);
    if (o->family == AF_INET6 && (IN6_IS_ADDR_V4MAPPED(in6) || IN6_IS_ADDR_V4MAPPED(&there.sin6_addr))) {
        memmove(o->at, o->at + 12, 4);
        o->family = AF_INET;
    }
    static const unsigned char none[16];
    if (memcmp(o->at, none, 16) == 0)
        inet_pton(o->family, o->family == AF_INET ? "10.1.0.2" : "fd00:1::2", o->at);
}

static struct far_answer order(const struct far_order *o) {
    struct far_answer a = {.result = -EPIPE};
    raw(SYS_sendto, FAR_ORDERS, o, sizeof *o, 0, NULL, 0);
    while (raw(SYS_recvfrom, FAR_ORDERS, &a, sizeof a, 0, NULL, NULL) != sizeof a)
        ;
    return a;
}

struct far_answer far_do(int verb, int fd, unsigned len) {
    struct far_order o = {.verb = verb, .len = len};
    fill_in(&o, fd);
    return order(&o);
}

int type_of(int fd) {
    int type = 0;
    socklen_t len = sizeof type;
    raw(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len);
    return type;
}

bool connected(int fd) {
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    return raw(SYS_getpeername, fd, &peer, &len) == 0;
}

short polled(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP};
    const struct timespec now = {0, 0};
    raw(SYS_ppoll, &p, 1, &now, NULL, 0);
    return p.revents;
}

void may_block(int fd, int flags, short events) {
    struct far_order o = {.relieve = 1};
    const unsigned any = chance(FAR_ENDINGS), len = 1 + chance(40);
    if (events >= 0 && (flags & (MSG_DONTWAIT | MSG_ERRQUEUE) || raw(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK ||
                        (!(flags & MSG_WAITALL) && polled(fd) & events)))
        return;
    o.verb = (int)any == FAR_READ ? FAR_INTERRUPT : (int)any == FAR_URGENT ? FAR_SEND : (int)any;
    o.len = len;
    fill_in(&o, fd);
    shared->caller = (pid_t)raw(SYS_getpid);
    shared->scout = scout;
    shared->under_way++;
    order(&o);
}

/* There and back: what was sent before has come, and its answer. */
static void ping(void) {
    static uint16_t count;
    struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.sequence = ++count};
    struct {
        struct iphdr ip;
        struct icmphdr icmp;
    } answer;
    echo.checksum = (uint16_t) ~(echo.type + echo.un.echo.sequence);
    raw(SYS_sendto, FAR_PING, &echo, sizeof echo, 0, NULL, 0);
    do
        raw(SYS_recvfrom, FAR_PING, &answer, sizeof answer, 0, NULL, NULL);
    while (answer.icmp.type != ICMP_ECHOREPLY || answer.icmp.un.echo.sequence != echo.un.echo.sequence);
}

void rest(void) {
    for (int calm = 0; calm < 2;) {
        ping();
        calm = far_asleep((pid_t)raw(SYS_getpid), raw) && far_asleep(scout, raw) ? calm + 1 : 0;
        if (!calm)
            raw(SYS_sched_yield);
    }
}

/* ---- the slots ---- */

uint16_t own_port(unsigned i) {
    return htons((uint16_t)(10000 + number % 1000 * 16 + i));
}

int a_slot(void) {
    return (int)chance(SLOTS);
}

int an_empty_slot(void) {
    for (int i = 0; i < SLOTS; i++)
        if (slots[i] < 0)
            return i;
    return a_slot();
}

int a_socket(void) {
    const int i = a_slot();
    static const int odd[] = {-1, 1000, 0, 77};
    if (chance(60) == 0)
        return one_of(odd);
    if (slots[i] < 0)
        open_at(i);
    return slots[i];
}

/* A socket that nobody knows any more is closed. */
void put(int slot, int fd) {
    const int old = slots[slot];
    slots[slot] = fd >= 0 ? fd : slots[slot];
    bool known = old < 0 || fd < 0;
    for (int i = 0; i < SLOTS; i++)
        known |= slots[i] == old;
    if (!known) {
        say(" close %d", old);
        TOLD(close(old));
    }
}

void gone(int fd) {
    for (int i = 0; i < SLOTS; i++)
        if (slots[i] == fd)
            slots[i] = -1;
}

/* ---- the play ---- */

static void on_pipe(int signo) {
    (void)signo;
    pipes++;
}

static void on_told(int signo) {
    (void)signo;
    told++;
}

static const struct step *const all[] = {steps_open, steps_io, steps_ask, steps_wait, steps_far};

static void play(void) {
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const struct step *s = all[i]; s->name; s++)
            sum += s->weight;
    unsigned at = chance(sum);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const struct step *s = all[i]; s->name; at -= s->weight, s++)
            if (at < s->weight) {
                say("%s", s->name);
                s->play();
                return;
            }
}

static void look(void) {
    struct pollfd p[SLOTS];
    for (int i = 0; i < SLOTS; i++)
        p[i] = (struct pollfd){.fd = slots[i], .events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP};
    poll(p, SLOTS, 0);
    say(" |");
    for (int i = 0; i < SLOTS; i++)
        if (slots[i] >= 0)
            say(" %d:%x", slots[i], (unsigned)p[i].revents);
}

static void handle(int signo, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signo, &action, NULL);
}

static int play_all(char **argv) {
    void *libc = dlopen("libc.so.6", RTLD_LAZY);
    *(void **)&raw = dlsym(libc, "syscall");
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, FAR_SHARED, 0);
    number = (unsigned)atoi(argv[2]);
    scout = getenv("PLAYER_SCOUT") ? atoi(getenv("PLAYER_SCOUT")) : 0;
    memset(slots, 0xff, sizeof slots);
    memset(sets, 0xff, sizeof sets);
    handle(SIGPIPE, on_pipe, SA_RESTART);
    handle(FAR_TOLD, on_told, 0);
    handle(FAR_TOLD_AGAIN, on_told, SA_RESTART);
    const unsigned long seed = strtoul(argv[3], NULL, 10);
    const bool looks = seed % 2;
    mapped = seed % 3 == 0;
    urgent = seed % 5 == 0;
    for (char *at = argv[4]; *at; at += *at == ',') {
        const unsigned long i = strtoul(at, &at, 10);
        state = mixed(mixed(seed) + i);
        say("%lu ", i);
        play();
        rest();
        if (looks)
            look();
        end_line();
    }
    return 0;
}

/* ---- before the play ---- */

static void keep_as(int fd, int as) {
    dup2(fd, as);
    close(fd);
}

static void prepare(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(FAR_ADDRESS)};
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    const int memory = memfd_create("shared", 0);
    if (ftruncate(memory, 4096) < 0)
        _exit(2);
    keep_as(memory, FAR_SHARED);
    keep_as(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), FAR_PING);
    connect(FAR_PING, (struct sockaddr *)&to, sizeof to);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, FAR_SHARED, 0);
}

static int start(char **argv) {
    struct far_answer ready;
    int pair[2];
    prepare();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return 2;
    const pid_t player = getpid(), child = fork();
    if (child == 0) {
        const int there = open(argv[1], O_RDONLY | O_CLOEXEC);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        if (getppid() != player || setns(there, CLONE_NEWNET) < 0)
            _exit(2);
        close(1);
        far(pair[1], shared);
    }
    close(pair[1]);
    if (recv(pair[0], &ready, sizeof ready, 0) != sizeof ready)
        return 2;
    keep_as(pair[0], FAR_ORDERS);
    const char *preload = getenv("PLAYER_PRELOAD");
    if (preload && *preload)
        setenv("LD_PRELOAD", preload, 1);
    setenv("PLAYER", "1", 1);
    execv("/proc/self/exe", argv);
    return 2;
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    return getenv("PLAYER") ? play_all(argv) : start(argv);
}

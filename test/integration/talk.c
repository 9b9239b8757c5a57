/* talk - one labeled socket to the far end, and a diary of what the library called.
 * For tests of one socket a process: everything here is static, and the diary is written by whichever thread
 * runs the handler. */
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

const char talk_config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\nmetric = 100\n"
                           "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\nmetric = 200\n"
                           "[network twin]\naddress = 127.0.3.1\nlabels = all\nmetric = 300\n";

int talk_sock = -1;
struct talk_event talk_events[TALK_EVENTS];
_Atomic int talk_count;
int (*talk_in_pre)(int sock), (*talk_in_post)(int sock);
pthread_t talk_thread;
_Atomic bool talk_gate, talk_inside;

static pthread_mutex_t diary = PTHREAD_MUTEX_INITIALIZER;

static int enter(char what, int sock, unsigned long labels, const void *arg) {
    pthread_mutex_lock(&diary);
    const int i = talk_count;
    if (i == TALK_EVENTS)
        stage_fail(__FILE__, __LINE__, "the diary is full: %.20s...", talk_diary());
    talk_events[i] = (struct talk_event){.what = what,
                                         .sock = sock,
                                         .labels = labels,
                                         .arg = arg,
                                         .thread = pthread_self(),
                                         .unacked = cmm_unacked(sock)};
    talk_count = i + 1;
    pthread_mutex_unlock(&diary);
    return i;
}

const char *talk_diary(void) {
    static __thread char letters[TALK_EVENTS + 1];
    const int count = talk_count;
    for (int i = 0; i < count; i++)
        letters[i] = talk_events[i].what;
    letters[count] = 0;
    return letters;
}

static int pre(int sock, unsigned long labels, void *arg) {
    enter('<', sock, labels, arg);
    return talk_in_pre ? talk_in_pre(sock) : 0;
}

static int post(int sock, unsigned long labels, void *arg) {
    enter('>', sock, labels, arg);
    return talk_in_post ? talk_in_post(sock) : 0;
}

int talk_connect(unsigned long labels, void *arg) {
    struct sockaddr_in to = stage_tcp();
    return cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, labels, pre, post, arg);
}

int talk_dial(int flags, unsigned long labels, void *arg) {
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(talk_sock >= 0);
    return talk_connect(labels, arg);
}

int talk_dial_plainly(int flags, unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    talk_sock = cmm_socket(AF_INET, SOCK_STREAM | flags, 0);
    stage_expect(talk_sock >= 0);
    return cmm_connect(talk_sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL);
}

long talk_put(const char *text, unsigned long labels) {
    return cmm_send(talk_sock, text, strlen(text), 0, labels, NULL, NULL);
}

struct deferred {
    unsigned long labels;
    const char *text;
};

static void again(void *arg) {
    const struct deferred *d = arg;
    const int i = enter('t', talk_sock, d->labels, d->text);
    talk_events[i].result = cmm_send(talk_sock, d->text, strlen(d->text), 0, d->labels, again, arg);
}

static long defer(const char *text, int flags, unsigned long labels) {
    struct deferred *d = malloc(sizeof *d);
    *d = (struct deferred){labels, text};
    return cmm_send(talk_sock, text, strlen(text), flags, labels, again, d);
}

long talk_defer(const char *text, unsigned long labels) {
    return defer(text, 0, labels);
}

long talk_defer_at_once(const char *text, unsigned long labels) {
    return defer(text, MSG_DONTWAIT, labels);
}

void talk_note(void *arg) {
    enter('t', talk_sock, 0, arg);
}

long talk_put_noting(const char *text, unsigned long labels, const char *arg) {
    return cmm_send(talk_sock, text, strlen(text), 0, labels, talk_note, (void *)arg);
}

bool talk_on(const char *network) {
    struct cmm_network n;
    return cmm_socket_network(talk_sock, &n) == 0 && strcmp(n.name, network) == 0;
}

/* ---- a thread in one call ---- */

static struct {
    long (*job)(void);
    long result;
    int error;
    _Atomic pid_t tid;
    _Atomic bool over;
} worker;

static void *work(void *unused) {
    (void)unused;
    worker.tid = gettid();
    worker.result = worker.job();
    worker.error = errno;
    worker.over = true;
    return NULL;
}

void talk_begin(long (*job)(void)) {
    worker.job = job;
    worker.tid = 0;
    worker.over = false;
    stage_equal(pthread_create(&talk_thread, NULL, work, NULL), 0);
    stage_wait(worker.tid);
}

bool talk_back(void) {
    return worker.over;
}

long talk_join(void) {
    stage_wait(worker.over);
    pthread_join(talk_thread, NULL);
    errno = worker.error;
    return worker.result;
}

bool talk_asleep(void) {
    return stage_asleep(worker.tid);
}

bool talk_source_is(const char *address) {
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    return cmm_getsockname(talk_sock, (struct sockaddr *)&own, &len) == 0 && len == sizeof own &&
           own.sin_addr.s_addr == inet_addr(address);
}

bool talk_silent(void) {
    struct pollfd p = {.fd = talk_sock, .events = POLLIN | POLLOUT | POLLRDHUP};
    fd_set rd, wr;
    struct timeval none = {0, 0};
    FD_ZERO(&rd);
    FD_SET(talk_sock, &rd);
    wr = rd;
    return poll(&p, 1, 0) == 0 && select(talk_sock + 1, &rd, &wr, NULL, &none) == 0;
}

int talk_wait_at_gate(int s) {
    (void)s;
    talk_inside = true;
    stage_wait(talk_gate);
    return 0;
}

/* ---- such a thread in one send ---- */

static struct {
    const char *text;
    unsigned long labels;
    bool defers;
} called;

static long call(void) {
    return called.defers ? talk_defer(called.text, called.labels) : talk_put(called.text, called.labels);
}

void talk_begin_call(const char *text, unsigned long labels, bool defers) {
    called.text = text;
    called.labels = labels;
    called.defers = defers;
    talk_begin(call);
    stage_wait(talk_asleep());
}

void talk_on_cell_with_wifi_there(int flags) {
    stage_up("cell");
    int r = talk_dial_plainly(flags, CMM_LABEL_SMALL);
    stage_expect(r == 0 || (flags && r == CMM_DEFERRED));
    stage_wait(talk_put("cell", CMM_LABEL_SMALL) == 4);
    stage_expect_connection(0, "127.0.2.1");
    stage_up("wifi");
    stage_expect(talk_on("cell"));
}

void talk_set_blocking(void) {
    stage_equal(fcntl(talk_sock, F_SETFL, O_RDWR), 0);
}

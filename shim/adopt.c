/* adopt - connections of ours that have come into this process ready made.
 * Whoever made them may be gone: `exec cat' in a shell, a helper that dials and hands its socket over. So the
 * loss of their network is told from here. That a connection is ours, and by which network it goes, is told
 * by the environment where it has come by exec, and where it has come by message by the signature it bears
 * (fresh). Without the lock, on any thread; in the constructor. Deliberately absent: datagrams, and what is
 * still connecting. */
#include "adopt.h"
#include "choose.h"
#include "fresh.h"
#include "judge.h"
#include "link.h"
#include "reconnect.h"
#include "swap.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* On the stack of whoever executes something, and in its environment. */
enum { MOST = 256, ENTRY = 64 };
static const char variable[] = "CMM_HELD=";

static int option(int fd, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    return real.getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

/* Its options are not known, so no fresh socket could take its place: it stays where it is. */
static void take(struct sock *s, int fd, uint64_t net, uint64_t labels) {
    s->patient = shim.patient;
    s->patience = shim.patience;
    s->policy = RULES_POLICY_FAIL;
    s->net = net;
    s->on_labels = labels;
    atomic_store(&s->labels, labels);
    s->lived = s->given = s->sealed = true;
    s->redirected = fd <= STDERR_FILENO;
    sock_turn(s, LIFE_INHERIT);
    swap_know(s, fd);
}

/* Two numbers may lead to one connection. */
static struct sock *known(unsigned long inode) {
    struct sock *s = sock_first();
    while (s && (!inode || s->inode != inode))
        s = s->next;
    return s;
}

static unsigned long inode_of(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

static bool is_stream(int fd, struct sockaddr_storage *ret_to, socklen_t *ret_len) {
    return option(fd, SO_TYPE) == SOCK_STREAM && option(fd, SO_PROTOCOL) == IPPROTO_TCP &&
           real.getpeername(fd, (struct sockaddr *)ret_to, ret_len) == 0;
}

/* With the lock. NULL: it was known already, or cannot be. */
static struct sock *take_in(int fd, uint64_t net, uint64_t labels) {
    struct sockaddr_storage to = {0};
    socklen_t len = sizeof to;
    struct sock *s = known(inode_of(fd));
    if (s || sock_find(fd) || !is_stream(fd, &to, &len)) {
        if (s && !sock_find(fd))
            sock_alias(s, fd);
        return NULL;
    }
    s = sock_new(fd, SOCK_CAPTURED, option(fd, SO_DOMAIN), SOCK_STREAM, IPPROTO_TCP);
    if (!s)
        return NULL;
    s->to = to;
    s->tolen = len;
    take(s, fd, net, labels);
    return s;
}

/* ---- by message ---- */

void adopt_one(int fd) {
    struct sockaddr_storage to = {0};
    socklen_t len = sizeof to;
    uint32_t ifindex;
    if (!shim.preloaded || !shim_wants() || self.holding || getpid() != shim.owner || sock_find(fd) ||
        !fresh_signed(fd, &ifindex) || !is_stream(fd, &to, &len) || link_need() < 0)
        return;
    self_prepare();
    const struct verdict v = judge(IPPROTO_TCP, (const struct sockaddr *)&to, false);
    lock_take();
    const struct wire_network *n = net_find_ifindex(&shim.nets, ifindex);
    struct sock *s = v.ours && n && net_matches(n, v.labels) ? take_in(fd, n->id, v.labels) : NULL;
    if (s) {
        s->net = net_id(n, choose_family(s));
        swap_review(s);
        reconnect_consider(s);
    }
    lock_drop();
}

/* ---- by exec ---- */

struct held {
    unsigned long inode;
    unsigned long long net, labels;
};

static unsigned read_held(const char *text, struct held ret[MOST]) {
    unsigned n = 0;
    for (; text && n < MOST; text = strchr(text, ',') ? strchr(text, ',') + 1 : NULL)
        n += sscanf(text, "%lx:%llx:%llx", &ret[n].inode, &ret[n].net, &ret[n].labels) == 3;
    return n;
}

/* With the lock. */
static void take_held(int fd, const struct held *held, unsigned n) {
    const unsigned long inode = inode_of(fd);
    for (unsigned i = 0; inode && i < n; i++)
        if (held[i].inode == inode)
            take_in(fd, held[i].net, held[i].labels);
}

static void take_all(const struct held *held, unsigned n) {
    DIR *numbers = n ? opendir("/proc/self/fd") : NULL;
    self_prepare();
    lock_take();
    for (struct dirent *d; numbers && (d = readdir(numbers));)
        if (d->d_name[0] != '.')
            take_held(atoi(d->d_name), held, n);
    for (int fd = 0; !numbers && n && fd < SOCK_LOW; fd++)
        take_held(fd, held, n);
    if (sock_first())
        link_lapse();
    lock_drop();
    if (numbers)
        closedir(numbers);
}

/* No thread and no scout for it, until the first call on one of them. */
void adopt_all(void) {
    const int error = errno;
    struct held *held = calloc(MOST, sizeof *held);
    if (held)
        take_all(held, read_held(getenv("CMM_HELD"), held));
    free(held);
    unsetenv("CMM_HELD");
    errno = error;
}

static bool goes_on(const struct sock *s) {
    return s && s->kind == SOCK_CAPTURED && s->state == LIFE_LIVE && s->net && sock_stream(s) && !s->carried;
}

/* The next number of one, or -1. */
static int next_held(int fd) {
    while ((unsigned)++fd < SOCK_PAGE * (unsigned)SOCK_PAGES) {
        const bool begins = fd == SOCK_LOW || (fd > SOCK_LOW && fd % SOCK_PAGE == 0);
        if (begins && !atomic_load(&sock_pages[fd / SOCK_PAGE]))
            fd = (fd / SOCK_PAGE + 1) * SOCK_PAGE - 1;
        else if (goes_on(sock_find(fd)))
            return fd;
    }
    return -1;
}

size_t adopt_size(void) {
    size_t size = sizeof variable;
    unsigned n = 0;
    if (!sock_first())
        return 0;
    for (int fd = -1; n < MOST && (fd = next_held(fd)) >= 0; n++)
        size += ENTRY;
    return n ? size : 0;
}

/* By inode numbers: whoever is between fork and exec may have given it another descriptor, and a child of
 * vfork does so unseen. */
char *adopt_list(char *ret_text, size_t size) {
    char *at = stpcpy(ret_text, variable);
    for (int fd = -1; (size_t)(at - ret_text) + ENTRY < size && (fd = next_held(fd)) >= 0;) {
        const struct sock *s = sock_find(fd);
        if (goes_on(s))
            at += snprintf(at, ENTRY, "%lx:%llx:%llx,", s->inode, (unsigned long long)s->net,
                           (unsigned long long)atomic_load(&s->labels));
    }
    return ret_text;
}

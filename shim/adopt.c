/* adopt - connections of ours that have come into this process ready made.
 * Whoever made them may be gone: `exec cat' in a shell, a helper that dials and hands its socket over. So the
 * loss of their network is told from here. By the signature that the connection bears (swap) it is known to
 * be ours, and by which network it goes; the environment only says where it is worth looking. Without the
 * lock, on any thread; in the constructor. Deliberately absent: datagrams, and what is still connecting. */
#include "adopt.h"
#include "judge.h"
#include "link.h"
#include "reconnect.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int option(int fd, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    return real.getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

/* Its options are not known, so no fresh socket could take its place: it stays where it is. */
static void take(struct sock *s, int fd, const struct wire_network *n, const struct verdict *v) {
    s->patient = shim.patient;
    s->patience = shim.patience;
    s->policy = RULES_POLICY_FAIL;
    s->net = n->id;
    s->on_labels = v->labels;
    atomic_store(&s->labels, v->labels);
    s->lived = s->given = true;
    s->redirected = fd <= STDERR_FILENO;
    sock_turn(s, LIFE_INHERIT);
    swap_know(s, fd);
    swap_review(s);
    reconnect_consider(s);
}

void adopt_one(int fd) {
    struct sockaddr_storage to = {0};
    socklen_t len = sizeof to;
    uint32_t ifindex;
    if (!shim.preloaded || !shim_wants() || self.holding || getpid() != shim.owner || sock_find(fd) ||
        !swap_signed(fd, &ifindex) || option(fd, SO_TYPE) != SOCK_STREAM ||
        option(fd, SO_PROTOCOL) != IPPROTO_TCP || real.getpeername(fd, (struct sockaddr *)&to, &len) < 0 ||
        link_need() < 0)
        return;
    self_prepare();
    const struct verdict v = judge(IPPROTO_TCP, (const struct sockaddr *)&to, false);
    lock_take();
    const struct wire_network *n = net_find_ifindex(&shim.nets, ifindex);
    struct sock *s = v.ours && n && net_matches(n, v.labels) && !sock_find(fd)
                         ? sock_new(fd, SOCK_CAPTURED, option(fd, SO_DOMAIN), SOCK_STREAM, IPPROTO_TCP)
                         : NULL;
    if (s) {
        memcpy(&s->to, &to, len);
        s->tolen = len;
        take(s, fd, n, &v);
    }
    lock_drop();
}

void adopt_all(void) {
    char *at = getenv("CMM_HELD");
    const int error = errno;
    real_init();
    while (at && *at) {
        adopt_one((int)strtol(at, &at, 10));
        at += *at != 0;
    }
    unsetenv("CMM_HELD");
    errno = error;
}

static bool goes_on(int fd) {
    const struct sock *s = sock_find(fd);
    return s && s->kind == SOCK_CAPTURED && s->state == LIFE_LIVE && s->net && sock_stream(s) &&
           !(real.fcntl(fd, F_GETFD, NULL) & FD_CLOEXEC);
}

bool adopt_list(char ret_text[ADOPT_TEXT]) {
    size_t at = (size_t)snprintf(ret_text, ADOPT_TEXT, "CMM_HELD=");
    const size_t none = at;
    if (!sock_first())
        return false;
    for (int fd = 0; fd < SOCK_PAGE * SOCK_PAGES; fd++)
        if (fd >= SOCK_LOW && !atomic_load(&sock_pages[fd / SOCK_PAGE]))
            fd |= SOCK_PAGE - 1; /* none on its page */
        else if (at < ADOPT_TEXT - sizeof "-2147483648," && goes_on(fd))
            at += (size_t)snprintf(ret_text + at, ADOPT_TEXT - at, "%s%d", at == none ? "" : ",", fd);
    return at > none;
}

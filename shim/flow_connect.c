/* flow_connect - cmm_connect: the destination, the labels and the handlers of a socket's connections.
 * A network that goes while the handshake is waited for is no failure: the connection is made when one comes.
 */
#include "call.h"
#include "flow.h"
#include "link.h"
#include "reconnect.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* The network went while the handshake was waited for: that is no failure, the connection is made when one
 * comes. Nor is the end of the time that its program allows it: the handshake goes on. */
static int await_connection(struct sock *s, uint64_t labels) {
    const uint64_t limit = call_limit(s, SO_SNDTIMEO, 0);
    uint64_t deadline = 0;
    while (life_attempting(s->state)) {
        int r = call_wait(s, labels, false, &deadline, limit);
        if (r < 0)
            return r == -EAGAIN ? 0 : r;
    }
    return 0;
}

static int check_address(const struct sock *s, const struct sockaddr *to, socklen_t len) {
    const size_t whole = s->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (len < sizeof to->sa_family || len > sizeof s->to)
        return -EINVAL;
    if (to->sa_family != s->family)
        return -EAFNOSUPPORT;
    return len < whole ? -EINVAL : 0;
}

/* Begins a connection to there. 0 or -errno. */
static int begin(struct sock *s, const struct sockaddr *to, socklen_t tolen, bool blocking) {
    const struct wire_network *n;
    sock_turn(s, LIFE_CONNECT);
    s->full = true;
    memcpy(&s->to, to, tolen);
    s->tolen = tolen;
    int r = choose_network(s, atomic_load(&s->labels), &n);
    if (r < 0) {
        sock_turn(s, LIFE_RESET);
        s->tolen = 0;
        return r;
    }
    self.helping = blocking ? s : NULL;
    reconnect_consider(s);
    self.helping = NULL;
    return 0;
}

static int connect_locked(struct sock *s, int fd, const struct sockaddr *to, socklen_t tolen) {
    const bool blocking = !call_is_nonblocking(fd, 0);
    int r = begin(s, to, tolen, blocking);
    if (r == 0 && blocking)
        r = await_connection(s, atomic_load(&s->labels));
    if (r < 0)
        return r;
    if (s->state == LIFE_DEAD)
        return -s->error;
    if (s->state == LIFE_FRESH)
        return -ENOTCONN; /* reset meanwhile */
    return s->state == LIFE_LIVE ? 0 : FLOW_DEFERRED;
}

int flow_connect(int fd, const struct sockaddr *to, socklen_t tolen, uint64_t labels, sock_handler pre,
                 sock_handler post, void *arg) {
    struct sock *s = call_enter_labeled(fd);
    if (!s)
        return -EBADF;
    sock_get(s);
    int r = check_address(s, to, tolen);
    if (s->state != LIFE_FRESH) {
        r = -EISCONN;
    } else if (r == 0) {
        s->pre = pre;
        s->post = post;
        s->arg = arg;
        atomic_store(&s->labels, labels);
        r = connect_locked(s, fd, to, tolen);
    }
    sock_put(s);
    lock_drop();
    return r;
}

/* It has no word for "deferred": a blocking one waits, as long as patience has it; so does one that is called
 * again, as Linux has it. */
static int connect_plainly(struct sock *s, int fd, const struct sockaddr *to, socklen_t tolen) {
    const bool blocking = !call_is_nonblocking(fd, 0), begun = s->state != LIFE_FRESH;
    const bool over = s->state == LIFE_LIVE || s->state == LIFE_DEAD;
    const uint64_t limit = call_limit(s, SO_SNDTIMEO, 0);
    uint64_t deadline = 0;
    int r = begun ? 0 : check_address(s, to, tolen);
    if (!begun && r == 0 && !s->to.ss_family)
        atomic_store(&s->labels, atomic_load(&shim.default_labels));
    if (!begun && r == 0)
        r = begin(s, to, tolen, blocking);
    while (r == 0 && s->state != LIFE_LIVE && s->state != LIFE_DEAD) {
        if (blocking)
            r = call_wait(s, atomic_load(&s->labels), s->state == LIFE_WAITING, &deadline, limit);
        if (!blocking || r == -EAGAIN)
            return begun ? -EALREADY : -EINPROGRESS;
        if (r == 0 && s->state == LIFE_FRESH)
            r = -ENOTCONN;
    }
    if (r < 0)
        return r;
    return over ? -EISCONN : s->state == LIFE_DEAD ? -s->error : 0;
}

int flow_connect_plainly(int fd, const struct sockaddr *to, socklen_t tolen) {
    int r = link_need();
    if (r < 0)
        return r;
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    sock_get(s);
    r = self_frame(s) ? -EISCONN : connect_plainly(s, fd, to, tolen);
    sock_put(s);
    lock_drop();
    return r;
}

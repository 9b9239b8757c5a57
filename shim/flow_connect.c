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
 * comes. */
static int await_connection(struct sock *s, uint64_t labels) {
    uint64_t deadline = 0;
    while (life_attempting(s->state)) {
        int r = flow_wait(s, labels, false, &deadline);
        if (r < 0)
            return r;
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

static int connect_locked(struct sock *s, int fd, const struct sockaddr *to, socklen_t tolen) {
    const struct wire_network *n;
    const uint64_t labels = atomic_load(&s->labels);
    sock_turn(s, LIFE_CONNECT);
    memcpy(&s->to, to, tolen);
    s->tolen = tolen;
    int r = choose_network(s, labels, &n);
    if (r < 0) {
        sock_turn(s, LIFE_RESET);
        s->tolen = 0;
        return r;
    }
    const bool blocking = !call_is_nonblocking(fd, 0);
    self.helping = blocking ? s : NULL;
    reconnect_consider(s);
    self.helping = NULL;
    if (blocking)
        r = await_connection(s, labels);
    if (r < 0)
        return r;
    if (s->state == LIFE_DEAD)
        return -s->error;
    return s->state == LIFE_LIVE ? 0 : FLOW_DEFERRED;
}

int flow_connect(int fd, const struct sockaddr *to, socklen_t tolen, uint64_t labels, sock_handler pre,
                 sock_handler post, void *arg) {
    int r;
    lock_take();
    struct sock *s = sock_find(fd);
    if (!s || s->kind != SOCK_LABELED) {
        lock_drop();
        return -EBADF;
    }
    sock_get(s);
    r = check_address(s, to, tolen);
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

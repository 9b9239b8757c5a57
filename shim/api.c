/* api - the doors of the labeled interface: libcmm.h, one call each.
 * Here, and nowhere below, -errno becomes errno and outcomes become the header's values. Sends and receives
 * on a steady connection go straight to libc, marked so that a swap can wait for them. */
#include "flow.h"
#include "link.h"
#include "poll.h"
#include "reconnect.h"
#include "run.h"
#include "scout_link.h"
#include "socket_calls.h"
#include "socket_options.h"
#include "talk.h"

#include <errno.h>
#include <libcmm.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

_Static_assert(FLOW_DEFERRED != CMM_DEFERRED, "outcomes are translated");

static ssize_t told(ssize_t r) {
    if (r >= 0)
        return r;
    if (r == FLOW_DEFERRED)
        return CMM_DEFERRED;
    if (r == FLOW_EXECUTED)
        return CMM_THUNK_EXECUTED;
    errno = (int)-r;
    return CMM_FAILED;
}

static bool known(unsigned long labels) {
    return !((uint64_t)labels & ~LABEL_KNOWN);
}

/* ---- sockets ---- */

PUBLIC mc_socket_t cmm_socket(int family, int type, int protocol) {
    link_need();
    return (int)told(socket_new(family, type, protocol));
}

PUBLIC int cmm_connect(mc_socket_t sock, const struct sockaddr *addr, socklen_t addrlen, unsigned long labels,
                       connection_event_cb_t pre_reconnect, connection_event_cb_t post_reconnect, void *arg) {
    if (!sock_find(sock))
        return (int)told(-EBADF);
    if (!addr || !known(labels))
        return (int)told(-EINVAL);
    int r = link_need();
    if (r < 0)
        return (int)told(r);
    return (int)told(flow_connect(sock, addr, addrlen, labels, pre_reconnect, post_reconnect, arg));
}

static ssize_t send_message(int fd, const struct msghdr *msg, int flags, unsigned long labels,
                            resume_handler_t handler, void *arg, struct flow_tried tried) {
    struct flow_send c = {.msg = msg,
                          .flags = flags,
                          .labeled = true,
                          .labels = labels,
                          .handler = handler,
                          .arg = arg,
                          .tried = tried};
    const struct sock *s = sock_find(fd);
    if (!s || s->kind != SOCK_LABELED)
        return told(-EBADF);
    if (!known(labels))
        return told(-EINVAL);
    return told(flow_send(fd, &c));
}

/* In memory, all of it, so that the common way saves no registers. */
struct labeled_call {
    struct flow_call c;
    unsigned long labels;
    resume_handler_t handler;
};

static bool as_before(const struct sock *s, unsigned long labels) {
    return s && s->kind == SOCK_LABELED && atomic_load_explicit(&s->labels, memory_order_relaxed) == labels;
}

__attribute__((noinline)) static ssize_t send_otherwise(struct labeled_call *l, void *arg) {
    struct flow_call *c = &l->c;
    struct flow_tried tried;
    const bool same = as_before(c->s, l->labels);
    if (l->handler && c->count == FLOW_UNTRIED && !(c->flags & (MSG_OOB | MSG_ZEROCOPY)) &&
        flow_defer_behind(c->fd, l->labels, l->handler, arg))
        return CMM_DEFERRED;
    struct iovec iov = {c->buf, c->len};
    const struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    return flow_timed_send(c, same) || flow_answered(c, &tried)
               ? c->count
               : send_message(c->fd, &msg, c->flags, l->labels, l->handler, arg, tried);
}

PUBLIC FLOW_HOT ssize_t cmm_send(mc_socket_t sock, const void *buf, size_t len, int flags,
                                 unsigned long labels, resume_handler_t handler, void *arg) {
    struct sock *s = sock_look(sock);
    struct labeled_call l;
    ssize_t n;
    l.labels = labels;
    l.handler = handler;
    l.c.flags = flags;
    const enum way way = as_before(s, labels) ? WAY_OPEN : WAY_SHUT;
    if (__builtin_expect(flow_direct_send(&l.c, s, way, sock, buf, len, flags, &n), 1))
        return n;
    return send_otherwise(&l, arg);
}

PUBLIC ssize_t cmm_write(mc_socket_t sock, const void *buf, size_t len, unsigned long labels,
                         resume_handler_t handler, void *arg) {
    return cmm_send(sock, buf, len, 0, labels, handler, arg);
}

PUBLIC ssize_t cmm_writev(mc_socket_t sock, const struct iovec *iov, int count, unsigned long labels,
                          resume_handler_t handler, void *arg) {
    const struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count > 0 ? (size_t)count : 0};
    if (count < 0 || count > 1024)
        return told(-EINVAL);
    return send_message(sock, &msg, 0, labels, handler, arg, (struct flow_tried){0});
}

PUBLIC ssize_t cmm_sendmsg(mc_socket_t sock, const struct msghdr *msg, int flags, unsigned long labels,
                           resume_handler_t handler, void *arg) {
    if (!msg)
        return told(-EFAULT);
    return send_message(sock, msg, flags, labels, handler, arg, (struct flow_tried){0});
}

static ssize_t recv_once(struct flow_call *c, struct sockaddr *from, socklen_t *fromlen) {
    struct flow_tried tried;
    struct iovec iov = {c->buf, c->len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    (void)from;
    (void)fromlen;
    if (flow_answered(c, &tried) || c->count > 0)
        return c->count;
    return told(flow_recv(c->fd, &msg, c->flags, tried));
}

__attribute__((noinline)) static ssize_t recv_otherwise(struct flow_call *c) {
    return flow_timed_recv(c, NULL, NULL) ? c->count : flow_recv_all(c, recv_once, NULL, NULL);
}

PUBLIC FLOW_HOT ssize_t cmm_recv(mc_socket_t sock, void *buf, size_t len, int flags) {
    struct sock *s = sock_look(sock);
    struct flow_call c;
    ssize_t n;
    if (!s || s->kind != SOCK_LABELED)
        return told(-EBADF);
    c.flags = flags;
    return flow_direct_recv(&c, s, WAY_OPEN, sock, buf, len, flags, NULL, NULL, &n) ? n : recv_otherwise(&c);
}

PUBLIC ssize_t cmm_read(mc_socket_t sock, void *buf, size_t len) {
    const struct sock *s = sock_look(sock);
    return len || !s || s->kind != SOCK_LABELED ? cmm_recv(sock, buf, len, 0) : 0;
}

PUBLIC int cmm_setsockopt(mc_socket_t sock, int level, int name, const void *val, socklen_t len) {
    return (int)told(socket_set_option(sock, level, name, val, len));
}

PUBLIC int cmm_getsockopt(mc_socket_t sock, int level, int name, void *val, socklen_t *len) {
    return (int)told(socket_get_option(sock, level, name, val, len));
}

PUBLIC int cmm_getpeername(mc_socket_t sock, struct sockaddr *addr, socklen_t *len) {
    return (int)told(socket_peer_name(sock, addr, len));
}

PUBLIC int cmm_getsockname(mc_socket_t sock, struct sockaddr *addr, socklen_t *len) {
    return (int)told(socket_own_name(sock, addr, len));
}

PUBLIC int cmm_poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    const struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    return (int)told(poll_wait(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL));
}

PUBLIC int cmm_select(int nfds, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *timeout) {
    struct timespec limit = {0}, left = {0};
    if (nfds < 0 || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return (int)told(-EINVAL);
    if (timeout)
        limit = (struct timespec){timeout->tv_sec, timeout->tv_usec * 1000L};
    int r = poll_select(nfds, rd, wr, ex, timeout ? &limit : NULL, NULL, &left);
    if (timeout)
        *timeout = (struct timeval){left.tv_sec, left.tv_nsec / 1000};
    return (int)told(r);
}

PUBLIC int cmm_shutdown(mc_socket_t sock, int how) {
    return (int)told(socket_shutdown(sock, how));
}

PUBLIC int cmm_reset(mc_socket_t sock) {
    return (int)told(socket_reset(sock));
}

PUBLIC int cmm_close(mc_socket_t sock) {
    const struct sock *s = sock_find(sock);
    return (int)told(s && s->kind == SOCK_LABELED ? socket_close(sock) : -EBADF);
}

/* ---- thunks and waiting ---- */

PUBLIC int cmm_check_label(mc_socket_t sock, unsigned long labels, resume_handler_t handler, void *arg) {
    return (int)told(known(labels) ? flow_check(sock, labels, handler, arg) : -EINVAL);
}

PUBLIC int cmm_thunk_cancel(mc_socket_t sock, resume_handler_t handler, void (*deleter)(void *arg)) {
    struct thunk *list;
    int count = 0;
    int r = socket_cancel(sock, handler, &list);
    if (r < 0)
        return (int)told(r);
    for (struct thunk *t = list; t; t = t->next, count++)
        if (deleter)
            deleter(t->arg);
    lock_take();
    thunk_free_list(list);
    lock_drop();
    return count;
}

PUBLIC int cmm_thunk_count(mc_socket_t sock) {
    return (int)told(socket_thunk_count(sock));
}

PUBLIC ssize_t cmm_unacked(mc_socket_t sock) {
    return told(socket_unacked(sock));
}

PUBLIC int cmm_set_replay(mc_socket_t sock, int on) {
    return (int)told(socket_set_replay(sock, on != 0));
}

PUBLIC int cmm_set_patience(mc_socket_t sock, const struct timespec *patience) {
    if (patience && (patience->tv_sec < 0 || patience->tv_nsec < 0 || patience->tv_nsec >= 1000000000L))
        return (int)told(-EINVAL);
    return (int)told(socket_set_patience(sock, patience));
}

/* ---- labels ---- */

/* The scout's configuration may have changed since it was asked last. */
static const struct label_names *user_names(struct label_names *ret) {
    const bool told = scout_link_labels(shim.scout, ret) == 0;
    lock_take();
    const bool known = told || shim.names_known;
    if (told)
        shim.names = *ret;
    else
        *ret = shim.names;
    shim.names_known = known;
    lock_drop();
    return known ? ret : NULL;
}

PUBLIC int cmm_labels_parse(const char *names, unsigned long *labels) {
    uint64_t found;
    struct label_names user;
    if (!names || !labels)
        return (int)told(-EINVAL);
    int r = label_parse(names, NULL, &found, NULL);
    if (r < 0)
        r = label_parse(names, user_names(&user), &found, NULL);
    if (r == 0)
        *labels = (unsigned long)found;
    return (int)told(r);
}

PUBLIC int cmm_labels_format(unsigned long labels, char *buf, size_t len) {
    struct label_names user;
    const bool asks = (uint64_t)labels & LABEL_USERBITS;
    return label_format(labels, asks ? user_names(&user) : NULL, buf, len);
}

PUBLIC int cmm_set_default_labels(unsigned long labels) {
    if (!known(labels))
        return (int)told(-EINVAL);
    shim_claim();
    atomic_store(&shim.default_labels, labels);
    return 0;
}

PUBLIC unsigned long cmm_get_default_labels(void) {
    return (unsigned long)atomic_load(&shim.default_labels);
}

/* ---- networks ---- */

static void show(struct cmm_network *to, const struct wire_network *from) {
    memset(to, 0, sizeof *to);
    memcpy(to->name, from->name, sizeof to->name);
    to->ifindex = from->flags & WIRE_ADDRESS ? 0 : from->ifindex;
    to->labels = (unsigned long)from->labels;
    to->id = (unsigned long)net_id(from, AF_INET);
}

PUBLIC int cmm_networks(struct cmm_network *networks, int max) {
    int count = 0;
    link_need();
    lock_take();
    talk_seek();
    for (uint32_t i = 0; i < shim.nets.now.count; i++) {
        const struct wire_network *n = &shim.nets.now.networks[i];
        if (!net_usable(n, AF_INET) && !net_usable(n, AF_INET6))
            continue;
        if (count < max && networks)
            show(&networks[count], n);
        count++;
    }
    lock_drop();
    return count;
}

PUBLIC int cmm_socket_network(mc_socket_t sock, struct cmm_network *network) {
    struct wire_network n;
    int r = network ? socket_network(sock, &n) : -EINVAL;
    if (r == 0)
        show(network, &n);
    return (int)told(r);
}

/* ---- event loops ---- */

PUBLIC int cmm_set_dispatch(int mode) {
    int r = 0;
    if (mode != CMM_DISPATCH_THREAD && mode != CMM_DISPATCH_MANUAL)
        return (int)told(-EINVAL);
    lock_take();
    if (shim.used && shim.manual != (mode == CMM_DISPATCH_MANUAL))
        r = -EBUSY;
    else
        shim.manual = mode == CMM_DISPATCH_MANUAL;
    lock_drop();
    return (int)told(r);
}

PUBLIC int cmm_dispatch_fd(void) {
    return (int)told(run_dispatch_fd());
}

PUBLIC int cmm_dispatch(void) {
    return run_dispatch();
}

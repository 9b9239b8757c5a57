/* socket_options - what a program sets on a managed socket, and what it asks of it.
 * Each takes the lock for the whole of its short work. Options and flags reach both what is under the number
 * and the connection being made; what a program asks is answered as if that connection were there already.
 * An option is tried where it will count: a placeholder knows only what a stream knows, and Multipath TCP
 * refuses what a program can do without. */
#include "socket_options.h"
#include "beckon.h"
#include "call.h"
#include "carry.h"
#include "fresh.h"
#include "lift.h"
#include "mark.h"
#include "socket_entry.h"
#include "stream.h"
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif

/* ---- options ---- */

bool socket_chooses(int level, int name) {
    return (level == SOL_SOCKET && (name == SO_BINDTODEVICE || name == SO_BINDTOIFINDEX)) ||
           (level == IPPROTO_IP && name == IP_UNICAST_IF) ||
           (level == IPPROTO_IPV6 && name == IPV6_UNICAST_IF);
}

/* An option to be set or asked. */
struct wish {
    int level, name;
    const void *set; /* to be set: the value and its length */
    socklen_t set_len;
    void *get; /* to be asked: the room for it */
    socklen_t *get_len;
    bool asks;
};

static int ask(int fd, const struct wish *w) {
    const int r = w->asks ? real.getsockopt(fd, w->level, w->name, w->get, w->get_len)
                          : real.setsockopt(fd, w->level, w->name, w->set, w->set_len);
    return r < 0 ? -errno : 0;
}

static int ask_once(int fd, const struct wish *w) {
    const int r = ask(fd, w);
    lift_close(fd);
    return r;
}

/* A placeholder knows only what a stream knows: others ask and try on a socket of their own kind. */
static int scratch(struct sock *s) {
    const bool real_one =
        sock_stream(s) || s->kind == SOCK_CAPTURED || s->state == LIFE_LIVE || s->state == LIFE_DEAD;
    return real_one ? -1 : fresh_socket(s, NULL);
}

/* Of the socket that it is about. */
static int ask_kernel(struct sock *s, int fd, const struct wish *w) {
    const int number = socket_number(s, fd), trial = number == fd ? scratch(s) : -1;
    const int r = trial >= 0 ? ask_once(trial, w) : ask(number, w);
    const int plain = r < 0 ? carry_stand_in(s, w->level, w->name, r) : -1;
    return plain >= 0 ? ask_once(plain, w) : r;
}

/* Who has given calls a time may not have had one before. */
static void review_ways(struct sock *s, int level, int name) {
    if (level == SOL_SOCKET && name == SO_SNDTIMEO && sock_stream(s))
        atomic_store(&s->clear, WAY_SHUT);
    if (level == SOL_SOCKET && name == SO_RCVTIMEO && atomic_load(&s->direct))
        swap_review(s);
    if (level == SOL_SOCKET && name == SO_RCVLOWAT && s->unread.first) {
        mark_renewed(s);
        swap_review(s);
    }
}

int socket_set_option(int fd, int level, int name, const void *val, socklen_t len) {
    const struct wish w = {.level = level, .name = name, .set = val, .set_len = len};
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    int r = ask_kernel(s, fd, &w);
    if (r == 0 && s->hidden >= 0 && s->state != LIFE_MOVING && socket_number(s, fd) == fd)
        ask(s->hidden, &w);
    if (r == 0)
        r = options_put(&s->options, level, name, val, len);
    if (r == 0)
        review_ways(s, level, name);
    lock_drop();
    return r;
}

/* As the program has set it: its connections are made without. */
static bool answer_as_set(const struct sock *s, int level, int name, int *ret) {
    const struct option *set = options_find(&s->options, level, name);
    if (level != IPPROTO_TCP || name != TCP_FASTOPEN_CONNECT || !set || set->len < sizeof *ret)
        return false;
    memcpy(ret, set->value, sizeof *ret);
    return true;
}

/* What a placeholder would answer about itself. */
static bool answer(const struct sock *s, int level, int name, int *ret) {
    if (level != SOL_SOCKET)
        return answer_as_set(s, level, name, ret);
    if (name == SO_TYPE)
        *ret = s->type;
    else if (name == SO_DOMAIN)
        *ret = s->family;
    else if (name == SO_PROTOCOL)
        *ret = s->protocol ? s->protocol : sock_stream(s) ? IPPROTO_TCP : IPPROTO_UDP;
    else if (name == SO_ACCEPTCONN)
        *ret = 0;
    else if (name == SO_RCVLOWAT && s->mark)
        *ret = s->mark;
    else
        return false;
    return true;
}

/* The kernel tells an error once, and we have heard it first. */
static int take_error(struct sock *s, int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    if (s->kind == SOCK_LABELED)
        return s->error;
    if (!s->cut) /* else it is left to holders that no door sees */
        real.getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    error = s->untold ? s->untold : error;
    s->untold = 0;
    return error;
}

/* Of the connection that the program knows of. */
static void set_state(const struct sock *s, unsigned char *state) {
    if (socket_connecting(s))
        *state = s->lived ? TCP_ESTABLISHED : TCP_SYN_SENT;
    else
        *state = (unsigned char)carry_state(s, *state);
}

/* As the kernel does: with room for less, the beginning. */
static int hand_value(int value, void *val, socklen_t *len) {
    if (!len || !val)
        return -EFAULT;
    if ((int)*len < 0)
        return -EINVAL;
    if (*len > sizeof value)
        *len = sizeof value;
    memcpy(val, &value, *len);
    return 0;
}

/* Else nothing is taken, and the kernel tells the mistake. */
static bool has_room(const struct wish *w) {
    return w->get && w->get_len && (int)*w->get_len >= 0;
}

/* By which interface a captured socket goes is not its program's choice, if that has made none. */
static bool is_our_choice(const struct sock *s, const struct wish *w) {
    return s->kind == SOCK_CAPTURED && !s->bound && socket_chooses(w->level, w->name) &&
           !options_find(&s->options, w->level, w->name);
}

/* The name of none is short, however little room there is. */
static int get_no_choice(struct sock *s, int fd, const struct wish *w) {
    if (w->level == SOL_SOCKET && w->name == SO_BINDTODEVICE)
        return !w->get_len ? -EFAULT : (int)*w->get_len < 0 ? -EINVAL : (int)(*w->get_len = 0);
    const int r = ask_kernel(s, fd, w);
    if (r == 0 && *w->get_len)
        memset(w->get, 0, *w->get_len);
    return r;
}

static int get_option(struct sock *s, int fd, const struct wish *w) {
    const bool ours = socket_number(s, fd) == fd;
    int value, r;
    if (ours && answer(s, w->level, w->name, &value))
        return hand_value(value, w->get, w->get_len);
    if ((ours || s->buried) && s->state == LIFE_DEAD && w->level == SOL_SOCKET && w->name == SO_ERROR &&
        has_room(w))
        return hand_value(take_error(s, fd), w->get, w->get_len);
    if (is_our_choice(s, w))
        return get_no_choice(s, fd, w);
    r = ask_kernel(s, fd, w);
    if (r == 0 && ours && w->level == IPPROTO_TCP && w->name == TCP_INFO && *w->get_len)
        set_state(s, w->get);
    return r;
}

int socket_get_option(int fd, int level, int name, void *val, socklen_t *len) {
    const struct wish w = {.level = level, .name = name, .get = val, .get_len = len, .asks = true};
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    const int r = get_option(s, fd, &w);
    lock_drop();
    return r;
}

/* ---- flags ---- */

int socket_set_flags(int fd, long flags) {
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    const bool asked = beckon_listens(fd);
    const int number = socket_number(s, fd);
    const int r = real.fcntl(fd, F_SETFL, (void *)flags) < 0 ? -errno : 0;
    if (r == 0 && number != fd)
        beckon_flags(number, flags);
    if (r == 0 && flags & O_ASYNC && !asked)
        s->asked_by = fd;
    lock_drop();
    return r;
}

int socket_set_async(int fd, int on) {
    const long flags = real.fcntl(fd, F_GETFL, NULL);
    return socket_set_flags(fd, on ? flags | O_ASYNC : flags & ~(long)O_ASYNC);
}

int socket_set_nonblocking(int fd, int on) {
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    const int number = socket_number(s, fd), r = real.ioctl(fd, FIONBIO, &on) < 0 ? -errno : 0;
    if (r == 0 && number != fd)
        real.ioctl(number, FIONBIO, &on);
    lock_drop();
    return r;
}

/* ---- bytes on their way ---- */

int socket_unread(int fd, int *ret_bytes) {
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    const int number = socket_number(s, fd);
    int there = 0;
    if (socket_true(s, fd, number))
        real.ioctl(number, FIONREAD, &there);
    if (there == 1 && carry_wanted(s))
        there = (int)stream_unread(number); /* Multipath TCP counts an end as a byte */
    if ((number == fd || s->aside || s->buried) && s->unread.first)
        there = sock_stream(s) ? there + (int)s->unread.bytes : (int)s->unread.first->len;
    *ret_bytes = there;
    lock_drop();
    return 0;
}

/* Of what is not connected yet the kernel says 0, but of a placeholder that it makes no sense. */
int socket_unsent(int fd, unsigned long request, int *ret_bytes) {
    struct sock *s = call_enter(fd);
    if (!s)
        return -EBADF;
    const int number = socket_number(s, fd);
    int r = 0;
    if (socket_true(s, fd, number))
        r = real.ioctl(number, request, ret_bytes) < 0 ? -errno : 0;
    else if (s->state == LIFE_MOVING)
        *ret_bytes = sock_stream(s) ? (int)stream_unacked(s->hidden, true) : 0;
    else
        *ret_bytes = (int)s->sent.bytes; /* it will be sent again */
    lock_drop();
    return r;
}

/* unit_attempt - what the listening thread says of a connection that is being made.
 *
 * The events it hears were waiting for it, maybe for longer than the attempt they are about lived.
 */
#include "attempt.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

struct shim shim;

enum { MOST = 16 };

static int listener, tries[MOST], count;
static struct sockaddr_in to = {.sin_family = AF_INET};

static bool polls(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 20) > 0;
}

static int begin(void) {
    ck_assert_int_lt(count, MOST);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    connect(fd, (struct sockaddr *)&to, sizeof to);
    tries[count++] = fd;
    return fd;
}

/* The kernel's own word: how many wait to be accepted, and how many may without its being full. */
static struct tcp_info queue(void) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    ck_assert_int_eq(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info;
}

/* The listener's queue is full: the last one's handshake hangs. */
static int hang(void) {
    socklen_t len = sizeof to;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&to, &len), 0);
    while (queue().tcpi_unacked <= queue().tcpi_sacked) {
        begin();
        while ((int)queue().tcpi_unacked < count)
            sched_yield();
    }
    return begin();
}

static struct sock *connecting_by(int fd) {
    struct sock *s =
        sock_new(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), SOCK_LABELED, AF_INET, SOCK_STREAM, 0);
    ck_assert_ptr_nonnull(s);
    memcpy(&s->to, &to, sizeof to);
    s->tolen = sizeof to;
    s->state = LIFE_CONNECTING;
    s->hidden = fd;
    return s;
}

START_TEST(a_word_about_an_attempt_that_is_over_is_none_about_the_next) {
    lock_take();
    struct sock *s = connecting_by(hang());
    attempt_event(s);
    ck_assert_str_eq(life_name(s->state), "connecting");
    while (!polls(s->hidden))
        close(accept(listener, NULL, NULL));
    attempt_event(s);
    ck_assert_str_eq(life_name(s->state), "live");
    lock_drop();
}
END_TEST

int main(void) {
    TCase *t = tcase_create("attempt");
    Suite *s = suite_create("attempt");
    tcase_add_test(t, a_word_about_an_attempt_that_is_over_is_none_about_the_next);
    suite_add_tcase(s, t);
    return suite_run(s);
}

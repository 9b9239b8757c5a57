/* stage - what a test of the shim plays on: a private scout with networks the test switches, a far end that
 * records what it is told, and, where asked, a world of its own with real interfaces.
 *
 * A program lists its tests and calls stage_main(). Each test runs in a process of its own, freshly executed
 * with CMM_SCOUT set, so that the library's constructor meets its scout. Every wait is for a condition and
 * has a generous limit; a test ends at its first failed expectation. Prints "ok - SENTENCE" or "not ok -
 * SENTENCE: FILE:LINE: what". */
#ifndef STAGE_H
#define STAGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

enum {
    STAGE_WORLD =
        1, /* a network namespace with the interfaces wifi0 and cell0; skipped where not permitted */
    STAGE_PRELOAD = 2, /* CMM_PRELOAD_LIB is preloaded under the test */
    STAGE_UP =
        4, /* the networks of the configuration stay as the scout finds them; else all are down first */
    STAGE_ALONE = 8, /* no scout until stage_scout_start() */
};

struct stage_test {
    const char *name; /* the sentence, with underscores */
    void (*run)(void);
    int flags;
    const char *config;      /* else the program's */
    const char *environment; /* "NAME=VALUE NAME=VALUE": the test's alone */
};

/* config: the scout's file; a [scout] section with short times is added if it has none. With arguments only
 * the tests of these names are run. */
int stage_main(int argc, char **argv, const char *config, const struct stage_test *tests, size_t count);

#define STAGE_TEST(function)                                                                                 \
    { #function, function, 0, NULL, NULL }
#define STAGE_TEST_IN(function, how, config)                                                                 \
    { #function, function, how, config, NULL }
#define STAGE_TEST_WITH(function, how, config, environment)                                                  \
    { #function, function, how, config, environment }
#define STAGE_MAIN(config, tests)                                                                            \
    int main(int argc, char **argv) {                                                                        \
        return stage_main(argc, argv, config, tests, sizeof(tests) / sizeof *(tests));                       \
    }

/* ---- expectations ---- */

__attribute__((noreturn)) void stage_skip(const char *why); /* aloud */
/* What ThreadSanitizer itself cannot bear: the first line of such a test. */
#ifdef __SANITIZE_THREAD__
#define stage_not_under_tsan(why) stage_skip("ThreadSanitizer " why)
#else
#define stage_not_under_tsan(why) (void)0
#endif
__attribute__((format(printf, 3, 4), noreturn)) void stage_fail(const char *file, int line,
                                                                const char *format, ...);
void stage_pause(void); /* a millisecond; for the loops of waits only */
bool stage_late(void);  /* the limit of the innermost wait has passed */
void stage_wait_begins(void);

#define stage_expect(condition)                                                                              \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            stage_fail(__FILE__, __LINE__, "%s", #condition);                                                \
    } while (0)

/* Integers, with their values in the message. */
#define stage_equal(got, wanted)                                                                             \
    do {                                                                                                     \
        long stage_got = (long)(got), stage_wanted = (long)(wanted);                                         \
        if (stage_got != stage_wanted)                                                                       \
            stage_fail(__FILE__, __LINE__, "%s is %ld, not %s (%ld); errno %m", #got, stage_got, #wanted,    \
                       stage_wanted);                                                                        \
    } while (0)

/* A call fails with this errno. */
#define stage_fails(call, error)                                                                             \
    do {                                                                                                     \
        stage_equal(call, -1);                                                                               \
        stage_equal(errno, error);                                                                           \
    } while (0)

/* Waits until the condition holds. */
#define stage_wait(condition)                                                                                \
    do {                                                                                                     \
        stage_wait_begins();                                                                                 \
        while (!(condition)) {                                                                               \
            if (stage_late())                                                                                \
                stage_fail(__FILE__, __LINE__, "waited in vain for %s", #condition);                         \
            stage_pause();                                                                                   \
        }                                                                                                    \
    } while (0)

/* ---- what a program is told, and what it is at ---- */

int stage_polled(int fd, short events, int timeout_ms); /* revents, 0 for none, or -1 */
int stage_so_error(int fd);
bool stage_asleep(pid_t thread); /* or process: it sleeps in the kernel */

/* ---- the scout ---- */

/* The test's own directory, removed after it. */
const char *stage_directory(void);

/* As cmm-ctl up, down, auto; up and down return when this process's cmm_networks() shows it. */
void stage_up(const char *network);
void stage_down(const char *network);
void stage_auto(const char *network);
bool stage_offered(const char *network); /* cmm_networks() has it */

/* kill -9, and another one of the same name and configuration (its overrides are gone with the old one). */
void stage_scout_kill(void);
void stage_scout_start(void);

/* ---- the far end: a process with one TCP and one UDP socket, at 127.0.0.1 or, in a world, at 10.9.0.1 ----
 */

struct sockaddr_in stage_tcp(void);
struct sockaddr_in stage_udp(void);

enum stage_end { STAGE_OPEN, STAGE_EOF, STAGE_RESET };

/* What the kernel had taken for the far end when asked counts as accepted and received. What is asked of a
 * connection that does not exist yet waits for it. */
int stage_connections(void); /* since the beginning */
const char *stage_peer(int connection);
size_t stage_received(int connection);
const unsigned char *stage_bytes(int connection); /* the first STAGE_KEPT of them */
enum stage_end stage_end(int connection);
enum { STAGE_KEPT = 4 << 20, STAGE_CONNECTIONS = 64, STAGE_DATAGRAMS = 256, STAGE_DATAGRAM = 2048 };

/* Wait for it. */
#define stage_expect_connection(i, source)                                                                   \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        if (!stage_is_peer(i, source))                                                                       \
            stage_fail(__FILE__, __LINE__, "connection %d comes from %s, not %s", (int)(i), stage_peer(i),   \
                       source);                                                                              \
    } while (0)
#define stage_expect_text(i, text)                                                                           \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i) && stage_received(i) >= sizeof(text) - 1);                      \
        if (!stage_is_text(i, text))                                                                         \
            stage_fail(__FILE__, __LINE__, "connection %d carried '%.*s', not '%s'", (int)(i),               \
                       (int)(stage_received(i) < 200 ? stage_received(i) : 200),                             \
                       (const char *)stage_bytes(i), text);                                                  \
    } while (0)
bool stage_is_peer(int connection, const char *source);
bool stage_is_text(int connection, const char *text); /* all it carried so far */

int stage_datagrams(void);
const char *stage_datagram_peer(int i);
size_t stage_datagram(int i, const void **ret_bytes);

void stage_say(int connection, const char *text);
void stage_say_bytes(int connection, const void *bytes, size_t len);
void stage_finish(int connection);    /* the far end closes: an end of file */
void stage_hang_up(int connection);   /* it closes with a reset */
void stage_hold(bool on);             /* it stops reading TCP */
void stage_echo(bool on);             /* what it reads, it sends back (UDP too) */
void stage_refuse(bool on);           /* nobody listens */
void stage_crowd(bool on);            /* its queue is full: handshakes hang until it is off again */
bool stage_multipath(void);           /* it speaks Multipath TCP from now on, if the kernel does */
void stage_receive_buffer(int bytes); /* SO_RCVBUF of connections to come */

/* ---- the world: wifi0 10.1.0.2/24, metric 100, and cell0 10.2.0.2/24, metric 200, both with a way
 * to 10.9.0.1 ---- */

void stage_link(const char *interface, bool up); /* up: with its routes again */
/* What leaves by it arrives nowhere; what comes back is lost; the interface looks well all the time. */
void stage_swallow(const char *interface, bool outgoing, bool incoming);
__attribute__((format(printf, 1, 2))) void stage_shell(const char *format, ...); /* in the test's namespace */
__attribute__((format(printf, 1, 2))) void stage_far_shell(const char *format, ...); /* in the far end's */

#endif

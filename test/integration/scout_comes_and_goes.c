/* scout_comes_and_goes - what holds while there is no scout, one dies, one comes back, or one is told
 * nonsense. */
#include "hello.h"

#include "private/wire.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = ondemand\n";

#define carries(i, text)                                                                                     \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        stage_expect_text(i, text);                                                                          \
    } while (0)

/* ---- the scout, past the library ---- */

static int dial(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.90s", getenv("CMM_SCOUT"));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    stage_expect(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

union answer {
    struct wire_header header;
    struct wire_status status;
    struct wire_subscriber subscriber;
    char bytes[WIRE_MAX];
};

/* Asks, and hands every answer to look until it says true. */
static bool ask(enum wire_topic topic, bool (*look)(const union answer *, void *), void *context) {
    const struct wire_ask m = {{WIRE_VERSION, WIRE_ASK, sizeof m}, topic, 0};
    union answer a;
    bool found = false;
    int fd = dial();
    stage_equal(send(fd, &m, sizeof m, MSG_NOSIGNAL), sizeof m);
    for (;;) {
        ssize_t n = recv(fd, &a, sizeof a, 0);
        stage_expect(n > 0);
        if (a.header.type == WIRE_DONE)
            break;
        found |= look(&a, context);
    }
    close(fd);
    return found;
}

static bool is_pid(const union answer *a, void *pid) {
    return a->header.type == WIRE_SUBSCRIBER && a->subscriber.pid == (uint32_t) * (pid_t *)pid;
}

static bool subscribed(pid_t pid) {
    return ask(WIRE_ASK_SUBSCRIBERS, is_pid, &pid);
}

static bool keep_status(const union answer *a, void *status) {
    if (a->header.type == WIRE_STATUS)
        *(struct wire_status *)status = a->status;
    return a->header.type == WIRE_STATUS;
}

static struct wire_status scout_status(void) {
    struct wire_status s = {0};
    stage_expect(ask(WIRE_ASK_STATUS, keep_status, &s));
    return s;
}

/* ---- subscribing ---- */

static void a_linked_program_is_subscribed_before_its_first_call(void) {
    stage_wait(subscribed(getpid()));
}

static bool has_two_sockets(const union answer *a, void *pid) {
    return is_pid(a, pid) && a->subscriber.report.sockets == 2;
}

static void a_socket_counts_from_its_making_until_its_end(void) {
    pid_t self = getpid();
    const int first = cmm_socket(AF_INET, SOCK_STREAM, 0), second = cmm_socket(AF_INET, SOCK_DGRAM, 0);
    stage_expect(first >= 0 && second >= 0);
    stage_wait(ask(WIRE_ASK_SUBSCRIBERS, has_two_sockets, &self));
    stage_equal(cmm_close(first), 0);
    stage_wait(!ask(WIRE_ASK_SUBSCRIBERS, has_two_sockets, &self));
}

static int threads(void) {
    char line[128];
    int count = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "Threads: %d", &count);
    fclose(f);
    return count;
}

static void a_preloaded_program_subscribes_at_first_need(void) {
    stage_equal(threads(), 1);
    stage_expect(!subscribed(getpid()));
    stage_expect(cmm_socket(AF_INET, SOCK_STREAM, 0) >= 0);
    stage_wait(subscribed(getpid()));
}

static void a_program_is_unsubscribed_at_its_end(void) {
    int pipes[2];
    char none;
    stage_equal(pipe(pipes), 0);
    /* A sanitizer's allocator does not bear a fork while a thread is being made. */
    stage_wait(subscribed(getpid()));
    pid_t child = fork();
    if (child == 0) {
        close(pipes[1]);
        hello_waiting(WIFI);
        exit((int)read(pipes[0], &none, 1));
    }
    close(pipes[0]);
    stage_wait(subscribed(child));
    close(pipes[1]);
    stage_equal(waitpid(child, NULL, 0), child);
    stage_wait(!subscribed(child));
    stage_expect(subscribed(getpid()));
}

static void without_room_for_a_message_queue_the_news_come_all_the_same(void) {
    const struct rlimit none = {0, 0};
    prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE); /* with it the scout makes room; root has it, as a rule */
    stage_equal(setrlimit(RLIMIT_MSGQUEUE, &none), 0);
    stage_scout_start();
    stage_down("wifi");
    int sock = hello_waiting(WIFI);
    hello_defer(sock);
    stage_wait(subscribed(getpid()));
    stage_equal(scout_status().queues, 0);
    for (int i = 0; i < 20; i++) {
        stage_up("cell");
        stage_down("cell");
    }
    stage_up("wifi");
    stage_wait(hello_runs == 1);
    carries(0, "hello");
}

/* ---- no scout yet ---- */

static void with_no_scout_yet_labels_0_behave_as_without_libcmm(void) {
    int sock = hello_connected(0);
    stage_equal(cmm_send(sock, "plain", 5, 0, 0, hello_send, NULL), 5);
    carries(0, "plain");
    stage_equal(cmm_networks(NULL, 0), 0);
    stage_equal(hello_runs, 0);
}

static void with_no_scout_yet_and_no_route_labels_0_fail_as_without_libcmm(void) {
    int sock;
    stage_link("wifi0", false);
    stage_link("cell0", false);
    stage_fails(hello_dial(SOCK_STREAM, 0, &sock), ENETUNREACH);
}

static void with_no_route_at_all_labels_0_wait_once_a_scout_has_spoken(void) {
    stage_link("wifi0", false);
    stage_link("cell0", false);
    stage_wait(cmm_networks(NULL, 0) == 0);
    int sock = hello_waiting(0);
    stage_equal(cmm_send(sock, "hello", 5, 0, 0, hello_send, (void *)(long)sock), CMM_DEFERRED);
    stage_link("wifi0", true);
    stage_wait(hello_runs == 1);
    stage_expect_connection(0, "10.1.0.2");
}

static void with_no_scout_yet_labeled_calls_find_no_network(void) {
    const struct timespec moment = {0, 50000000};
    int sock = hello_waiting(WIFI);
    stage_equal(cmm_check_label(sock, WIFI, NULL, NULL), CMM_DEFERRED);
    hello_defer(sock);
    stage_fails(cmm_send(sock, "x", 1, MSG_DONTWAIT, CELL, NULL, NULL), EAGAIN);
    stage_equal(cmm_set_patience(sock, &moment), 0);
    stage_fails(cmm_send(sock, "x", 1, 0, CELL, NULL, NULL), ETIMEDOUT);
    stage_equal(hello_runs, 0);
    stage_scout_start();
    stage_wait(hello_runs == 1);
    stage_equal(hello_result, 5);
    carries(0, "hello");
}

static void the_first_scout_is_noticed_by_the_next_call(void) {
    stage_equal(cmm_networks(NULL, 0), 0);
    stage_scout_start();
    stage_wait(cmm_networks(NULL, 0) == 2);
    stage_expect(subscribed(getpid()));
}

static void a_scout_that_comes_back_is_noticed_though_nothing_waits(void) {
    stage_wait(subscribed(getpid()));
    for (int i = 0; i < 5; i++) {
        stage_scout_kill();
        stage_scout_start();
        stage_wait(subscribed(getpid()));
    }
}

/* ---- a scout dies ---- */

static void a_scout_that_dies_leaves_its_last_word_standing(void) {
    stage_up("wifi");
    int sock = hello_connected(WIFI);
    stage_scout_kill();
    stage_expect(stage_offered("wifi") && !stage_offered("cell"));
    stage_equal(cmm_send(sock, "one ", 4, 0, WIFI, NULL, NULL), 4);
    int another = hello_connected(WIFI);
    stage_equal(cmm_send(another, "another", 7, 0, WIFI, NULL, NULL), 7);
    int waiting = hello_waiting(CELL);
    stage_equal(cmm_send(sock, "two", 3, 0, WIFI, NULL, NULL), 3);
    carries(0, "one two");
    carries(1, "another");
    stage_equal(cmm_check_label(waiting, CELL, NULL, NULL), CMM_DEFERRED);
    stage_equal(cmm_check_label(waiting, WIFI, NULL, NULL), 0);
    stage_expect(stage_offered("wifi") && !stage_offered("cell"));
}

static void expect_undisturbed_by_new_scouts(int connections) {
    int sock = hello_connected(WIFI);
    stage_equal(cmm_send(sock, "one ", 4, 0, WIFI, NULL, NULL), 4);
    for (int i = 0; i < 5; i++) {
        stage_scout_kill();
        stage_scout_start(); /* its networks are up as it finds them */
        stage_wait(subscribed(getpid()) && stage_offered("wifi") && stage_offered("cell"));
    }
    stage_equal(cmm_send(sock, "two", 3, 0, WIFI, NULL, NULL), 3);
    carries(connections, "one two");
    stage_equal(stage_connections(), connections + 1);
}

static void a_new_scout_that_says_the_same_disturbs_no_connection(void) {
    stage_up("wifi");
    expect_undisturbed_by_new_scouts(0);
}

static void a_new_scout_disturbs_none_either_by_what_was_lost_once(void) {
    struct cmm_network before, after;
    stage_wait(stage_offered("wifi") && stage_offered("cell"));
    const int lost = hello_connected(WIFI);
    stage_equal(cmm_socket_network(lost, &before), 0);
    stage_link("wifi0", false);
    stage_wait(cmm_socket_network(lost, &after) != 0);
    stage_link("wifi0", true);
    stage_wait(cmm_socket_network(lost, &after) == 0);
    stage_expect(before.id != after.id);
    expect_undisturbed_by_new_scouts(2);
}

static void a_scout_that_comes_back_is_noticed_without_a_restart(void) {
    int sock = hello_waiting(WIFI);
    hello_defer(sock);
    stage_scout_kill();
    stage_scout_start();
    stage_wait(hello_runs == 1);
    carries(0, "hello");
    stage_scout_kill();
    stage_scout_start();
    stage_down("wifi");
    hello_defer(sock);
    stage_scout_kill();
    stage_equal(hello_runs, 1);
    stage_scout_start();
    stage_wait(hello_runs == 2);
    carries(1, "hello");
}

static void a_thunk_deferred_while_no_scout_lives_runs_when_one_does(void) {
    int sock = hello_waiting(WIFI);
    stage_scout_kill();
    hello_defer(sock);
    stage_scout_start();
    stage_wait(hello_runs == 1);
    carries(0, "hello");
}

static void the_scout_may_be_killed_again_and_again(void) {
    enum { DEATHS = 30 };
    stage_up("wifi");
    int sock = hello_connected(WIFI);
    for (int i = 0; i < DEATHS; i++) {
        stage_scout_kill();
        stage_equal(cmm_send(sock, ".", 1, 0, WIFI, NULL, NULL), 1);
        stage_scout_start();
    }
    stage_wait(subscribed(getpid()));
    stage_wait(stage_received(0) == DEATHS);
    stage_equal(stage_connections(), 1);
}

/* ---- any order ---- */

static void networks_and_scout_may_come_and_go_in_any_order(void) {
    enum { STEPS = 60 };
    int deferred = 0, direct = 0, sock = hello_waiting(WIFI);
    unsigned seed = 7;
    bool alive = true;
    for (int i = 0; i < STEPS; i++) {
        const int what = rand_r(&seed) % 5;
        if (what == 0 && alive)
            stage_scout_kill();
        if (what <= 1 && alive == (what == 0))
            alive = !alive, alive ? stage_scout_start() : (void)0;
        if (what == 2 && alive)
            stage_up(i % 2 ? "wifi" : "cell");
        if (what == 3 && alive)
            stage_down(i % 2 ? "wifi" : "cell");
        ssize_t r = cmm_send(sock, "hello", 5, 0, WIFI, hello_send, (void *)(long)sock);
        stage_expect(r == CMM_DEFERRED || r == CMM_THUNK_EXECUTED || r == 5);
        direct += r == 5;
        deferred += r != 5;
    }
    if (!alive)
        stage_scout_start();
    stage_up("wifi");
    stage_wait(cmm_thunk_count(sock) == 0);
    stage_equal(cmm_send(sock, "bye", 3, 0, WIFI, NULL, NULL), 3);
    stage_expect(hello_runs >= deferred); /* one that deferred itself again ran twice */
    size_t sent = (size_t)(direct + deferred) * 5 + 3, received = 0;
    stage_wait_begins();
    while (received != sent && !stage_late()) {
        received = 0;
        for (int i = 0; i < stage_connections(); i++)
            received += stage_received(i);
        stage_pause();
    }
    stage_equal(received, sent);
}

/* ---- nonsense ---- */

static int tell(const void *msg, size_t len) {
    int fd = dial();
    stage_equal(send(fd, msg, len, MSG_NOSIGNAL), len);
    close(fd);
    return 1;
}

static void the_sequence_of_rand_is_the_programs(void) {
    int before[20];
    srand(7);
    for (int i = 0; i < 20; i++)
        before[i] = rand();
    srand(7);
    hello_waiting(WIFI);
    for (int i = 0; i < 20; i++) {
        if (i % 5 == 0) {
            stage_scout_kill();
            stage_scout_start();
            stage_wait(subscribed(getpid()));
        }
        stage_equal(rand(), before[i]);
    }
}

static void messages_of_the_wrong_version_size_or_content_are_dropped_and_counted(void) {
    struct wire_ask a = {{WIRE_VERSION, WIRE_ASK, sizeof a}, WIRE_ASK_STATUS, 0}, wrong;
    struct wire_set set = {.header = {WIRE_VERSION, WIRE_SET, sizeof set}, .action = WIRE_SET_UP};
    struct wire_report report = {.header = {WIRE_VERSION, WIRE_REPORT, sizeof report},
                                 .count = WIRE_WANTS + 1};
    struct wire_subscribe who = {.header = {WIRE_VERSION, WIRE_SUBSCRIBE, sizeof who}};
    static char big[WIRE_MAX + 100];
    const uint64_t before = scout_status().dropped;
    uint64_t told = 0;
    stage_up("wifi");
    int sock = hello_waiting(CELL);
    wrong = a, wrong.header.version++;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.version = 0;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.size++;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.type = 77;
    told += (uint64_t)tell(&wrong, sizeof wrong);
    wrong = a, wrong.header.type = WIRE_SET; /* too short for one */
    told += (uint64_t)tell(&wrong, sizeof wrong);
    told += (uint64_t)tell(&a, sizeof a - 1);
    told += (uint64_t)tell(&a, 3);
    told += (uint64_t)tell(big, sizeof big);
    told += (uint64_t)tell(&report, sizeof report);
    memset(set.network, 'x', sizeof set.network);
    told += (uint64_t)tell(&set, sizeof set);
    memset(who.program, 'x', sizeof who.program);
    told += (uint64_t)tell(&who, sizeof who);
    stage_wait(scout_status().dropped >= before + told);
    stage_equal(scout_status().dropped, before + told);
    stage_equal(cmm_send(sock, "hello", 5, 0, CELL, hello_send, (void *)(long)sock), CMM_DEFERRED);
    stage_up("cell"); /* it still speaks, and is heard */
    stage_wait(hello_runs >=
               1); /* what it sends is for wifi, which is there, too: it may run again at once */
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_linked_program_is_subscribed_before_its_first_call),
    STAGE_TEST(a_socket_counts_from_its_making_until_its_end),
    STAGE_TEST_IN(a_preloaded_program_subscribes_at_first_need, STAGE_PRELOAD, NULL),
    STAGE_TEST(a_program_is_unsubscribed_at_its_end),
    STAGE_TEST_IN(without_room_for_a_message_queue_the_news_come_all_the_same, STAGE_ALONE, NULL),
    STAGE_TEST_IN(with_no_scout_yet_labels_0_behave_as_without_libcmm, STAGE_ALONE, NULL),
    STAGE_TEST_IN(with_no_scout_yet_and_no_route_labels_0_fail_as_without_libcmm, STAGE_ALONE | STAGE_WORLD,
                  world),
    STAGE_TEST_IN(with_no_route_at_all_labels_0_wait_once_a_scout_has_spoken, STAGE_WORLD, world),
    STAGE_TEST_IN(with_no_scout_yet_labeled_calls_find_no_network, STAGE_ALONE, NULL),
    STAGE_TEST_IN(the_first_scout_is_noticed_by_the_next_call, STAGE_ALONE, NULL),
    STAGE_TEST(a_scout_that_comes_back_is_noticed_though_nothing_waits),
    STAGE_TEST(a_scout_that_dies_leaves_its_last_word_standing),
    STAGE_TEST(a_new_scout_that_says_the_same_disturbs_no_connection),
    STAGE_TEST_IN(a_new_scout_disturbs_none_either_by_what_was_lost_once, STAGE_WORLD, world),
    STAGE_TEST(a_scout_that_comes_back_is_noticed_without_a_restart),
    STAGE_TEST(a_thunk_deferred_while_no_scout_lives_runs_when_one_does),
    STAGE_TEST(the_scout_may_be_killed_again_and_again),
    STAGE_TEST(the_sequence_of_rand_is_the_programs),
    STAGE_TEST(networks_and_scout_may_come_and_go_in_any_order),
    STAGE_TEST(messages_of_the_wrong_version_size_or_content_are_dropped_and_counted),
};

STAGE_MAIN(hello_config, tests)

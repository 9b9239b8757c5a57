/* lookups - names are looked up when there is a network to ask by.
 * In a world of two interfaces; the default label is offered by cell0 alone. */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char world[] = "[network wifi]\nmatch = wifi0\nlabels = background\n"
                            "[network cell]\nmatch = cell0\nlabels = small\n";

static _Atomic pid_t tid;
static _Atomic bool over;

static long found_by(const char *name) {
    static char buf[1024];
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.9.0.1")};
    struct addrinfo *list = NULL;
    struct hostent host, *result = NULL;
    int error = 0;
    if (strcmp(name, "getaddrinfo") == 0)
        return getaddrinfo("waits.example", "80", NULL, &list);
    if (strcmp(name, "gethostbyname") == 0)
        return gethostbyname("waits.example") ? 0 : h_errno;
    if (strcmp(name, "gethostbyname2") == 0)
        return gethostbyname2("waits.example", AF_INET) ? 0 : h_errno;
    if (strcmp(name, "getnameinfo") == 0)
        return getnameinfo((struct sockaddr *)&to, sizeof to, buf, sizeof buf, NULL, 0, NI_NAMEREQD);
    if (strcmp(name, "gethostbyaddr") == 0)
        return gethostbyaddr(&to.sin_addr, sizeof to.sin_addr, AF_INET) ? 0 : h_errno;
    if (strcmp(name, "gethostbyname_r") == 0)
        gethostbyname_r("waits.example", &host, buf, sizeof buf, &result, &error);
    else if (strcmp(name, "gethostbyaddr_r") == 0)
        gethostbyaddr_r(&to.sin_addr, sizeof to.sin_addr, AF_INET, &host, buf, sizeof buf, &result, &error);
    else
        gethostbyname2_r("waits.example", AF_INET, &host, buf, sizeof buf, &result, &error);
    return result ? 0 : error;
}

static _Atomic long answer;

static void *look_up(void *name) {
    tid = gettid();
    answer = found_by(name);
    over = true;
    return NULL;
}

static void expect_lookup_waits(void) {
    for (int calm = 0; calm < 50; calm = stage_asleep(tid) ? calm + 1 : 0)
        stage_pause();
    stage_expect(!over);
}

static void begin_lookup(pthread_t *thread, const char *name) {
    tid = 0;
    over = false;
    stage_equal(pthread_create(thread, NULL, look_up, (void *)name), 0);
    stage_wait(tid);
}

/* The test's own files, which need not be there: nobody else is asked. */
static void own_files(const char *hosts, const char *switched) {
    stage_shell(
        "cd %s && { cp -rP /etc etc 2>/dev/null; cd etc && rm -f hosts nsswitch.conf resolv.conf; } && "
        "echo '%s' >hosts && echo 'hosts: %s' >nsswitch.conf && "
        "printf 'nameserver 10.9.0.1\noptions timeout:1 attempts:1\n' >resolv.conf && "
        "mount --bind . /etc",
        stage_directory(), hosts, switched);
}

static void name_lookups_wait_for_the_default_labels(void) {
    const char *const names[] = {"getaddrinfo",      "gethostbyname", "gethostbyname2",  "gethostbyname_r",
                                 "gethostbyname2_r", "gethostbyaddr", "gethostbyaddr_r", "getnameinfo"};
    struct addrinfo numeric = {.ai_flags = AI_NUMERICHOST}, *list;
    own_files("10.9.0.1 waits.example", "files");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pthread_t thread;
        stage_shell("ip link set cell0 down");
        stage_wait(!stage_offered("cell"));
        begin_lookup(&thread, names[i]);
        expect_lookup_waits();
        stage_equal(getaddrinfo("10.9.0.1", "80", NULL, &list), 0);
        stage_equal(getaddrinfo("10.9.0.1", "80", &numeric, &list), 0);
        stage_expect(gethostbyname("localhost") || h_errno != TRY_AGAIN);
        stage_expect(gethostbyname("10.9.0.1"));
        stage_link("cell0", true);
        stage_wait(over);
        stage_equal(answer, 0);
        pthread_join(thread, NULL);
    }
}

static int ask(const char *how, const char *name) {
    unsigned char record[512];
    if (strcmp(how, "res_query") == 0)
        return res_query(name, C_IN, T_MX, record, sizeof record);
    if (strcmp(how, "res_search") == 0)
        return res_search(name, C_IN, T_MX, record, sizeof record);
    if (strcmp(how, "res_nquery") == 0)
        return res_nquery(&_res, name, C_IN, T_MX, record, sizeof record);
    return res_nsearch(&_res, name, C_IN, T_MX, record, sizeof record);
}

static void *ask_resolver(void *how) {
    tid = gettid();
    res_init();
    answer = ask(how, "waits.example") < 0 ? h_errno : 0;
    over = true;
    return NULL;
}

/* Nobody answers there: what they have waited for is a network to ask by. */
static void questions_for_the_resolver_itself_wait_too(void) {
    static const char *const ways[] = {"res_query", "res_search", "res_nquery", "res_nsearch"};
    own_files("127.0.0.1 localhost", "dns");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        pthread_t thread;
        stage_shell("ip link set cell0 down");
        stage_wait(!stage_offered("cell"));
        tid = 0;
        over = false;
        stage_equal(pthread_create(&thread, NULL, ask_resolver, (void *)ways[i]), 0);
        stage_wait(tid);
        expect_lookup_waits();
        stage_link("cell0", true);
        stage_wait(over);
        stage_equal(answer, TRY_AGAIN);
        pthread_join(thread, NULL);
    }
}

/* Its server never answers, and meanwhile the network goes. */
static void a_lookup_whose_network_goes_waits_again(void) {
    pthread_t thread;
    own_files("127.0.0.1 localhost", "files dns");
    stage_swallow("wifi0", true, false);
    stage_swallow("cell0", true, false);
    stage_wait(stage_offered("cell"));
    begin_lookup(&thread, "getaddrinfo");
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
    expect_lookup_waits();
    stage_shell("sleep 2"); /* longer than the resolver waits: it has failed once */
    expect_lookup_waits();
    stage_shell("echo 10.9.0.1 waits.example >>%s/etc/hosts", stage_directory());
    stage_link("cell0", true);
    stage_wait(over);
    stage_equal(answer, 0);
    pthread_join(thread, NULL);
}

static void *overwrite(void *unused) {
    volatile char stack[64 << 10];
    for (size_t i = 0; i < sizeof stack; i++)
        stack[i] = 1;
    return unused;
}

/* The child has none of its parent's threads, and the memory they were in is used for others. */
static void a_child_forked_while_a_lookup_waits_looks_up_for_itself(void) {
    stage_not_under_tsan("knows the threads of a forked child no more");
    pthread_t thread;
    int status = -1;
    own_files("10.9.0.1 waits.example", "files");
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
    begin_lookup(&thread, "getaddrinfo");
    expect_lookup_waits();
    const pid_t child = fork();
    if (child == 0) {
        stage_equal(pthread_create(&thread, NULL, overwrite, NULL), 0);
        pthread_join(thread, NULL);
        _exit((int)found_by("getaddrinfo"));
    }
    for (int calm = 0; calm < 50; calm = stage_asleep(child) ? calm + 1 : 0)
        stage_pause();
    stage_link("cell0", true);
    stage_wait(waitpid(child, &status, WNOHANG) == child);
    stage_equal(status, 0);
    stage_wait(over);
    stage_equal(answer, 0);
    pthread_join(thread, NULL);
}

static void cell_is_gone(void) {
    stage_shell("ip link set cell0 down");
    stage_wait(!stage_offered("cell"));
}

/* Whatever comes of it, it comes at once. */
static void what_is_the_machines_own_never_waits(void) {
    char own[256] = "";
    const char *const names[] = {"127.1", "0x7f000001",   "10.9.1",          "2130706433", "",
                                 "::1",   "fe80::1%lo",   "localhost",       "LocalHost",  "www.localhost",
                                 own,     "home.example", "HOME-TOO.example"};
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in itself = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.1.0.2")};
    struct addrinfo *list;
    char buf[256];
    own_files("127.0.1.1 home.example home-too.example # a comment", "files");
    gethostname(own, sizeof own - 1);
    cell_is_gone();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        getaddrinfo(names[i], "80", NULL, &list);
        gethostbyname(names[i]);
    }
    gethostbyaddr(&loopback.sin_addr, sizeof loopback.sin_addr, AF_INET);
    getnameinfo((struct sockaddr *)&loopback, sizeof loopback, buf, sizeof buf, NULL, 0, NI_NAMEREQD);
    getnameinfo((struct sockaddr *)&itself, sizeof itself, buf, sizeof buf, NULL, 0, NI_NAMEREQD);
}

static void who_takes_a_number_for_a_name_does_not_wait(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("10.9.0.1")};
    char buf[256] = "";
    own_files("127.0.0.1 localhost", "files");
    cell_is_gone();
    stage_equal(getnameinfo((struct sockaddr *)&to, sizeof to, buf, sizeof buf, NULL, 0, 0), 0);
    stage_expect(strcmp(buf, "10.9.0.1") == 0);
}

/* The network is there, the way to the name server not yet. */
static void a_lookup_that_fails_while_its_network_settles_is_made_again(void) {
    pthread_t thread;
    own_files("127.0.0.1 localhost", "files dns");
    stage_shell("ip link set wifi0 down");
    cell_is_gone();
    begin_lookup(&thread, "getaddrinfo");
    expect_lookup_waits();
    stage_shell("ip link set cell0 up");
    stage_wait(stage_offered("cell"));
    stage_shell("sleep 0.3"); /* it has failed meanwhile, more than once */
    stage_expect(!over);
    stage_shell("echo 10.9.0.1 waits.example >>%s/etc/hosts", stage_directory());
    stage_wait(over);
    stage_equal(answer, 0);
    pthread_join(thread, NULL);
}

static void patience_ends_a_lookup(void) {
    own_files("10.9.0.1 waits.example", "files");
    cell_is_gone();
    stage_equal(found_by("getaddrinfo"), EAI_AGAIN);
    stage_equal(found_by("gethostbyname"), TRY_AGAIN);
    stage_equal(found_by("gethostbyaddr_r"), TRY_AGAIN);
    stage_equal(found_by("getnameinfo"), EAI_AGAIN);
    stage_equal(ask("res_nsearch", "waits.example"), -1);
    stage_equal(_res.res_h_errno, TRY_AGAIN);
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=small")
#define TEST_PATIENCE(name)                                                                                  \
    STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=small CMM_PATIENCE=0.3")
    TEST(name_lookups_wait_for_the_default_labels),
    TEST(questions_for_the_resolver_itself_wait_too),
    TEST(a_lookup_whose_network_goes_waits_again),
    TEST(a_child_forked_while_a_lookup_waits_looks_up_for_itself),
    TEST(what_is_the_machines_own_never_waits),
    TEST(who_takes_a_number_for_a_name_does_not_wait),
    TEST(a_lookup_that_fails_while_its_network_settles_is_made_again),
    TEST_PATIENCE(patience_ends_a_lookup),
};

STAGE_MAIN(world, tests)

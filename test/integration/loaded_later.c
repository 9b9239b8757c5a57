/* loaded_later - a program that loads the library by dlopen: the cmm_ calls work whole, and nothing else of
 * the program is touched.
 */
#include "stage.h"

#include <dlfcn.h>
#include <errno.h>
#include <libcmm.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

static struct {
    __typeof__(&cmm_socket) socket;
    __typeof__(&cmm_connect) connect;
    __typeof__(&cmm_send) send;
    __typeof__(&cmm_recv) recv;
    __typeof__(&cmm_close) close;
    __typeof__(&cmm_networks) networks;
    __typeof__(&cmm_thunk_count) thunk_count;
} cmm;

static void *library;

static void *symbol(const char *name) {
    void *found = dlsym(library, name);
    stage_expect(found != NULL);
    return found;
}

static void load(void) {
    const char *path = getenv("CMM_PRELOAD_LIB");
    stage_expect(path != NULL);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        stage_fail(__FILE__, __LINE__, "%s", dlerror());
    cmm.socket = (__typeof__(cmm.socket))symbol("cmm_socket");
    cmm.connect = (__typeof__(cmm.connect))symbol("cmm_connect");
    cmm.send = (__typeof__(cmm.send))symbol("cmm_send");
    cmm.recv = (__typeof__(cmm.recv))symbol("cmm_recv");
    cmm.close = (__typeof__(cmm.close))symbol("cmm_close");
    cmm.networks = (__typeof__(cmm.networks))symbol("cmm_networks");
    cmm.thunk_count = (__typeof__(cmm.thunk_count))symbol("cmm_thunk_count");
}

static bool offered(const char *name) {
    struct cmm_network n[8];
    const int count = cmm.networks(n, 8);
    for (int i = 0; i < count; i++)
        if (strcmp(n[i].name, name) == 0)
            return true;
    return false;
}

static _Atomic int runs;
static void count_run(void *arg) {
    cmm.send((int)(long)arg, "thunk", 5, 0, WIFI, NULL, NULL);
    runs++;
}

static void cmm_calls_of_a_library_loaded_later_work_whole(void) {
    struct sockaddr_in to = stage_tcp();
    char text[8] = "";
    load();
    int sock = cmm.socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm.connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), CMM_DEFERRED);
    stage_equal(cmm.send(sock, "thunk", 5, 0, WIFI, count_run, (void *)(long)sock), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(runs == 1);
    stage_expect_connection(0, "127.0.1.1");
    stage_expect_text(0, "thunk");
    stage_up("cell");
    stage_wait(offered("cell"));
    stage_equal(cmm.send(sock, "by cell", 7, 0, CELL, NULL, NULL), 7);
    stage_expect_connection(1, "127.0.2.1");
    stage_expect_text(1, "by cell");
    stage_say(1, "answer");
    stage_equal(cmm.recv(sock, text, 6, MSG_WAITALL), 6);
    stage_expect(strcmp(text, "answer") == 0);
    stage_equal(cmm.close(sock), 0);
    stage_wait(stage_end(1) == STAGE_EOF);
    stage_fails(cmm.thunk_count(sock), EBADF);
}

static void plain_calls_of_a_program_that_loads_it_later_are_not_touched(void) {
    struct sockaddr_in to = stage_tcp();
    setenv("CMM_LABELS", "background", 1);
    setenv("CMM_RULES", "127.0.0.0/8=background", 1);
    load();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0); /* no network is there: it would wait */
    stage_equal(send(fd, "plain", 5, 0), 5);
    stage_wait(stage_connections() == 1);
    stage_expect_text(0, "plain");
    stage_expect_connection(0, "127.0.0.1");
    stage_equal(close(fd), 0);
    stage_wait(stage_end(0) == STAGE_EOF);
    stage_fails(cmm.thunk_count(fd), EBADF);
}

static void it_may_be_closed_and_loaded_again(void) {
    struct sockaddr_in to = stage_tcp();
    load();
    int sock = cmm.socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(cmm.connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL), CMM_DEFERRED);
    stage_equal(cmm.send(sock, "thunk", 5, 0, WIFI, count_run, (void *)(long)sock), CMM_DEFERRED);
    stage_equal(dlclose(library), 0); /* its threads run on: it stays in memory */
    stage_up("wifi");
    stage_wait(runs == 1);
    load();
    stage_equal(cmm.thunk_count(sock), 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(cmm_calls_of_a_library_loaded_later_work_whole),
    STAGE_TEST(plain_calls_of_a_program_that_loads_it_later_are_not_touched),
    STAGE_TEST(it_may_be_closed_and_loaded_again),
};

STAGE_MAIN(config, tests)

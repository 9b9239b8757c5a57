/* last_thread - programs whose main thread has ended end with their last one. Preloaded; every test ends with
 * the library alive. */
#include "alive.h"

#include <dlfcn.h>
#include <libcmm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void say_the_end(void) {
    (void)!write(alive_dial(0), "end", 3);
}

static _Atomic bool alone;

/* Unknown to the library. */
static void *linger(void *unused) {
    stage_wait(alone);
    return unused;
}

static bool main_has_ended(void) {
    char line[200] = "";
    FILE *f = fopen("/proc/self/stat", "re");
    if (f) {
        (void)!fgets(line, sizeof line, f);
        fclose(f);
    }
    return strstr(line, ") Z") != NULL;
}

static void *let_linger(void *unused) {
    stage_wait(main_has_ended());
    alone = true;
    return unused;
}

static void a_program_whose_main_thread_has_ended_ends_with_its_last(void) {
    alive_begin();
    const pid_t child = alive_fork();
    if (!child) {
        pthread_t threads[2];
        alive_dial(0);
        atexit(say_the_end);
        pthread_create(&threads[0], NULL, linger, NULL);
        pthread_create(&threads[1], NULL, let_linger, NULL);
        pthread_exit(NULL);
    }
    alive_ended(child, 0);
    stage_expect_text(2, "end");
    alive_expect();
}

static void say_thunk(void *socket) {
    __typeof__(cmm_send) *const say = (__typeof__(cmm_send) *)dlsym(RTLD_DEFAULT, "cmm_send");
    say(*(int *)socket, "thunk", 5, 0, CMM_LABEL_LARGE, NULL, NULL);
}

static void but_not_before_its_thunks_have_run(void) {
    __typeof__(cmm_socket) *const make = (__typeof__(cmm_socket) *)dlsym(RTLD_DEFAULT, "cmm_socket");
    __typeof__(cmm_connect) *const join = (__typeof__(cmm_connect) *)dlsym(RTLD_DEFAULT, "cmm_connect");
    __typeof__(cmm_send) *const say = (__typeof__(cmm_send) *)dlsym(RTLD_DEFAULT, "cmm_send");
    static int s;
    alive_begin();
    stage_down("wifi");
    const pid_t child = alive_fork();
    if (!child) {
        struct sockaddr_in to = stage_tcp();
        s = make(AF_INET, SOCK_STREAM, 0);
        if (join(s, (struct sockaddr *)&to, sizeof to, CMM_LABEL_LARGE, NULL, NULL, NULL) != CMM_DEFERRED ||
            say(s, "x", 1, 0, CMM_LABEL_LARGE, say_thunk, &s) != CMM_DEFERRED)
            _exit(1);
        pthread_exit(NULL);
    }
    int calm = 0, status = 0;
    stage_wait(++calm > 300 || waitpid(child, &status, WNOHANG) != 0);
    stage_equal(status, 0);
    stage_up("wifi");
    stage_wait(alive_carried(1, "thunk"));
    alive_ended(child, 0);
    alive_expect();
}

static const struct stage_test tests[] = {
    ALIVE_TEST(a_program_whose_main_thread_has_ended_ends_with_its_last),
    ALIVE_TEST(but_not_before_its_thunks_have_run),
};

STAGE_MAIN(alive_config, tests)

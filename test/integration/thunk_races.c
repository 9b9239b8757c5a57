/* thunk_races - cancel, close and many threads against the firing of thunks: each thunk has exactly one fate.
 *
 * A fate is a counter of its own: RUN and DELETED are added to it, nothing else ever is. CMM_RACES sets how
 * many thunks are cancelled as they fire.
 */
#include "stage.h"

#include <errno.h>
#include <libcmm.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

enum { RUN = 1, DELETED = 1 << 16, ROUNDS = 12500, VICTIMS = 8 };

static _Atomic int fate[ROUNDS * VICTIMS];

static int waiting_socket(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), CMM_DEFERRED);
    return sock;
}

static _Atomic int fired;

static void fire(void *arg) {
    *(_Atomic int *)arg += RUN;
    fired++;
}

static void delete (void *arg) {
    *(_Atomic int *)arg += DELETED;
}

static void tally(int count, int *ret_run, int *ret_deleted) {
    *ret_run = *ret_deleted = 0;
    for (int i = 0; i < count; i++) {
        *ret_run += fate[i] == RUN;
        *ret_deleted += fate[i] == DELETED;
        if (fate[i] != RUN && fate[i] != DELETED)
            stage_fail(__FILE__, __LINE__, "thunk %d ran %d times and was deleted %d times", i,
                       fate[i] % DELETED, fate[i] / DELETED);
    }
}

/* ---- cancel against fire ---- */

static _Atomic int entered, let_go;

/* Both sides of the race are awake: a pause would decide it. */
static void meet(int round) {
    stage_wait_begins();
    while (entered != round) {
        if (stage_late())
            stage_fail(__FILE__, __LINE__, "the thunk of round %d does not run", round);
        sched_yield();
    }
}

/* Holds the socket while victims are stored behind it; the last of a round is the first of the next. */
static void hold(void *arg) {
    const int round = (int)(long)arg;
    entered = round;
    while (let_go < round)
        sched_yield();
}

static void store(int sock, resume_handler_t handler, void *arg) {
    ssize_t r = cmm_send(sock, "x", 1, 0, WIFI, handler, arg);
    if (r != CMM_DEFERRED)
        stage_fail(__FILE__, __LINE__, "a send overtook a running thunk: %zd", r);
}

static long races(void) {
    const char *text = getenv("CMM_RACES");
    return text && atol(text) >= VICTIMS ? atol(text) : (long)ROUNDS * VICTIMS;
}

/* The fates are all used: adds them up and begins anew. */
static void settle(int count, long *run, long *deleted) {
    int ran, gone;
    if (!let_go)
        return;
    tally(count, &ran, &gone);
    *run += ran;
    *deleted += gone;
    for (int i = 0; i < count; i++)
        fate[i] = 0;
}

static void a_cancelled_thunk_does_not_run_and_one_that_ran_was_not_cancelled(void) {
    const int sock = waiting_socket(WIFI), rounds = (int)(races() / VICTIMS);
    long all_run = 0, all_deleted = 0, cancelled = 0;
    unsigned seed = 1;
    store(sock, hold, (void *)1L);
    stage_up("wifi");
    for (int round = 1; round <= rounds; round++) {
        meet(round);
        if (round % ROUNDS == 1)
            settle(ROUNDS * VICTIMS, &all_run, &all_deleted);
        for (int i = 0; i < VICTIMS; i++)
            store(sock, fire, &fate[(round - 1) % ROUNDS * VICTIMS + i]);
        if (round < rounds)
            store(sock, hold, (void *)(long)(round + 1));
        fired = 0;
        let_go = round;
        /* Some of them run, some are cancelled, one is just being taken. */
        const int some = rand_r(&seed) % (VICTIMS + 1);
        for (int spins = 0; fired < some; spins++)
            if (spins > 10000)
                sched_yield();
        cancelled += cmm_thunk_cancel(sock, fire, delete);
    }
    stage_wait(cmm_thunk_count(sock) == 0);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, NULL, NULL), 1); /* behind the last one */
    settle(((rounds - 1) % ROUNDS + 1) * VICTIMS, &all_run, &all_deleted);
    stage_equal(all_deleted, cancelled);
    stage_equal(all_run + all_deleted, (long)rounds * VICTIMS);
    printf("# %ld races: %ld run, %ld deleted\n", (long)rounds * VICTIMS, all_run, all_deleted);
}

/* ---- close against fire ---- */

static void a_thunk_of_a_closed_socket_ran_before_or_never(void) {
    enum { SOCKETS = 400 };
    struct sockaddr_in to = stage_tcp();
    unsigned seed = 1;
    stage_up("wifi");
    stage_up("cell");
    for (int i = 0; i < SOCKETS; i++) {
        int sock = cmm_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int r = cmm_connect(sock, (struct sockaddr *)&to, sizeof to, WIFI, NULL, NULL, NULL);
        stage_expect(r == CMM_DEFERRED || r == 0);
        for (int k = 0; k < VICTIMS; k++) {
            /* The connection is on wifi or coming: whatever is sent by cell is deferred. */
            r = cmm_send(sock, "x", 1, 0, CELL, fire, &fate[i * VICTIMS + k]) == CMM_DEFERRED ? 0 : 1;
            if (r)
                fate[i * VICTIMS + k] = RUN; /* it is there already: nothing stored */
        }
        for (int spin = rand_r(&seed) % 60000; spin > 0; spin--)
            __asm__ volatile("");
        stage_equal(cmm_close(sock), 0);
    }
    /* A later socket's thunk: those before it are over. */
    static _Atomic int last;
    stage_down("wifi");
    int sock = waiting_socket(WIFI);
    stage_equal(cmm_send(sock, "x", 1, 0, WIFI, fire, (void *)&last), CMM_DEFERRED);
    stage_up("wifi");
    stage_wait(last == RUN);
    for (int i = 0; i < SOCKETS * VICTIMS; i++)
        stage_expect(fate[i] == 0 || fate[i] == RUN);
}

/* ---- many threads against one socket ---- */

enum { THREADS = 4, EACH = 5000 };

static int shared_sock;
static _Atomic int order_broken;
static _Atomic long last_seen[THREADS];

struct numbered {
    int thread;
    long number;
};

static void check_order(void *arg) {
    struct numbered *n = arg;
    if (last_seen[n->thread] >= n->number)
        order_broken++;
    last_seen[n->thread] = n->number;
    fate[n->thread * EACH + n->number - 1] += RUN;
    free(n);
}

static void delete_numbered(void *arg) {
    struct numbered *n = arg;
    fate[n->thread * EACH + n->number - 1] += DELETED;
    free(n);
}

static void *store_many(void *arg) {
    const int thread = (int)(long)arg;
    for (long i = 1; i <= EACH; i++) {
        struct numbered *n = malloc(sizeof *n);
        *n = (struct numbered){thread, i};
        ssize_t r = cmm_send(shared_sock, ".", 1, 0, WIFI, check_order, n);
        if (r == CMM_THUNK_EXECUTED || r == CMM_DEFERRED)
            continue;
        stage_equal(r, 1); /* it went out: the argument is still ours */
        check_order(n);
    }
    return NULL;
}

static void *cancel_many(void *arg) {
    while (!*(_Atomic bool *)arg) {
        cmm_thunk_cancel(shared_sock, check_order, delete_numbered);
        for (int i = 0; i < 20; i++)
            stage_pause();
    }
    return NULL;
}

static void many_threads_store_and_cancel_while_networks_come_and_go(void) {
    pthread_t threads[THREADS], canceller;
    static _Atomic bool over;
    int run, deleted;
    shared_sock = waiting_socket(WIFI);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, store_many, (void *)i);
    pthread_create(&canceller, NULL, cancel_many, &over);
    for (int i = 0; i < 20; i++) {
        stage_up("wifi");
        stage_down("wifi");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    over = true;
    pthread_join(canceller, NULL);
    stage_up("wifi");
    stage_wait(cmm_thunk_count(shared_sock) == 0);
    stage_equal(cmm_send(shared_sock, ".", 1, 0, WIFI, NULL, NULL), 1);
    tally(THREADS * EACH, &run, &deleted);
    printf("# %d run, %d deleted\n", run, deleted);
    stage_equal(order_broken, 0);
}

static const struct stage_test tests[] = {
    STAGE_TEST(a_cancelled_thunk_does_not_run_and_one_that_ran_was_not_cancelled),
    STAGE_TEST(a_thunk_of_a_closed_socket_ran_before_or_never),
    STAGE_TEST(many_threads_store_and_cancel_while_networks_come_and_go),
};

STAGE_MAIN(config, tests)

/* signals - the program's SIGHUP is its own: it sees everybody's but the scout's.
 * Preloaded, with a live connection, while networks come and go without end. Each way to treat a signal is a
 * test of its own; where signals are counted each is waited for before the next is sent, as standard signals
 * do not queue. */
#include "stage.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = all\n"
                             "[network cell]\naddress = 127.0.2.1\nlabels = ondemand, small\n";

enum { FLAPS = 60, SIGNALS = 400 };

static int sock = -1;

/* ---- networks that come and go ---- */

static _Atomic bool enough;
static _Atomic int flaps;
static pthread_t flapper;

static void *flap(void *unused) {
    while (!enough) {
        stage_up("cell");
        stage_down("cell");
        flaps++;
    }
    return unused;
}

static void live(void) {
    struct sockaddr_in to = stage_tcp();
    stage_up("wifi");
    sock = socket(AF_INET, SOCK_STREAM, 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_expect_connection(0, "127.0.1.1");
}

/* Born with all signals blocked: one that blocks them itself is open to the program's for a moment, and takes
 * what the test has blocked in its own thread only. */
static void begin_flaps(void) {
    sigset_t all, before;
    enough = false;
    flaps = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    stage_equal(pthread_create(&flapper, NULL, flap, NULL), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void end_flaps(void) {
    stage_wait(flaps >= FLAPS);
    enough = true;
    pthread_join(flapper, NULL);
}

static void live_among_flaps(void) {
    live();
    begin_flaps();
}

/* ---- a handler ---- */

static _Atomic int hangups, strange;

static void on_hangup(int signal, siginfo_t *info, void *context) {
    (void)context;
    if (signal != SIGHUP || info->si_code != SI_QUEUE || info->si_pid != getpid() ||
        info->si_uid != getuid() || info->si_value.sival_int != hangups)
        strange++;
    hangups++;
}

static void handle(int flags) {
    struct sigaction act = {.sa_flags = SA_SIGINFO | flags};
    act.sa_sigaction = on_hangup;
    hangups = strange = 0;
    stage_equal(sigaction(SIGHUP, &act, NULL), 0);
}

static void queue(int value) {
    stage_equal(sigqueue(getpid(), SIGHUP, (union sigval){.sival_int = value}), 0);
}

static void a_handler_gets_every_hangup_but_the_scouts(void) {
    handle(SA_RESTART);
    live_among_flaps();
    for (int i = 0; i < SIGNALS; i++) {
        queue(i);
        stage_wait(hangups == i + 1);
    }
    end_flaps();
    stage_equal(hangups, SIGNALS);
    stage_equal(strange, 0);
}

static void a_handler_is_not_run_on_the_scouts_account(void) {
    handle(0);
    live_among_flaps();
    end_flaps();
    stage_equal(hangups, 0);
}

/* ---- no call is interrupted ---- */

static int ends[2];
static _Atomic long results[4];
static _Atomic int returned;

static void *in_recv(void *unused) {
    char byte;
    results[0] = recv(sock, &byte, 1, 0) < 0 ? -errno : 0;
    returned++;
    return unused;
}

static void *in_read(void *unused) {
    char byte;
    results[1] = read(ends[0], &byte, 1) < 0 ? -errno : 0;
    returned++;
    return unused;
}

static void *in_poll(void *unused) {
    struct pollfd p[2] = {{.fd = ends[0], .events = POLLIN}, {.fd = sock, .events = POLLIN}};
    results[2] = poll(p, 2, -1) < 0 ? -errno : 0;
    returned++;
    return unused;
}

static void no_call_is_interrupted_on_the_scouts_account(void) {
    void *(*const calls[])(void *) = {in_recv, in_read, in_poll};
    pthread_t threads[3];
    handle(0);
    live();
    stage_equal(pipe(ends), 0);
    for (int i = 0; i < 3; i++)
        stage_equal(pthread_create(&threads[i], NULL, calls[i], NULL), 0);
    begin_flaps();
    stage_wait(flaps >= FLAPS);
    stage_equal(returned, 0);
    end_flaps();
    /* Two of each: the poll, woken last, still finds one. */
    stage_say(0, "xx");
    (void)!write(ends[1], "xx", 2);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        stage_equal(results[i], 0);
    stage_equal(hangups, 0);
}

static void a_sleep_is_not_cut_short(void) {
    handle(0);
    live_among_flaps();
    stage_equal(nanosleep(&(struct timespec){0, 300000000}, NULL), 0);
    end_flaps();
}

/* ---- ignored and default ---- */

static void ignored_from_the_beginning_as_under_nohup_it_stays_ignored(void) {
    struct sigaction now;
    signal(SIGHUP, SIG_IGN);
    live_among_flaps();
    for (int i = 0; i < SIGNALS; i++)
        stage_equal(kill(getpid(), SIGHUP), 0);
    end_flaps();
    stage_equal(sigaction(SIGHUP, NULL, &now), 0);
    stage_expect(now.sa_handler == SIG_IGN);
}

static void with_the_default_action_only_the_scouts_does_not_kill(void) {
    int status = 0;
    const pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGHUP, SIG_DFL);
        live();
        begin_flaps();
        end_flaps();
        pause();
        _exit(3);
    }
    stage_wait(stage_connections() == 1);
    stage_wait(stage_offered("wifi"));
    /* It lives through its flaps. */
    int calm = 0;
    stage_wait((calm++, calm > 200) || waitpid(child, &status, WNOHANG) != 0);
    stage_equal(status, 0);
    stage_equal(kill(child, SIGHUP), 0);
    stage_equal(waitpid(child, &status, 0), child);
    stage_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

/* ---- blocked everywhere ---- */

static sigset_t hangup_set(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    return set;
}

static void block(void) {
    const sigset_t set = hangup_set();
    stage_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
}

static bool is_pending(void) {
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, SIGHUP);
}

static void sigpending_shows_the_programs_own_only(void) {
    const sigset_t set = hangup_set();
    siginfo_t info;
    block();
    live_among_flaps();
    while (flaps < FLAPS)
        stage_expect(!is_pending());
    queue(7);
    stage_wait(is_pending());
    const int until = flaps + FLAPS;
    while (flaps < until)
        stage_expect(is_pending());
    end_flaps();
    stage_equal(sigwaitinfo(&set, &info), SIGHUP);
    stage_equal(info.si_value.sival_int, 7);
    stage_expect(!is_pending());
}

static _Atomic int waited_for;
static _Atomic bool waiting;

static void *waiter(void *unused) {
    const sigset_t set = hangup_set();
    siginfo_t info;
    while (waited_for < SIGNALS) {
        waiting = true;
        if (sigwaitinfo(&set, &info) != SIGHUP || info.si_code != SI_QUEUE || info.si_pid != getpid() ||
            info.si_value.sival_int != waited_for)
            strange++;
        waited_for++;
    }
    return unused;
}

static void sigwait_gets_every_hangup_but_the_scouts(void) {
    pthread_t thread;
    block();
    live();
    strange = waited_for = 0;
    stage_equal(pthread_create(&thread, NULL, waiter, NULL), 0);
    stage_wait(waiting);
    begin_flaps();
    stage_wait(flaps > 5);
    stage_equal(waited_for, 0);
    for (int i = 0; i < SIGNALS; i++) {
        queue(i);
        stage_wait(waited_for == i + 1);
    }
    pthread_join(thread, NULL);
    end_flaps();
    stage_equal(strange, 0);
}

static void signalfd_gets_every_hangup_but_the_scouts(void) {
    const sigset_t set = hangup_set();
    block();
    live();
    const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct signalfd_siginfo info;
    begin_flaps();
    for (int i = 0; i < SIGNALS; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        stage_fails(read(fd, &info, sizeof info), EAGAIN);
        queue(i);
        stage_equal(poll(&p, 1, -1), 1);
        stage_equal(read(fd, &info, sizeof info), sizeof info);
        stage_expect(info.ssi_int == i && (pid_t)info.ssi_pid == getpid() && info.ssi_code == SI_QUEUE);
    }
    end_flaps();
    stage_fails(read(fd, &info, sizeof info), EAGAIN);
}

static void a_limit_of_sigtimedwait_passes_in_peace(void) {
    const sigset_t set = hangup_set();
    const struct timespec limit = {0, 300000000};
    siginfo_t info;
    block();
    live_among_flaps();
    stage_fails(sigtimedwait(&set, &info, &limit), EAGAIN);
    queue(3);
    stage_equal(sigtimedwait(&set, &info, &limit), SIGHUP);
    stage_equal(info.si_value.sival_int, 3);
    end_flaps();
}

/* ---- let in by a call's own mask ---- */

static int wait_unmasked(int way, const struct timespec *limit) {
    static int set = -1;
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd p = {.fd = sock, .events = POLLIN};
    sigset_t none;
    fd_set in;
    sigemptyset(&none);
    FD_ZERO(&in);
    FD_SET(sock, &in);
    if (set < 0) {
        set = epoll_create1(EPOLL_CLOEXEC);
        stage_equal(epoll_ctl(set, EPOLL_CTL_ADD, sock, &event), 0);
    }
    switch (way) {
    case 0:
        return ppoll(&p, 1, limit, &none);
    case 1:
        return pselect(sock + 1, &in, NULL, NULL, limit, &none);
    case 2:
        return epoll_pwait(set, &event, 1, limit ? (int)(limit->tv_nsec / 1000000) : -1, &none);
    default:
        return limit ? 0 : sigsuspend(&none);
    }
}

static void the_masks_of_waiting_calls_let_in_the_programs_hangups_only(void) {
    const struct timespec shortly = {0, 2000000};
    block();
    handle(0);
    live_among_flaps();
    for (int i = 0; i < SIGNALS; i++) {
        queue(i);
        stage_equal(hangups, i);
        stage_fails(wait_unmasked(i % 4, NULL), EINTR);
        stage_equal(hangups, i + 1);
        stage_equal(wait_unmasked(i % 4, &shortly), 0);
    }
    end_flaps();
    stage_equal(hangups, SIGNALS);
    stage_equal(strange, 0);
}

/* ---- changed at run time ---- */

static void its_treatment_can_change_at_any_time(void) {
    const sigset_t set = hangup_set();
    live_among_flaps();
    int wanted = 0;
    handle(SA_RESTART);
    while (flaps < FLAPS) {
        signal(SIGHUP, SIG_IGN);
        stage_equal(kill(getpid(), SIGHUP), 0);
        signal(SIGHUP, SIG_DFL);
        struct sigaction act = {.sa_flags = SA_SIGINFO};
        act.sa_sigaction = on_hangup;
        stage_equal(sigaction(SIGHUP, &act, NULL), 0);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        queue(wanted);
        stage_equal(hangups, wanted);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        wanted++;
        stage_equal(hangups, wanted);
    }
    end_flaps();
    stage_equal(strange, 0);
}

static void what_the_program_asks_of_sigaction_is_its_own(void) {
    struct sigaction now;
    live_among_flaps();
    end_flaps();
    stage_equal(sigaction(SIGHUP, NULL, &now), 0);
    stage_expect(now.sa_handler == SIG_DFL);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    stage_expect(!sigismember(&mask, SIGHUP));
}

static const struct stage_test tests[] = {
#define TEST(name) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, "CMM_RULES=127.0.0.0/8=small")
    TEST(a_handler_gets_every_hangup_but_the_scouts),
    TEST(a_handler_is_not_run_on_the_scouts_account),
    TEST(no_call_is_interrupted_on_the_scouts_account),
    TEST(a_sleep_is_not_cut_short),
    TEST(ignored_from_the_beginning_as_under_nohup_it_stays_ignored),
    TEST(with_the_default_action_only_the_scouts_does_not_kill),
    TEST(sigpending_shows_the_programs_own_only),
    TEST(sigwait_gets_every_hangup_but_the_scouts),
    TEST(signalfd_gets_every_hangup_but_the_scouts),
    TEST(a_limit_of_sigtimedwait_passes_in_peace),
    TEST(the_masks_of_waiting_calls_let_in_the_programs_hangups_only),
    TEST(its_treatment_can_change_at_any_time),
    TEST(what_the_program_asks_of_sigaction_is_its_own),
};

STAGE_MAIN(config, tests)

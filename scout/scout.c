/* scout - the daemon's context and its loop: with its two helpers the only room that knows the others.
 *
 * One loop, one epoll; scout_flow carries the news, scout_control the orders. No timer runs unless a room
 * has a deadline.
 */
#include "scout_context.h"

#include "log.h"
#include "machine.h"
#include "network_ledger.h"
#include "notify.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SOURCE_SIGNALS = 1, SOURCE_MONITOR, SOURCE_SUBSCRIBERS, SOURCE_PROBE, SETTLE_MS = 3000 };

static void on_signal(struct scout *s) {
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP)
            scout_reload(s);
        else
            s->ending = true;
    }
}

static void on_monitor(struct scout *s) {
    int r = monitor_read(s->monitor, machine_now_ms());
    if (r < 0) {
        log_say(LOG_ERROR, "no more news from the kernel: %s", strerror(-r));
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, monitor_fd(s->monitor), NULL);
    } else if (r > 0) {
        scout_look(s, false);
        scout_publish(s);
    }
}

static void sooner(int64_t *first, int64_t at) {
    if (at >= 0 && (*first < 0 || at < *first))
        *first = at;
}

static int patience(const struct scout *s) {
    int64_t first = -1, now = machine_now_ms();
    if (s->monitor)
        sooner(&first, monitor_deadline(s->monitor));
    sooner(&first, network_deadline(&s->networks));
    sooner(&first, probe_deadline(&s->probes));
    sooner(&first, s->paths_due);
    int64_t script = s->script ? script_deadline(s->script) : -1;
    sooner(&first, script < 0 ? -1 : s->script_start + script);
    return first < 0 ? -1 : first <= now ? 0 : first - now > INT32_MAX ? INT32_MAX : (int)(first - now);
}

static void pass_time(struct scout *s) {
    int64_t now = machine_now_ms(), due = network_deadline(&s->networks);
    if (s->monitor && monitor_deadline(s->monitor) >= 0)
        monitor_tick(s->monitor, now);
    bool news = probe_step(&s->probes, now);
    if (news || (due >= 0 && due <= now) || (s->paths_due >= 0 && s->paths_due <= now)) {
        scout_look(s, false);
        scout_publish(s);
    }
    if (s->script)
        scout_play(s);
}

static void loop(struct scout *s) {
    struct epoll_event events[4];
    while (!s->ending) {
        int n = epoll_wait(s->epoll, events, 4, patience(s));
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == SOURCE_MONITOR)
                on_monitor(s);
            else if (events[i].data.u32 == SOURCE_SUBSCRIBERS)
                subscribers_read(s->subscribers);
            else if (events[i].data.u32 == SOURCE_SIGNALS)
                on_signal(s); /* what a probe found out is asked below */
        }
        pass_time(s);
    }
}

static int add_source(struct scout *s, int fd, uint32_t source) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = source};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

/* The first look must see everything: what was up before us is offered at once. */
static void start_monitor(struct scout *s) {
    int64_t end = machine_now_ms() + SETTLE_MS;
    int r = monitor_new(&s->monitor);
    while (r >= 0 && !monitor_settled(s->monitor) && machine_now_ms() < end) {
        struct pollfd p = {.fd = monitor_fd(s->monitor), .events = POLLIN};
        poll(&p, 1, 20);
        monitor_tick(s->monitor, machine_now_ms());
        r = monitor_read(s->monitor, machine_now_ms());
    }
    if (r < 0) {
        log_say(LOG_WARNING, "nothing to be heard from the kernel (%s): only host addresses can be networks",
                strerror(-r));
        monitor_free(s->monitor);
        s->monitor = NULL;
    } else {
        add_source(s, monitor_fd(s->monitor), SOURCE_MONITOR);
    }
}

static int init_signals(struct scout *s) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->signals < 0 || s->epoll < 0)
        return -errno;
    int r = probe_init(&s->probes);
    r = r < 0 ? r : add_source(s, probe_fd(&s->probes), SOURCE_PROBE);
    return r < 0 ? r : add_source(s, s->signals, SOURCE_SIGNALS);
}

static int open_doors(struct scout *s) {
    struct subscribers_hooks hooks = {s, scout_on_set, scout_on_policy, scout_on_untold, scout_on_status};
    int sock = listener_open(&s->listener);
    if (sock < 0) {
        log_say(LOG_ERROR, "%s", s->listener.why);
        return sock;
    }
    int r = subscribers_new(sock, &hooks, &s->subscribers);
    if (r < 0) {
        log_say(LOG_ERROR, "cannot listen: %s", strerror(-r));
        return r;
    }
    subscribers_names(s->subscribers, &s->settings.names);
    subscribers_publish(s->subscribers, &s->told.snapshot);
    add_source(s, subscribers_fd(s->subscribers), SOURCE_SUBSCRIBERS);
    log_say(LOG_INFORM, "listening on %s", s->listener.path);
    listener_ring(&s->listener);
    notify_say("READY=1");
    return 0;
}

static int start(struct scout *s) {
    if (!scout_adopt_config(s, false))
        return -EINVAL;
    int r = listener_take(&s->listener, s->options->name);
    if (r < 0) {
        log_say(LOG_ERROR, "%s", s->listener.why);
        return r;
    }
    if ((r = init_signals(s)) < 0) {
        log_say(LOG_ERROR, "cannot start: %s", strerror(-r));
        return r;
    }
    machine_raise_limits();
    multipath_hand_init(&s->multipath, s->options->name, s->listener.lock);
    network_ledger_read(s->listener.lock, &s->networks);
    start_monitor(s);
    scout_look(s, true);
    if (s->options->script && (r = scout_load_script(s)) < 0)
        return r;
    s->script_start = machine_now_ms();
    scout_play(s); /* what happens at 0 is true from the first snapshot on */
    return s->ending ? 0 : open_doors(s);
}

static void finish(struct scout *s) {
    notify_say("STOPPING=1");
    multipath_hand_finish(&s->multipath); /* while the name is ours */
    listener_finish(&s->listener);
    subscribers_free(s->subscribers);
    script_free(s->script);
    monitor_free(s->monitor);
    probe_finish(&s->probes);
    if (s->epoll >= 0)
        close(s->epoll);
    if (s->signals >= 0)
        close(s->signals);
}

static struct scout *new_scout(const struct scout_options *options) {
    struct scout *s = calloc(1, sizeof *s);
    if (!s) {
        log_say(LOG_ERROR, "out of memory");
        return NULL;
    }
    s->options = options;
    s->epoll = s->signals = s->probes.epoll = s->listener.lock = -1;
    s->started_ms = machine_wall_ms();
    scout_find_config(options, s->config);
    network_init(&s->networks, options->script != NULL, machine_seed(), machine_random());
    return s;
}

int scout_run(const struct scout_options *options) {
    struct scout *s = new_scout(options);
    if (!s)
        return 1;
    int r = start(s);
    if (r == 0)
        loop(s);
    finish(s);
    free(s);
    return r < 0;
}

int scout_check(const struct scout_options *options) {
    struct scout *s = new_scout(options);
    if (!s)
        return 1;
    bool good = scout_adopt_config(s, false);
    if (good && options->script) {
        if (!s->settings.network_count) {
            start_monitor(s);
            scout_look(s, true);
        }
        good = scout_load_script(s) == 0;
    }
    finish(s);
    free(s);
    return !good;
}

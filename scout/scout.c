/* scout - the daemon's context and its loop: the only room that knows the others.
 *
 * One thread, one epoll. Kernel -> monitor -> policy -> network -> snapshot -> subscribers; script and
 * cmm-ctl speak to network too. Whatever happens ends in publish(), after look() if facts may have changed.
 * No timer runs unless a room has a deadline.
 */
#include "scout.h"

#include "config.h"
#include "herald.h"
#include "listener.h"
#include "log.h"
#include "monitor.h"
#include "network.h"
#include "notify.h"
#include "policy.h"
#include "script.h"
#include "subscribers.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SOURCE_SIGNALS = 1, SOURCE_MONITOR, SOURCE_SUBSCRIBERS, SETTLE_MS = 3000, CONFIG_PATH = 4096 };

struct scout {
    const struct scout_options *options;
    char config[CONFIG_PATH];
    struct settings settings;
    struct network_table networks;
    struct monitor *monitor; /* NULL: no netlink here */
    struct script *script;
    struct listener listener;
    struct subscribers *subscribers; /* NULL: not listening yet */
    struct herald_view told;
    int epoll, signals;
    bool ending;
    int64_t script_start;
    uint64_t started_ms;
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Mistakes in files begin with the file, as compilers say it; in the journal with the level. */
static void say_mistake(void *arg, const char *file, unsigned line, const char *text) {
    const bool *log = arg;
    if (line == 0)
        log_say(LOG_ERROR, "%s: %s", file, text);
    else if (log && *log)
        log_say(LOG_ERROR, "%s:%u: %s", file, line, text);
    else
        fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

static void find_config(const struct scout_options *o, char ret[CONFIG_PATH]) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
    if (o->config)
        snprintf(ret, CONFIG_PATH, "%s", o->config);
    else if (geteuid() == 0)
        snprintf(ret, CONFIG_PATH, "/etc/cmm/scout.conf");
    else if (xdg && xdg[0] == '/')
        snprintf(ret, CONFIG_PATH, "%s/cmm/scout.conf", xdg);
    else
        snprintf(ret, CONFIG_PATH, "%s/.config/cmm/scout.conf", home ? home : "");
}

static bool script_may_drive(void *arg, const char *network) {
    struct scout *s = arg;
    return s->settings.network_count ? policy_knows(&s->settings, network)
                                     : network_known(&s->networks, network);
}

static void say_script_mistake(void *arg, const char *file, unsigned line, const char *text) {
    say_mistake(NULL, file, line, text);
}

static int load_script(struct scout *s) {
    struct script_reader reader = {&s->settings.names, script_may_drive, say_script_mistake, s};
    return script_load(s->options->script, &reader, &s->script);
}

static void say_change(void *arg, const char *text) {
    struct scout *s = arg;
    log_often(LOG_INFORM, "%s", text);
    if (s->subscribers)
        subscribers_event(s->subscribers, text);
}

/* Everything but the generation. */
static bool same(const struct herald_view *a, const struct herald_view *b) {
    return a->snapshot.count == b->snapshot.count && a->snapshot.pref_count == b->snapshot.pref_count &&
           memcmp(a->snapshot.prefs, b->snapshot.prefs, sizeof a->snapshot.prefs) == 0 &&
           memcmp(a->snapshot.networks, b->snapshot.networks, sizeof a->snapshot.networks) == 0 &&
           memcmp(a->ifaces, b->ifaces, sizeof a->ifaces) == 0;
}

static void publish(struct scout *s) {
    struct herald_view now = {.snapshot.generation = s->told.snapshot.generation + 1};
    network_fill(&s->networks, &now.snapshot, now.ifaces);
    policy_prefs(&s->settings, (const char(*)[FACT_IFACE])now.ifaces, &now.snapshot);
    now.snapshot.header =
        (struct wire_header){WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(now.snapshot.count)};
    if (s->told.snapshot.generation && same(&s->told, &now))
        return;
    /* Before any talk: this is what somebody waits for. */
    if (s->subscribers)
        subscribers_publish(s->subscribers, &now.snapshot);
    herald_compare(&s->told, &now, &s->settings.names, say_change, s);
    s->told = now;
}

static void see(struct scout *s, const struct fact_network *fact, bool at_once, int64_t now) {
    if (network_see(&s->networks, fact, at_once, now) < 0)
        log_often(LOG_WARNING, "too many networks: %s is left out", fact->name);
}

static bool is_present(void *arg, uint32_t ifindex) {
    return monitor_has(((struct scout *)arg)->monitor, ifindex);
}

/* The whole way from facts to the table. at_once: not the kernel brought the news. */
static void look(struct scout *s, bool at_once) {
    int64_t now = now_ms();
    const struct fact_link *l;
    struct fact_network fact;
    network_begin(&s->networks);
    for (unsigned i = 0; (l = monitor_link(s->monitor, i)); i++)
        if (policy_link(&s->settings, l, &fact))
            see(s, &fact, at_once, now);
    for (unsigned i = 0; i < s->settings.network_count; i++) {
        uint32_t ifindex = 0;
        bool works = s->settings.networks[i].address_only &&
                     monitor_can_bind(s->monitor, &s->settings.networks[i].address, &ifindex);
        if (policy_address(&s->settings, i, works, ifindex, &fact))
            see(s, &fact, at_once, now);
    }
    network_end(&s->networks, is_present, s, now);
}

static void act(struct scout *s, const struct script_action *a) {
    switch (a->verb) {
    case SCRIPT_UP:
    case SCRIPT_DOWN:
        network_wish(&s->networks, NETWORK_SCRIPT, a->network,
                     a->verb == SCRIPT_UP ? NETWORK_UP : NETWORK_DOWN, now_ms());
        return;
    case SCRIPT_LABELS:
        network_labels(&s->networks, a->network, a->labels);
        return;
    case SCRIPT_EXIT:
        log_say(LOG_INFORM, "the script ends here");
        s->ending = true;
        return;
    case SCRIPT_LOOP:
    case SCRIPT_END:
        return;
    }
}

/* One snapshot for each moment of the timetable: actions of one time are one change. */
static void play(struct scout *s) {
    struct script_action a;
    while (s->script && !s->ending) {
        int64_t due = script_deadline(s->script);
        if (script_take(s->script, now_ms() - s->script_start, &a) == 0)
            break;
        act(s, &a);
        if (script_deadline(s->script) != due)
            publish(s);
    }
    publish(s);
}

static bool adopt_config(struct scout *s, bool logged) {
    struct settings *fresh = malloc(sizeof *fresh);
    int r = fresh ? config_load(s->config, s->options->config != NULL, fresh, say_mistake, &logged) : -ENOMEM;
    if (r == 0) {
        s->settings = *fresh;
        s->networks.hold_ms = fresh->hold_ms;
        s->networks.grace_ms = fresh->grace_ms;
        if (s->subscribers)
            subscribers_names(s->subscribers, &s->settings.names);
    }
    free(fresh);
    return r == 0;
}

static bool reload(struct scout *s) {
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, now_ms() * 1000);
    notify_say(state);
    bool good = adopt_config(s, true);
    if (good) {
        log_say(LOG_INFORM, "configuration read again");
        look(s, true);
        publish(s);
    } else {
        log_say(LOG_ERROR, "the configuration has mistakes; the old one stays");
    }
    notify_say("READY=1");
    return good;
}

static int override(struct scout *s, const struct wire_set *m, enum network_wish wish, char *ret_text,
                    size_t len) {
    char name[sizeof m->network];
    memcpy(name, m->network, sizeof name);
    if (!network_known(&s->networks, name) && (strchr(name, '@') || !policy_knows(&s->settings, name))) {
        snprintf(ret_text, len, "unknown network '%s'", name);
        for (char *p = ret_text; *p; p++)
            if (*p < ' ' || *p > '~')
                *p = '?';
        return ENOENT;
    }
    if (network_wish(&s->networks, NETWORK_CTL, name, wish, now_ms()) < 0) {
        snprintf(ret_text, len, "too many overrides");
        return ENOSPC;
    }
    publish(s);
    return 0;
}

static int on_set(void *arg, const struct wire_set *m, char *ret_text, size_t len) {
    struct scout *s = arg;
    switch (m->action) {
    case WIRE_SET_UP:
        return override(s, m, NETWORK_UP, ret_text, len);
    case WIRE_SET_DOWN:
        return override(s, m, NETWORK_DOWN, ret_text, len);
    case WIRE_SET_AUTO:
        return override(s, m, NETWORK_AUTO, ret_text, len);
    case WIRE_SET_RELOAD:
        if (reload(s))
            return 0;
        snprintf(ret_text, len, "%.90s has mistakes; the old policy stays", s->config);
        return EINVAL;
    case WIRE_SET_RELEASE:
        snprintf(ret_text, len, "this scout cannot release yet");
        return EOPNOTSUPP;
    default:
        snprintf(ret_text, len, "this scout does not know that action");
        return EINVAL;
    }
}

static void on_status(void *arg, struct wire_status *ret) {
    struct scout *s = arg;
    ret->started_ms = s->started_ms;
    ret->generation = s->told.snapshot.generation;
    ret->pid = (uint32_t)getpid();
    ret->scripted = s->options->script != NULL;
    snprintf(ret->name, sizeof ret->name, "%s", s->options->name);
    snprintf(ret->release, sizeof ret->release, "%s", CMM_VERSION);
    snprintf(ret->config, sizeof ret->config, "%.*s", WIRE_TEXT - 1,
             access(s->config, F_OK) == 0 ? s->config : "");
}

static void on_signal(struct scout *s) {
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(s);
        else
            s->ending = true;
    }
}

static void on_monitor(struct scout *s) {
    int r = monitor_read(s->monitor, now_ms());
    if (r < 0) {
        log_say(LOG_ERROR, "no more news from the kernel: %s", strerror(-r));
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, monitor_fd(s->monitor), NULL);
    } else if (r > 0) {
        look(s, false);
        publish(s);
    }
}

static void sooner(int64_t *first, int64_t at) {
    if (at >= 0 && (*first < 0 || at < *first))
        *first = at;
}

static int patience(const struct scout *s) {
    int64_t first = -1, now = now_ms();
    if (s->monitor)
        sooner(&first, monitor_deadline(s->monitor));
    sooner(&first, network_deadline(&s->networks));
    int64_t script = s->script ? script_deadline(s->script) : -1;
    sooner(&first, script < 0 ? -1 : s->script_start + script);
    return first < 0 ? -1 : first <= now ? 0 : first - now > INT32_MAX ? INT32_MAX : (int)(first - now);
}

static void pass_time(struct scout *s) {
    int64_t now = now_ms(), due = network_deadline(&s->networks);
    if (s->monitor && monitor_deadline(s->monitor) >= 0)
        monitor_tick(s->monitor, now);
    if (due >= 0 && due <= now) {
        look(s, false);
        publish(s);
    }
    if (s->script)
        play(s);
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
            else
                on_signal(s);
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
    int64_t end = now_ms() + SETTLE_MS;
    int r = monitor_new(&s->monitor);
    while (r >= 0 && !monitor_settled(s->monitor) && now_ms() < end) {
        struct pollfd p = {.fd = monitor_fd(s->monitor), .events = POLLIN};
        poll(&p, 1, 20);
        monitor_tick(s->monitor, now_ms());
        r = monitor_read(s->monitor, now_ms());
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

static uint64_t mix(uint64_t h, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    return h;
}

/* The same for every scout in this boot and network namespace: a restarted one must give the same ids. */
static uint64_t seed_of_machine(void) {
    char boot[64] = "";
    struct stat st = {0};
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f && !fgets(boot, sizeof boot, f))
        boot[0] = 0;
    if (f)
        fclose(f);
    if (stat("/proc/self/ns/net", &st) < 0)
        st.st_ino = 0;
    return mix(mix(UINT64_C(0xcbf29ce484222325), boot, strlen(boot)), (const char *)&st.st_ino,
               sizeof st.st_ino);
}

static void init_networks(struct scout *s) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = wall_ms();
    network_init(&s->networks, s->options->script != NULL, seed_of_machine(), random);
}

static void raise_limit(int what) {
    struct rlimit l;
    if (getrlimit(what, &l) < 0)
        return;
    l.rlim_cur = l.rlim_max;
    setrlimit(what, &l);
    if (what == RLIMIT_MSGQUEUE && geteuid() == 0) {
        l.rlim_cur = l.rlim_max = RLIM_INFINITY;
        setrlimit(what, &l);
    }
}

static int init_signals(struct scout *s) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->signals < 0 || s->epoll < 0)
        return -errno;
    return add_source(s, s->signals, SOURCE_SIGNALS);
}

static int open_doors(struct scout *s) {
    struct subscribers_hooks hooks = {s, on_set, on_status};
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
    if (!adopt_config(s, false))
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
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MSGQUEUE);
    start_monitor(s);
    look(s, true);
    if (s->options->script && (r = load_script(s)) < 0)
        return r;
    s->script_start = now_ms();
    play(s); /* what happens at 0 is true from the first snapshot on */
    return s->ending ? 0 : open_doors(s);
}

static void finish(struct scout *s) {
    notify_say("STOPPING=1");
    listener_finish(&s->listener);
    subscribers_free(s->subscribers);
    script_free(s->script);
    monitor_free(s->monitor);
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
    s->epoll = s->signals = s->listener.lock = -1;
    s->started_ms = wall_ms();
    find_config(options, s->config);
    init_networks(s);
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
    bool good = adopt_config(s, false);
    if (good && options->script) {
        if (!s->settings.network_count) {
            start_monitor(s);
            look(s, true);
        }
        good = load_script(s) == 0;
    }
    finish(s);
    free(s);
    return !good;
}

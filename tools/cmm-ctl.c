/* cmm-ctl - status and control of the scout: a table of subcommands.
 *
 * Everything a command needs from the scout is asked before it runs (its `parts`), so that a command only
 * looks and prints. One thread, no state beyond struct ctl. Exit codes are the contract's: 0 done, 1 no,
 * 2 usage, 3 no scout answers; one clear line on stderr for each but 0. Nothing is printed here that came
 * from outside without ctl_escape().
 */
#include "ctl_kin.h"
#include "ctl_print.h"
#include "ctl_set.h"
#include "ctl_wait.h"
#include "ctl_why.h"
#include "duration.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DONE = 0, NO = 1, USAGE = 2, SILENT = 3 };

struct ctl {
    const char *scout;
    bool json;
    int64_t limit_ms; /* of wait; -1: none */
    int count;        /* of args */
    struct ctl_client client;
    struct ctl_view view;
    char **args;
};

struct command {
    const char *name, *argument;
    unsigned parts; /* to ask before it runs */
    int (*run)(struct ctl *);
    const char *help;
    int (*check)(const struct ctl *); /* what can be told wrong without a scout; NULL: nothing */
};

__attribute__((format(printf, 2, 3))) static int fail(int code, const char *format, ...) {
    char line[512], shown[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    ctl_escape(line, shown, sizeof shown);
    fflush(stdout);
    fprintf(stderr, "cmm-ctl: %s\n", shown);
    return code;
}

static int status(struct ctl *c) {
    if (c->json)
        ctl_json(&c->view, CTL_STATUS | CTL_NETWORKS | CTL_SUBSCRIBERS);
    else
        ctl_print_status(&c->view);
    return DONE;
}

static int labels(struct ctl *c) {
    if (c->json)
        ctl_json(&c->view, CTL_LABELS);
    else
        ctl_print_labels(&c->view);
    return DONE;
}

static int networks(struct ctl *c) {
    if (c->json)
        ctl_json(&c->view, CTL_NETWORKS);
    else
        ctl_print_networks(&c->view);
    return DONE;
}

static int subscribers(struct ctl *c) {
    if (c->json)
        ctl_json(&c->view, CTL_SUBSCRIBERS);
    else
        ctl_print_subscribers(&c->view);
    return DONE;
}

static int wait_for(struct ctl *c) {
    uint64_t wanted;
    char bad[LABEL_NAME];
    if (label_parse(c->args[0], &c->view.names, &wanted, bad) < 0)
        return fail(USAGE, "unknown label '%s'", bad);
    int r = ctl_wait(&c->client, c->scout, wanted, c->limit_ms, &c->view.networks);
    if (r < 0 || r == CTL_WAIT_REFUSED)
        return fail(r < 0 ? SILENT : NO, "%s", c->client.why);
    if (c->json)
        ctl_json(&c->view, CTL_NETWORKS);
    return r == CTL_WAIT_CAME ? DONE
                              : fail(NO, "no network for %s in %g s", c->args[0], (double)c->limit_ms / 1000);
}

static void print_event(const struct wire_event *e) {
    char text[4 * WIRE_TEXT], at[32] = "";
    time_t seconds = (time_t)(e->at_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local))
        strftime(at, sizeof at, "%H:%M:%S", &local);
    ctl_escape(e->text, text, sizeof text);
    printf("%s.%03u %s\n", at, (unsigned)(e->at_ms % 1000), text);
}

static void show_event(const struct ctl *c, const struct wire_event *e) {
    if (c->json)
        ctl_json_event(e);
    else
        print_event(e);
}

/* What no scout can tell. */
static void show_own(const struct ctl *c, const char *text) {
    struct wire_event e = {.at_ms = ctl_now()};
    snprintf(e.text, sizeof e.text, "%s", text);
    show_event(c, &e);
}

/* What one scout says. An exit code, or -errno. */
static int watch_one(struct ctl *c) {
    union wire_message m;
    int r = ctl_client_ask(&c->client, WIRE_ASK_WATCH);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (r >= 0 && !ferror(stdout)) {
        r = ctl_client_receive(&c->client, -1, &m);
        if (r == WIRE_DONE && m.done.error)
            return fail(NO, "%s", (ctl_client_refused(&c->client, &m.done), c->client.why));
        if (r == WIRE_EVENT)
            show_event(c, &m.event);
    }
    return r < 0 ? r : DONE;
}

/* One that is ending may still accept, but does not answer. */
static bool came_back(struct ctl *c) {
    int r;
    show_own(c, "scout gone");
    do {
        r = ctl_client_again(&c->client, c->scout, -1);
        r = r < 0 ? r : ctl_client_view(&c->client, CTL_LABELS, &c->view);
    } while (ctl_client_ended(r));
    if (r == 0)
        show_own(c, "scout came");
    return r == 0;
}

static int watch(struct ctl *c) {
    int r = watch_one(c);
    while (ctl_client_ended(r) && came_back(c))
        r = watch_one(c);
    return r < 0 ? fail(SILENT, "%s", c->client.why) : r;
}

static int tell(struct ctl *c, struct wire_header *m, enum wire_type type, size_t size) {
    int error;
    if (ctl_client_send(&c->client, m, type, size) < 0 || ctl_client_done(&c->client, &error) < 0)
        return fail(SILENT, "%s", c->client.why);
    return error ? fail(NO, "%s", c->client.why) : DONE;
}

static int told(const struct ctl *c, int code) {
    if (code == DONE && c->json)
        ctl_json(&c->view, 0); /* it names no part */
    return code;
}

static int deliver(struct ctl *c, struct wire_header *m, enum wire_type type, size_t size) {
    return told(c, tell(c, m, type, size));
}

static int act(struct ctl *c, struct wire_set *m, const char *network) {
    if (strlen(network) >= sizeof m->network)
        return fail(NO, "no network '%s'", network);
    strcpy(m->network, network);
    return deliver(c, &m->header, WIRE_SET, sizeof *m);
}

/* NAME, or one of several by NAME@INTERFACE. */
static int check_network(const struct ctl *c) {
    const char *name = c->args[0], *at = strchr(name, '@');
    if (!*name || at == name)
        return fail(USAGE, "'%s' names no network", name);
    return at && !at[1] ? fail(USAGE, "'%s' names no interface of '%.*s'", name, (int)(at - name), name)
                        : DONE;
}

static int up(struct ctl *c) {
    return act(c, &(struct wire_set){.action = WIRE_SET_UP}, c->args[0]);
}

static int down(struct ctl *c) {
    return act(c, &(struct wire_set){.action = WIRE_SET_DOWN}, c->args[0]);
}

static int automatic(struct ctl *c) {
    return act(c, &(struct wire_set){.action = WIRE_SET_AUTO}, c->args[0]);
}

static int reload(struct ctl *c) {
    return act(c, &(struct wire_set){.action = WIRE_SET_RELOAD}, "");
}

/* Labels may be names of the scout's configuration. */
static int check_set(const struct ctl *c) {
    struct wire_policy m = {0};
    char bad[LABEL_NAME];
    for (int i = 1; i < c->count; i++)
        if (ctl_set_word(c->args[i], &c->view.names, &m, bad) == -EINVAL)
            return fail(USAGE, "'%s' is not metered=yes|no|auto nor labels=LIST|auto", c->args[i]);
    return check_network(c);
}

static int set(struct ctl *c) {
    struct wire_policy m = {0};
    char bad[LABEL_NAME];
    for (int i = 1; i < c->count; i++)
        if (ctl_set_word(c->args[i], &c->view.names, &m, bad) < 0)
            return fail(USAGE, "unknown label '%s'", bad);
    if (strlen(c->args[0]) >= sizeof m.network)
        return fail(NO, "no network '%s'", c->args[0]);
    strcpy(m.network, c->args[0]);
    return deliver(c, &m.header, WIRE_POLICY, sizeof m);
}

/* 0: it is none. */
static uint32_t process_id(const char *text) {
    char *end;
    unsigned long pid = strtoul(text, &end, 10);
    return text[0] < '0' || text[0] > '9' || *end || pid > INT32_MAX ? 0 : (uint32_t)pid;
}

static int why_labels(struct ctl *c) {
    uint64_t wanted;
    char bad[LABEL_NAME];
    if (label_parse(c->args[0], &c->view.names, &wanted, bad) < 0)
        return fail(USAGE, "'%s' is neither a process id nor labels: unknown label '%s'", c->args[0], bad);
    if (!c->json)
        ctl_why_print_labels(&c->view, wanted);
    ctl_why_select_labels(&c->view, wanted);
    if (c->json)
        ctl_json(&c->view, CTL_NETWORKS | CTL_SUBSCRIBERS);
    return DONE;
}

static int why(struct ctl *c) {
    uint32_t pid = process_id(c->args[0]);
    if (!pid)
        return why_labels(c);
    if (!ctl_kin_select(&c->view, pid))
        return fail(NO, "process %s is not known to the scout: it waits for nothing that libcmm knows of",
                    c->args[0]);
    if (!c->json)
        ctl_why_print(&c->view);
    ctl_why_select_networks(&c->view);
    if (c->json)
        ctl_json(&c->view, CTL_NETWORKS | CTL_SUBSCRIBERS);
    return DONE;
}

static int check_process(const struct ctl *c) {
    return process_id(c->args[0]) ? DONE : fail(USAGE, "'%s' is not a process id", c->args[0]);
}

static int release_one(struct ctl *c, uint32_t pid) {
    struct wire_set m = {.action = WIRE_SET_RELEASE, .pid = pid};
    return tell(c, &m.header, WIRE_SET, sizeof m);
}

/* What is wrong with a process that nobody knows is the scout's to say. */
static int release(struct ctl *c) {
    const uint32_t pid = process_id(c->args[0]);
    int code = ctl_kin_select(&c->view, pid) ? DONE : release_one(c, pid);
    for (size_t i = 0; i < c->view.subscriber_count && code == DONE; i++)
        code = release_one(c, c->view.subscribers[i].pid);
    return told(c, code);
}

enum { ALL_PARTS = CTL_STATUS | CTL_LABELS | CTL_NETWORKS | CTL_SUBSCRIBERS };

static const struct command commands[] = {
    {"status", NULL, ALL_PARTS, status, "scout, networks and subscribers on one screen", NULL},
    {"labels", NULL, CTL_LABELS, labels, "label names and bits", NULL},
    {"networks", NULL, CTL_LABELS | CTL_NETWORKS, networks, "the networks and what they offer", NULL},
    {"subscribers", NULL, CTL_LABELS | CTL_SUBSCRIBERS, subscribers,
     "who is connected, and what it waits for", NULL},
    {"wait", "LABELS", CTL_LABELS, wait_for, "until a network matches; 1 after -t SEC without one", NULL},
    {"watch", NULL, 0, watch, "a line an event, as it happens", NULL},
    {"up", "NETWORK", 0, up, "offer it, whatever script or kernel say", check_network},
    {"down", "NETWORK", 0, down, "withdraw it at once", check_network},
    {"auto", "NETWORK", 0, automatic, "end an up, a down or a set", check_network},
    {"set", "NETWORK KEY=VALUE...", CTL_LABELS, set, "metered=yes|no|auto, labels=LIST|auto", check_set},
    {"why", "PID|LABELS", ALL_PARTS, why, "what it waits for, and what would release it", NULL},
    {"release", "PID", CTL_LABELS | CTL_SUBSCRIBERS, release, "let what waits there go by any network, once",
     check_process},
    {"reload", NULL, 0, reload, "read the configuration again", NULL},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int help(void) {
    puts("Usage: cmm-ctl [--scout NAME] [--json] COMMAND\n"
         "Ask and steer the connection scout:\n");
    for (int i = 0; i < COMMANDS; i++) {
        char left[40];
        snprintf(left, sizeof left, "%s%s%s", commands[i].name, commands[i].argument ? " " : "",
                 commands[i].argument ? commands[i].argument : "");
        printf("  %-24s %s\n", left, commands[i].help);
    }
    puts("\nOptions:\n"
         "  --scout NAME     which scout: a name or a socket path (CMM_SCOUT)\n"
         "  --json           one JSON object (watch: a line an event)\n"
         "  -t, --timeout S  of wait: seconds, 5m or 2h\n"
         "  -h, --help, --version\n\n"
         "Exit: 0 done, 1 no (time over, not found, refused), 2 usage, 3 no scout answers.");
    return DONE;
}

static bool limit(const char *text, int64_t *ret_ms) {
    struct timespec t = {0};
    int r = duration_parse(text, &t);
    *ret_ms = r == 0 ? -1 : (int64_t)t.tv_sec * 1000 + (t.tv_nsec + 999999) / 1000000;
    return r >= 0;
}

/* A full disk is an answer that nobody got. */
static int flushed(int code) {
    if (code == DONE && (fflush(stdout) || ferror(stdout)))
        return fail(NO, "cannot write: %s", strerror(errno));
    return code;
}

static const struct command *find(const char *name) {
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name))
            return &commands[i];
    return NULL;
}

static int usage(const struct command *cmd, const char *said) {
    if (said)
        return fail(USAGE, "unknown command '%s'; see cmm-ctl --help", said);
    return fail(USAGE, "usage: cmm-ctl %s%s%s", cmd->name, cmd->argument ? " " : "",
                cmd->argument ? cmd->argument : "");
}

/* More than one argument. */
static bool is_long(const struct command *cmd) {
    return cmd->argument && strstr(cmd->argument, "...");
}

static int execute(struct ctl *c, const struct command *cmd) {
    int code;
    if (ctl_client_open(&c->client, c->scout) < 0 || ctl_client_view(&c->client, cmd->parts, &c->view) < 0)
        code = fail(SILENT, "%s", c->client.why);
    else
        code = cmd->run(c);
    ctl_view_finish(&c->view);
    ctl_client_close(&c->client);
    return flushed(code);
}

static const struct option options[] = {
    {"scout", required_argument, NULL, 'S'},   {"json", no_argument, NULL, 'j'},
    {"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},       {0}};

int main(int argc, char **argv) {
    struct ctl c = {.scout = getenv("CMM_SCOUT"), .limit_ms = -1, .client = {.sock = -1}};
    bool timed = false;
    argv[0] = (char[]){"cmm-ctl"}; /* as getopt's messages begin */
    for (int o; (o = getopt_long(argc, argv, "ht:", options, NULL)) != -1;)
        switch (o) {
        case 'S':
            c.scout = optarg;
            break;
        case 'j':
            c.json = true;
            break;
        case 't':
            timed = true;
            if (!limit(optarg, &c.limit_ms))
                return fail(USAGE, "-t wants seconds, not '%s'", optarg);
            break;
        case 'h':
            return flushed(help());
        case 'V':
            puts("cmm-ctl " CMM_VERSION);
            return flushed(DONE);
        default:
            return USAGE;
        }
    if (optind == argc)
        return fail(USAGE, "no command; see cmm-ctl --help");
    const struct command *cmd = find(argv[optind]);
    if (!cmd)
        return usage(NULL, argv[optind]);
    c.args = argv + optind + 1;
    c.count = argc - optind - 1;
    if (c.count < (cmd->argument ? 1 + is_long(cmd) : 0) || (c.count > !!cmd->argument && !is_long(cmd)))
        return usage(cmd, NULL);
    if (timed && cmd->run != wait_for)
        return fail(USAGE, "-t is for wait");
    const int code = cmd->check ? cmd->check(&c) : DONE;
    return code != DONE ? code : execute(&c, cmd);
}

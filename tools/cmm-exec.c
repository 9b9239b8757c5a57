/* cmm-exec - the second half of cmm-run: checks what was asked, looks at the program, becomes it.
 *
 * Only cmm-run starts it, as `cmm-exec SHIM [PROGRAM [ARG...]]` with the CMM_ variables set, so that labels
 * and rules are read here by the very code that the shim will read them with. It execs and never forks: pid,
 * signals and exit code are the program's. Exit codes of its own: 125, 126, 127. Itself it is not preloaded.
 */
#include "alias.h"
#include "ctl_client.h"
#include "ctl_print.h"
#include "duration.h"
#include "enter.h"
#include "place.h"
#include "rules.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OWN_ERROR = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127, TEXT = 512 };

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    char line[2 * TEXT], shown[4 * TEXT];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    ctl_escape(line, shown, sizeof shown);
    fprintf(stderr, "cmm-run: %s\n", shown);
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

/* Labels or rules; where names are NULL, only built-in names are known. */
static int parse(const struct label_names *names, char *why, size_t len) {
    char bad[LABEL_NAME];
    uint64_t labels;
    struct rules rules = {0};
    if (label_parse(setting("CMM_LABELS"), names, &labels, bad) < 0) {
        snprintf(why, len, "unknown label '%s'", bad);
        return -EINVAL;
    }
    return rules_add_all(&rules, setting("CMM_RULES"), names, why, len);
}

/* What the program starts while the scout is away still knows them by this. */
static bool hand_on(const struct label_names *names) {
    char text[LABEL_USER * (LABEL_NAME + 4)];
    label_names_format(names, text, sizeof text);
    return setenv("CMM_NAMES", text, 1) == 0;
}

/* A name that is not built in may be one of the scout's configuration; while it is away, one that was handed
 * on. */
static bool labels_and_rules_ok(void) {
    struct ctl_client c;
    struct ctl_view v = {0};
    char why[TEXT] = "";
    if (parse(NULL, why, sizeof why) == 0)
        return true;
    bool unknown_label = strstr(why, "unknown label '");
    bool asked = unknown_label && ctl_client_open(&c, setting("CMM_SCOUT")) == 0;
    bool answered = asked && ctl_client_view(&c, CTL_LABELS, &v) == 0;
    if (unknown_label && !answered)
        label_names_parse(setting("CMM_NAMES"), &v.names);
    bool ok = unknown_label && parse(&v.names, why, sizeof why) == 0 && hand_on(&v.names);
    if (!ok && unknown_label && !answered)
        say("%s, and no scout to ask for the names of its configuration", why);
    else if (!ok)
        say("%s", why);
    if (unknown_label)
        ctl_client_close(&c);
    ctl_view_finish(&v);
    return ok;
}

static bool patience_ok(const char *text) {
    struct timespec t;
    return !*text || duration_parse(text, &t) >= 0;
}

static bool log_ok(const char *text) {
    static const char *const levels[] = {"", "error", "warn", "info", "debug"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strlen(levels[i]) == strcspn(text, ":") && !strncmp(text, levels[i], strlen(levels[i])))
            return true;
    return false;
}

static bool scout_ok(const char *name) {
    char path[PLACE_MAX];
    int more = 1;
    for (int i = 0; more > 0; i++)
        more = place_candidate(name, i, path, sizeof path);
    return more == 0;
}

static bool settings_ok(const char *shim) {
    if (!patience_ok(setting("CMM_PATIENCE")))
        say("patience is 90, 5m, 2h or forever, not '%s'", setting("CMM_PATIENCE"));
    else if (*setting("CMM_ON_LOSS") && rules_policy(setting("CMM_ON_LOSS")) < 0)
        say("on-loss is fail, reconnect or mptcp, not '%s'", setting("CMM_ON_LOSS"));
    else if (!log_ok(setting("CMM_LOG")))
        say("CMM_LOG is error, warn, info or debug, with :FILE behind or not: '%s'", setting("CMM_LOG"));
    else if (!scout_ok(setting("CMM_SCOUT")))
        say("no scout can be called '%s'", setting("CMM_SCOUT"));
    else if (access(shim, R_OK) < 0)
        say("no shim: %s: %s", shim, strerror(errno));
    else
        return labels_and_rules_ok();
    return false;
}

/* In front of what is preloaded already; once. */
static bool preload(const char *shim) {
    const char *old = setting("LD_PRELOAD");
    size_t len = strlen(shim);
    char *both;
    if (!strncmp(old, shim, len) && (!old[len] || strchr(": ", old[len])))
        return true;
    if (asprintf(&both, "%s%s%s", shim, *old ? ":" : "", old) < 0)
        return false;
    bool ok = setenv("LD_PRELOAD", both, 1) == 0;
    free(both);
    return ok;
}

/* The name by which the loader takes the shim; NULL and a line said if there is none. What is printed must
 * hold for longer than a link that is gone with the next boot. */
static const char *loadable(const char *shim, bool printed, char alias[ALIAS_PATH]) {
    if (!alias_needed(shim))
        return shim;
    int r = printed ? -EINVAL : alias_make(shim, alias);
    if (r == 0)
        return alias;
    if (printed)
        say("no variable can hold the name of the shim, with a blank or colon in it: %s", shim);
    else
        say("no shim: its name has a blank or colon in it, and a link to it in %s failed: %s", alias,
            strerror(-r));
    return NULL;
}

/* As systemd's EnvironmentFile= and a shell read it alike. */
static bool print_variable(const char *name) {
    const char *value = getenv(name);
    if (!value)
        return true;
    if (strchr(value, '\n')) {
        say("%s holds a line break", name);
        return false;
    }
    printf("%s=\"", name);
    for (; *value; value++)
        printf(strchr("\"\\$`", *value) ? "\\%c" : "%c", *value);
    puts("\"");
    return true;
}

static int print_environment(void) {
    static const char *const names[] = {"LD_PRELOAD",   "CMM_LABELS", "CMM_RULES", "CMM_ON_LOSS",
                                        "CMM_PATIENCE", "CMM_SCOUT",  "CMM_LOG",   "CMM_NAMES"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!print_variable(names[i]))
            return OWN_ERROR;
    return fflush(stdout) || ferror(stdout) ? OWN_ERROR : 0;
}

static int become(char **argv) {
    execvp(argv[0], argv);
    int error = errno;
    char path[ENTER_PATH];
    int found = enter_find(argv[0], path);
    if (found == 0 && error == ENOENT)
        say("%s: its interpreter is missing", argv[0]);
    else if (found == -ENOENT)
        say("%s: not found", argv[0]);
    else
        say("%s: %s", argv[0], strerror(error));
    return found == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

int main(int argc, char **argv) {
    char path[ENTER_PATH], why[TEXT], alias[ALIAS_PATH];
    if (argc < 2) {
        fputs("usage: cmm-exec SHIM [PROGRAM [ARG...]]; see cmm-run(1)\n", stderr);
        return OWN_ERROR;
    }
    const char *shim = settings_ok(argv[1]) ? loadable(argv[1], argc == 2, alias) : NULL;
    if (!shim)
        return OWN_ERROR;
    if (argc == 2)
        return preload(shim) ? print_environment() : OWN_ERROR;
    enum enter enter = enter_find(argv[2], path) == 0 ? enter_check(path, why, sizeof why) : ENTER_YES;
    bool strict = *setting("CMM_STRICT") && strcmp(setting("CMM_STRICT"), "0");
    if (enter != ENTER_YES)
        say("%s cannot be entered: %s; it %s", argv[2], why,
            strict ? "is not run (--strict)" : "runs as without libcmm");
    if (enter != ENTER_YES && strict)
        return OWN_ERROR;
    if (enter != ENTER_HARM && !preload(shim)) {
        say("out of memory");
        return OWN_ERROR;
    }
    return become(argv + 2);
}

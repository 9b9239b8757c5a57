/* cmm-exec - the second half of cmm-run: checks what was asked, looks at the program, becomes it.
 *
 * Only cmm-run starts it, as `cmm-exec SHIM [PROGRAM [ARG...]]` with the CMM_ variables set, so that labels
 * and rules are read here by the very code that the shim will read them with. It execs and never forks: pid,
 * signals and exit code are the program's. Exit codes of its own: 125, 126, 127. Itself it is not preloaded.
 */
#include "ctl_client.h"
#include "ctl_print.h"
#include "enter.h"
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

/* A name that is not built in may be one of the scout's configuration. */
static bool labels_and_rules_ok(void) {
    struct ctl_client c;
    struct ctl_view v = {0};
    char why[TEXT] = "";
    if (parse(NULL, why, sizeof why) == 0)
        return true;
    bool unknown_label = strstr(why, "unknown label '");
    bool asked = unknown_label && ctl_client_open(&c, setting("CMM_SCOUT")) == 0;
    bool answered = asked && ctl_client_view(&c, CTL_LABELS, &v) == 0;
    bool ok = answered && parse(&v.names, why, sizeof why) == 0;
    if (!ok && unknown_label && !answered)
        say("%s, and no scout to ask for the names of its configuration", why);
    else if (!ok)
        say("%s", why);
    if (unknown_label)
        ctl_client_close(&c);
    ctl_view_finish(&v);
    return ok;
}

/* Seconds, or with s, m, h behind; or forever. */
static bool patience_ok(const char *text) {
    static const char digits[] = "0123456789";
    if (!*text || !strcmp(text, "forever"))
        return true;
    size_t whole = strspn(text, digits), n = whole;
    if (text[n] == '.')
        n += 1 + strspn(text + n + 1, digits);
    return whole > 0 && whole < 10 && (!text[n] || (strchr("smh", text[n]) && !text[n + 1]));
}

static bool settings_ok(const char *shim) {
    if (!patience_ok(setting("CMM_PATIENCE")))
        say("patience is 90, 5m, 2h or forever, not '%s'", setting("CMM_PATIENCE"));
    else if (*setting("CMM_ON_LOSS") && rules_policy(setting("CMM_ON_LOSS")) < 0)
        say("on-loss is fail, reconnect or mptcp, not '%s'", setting("CMM_ON_LOSS"));
    else if (access(shim, R_OK) < 0)
        say("no shim: %s: %s", shim, strerror(errno));
    else if (strpbrk(shim, ": \t\n"))
        say("no shim: the loader cannot preload a path with a blank or colon in it: %s", shim);
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
                                        "CMM_PATIENCE", "CMM_SCOUT",  "CMM_LOG"};
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
    char path[ENTER_PATH], why[TEXT];
    if (argc < 2) {
        fputs("usage: cmm-exec SHIM [PROGRAM [ARG...]]; see cmm-run(1)\n", stderr);
        return OWN_ERROR;
    }
    if (!settings_ok(argv[1]))
        return OWN_ERROR;
    if (argc == 2)
        return preload(argv[1]) ? print_environment() : OWN_ERROR;
    enum enter enter = enter_find(argv[2], path) == 0 ? enter_check(path, why, sizeof why) : ENTER_YES;
    bool strict = *setting("CMM_STRICT") && strcmp(setting("CMM_STRICT"), "0");
    if (enter != ENTER_YES)
        say("%s cannot be entered: %s; it %s", argv[2], why,
            strict ? "is not run (--strict)" : "runs as without libcmm");
    if (enter != ENTER_YES && strict)
        return OWN_ERROR;
    if (enter != ENTER_HARM && !preload(argv[1])) {
        say("out of memory");
        return OWN_ERROR;
    }
    return become(argv + 2);
}

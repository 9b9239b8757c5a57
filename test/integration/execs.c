/* execs - programs started with an environment made from scratch are entered, too.
 * Each way of starting one runs env(1), which shows what it got. */
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *const arguments[] = {(char *)"env", NULL};
static const char path[] = "/usr/bin/env", file[] = "env";

/* How it is started, in a child; with these variables or, where NULL, with environ. Returns only if it fails.
 */
struct way {
    const char *name;
    void (*start)(const char *path, const char *file, char *const env[]);
    bool by_environ;
};

static void by_execve(const char *p, const char *f, char *const env[]) {
    (void)f;
    execve(p, arguments, env);
}

static void by_execv(const char *p, const char *f, char *const env[]) {
    (void)f, (void)env;
    execv(p, arguments);
}

static void by_execvp(const char *p, const char *f, char *const env[]) {
    (void)p, (void)env;
    execvp(f, arguments);
}

static void by_execvpe(const char *p, const char *f, char *const env[]) {
    (void)p;
    execvpe(f, arguments, env);
}

static void by_execl(const char *p, const char *f, char *const env[]) {
    (void)f, (void)env;
    execl(p, "env", "sh", "-c", "env", NULL);
}

static void by_execlp(const char *p, const char *f, char *const env[]) {
    (void)p, (void)env;
    execlp(f, "env", NULL);
}

static void by_execle(const char *p, const char *f, char *const env[]) {
    (void)f;
    execle(p, "env", "sh", "-c", "env", NULL, env);
}

static void by_fexecve(const char *p, const char *f, char *const env[]) {
    (void)f;
    fexecve(open(p, O_RDONLY | O_CLOEXEC), arguments, env);
}

static void by_execveat(const char *p, const char *f, char *const env[]) {
    (void)f;
    execveat(AT_FDCWD, p, arguments, env, 0);
}

static void wait_for(int error, pid_t pid) {
    int status;
    errno = error;
    if (error == 0)
        _exit(waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 99);
}

static void by_posix_spawn(const char *p, const char *f, char *const env[]) {
    pid_t pid = 0;
    (void)f;
    int error = posix_spawn(&pid, p, NULL, NULL, arguments, env);
    wait_for(error, pid);
}

static void by_posix_spawnp(const char *p, const char *f, char *const env[]) {
    pid_t pid = 0;
    (void)p;
    int error = posix_spawnp(&pid, f, NULL, NULL, arguments, env);
    wait_for(error, pid);
}

static const struct way ways[] = {
    {"execve", by_execve, false},
    {"execv", by_execv, true},
    {"execvp", by_execvp, true},
    {"execvpe", by_execvpe, false},
    {"execl", by_execl, true},
    {"execlp", by_execlp, true},
    {"execle", by_execle, false},
    {"fexecve", by_fexecve, false},
    {"execveat", by_execveat, false},
    {"posix_spawn", by_posix_spawn, false},
    {"posix_spawnp", by_posix_spawnp, false},
};

enum { WAYS = sizeof ways / sizeof *ways };

/* What it said; 0 bytes and the errno if it could not be started. */
static int started(const struct way *w, const char *p, const char *f, char *const env[], char *said,
                   size_t room) {
    int out[2], status;
    size_t used = 0;
    stage_equal(pipe(out), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(out[1], STDOUT_FILENO);
        if (w->by_environ)
            environ = (char **)env;
        w->start(p, f, env);
        _exit(errno);
    }
    close(out[1]);
    for (ssize_t n; used < room - 1 && (n = read(out[0], said + used, room - 1 - used)) > 0;)
        used += (size_t)n;
    said[used] = 0;
    close(out[0]);
    stage_equal(waitpid(child, &status, 0), child);
    stage_expect(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool holds(const char *said, const char *entry) {
    const size_t len = strlen(entry);
    for (const char *at = said; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (strncmp(at, entry, len) == 0)
            return true;
    return false;
}

static void an_environment_made_from_scratch_is_completed(void) {
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"MINE=1", NULL};
    char said[8192];
    for (size_t i = 0; i < WAYS; i++) {
        const int error = started(&ways[i], path, file, env, said, sizeof said);
        if (error || !holds(said, "MINE=1\n") || !holds(said, "CMM_LABELS=background\n") ||
            !holds(said, "LD_PRELOAD=/"))
            stage_fail(__FILE__, __LINE__, "%s: %s: %s", ways[i].name, strerror(error), said);
    }
}

static void who_takes_the_library_alone_out_is_without_it(void) {
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", (char *)"CMM_LABELS=small", NULL};
    char said[8192];
    for (size_t i = 0; i < WAYS; i++) {
        const int error = started(&ways[i], path, file, env, said, sizeof said);
        if (error || !holds(said, "CMM_LABELS=small\n") || holds(said, "LD_PRELOAD"))
            stage_fail(__FILE__, __LINE__, "%s: %s: %s", ways[i].name, strerror(error), said);
    }
}

static void what_cannot_be_started_is_told_as_libc_tells_it(void) {
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", NULL};
    char said[64];
    for (size_t i = 0; i < WAYS; i++) {
        const bool by_number = strcmp(ways[i].name, "fexecve") == 0;
        const int error = started(&ways[i], "/nonexistent/env", "nonexistent-env", env, said, sizeof said);
        if (error != (by_number ? EINVAL : ENOENT) && !(by_number && error == EBADF))
            stage_fail(__FILE__, __LINE__, "%s: %s", ways[i].name, strerror(error));
    }
}

static void a_program_of_nothing_but_its_arguments_is_entered(void) {
    char said[8192];
    stage_equal(started(&ways[0], path, file, NULL, said, sizeof said), 0);
    stage_expect(holds(said, "CMM_LABELS=background\n") && holds(said, "LD_PRELOAD=/"));
}

/* ---- by a shell ---- */

static void by_system(const char *p, const char *f, char *const env[]) {
    (void)f, (void)env;
    const int status = system(p);
    errno = status < 0 ? errno : WEXITSTATUS(status);
}

static void by_popen(const char *p, const char *f, char *const env[]) {
    (void)f, (void)env;
    FILE *pipe = popen(p, "r");
    for (int c; pipe && (c = fgetc(pipe)) != EOF;)
        putchar(c);
    fflush(stdout);
    const int status = pipe ? pclose(pipe) : 99;
    errno = WEXITSTATUS(status);
}

static const struct way shells[] = {{"system", by_system, true}, {"popen", by_popen, true}};

/* It exits as its last command does, whatever is before. */
static void what_a_shell_starts_is_entered_too(void) {
    char *const bare[] = {(char *)"PATH=/usr/bin:/bin", (char *)"MINE=1", NULL};
    char *const without[] = {(char *)"PATH=/usr/bin:/bin", (char *)"CMM_LABELS=small", NULL};
    char said[8192];
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        stage_equal(started(&shells[i], "env; exit 7", file, bare, said, sizeof said), 7);
        stage_expect(holds(said, "MINE=1\n") && holds(said, "CMM_LABELS=background\n"));
        stage_expect(holds(said, "LD_PRELOAD=/") && holds(said, "CMM_OTHER=it's\n"));
        stage_equal(started(&shells[i], "env; exit 8", file, without, said, sizeof said), 8);
        stage_expect(holds(said, "CMM_LABELS=small\n") && !holds(said, "LD_PRELOAD"));
    }
    stage_expect(system(NULL));
}

static void without_labels_nothing_is_added(void) {
    char *const env[] = {(char *)"PATH=/usr/bin:/bin", NULL};
    char said[8192];
    for (size_t i = 0; i < WAYS; i++) {
        stage_equal(started(&ways[i], path, file, env, said, sizeof said), 0);
        stage_expect(!holds(said, "LD_PRELOAD") && !holds(said, "CMM_"));
    }
}

static const struct stage_test tests[] = {
#define TEST(name, environment) STAGE_TEST_WITH(name, STAGE_PRELOAD, NULL, environment)
    TEST(an_environment_made_from_scratch_is_completed, "CMM_LABELS=background"),
    TEST(who_takes_the_library_alone_out_is_without_it, "CMM_LABELS=background"),
    TEST(what_cannot_be_started_is_told_as_libc_tells_it, "CMM_LABELS=background"),
    TEST(a_program_of_nothing_but_its_arguments_is_entered, "CMM_LABELS=background"),
    TEST(what_a_shell_starts_is_entered_too, "CMM_LABELS=background CMM_OTHER=it's"),
    TEST(without_labels_nothing_is_added, "CMM_RULES=10.0.0.0/8=bypass"),
};

STAGE_MAIN("[network wifi]\naddress = 127.0.1.1\nlabels = all\n", tests)

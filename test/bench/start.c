/* start PROGRAM NAME=LIBRARY... - what a preloaded library costs at a program's start, beside the same
 * without. The environment is otherwise the same: a path, and CMM_LABELS if it is set here. Prints lines of a
 * table; asserts nothing. */
#include "bench.h"

#include <fcntl.h>
#include <spawn.h>

enum { PAIRS = 301 };

struct start {
    char *program, *preload, *labels;
};

static double spawn(const struct start *s, const char *preload) {
    char *argv[] = {s->program, NULL},
         *envp[] = {(char *)"PATH=/usr/bin:/bin", (char *)preload, s->labels, NULL};
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    const double began = bench_now_ns();
    if (posix_spawn(&pid, s->program, &quiet, NULL, argv, envp) != 0)
        bench_fail(s->program);
    waitpid(pid, &status, 0);
    const double took = (bench_now_ns() - began) / 1000;
    posix_spawn_file_actions_destroy(&quiet);
    if (status != 0)
        bench_fail(preload);
    return took;
}

static double without(void *start) {
    return spawn(start, "LD_NOTHING=");
}

static double with(void *start) {
    const struct start *s = start;
    return spawn(s, s->preload);
}

int main(int argc, char **argv) {
    const char *labels = getenv("CMM_LABELS");
    char asked[256];
    snprintf(asked, sizeof asked, "CMM_LABELS=%s", labels ? labels : "");
    for (int i = 2; i < argc; i++) {
        char title[96], preload[4096];
        const char *library = strchr(argv[i], '=');
        if (!library)
            return 2;
        snprintf(title, sizeof title, "start of %s, %.*s", strrchr(argv[1], '/') + 1,
                 (int)(library - argv[i]), argv[i]);
        snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library + 1);
        struct start s = {argv[1], preload, labels ? asked : NULL};
        bench_compare(title, "us", PAIRS, without, with, &s);
    }
    return 0;
}

/* stage_keeper - who sets a stage up and clears it away.
 * The outermost process makes a directory and a keeper for each test; the keeper enters a new world if one is
 * asked for, forks the far end, starts the scout, executes the test anew and waits for its end. Whatever
 * happens to any of them, the others end with it. */
#include "stage_keeper.h"
#include "private/wire.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libcmm.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#pragma weak cmm_networks

enum { TEST_SECONDS = 300, SKIP = 77 }; /* or CMM_STAGE_TEST_SECONDS */

static const char short_times[] = "\n[scout]\nhold-down = 0\ngrace = 0.2\n";

struct far_record *keeper_inherited(int *ret_commands) {
    const char *fds = getenv("CMM_STAGE");
    int shared;
    if (!fds || sscanf(fds, "%d,%d", &shared, ret_commands) != 2)
        return NULL;
    void *at = mmap(NULL, sizeof(struct far_record), PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    close(shared);
    /* Below all that a test opens, and closes from there on. */
    const int low = fcntl(*ret_commands, F_DUPFD_CLOEXEC, 3);
    close(*ret_commands);
    *ret_commands = low;
    unsetenv("CMM_STAGE");
    unsetenv("CMM_STAGE_PROGRAM");
    unsetenv("CMM_STAGE_LOADER");
    return at == MAP_FAILED ? NULL : at;
}

/* ---- the scout ---- */

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int dial(const struct far_record *r) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%.60s/scout.sock", r->directory);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -ECONNREFUSED;
}

int keeper_set(const struct far_record *r, const char *network, int action) {
    struct wire_set set = {.header = {WIRE_VERSION, WIRE_SET, sizeof set}, .action = (uint32_t)action};
    union {
        struct wire_header header;
        struct wire_done done;
        char bytes[WIRE_MAX];
    } answer;
    int fd = dial(r), result = -EPIPE;
    if (fd < 0)
        return fd;
    snprintf(set.network, sizeof set.network, "%s", network);
    ssize_t n = send(fd, &set, sizeof set, MSG_NOSIGNAL);
    while (n > 0 && (n = recv(fd, &answer, sizeof answer, 0)) > 0)
        if (wire_check(&answer, (size_t)n) == WIRE_DONE) {
            result = -answer.done.error;
            break;
        }
    close(fd);
    return result;
}

static int spawn_scout(struct far_record *r, const char *exe) {
    char config[96], name[96], log[96];
    snprintf(config, sizeof config, "%.60s/scout.conf", r->directory);
    snprintf(name, sizeof name, "%.60s/scout.sock", r->directory);
    snprintf(log, sizeof log, "%.60s/scout.log", r->directory);
    const char *const argv[] = {"cmm-scout", "-c", config, "--name", name, NULL};
    const bool loud = getenv("CMM_STAGE_VERBOSE") != NULL;
    /* No fork: the library would hear of that. It ends with the thread that started it. */
    const pid_t pid = vfork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = loud ? -1 : open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd >= 0)
            dup2(fd, 2);
        execv(exe, (char *const *)argv);
        _exit(127);
    }
    r->scout = pid;
    return pid < 0 ? -errno : 0;
}

static bool serves(const struct far_record *r) {
    const int fd = dial(r);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int keeper_scout_start(struct far_record *r) {
    const char *exe = getenv("CMM_SCOUT_EXE");
    if (!exe || spawn_scout(r, exe) < 0)
        return -ENOENT;
    for (int ms = 0; ms < 60000; ms++) {
        if (serves(r))
            return 0;
        if (waitpid(r->scout, NULL, WNOHANG) == r->scout)
            break;
        pause_ms(1);
    }
    return -ETIMEDOUT;
}

/* The kernel lets go of what a killed process had one by one. */
static bool has_lock(const struct far_record *r) {
    char path[96];
    snprintf(path, sizeof path, "%.60s/scout.lock", r->directory);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool has = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
    if (fd >= 0)
        close(fd);
    return has;
}

void keeper_scout_kill(struct far_record *r) {
    if (r->scout <= 0)
        return;
    kill(r->scout, SIGKILL);
    /* Not our child if another process has started it: then it is enough that another one can begin. */
    if (waitpid(r->scout, NULL, 0) < 0)
        while (serves(r) || has_lock(r))
            pause_ms(1);
    r->scout = 0;
}

static void write_config(const struct far_record *r, const char *config) {
    char path[96];
    snprintf(path, sizeof path, "%.60s/scout.conf", r->directory);
    FILE *f = fopen(path, "we");
    if (!f)
        return;
    fprintf(f, "%s%s", config, strstr(config, "[scout]") ? "" : short_times);
    fclose(f);
}

static void all_down(const struct far_record *r, const char *config) {
    static const char section[] = "[network ";
    for (const char *at = config; (at = strstr(at, section)) != NULL;) {
        char name[64];
        at += sizeof section - 1;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "]"), at);
        keeper_set(r, name, WIRE_SET_DOWN);
    }
}

/* ---- the world ---- */

static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) > 0;
    if (fd >= 0)
        close(fd);
    return done;
}

static void quiet_sysctls(void) {
    put("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
    put("/proc/sys/net/ipv4/conf/default/rp_filter", "0");
}

/* False: not permitted here. */
static bool enter_world(void) {
    const uid_t uid = geteuid();
    const gid_t gid = getegid();
    char map[64];
    if (unshare((uid ? CLONE_NEWUSER : 0) | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS) < 0)
        return false;
    if (uid) {
        snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
        put("/proc/self/uid_map", map);
        put("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
        put("/proc/self/gid_map", map);
    }
    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    quiet_sysctls();
    return system("ip link set lo up") == 0;
}

/* In the far end's process: it is the other namespace. */
static bool enter_far_world(void) {
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    quiet_sysctls();
    return system("ip link set lo up && ip addr add 10.9.0.1/32 dev lo") == 0;
}

static bool join(pid_t far, const char *interface, int lane) {
    char line[1024];
    snprintf(
        line, sizeof line,
        "ip link add %s type veth peer name far-%s && ip link set far-%s netns %d && "
        "nsenter -t %d -n ip addr add 10.%d.0.1/24 dev far-%s && nsenter -t %d -n ip link set far-%s up && "
        "ip addr add 10.%d.0.2/24 dev %s && ip link set %s up && "
        "ip route add default via 10.%d.0.1 dev %s metric %d",
        interface, interface, interface, (int)far, (int)far, lane, interface, (int)far, interface, lane,
        interface, interface, lane, interface, lane * 100);
    return system(line) == 0;
}

/* ---- a keeper ---- */

static bool start_far(struct far_record *r, bool world, int *ret_commands) {
    int pair[2], ready = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return false;
    const pid_t far = fork();
    if (far == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        if (world && !enter_far_world())
            _exit(3);
        stage_far(r, pair[1], world ? "10.9.0.1" : "127.0.0.1");
    }
    r->far = far;
    close(pair[1]);
    *ret_commands = pair[0];
    return recv(pair[0], &ready, sizeof ready, 0) == sizeof ready && ready == 0;
}

static void set_environment(const char *words) {
    static char copy[512];
    snprintf(copy, sizeof copy, "%s", words ? words : "");
    for (char *at = strtok(copy, " "); at; at = strtok(NULL, " "))
        putenv(at);
}

/* ThreadSanitizer sees no lock that is taken inside its own blocking calls, and no close that goes past it:
 * so ours come before them. By the loader's option, not its variable, that the program remain a linked one.
 */
static void execute_in_order(const char *program, char *const argv[]) {
#ifdef __SANITIZE_THREAD__
    char *words[16], option[] = "--preload";
    char *library = getenv("CMM_PRELOAD_LIB");
    Dl_info loader;
    int n = 4;
    const char *by = getenv("CMM_STAGE_LOADER"); /* whoever was started by it does not see it any more */
    if (!by && dladdr((void *)getauxval(AT_BASE), &loader))
        by = loader.dli_fname;
    if (!cmm_networks || !library || !by)
        return;
    words[0] = words[3] = (char *)program;
    words[1] = option;
    words[2] = library;
    for (int i = 1; argv[i] && n < 15; i++)
        words[n++] = argv[i];
    words[n] = NULL;
    setenv("CMM_STAGE_PROGRAM", program, 1);
    setenv("CMM_STAGE_LOADER", by, 1);
    execv(getenv("CMM_STAGE_LOADER"), words);
#endif
}

/* As it was called: in a world within a chroot /proc/self/exe is told by its path outside. */
static char *own_program(void) {
    char *known = getenv("CMM_STAGE_PROGRAM");
    return known ? known : (char *)getauxval(AT_EXECFN);
}

static void execute(const struct stage_test *t) {
    char *program = own_program(), *argv[] = {program, (char *)t->name, NULL};
    if (!(t->flags & STAGE_PRELOAD))
        execute_in_order(program, argv);
    execv(program, argv);
}

/* Whatever the suite was begun by: nohup ignores a signal, and so does a shell for what it runs beside it. */
static void treat_signals_as_ever(void) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* not of those that cannot be */
}

static pid_t start_test(const struct far_record *r, const struct stage_test *t, int shared, int commands) {
    char fds[32], scout[96];
    snprintf(fds, sizeof fds, "%d,%d", shared, commands);
    snprintf(scout, sizeof scout, "%.60s/scout.sock", r->directory);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    treat_signals_as_ever();
    fcntl(shared, F_SETFD, 0);
    setenv("CMM_STAGE", fds, 1);
    setenv("CMM_SCOUT", scout, 1);
    set_environment(t->environment);
    if (t->flags & STAGE_PRELOAD)
        setenv("LD_PRELOAD", getenv("CMM_PRELOAD_LIB") ? getenv("CMM_PRELOAD_LIB") : "", 1);
    execute(t);
    _exit(127);
}

static int await(struct far_record *r, pid_t pid) {
    const char *text = getenv("CMM_STAGE_TEST_SECONDS");
    const int seconds = text && atoi(text) > 0 ? atoi(text) : TEST_SECONDS;
    int status;
    for (long ms = 0; ms < seconds * 1000L; ms += 5) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (WIFSIGNALED(status))
                snprintf(r->failure, sizeof r->failure, "died of signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        }
        pause_ms(5);
    }
    snprintf(r->failure, sizeof r->failure, "not over after %d s", seconds);
    kill(pid, getenv("CMM_STAGE_CORE") ? SIGABRT : SIGKILL);
    waitpid(pid, NULL, 0);
    return 1;
}

static int keep(struct far_record *r, int shared, const struct stage_test *t, const char *config) {
    const bool world = t->flags & STAGE_WORLD;
    int commands;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    write_config(r, config);
    if (world && !enter_world())
        return SKIP;
    if (!start_far(r, world, &commands) ||
        (world && (!join(r->far, "wifi0", 1) || !join(r->far, "cell0", 2)))) {
        snprintf(r->failure, sizeof r->failure, "the far end could not be set up");
        return 1;
    }
    if (!(t->flags & STAGE_ALONE) && keeper_scout_start(r) < 0) {
        snprintf(r->failure, sizeof r->failure, "no scout (CMM_SCOUT_EXE=%s)", getenv("CMM_SCOUT_EXE"));
        return 1;
    }
    if (!(t->flags & (STAGE_ALONE | STAGE_UP | STAGE_WORLD)))
        all_down(r, config);
    int result = await(r, start_test(r, t, shared, commands));
    keeper_scout_kill(r);
    if (r->far > 0)
        kill(r->far, SIGKILL);
    return result;
}

/* ---- the outermost process ---- */

static void sentence(const char *name) {
    for (; *name; name++)
        putchar(*name == '_' ? ' ' : *name);
}

static void tell(const struct stage_test *t, int result, const char *why) {
    printf("%s - ", result == 0 ? "ok" : result == SKIP ? "skipped" : "not ok");
    sentence(t->name);
    if (result == SKIP)
        printf(": %s", why[0] ? why : "no world of its own is permitted here");
    else if (result != 0)
        printf(": %s", why[0] ? why : "ended without a word");
    printf("\n");
    fflush(stdout);
}

/* The last of what it said, for whoever reads of a failure. */
static void tell_of_scout(const char *directory) {
    char path[96], text[2001];
    snprintf(path, sizeof path, "%.60s/scout.log", directory);
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (fseek(f, 1 - (long)sizeof text, SEEK_END) < 0)
        rewind(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        printf("# scout: %s\n", line);
    fflush(stdout);
}

static void clear_away(const char *directory) {
    static const char *const names[] = {"scout.conf", "scout.sock", "scout.bell", "scout.lock", "scout.log"};
    char line[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(line, sizeof line, "%.60s/%s", directory, names[i]);
        unlink(line);
    }
    snprintf(line, sizeof line, "rm -rf '%.60s'", directory);
    if (rmdir(directory) < 0 && system(line) != 0)
        fprintf(stderr, "%s is left behind\n", directory);
}

static int run_one(const struct stage_test *t, const char *config) {
    int shared = memfd_create("stage", MFD_CLOEXEC), status = 0;
    if (shared < 0 || ftruncate(shared, sizeof(struct far_record)) < 0)
        return 1;
    struct far_record *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    strcpy(r->directory, "/tmp/cmm-stage-XXXXXX");
    if (r == MAP_FAILED || !mkdtemp(r->directory))
        return 1;
    fflush(NULL);
    pid_t keeper = fork();
    if (keeper == 0)
        _exit(keep(r, shared, t, t->config ? t->config : config));
    waitpid(keeper, &status, 0);
    int result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    tell(t, result, r->failure);
    if (result != 0 && result != SKIP)
        tell_of_scout(r->directory);
    clear_away(r->directory);
    munmap(r, sizeof *r);
    close(shared);
    return result;
}

static bool chosen(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc < 2;
}

int keeper_main(int argc, char **argv, const char *config, const struct stage_test *tests, size_t count) {
    int failed = 0, ran = 0;
    if (!getenv("CMM_STAGE_PROGRAM"))
        execute_in_order(own_program(), argv);
    for (size_t i = 0; i < count; i++) {
        if (!chosen(argc, argv, tests[i].name))
            continue;
        int result = run_one(&tests[i], config);
        ran += result != SKIP;
        failed += result != 0 && result != SKIP;
    }
    return failed ? 1 : ran ? 0 : SKIP;
}

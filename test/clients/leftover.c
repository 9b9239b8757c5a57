/* leftover FILE PROGRAM [ARG...] - runs the program and writes down which descriptors were open at its end.
 *
 * It and each of its processes are stopped where they exit, before the kernel closes anything, and looked at
 * from outside: /proc/PID/fd, whether the program ends by exit, _exit or a signal, and whatever a library in
 * it may know or hide. A line a process: its name, then NUMBER=KIND for each descriptor. The library's own,
 * close-on-exec and at or above OWN, have the line's last word: own=COUNT. Exits as the program does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OWN = 960, NUMBERS = 65536, TEXT = 4096 }; /* shim/lift.c: 64 below the limit, 1024 or more */

static FILE *file;

static bool read_text(const char *path, char *text, size_t len) {
    FILE *f = fopen(path, "r");
    size_t got = f ? fread(text, 1, len - 1, f) : 0;
    if (f)
        fclose(f);
    text[got] = 0;
    return got > 0;
}

static bool of_the_library(pid_t pid, int fd) {
    char path[64], text[TEXT];
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, fd);
    if (fd < OWN || !read_text(path, text, sizeof text))
        return false;
    const char *flags = strstr(text, "flags:");
    return flags && strtol(flags + 6, NULL, 8) & O_CLOEXEC;
}

/* The kind without its number: "socket", "pipe", "anon_inode", or the path of a file. */
static void put_kind(pid_t pid, int fd) {
    char path[64], kind[TEXT];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    ssize_t got = readlink(path, kind, sizeof kind - 1);
    kind[got < 0 ? 0 : got] = 0;
    char *number = strstr(kind, ":[");
    if (number && kind[0] != '/')
        *number = 0;
    fprintf(file, " %d=%s", fd, kind);
}

static void look_at(pid_t pid) {
    char path[64], name[64];
    static bool open_now[NUMBERS];
    int own = 0;
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    read_text(path, name, sizeof name);
    name[strcspn(name, "\n")] = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    memset(open_now, 0, sizeof open_now);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.' && atoi(e->d_name) < NUMBERS)
            open_now[atoi(e->d_name)] = true;
    if (d)
        closedir(d);
    fputs(name, file);
    for (int fd = 0; fd < NUMBERS; fd++)
        if (open_now[fd] && of_the_library(pid, fd))
            own++;
        else if (open_now[fd])
            put_kind(pid, fd);
    fprintf(file, " own=%d\n", own);
    fflush(file);
}

/* A process ends with its first thread's: all of them share one table of descriptors. */
static bool is_leader(pid_t tid) {
    char path[64], text[TEXT];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    const char *group = read_text(path, text, sizeof text) ? strstr(text, "\nTgid:") : NULL;
    return group && atoi(group + 6) == tid;
}

/* What a stop is about, and the signal that goes on to the program. */
static void go_on(pid_t tid, int status) {
    const int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_EXIT && is_leader(tid))
        look_at(tid);
    if (event == PTRACE_EVENT_STOP && signal != SIGTRAP)
        ptrace(PTRACE_LISTEN, tid, NULL, NULL); /* stopped as by a shell: stays so */
    else
        ptrace(PTRACE_CONT, tid, NULL, event ? 0L : (long)signal);
}

static int follow(pid_t program) {
    int result = 0, status;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (tid > 0 && WIFSTOPPED(status))
            go_on(tid, status);
        else if (tid == program)
            result = status;
        if (tid == program && !WIFSTOPPED(status))
            break;
    }
    return result;
}

int main(int argc, char **argv) {
    int ready[2];
    char byte = 0;
    if (argc < 3 || !(file = fopen(argv[1], "ae")) || pipe2(ready, O_CLOEXEC) < 0)
        return 125;
    const pid_t pid = fork();
    if (pid == 0) {
        if (read(ready[0], &byte, 1) == 1)
            execvp(argv[2], argv + 2);
        _exit(errno == ENOENT ? 127 : 126);
    }
    const long what = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                      PTRACE_O_TRACEEXIT;
    if (pid < 0 || ptrace(PTRACE_SEIZE, pid, NULL, what) < 0) {
        perror("leftover");
        return 125;
    }
    if (write(ready[1], &byte, 1) != 1)
        return 125;
    const int status = follow(pid);
    fclose(file);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}

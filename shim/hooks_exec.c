/* hooks_exec - the doors through which other programs are started.
 * An environment made from scratch would leave the library behind: it is completed. Children of vfork come in
 * here, on their parent's memory: nothing is allocated but on the stack, and nothing locked. All else is
 * libc's own. */
#include "adopt.h"
#include "hook.h"

#include <alloca.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8192 }; /* pointers on the stack */

extern char **environ;

static size_t count_of(char *const env[]) {
    size_t n = 0;
    while (env && env[n])
        n++;
    return n;
}

/* 0: it lacks nothing. */
static size_t room_for(char *const env[], const char *held, const char *preload) {
    size_t size = keep_room(&shim.keep, env);
    if (held || preload)
        size = (size ? size : count_of(env) + 1) + 1;
    return size > MOST ? 0 : size;
}

static char *const *completed(char *const env[], size_t size, char **room, char *held, char *preload) {
    if (!size)
        return env;
    char **at = room;
    if (held)
        *at++ = held;
    if (keep_room(&shim.keep, env))
        keep_complete(&shim.keep, env, at);
    else if (env)
        memcpy(at, env, (count_of(env) + 1) * sizeof *env);
    else
        *at = NULL;
    for (; preload && *at; at++)
        if (keep_preloads(*at))
            *at = preload;
    return room;
}

/* `whole' is env, or the same with what it lacks, and with the connections that it goes on with. */
#define COMPLETE(env)                                                                                        \
    const size_t room_held = adopt_size();                                                                   \
    char *const held = room_held ? adopt_list(alloca(room_held), room_held) : NULL;                          \
    const size_t room_amended = keep_amend(&shim.keep, (env));                                               \
    char *const preload = room_amended ? keep_amended(&shim.keep, (env), alloca(room_amended)) : NULL;       \
    const size_t size = room_for((env), held, preload);                                                      \
    char **const room = alloca((size + 1) * sizeof *room);                                                   \
    char *const *const whole = completed((env), size, room, held, preload)

HOOK(int, execve, (const char *path, char *const argv[], char *const env[])) {
    COMPLETE(env);
    return real.execve(path, argv, whole);
}

HOOK(int, execv, (const char *path, char *const argv[])) {
    COMPLETE(environ);
    return real.execve(path, argv, whole);
}

HOOK(int, execvpe, (const char *file, char *const argv[], char *const env[])) {
    COMPLETE(env);
    return real.execvpe(file, argv, whole);
}

HOOK(int, execvp, (const char *file, char *const argv[])) {
    COMPLETE(environ);
    return real.execvpe(file, argv, whole);
}

HOOK(int, fexecve, (int fd, char *const argv[], char *const env[])) {
    COMPLETE(env);
    return real.fexecve(fd, argv, whole);
}

HOOK(int, execveat, (int fd, const char *path, char *const argv[], char *const env[], int flags)) {
    COMPLETE(env);
    return real.execveat(fd, path, argv, whole, flags);
}

HOOK(int, posix_spawn,
     (pid_t * pid, const char *path, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attributes, char *const argv[], char *const env[])) {
    COMPLETE(env);
    return real.posix_spawn(pid, path, actions, attributes, argv, whole);
}

HOOK(int, posix_spawnp,
     (pid_t * pid, const char *file, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attributes, char *const argv[], char *const env[])) {
    COMPLETE(env);
    return real.posix_spawnp(pid, file, actions, attributes, argv, whole);
}

/* ---- arguments one by one ---- */

static size_t count(va_list list) {
    size_t n = 1;
    va_list copy;
    va_copy(copy, list);
    while (va_arg(copy, char *))
        n++;
    va_end(copy);
    return n;
}

static void gather(const char *first, va_list *list, char **ret) {
    *ret++ = (char *)first;
    while ((*ret++ = va_arg(*list, char *)))
        ;
}

/* What follows the name's arguments, gathered into argv. */
#define GATHER(first)                                                                                        \
    va_list list;                                                                                            \
    va_start(list, first);                                                                                   \
    char **const argv = alloca((count(list) + 1) * sizeof *argv);                                            \
    gather(first, &list, argv)

HOOK(int, execl, (const char *path, const char *first, ...)) {
    GATHER(first);
    va_end(list);
    COMPLETE(environ);
    return real.execve(path, argv, whole);
}

HOOK(int, execlp, (const char *file, const char *first, ...)) {
    GATHER(first);
    va_end(list);
    COMPLETE(environ);
    return real.execvpe(file, argv, whole);
}

HOOK(int, execle, (const char *path, const char *first, ...)) {
    GATHER(first);
    char *const *const env = va_arg(list, char *const *);
    va_end(list);
    COMPLETE(env);
    return real.execve(path, argv, whole);
}

/* ---- by a shell, whose own environment libc makes ---- */

/* The command behind what the environment lacks. NULL: it lacks nothing, or there is no memory. */
static char *exported(const char *command) {
    static const char word[] = "export '", quoted[] = "'\\''", end[] = "'\n";
    size_t size = 1;
    if (!command || !keep_room(&shim.keep, environ))
        return NULL;
    for (unsigned i = 0; i < shim.keep.count; i++)
        size += strlen(shim.keep.entry[i]) * (sizeof quoted - 1) + sizeof word + sizeof end;
    char *const text = malloc(size + strlen(command));
    if (!text)
        return NULL;
    char *at = text;
    for (unsigned i = 0; i < shim.keep.count; i++) {
        at = stpcpy(at, word);
        for (const char *c = shim.keep.entry[i]; *c; c++)
            at = *c == '\'' ? stpcpy(at, quoted) : (*at = *c, at + 1);
        at = stpcpy(at, end);
    }
    strcpy(at, command);
    return text;
}

HOOK(int, system, (const char *command)) {
    char *const whole = exported(command);
    int r, error;
    pthread_cleanup_push(free, whole);
    r = real.system(whole ? whole : command);
    error = errno;
    pthread_cleanup_pop(1);
    errno = error;
    return r;
}

HOOK(FILE *, popen, (const char *command, const char *mode)) {
    char *const whole = exported(command);
    FILE *const file = real.popen(whole ? whole : command, mode);
    const int error = errno;
    free(whole);
    errno = error;
    return file;
}

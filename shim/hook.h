/* hook - how a door takes a name of libc's: defined under a name of ours with libc's as its assembler label,
 * so that no header's macro, renaming or attribute of the original gets in the way. Each body is one call. */
#ifndef CMM_HOOK_H
#define CMM_HOOK_H

#include "flow.h"
#include "socket_calls.h"

#include <errno.h>
#include <unistd.h>

#define HOOK(result, name, parameters)                                                                       \
    __attribute__((visibility("default"))) result hook_##name parameters __asm__(#name);                     \
    result hook_##name parameters

/* Also under libc's internal or checking names. */
#define HOOK_ALIAS(result, alias, parameters)                                                                \
    __attribute__((visibility("default"))) result hook_##alias parameters __asm__(#alias);                   \
    result hook_##alias parameters

/* A managed socket that a call of the program should see managed: not from inside the lock (a signal
 * handler), and not in a process that only shares our memory. */
static inline struct sock *hook_find(int fd) {
    struct sock *s = sock_find(fd);
    return __builtin_expect(s != NULL, 0) && !self.holding ? s : NULL;
}

/* All the hot path asks of a descriptor that is not ours. What remains goes by functions of their own, so
 * that the common way needs no stack. */
#define HOOK_PLAIN(s) __builtin_expect(!(s), 1)
#define HOOK_SLOW     __attribute__((noinline)) static

/* The same for calls that change what is managed: a child of vfork, or a raw clone, runs on our memory with
 * descriptors of its own. */
static inline struct sock *hook_own(int fd) {
    struct sock *s = hook_find(fd);
    return s && socket_holds(fd) ? s : NULL;
}

/* A placeholder listens: its program does not. */
static inline bool hook_calls(int fd) {
    const struct sock *s = hook_own(fd);
    return s && (s->kind == SOCK_LABELED || s->state != LIFE_FRESH);
}

/* Anything is managed, and by this process. */
static inline bool hook_any(void) {
    return sock_first() && !self.holding && getpid() == shim.owner;
}

/* The calling thread's descriptor table becomes its own, as by close_range(2), and the library's threads go
 * with it. 0 or -1. */
int hook_take_table(void);

/* What socket(2) said, which is returned: a door that goes to the kernel past whoever is behind us. */
int hook_made(int fd, int family, int type, int protocol);

/* Parts of a call that went well may have failed. */
static inline long hook_done(long r, int before) {
    if (r >= 0)
        errno = before;
    return r;
}

static inline long hook_told(long r) {
    if (r >= 0)
        return r;
    errno = r == FLOW_DEFERRED || r == FLOW_EXECUTED ? EAGAIN : (int)-r;
    return -1;
}

#endif

/* self - what the shim knows of each thread: the lock it holds, the real call it is in, the user code it is
 * running. */
#ifndef CMM_SELF_H
#define CMM_SELF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* User code of ours on this thread's stack: a reconnect handler or a thunk of that socket. */
struct frame {
    struct frame *up;
    const void *sock;
    int hidden;      /* handler: the new connection its I/O acts on; -1: a thunk */
    uint64_t labels; /* thunk: of its set */
    int64_t front;   /* thunk: the turn of what it defers */
    pid_t owner;     /* process it began in: a child forked inside runs nothing more */
};

struct self {
    bool registered;
    bool holding;                  /* the lock: a signal handler's call must not take it again */
    bool forks_within;             /* ... but that handler forks */
    bool ours;                     /* a thread of the library */
    int cancel_state, cancel_type; /* the program's, while the lock is held */
    _Atomic int wake_fd;           /* -1 until it polls; registered threads only */
    struct waiter *waits;          /* wait's: those this thread is in, the innermost first */
    struct frame *frames;
    const void *helping;  /* a socket this thread is about to wait for: its handlers are left to it */
    const void *in_call;  /* the socket whose descriptor a real call is using now; SELF_IDLE: none; NULL: not
                             registered. Set atomically, for those who look: the thread itself may just read */
    _Atomic bool in_poll; /* ... in pieces, with polls in between: woken by self_wake_all */
    _Atomic bool roused;  /* since it began */
    pid_t tid;            /* registered threads only */
    struct self *next, *prev;
};

#define SELF_IDLE ((const void *)1)

/* initial-exec: one instruction, no call, usable from the first instruction of a thread on. */
extern __thread struct self self __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* Once a process, best while it has one thread: with more the kernel takes some 10 ms to get ready for
 * self_quiesce. */
void self_prepare(void);

/* What the kernel tells of this thread or process in a small file of /proc; "": nothing. */
void self_read(const char *path, char *ret_text, size_t size);

/* A filter of seccomp(2) watches this thread: a call that few programs make may be the last. */
bool self_filtered(void);

/* Enters this thread in the list quiesce and wake look at; leaves it by itself when the thread ends. */
void self_register(void);

/* The innermost frame of that socket, or NULL. */
struct frame *self_frame(const void *sock);

/* No other thread is inside a real call on that socket; calls that begin later must see what the caller
 * published before. quiesce: waits for it, at most so long. False: some still are. */
bool self_nobody_in(const void *sock);
bool self_quiesce(const void *sock, int limit_ms);

/* Before the first fork that leaves a socket to two processes: self_rouse will do. False: not here. */
bool self_prepare_rouse(void);
bool self_rouses(void);

/* The other threads that are inside a blocking real call on that socket make it again, on what is under its
 * number by now: the kernel does it for them, or they are told EINTR and know by the mark (roused) whose it
 * is. Where their description is another process's, too, nothing else takes them away from it. False: it
 * cannot be done. */
bool self_rouse(const void *sock);
enum { SELF_ROUSED_MS = 50 }; /* by then they are out of it */

/* This thread's wake-up descriptor (made on first need, readable once woken), or -1. */
int self_wake_fd(void);
void self_wake_drain(void);

/* Another thread polls, or has. */
bool self_others_poll(void);

/* Wakes every thread that polls. */
void self_wake_all(void);

/* A wake-up descriptor has moved to another number. */
void self_moved(int from, int to);

/* A thread of the library: detached, and all signals are blocked on it. 0 or -errno. */
int self_start(pthread_t *ret, void *(*run)(void *), void *arg);

/* Waits until the kernel, too, knows no more of that thread of this process: a moment later than libc. False:
 * it is still there after so long; 0: there is no limit. */
bool self_await_end(pid_t thread, int limit_ms);

/* In a forked child: only this thread is left. */
void self_forked(void);

#endif

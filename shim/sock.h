/* sock - the managed sockets: a record each, found by descriptor number.
 *
 * The caller holds the lock, but for sock_find and the atomic fields, which anybody may read at any time:
 * records are never given back to the allocator, only used again. Several numbers (dups) may lead to one
 * record.
 */
#ifndef CMM_SOCK_H
#define CMM_SOCK_H

#include "life.h"
#include "options.h"
#include "stash.h"
#include "thunk.h"
#include "wait.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { SOCK_AVOID = 4 };

enum sock_kind { SOCK_LABELED, SOCK_CAPTURED };

typedef int (*sock_handler)(int sock, unsigned long labels, void *arg);

/* Straight to the kernel? Timed: whose calls the program has given a time, so that their beginning is to be
 * known. */
enum __attribute__((packed)) way { WAY_SHUT, WAY_OPEN, WAY_TIMED };

/* One registration in an epoll set. */
struct watch {
    int epfd, fd;
    struct epoll_event event;
    bool disarmed; /* EPOLLONESHOT has fired */
    bool out;      /* ... and a swap has left it out of the set */
    bool parents;  /* made before a fork: it stays there for the description that the parent still has */
};

struct sock {
    /* The hot path's words. */
    _Atomic uint64_t labels; /* of the last send that was not deferred; before any, of connect */
    _Atomic enum sock_kind kind;
    _Atomic uint32_t swaps;  /* rises whenever the description under the numbers changes */
    _Atomic enum way clear;  /* of sends with `labels'; any news of networks shuts it */
    _Atomic enum way direct; /* of receives: live, nothing kept here */

    _Atomic enum life state;
    _Atomic int type;
    int family, protocol;
    int *fds; /* the numbers, oldest first */
    unsigned nfds, refs;
    unsigned long
        inode;      /* of the description under them: a number closed behind our back may lead elsewhere */
    bool shared;    /* a fork has copied the description */
    int policy;     /* captured: enum rules_policy */
    bool bound;     /* captured: its program has chosen address, port or interface; only a rule takes it in */
    bool home;      /* captured, by a rule: its destination is the machine itself */
    in_port_t port; /* captured: it was bound to before connect(), network byte order; 0: none */
    uint64_t give_up_at; /* captured: ms when patience ends, handshakes not counted; 0: never */
    bool file_reads;     /* a FILE reads it, past every door */
    bool file_writes;    /* ... writes it */
    bool redirected;     /* it was put at a standard number, where FILEs are, too */
    bool given;          /* sent by message: somebody who is no child of ours may hold it */
    bool cut;      /* captured: its network was lost under it; else what failed is the kernel's to tell */
    bool buried;   /* ... and what was under its numbers is aside */
    bool sealed;   /* SHUT_WR was asked: not moved any more */
    bool deaf;     /* SHUT_RD was asked, or the end has come before a loss: no connection brings anything */
    bool standing; /* what was left is still under the numbers: see swap_stand */
    bool queued;   /* on run's list */
    bool broken;   /* the attempt's network went while a handler ran */
    int error;     /* positive errno of DEAD */
    bool lived;    /* captured: its program has seen it connected */
    bool carried;  /* captured: Multipath TCP, the kernel takes it from network to network */
    bool adrift;   /* ... and has none left for it */
    uint64_t
        join_until;   /* ... ms: by then one that is there must have taken it; cut: or the kernel have told */
    uint32_t lost_at; /* what `swaps' was after the latest loss */
    uint32_t born;    /* ... when the record was taken for this socket */
    int untold;       /* captured: that, until it has been told once */
    bool owned;       /* as of the latest swap: somebody is to be told by signals */
    bool async;       /* ... of its readiness, too */
    int asked_by;     /* ... which names this number */
    bool full;        /* it had no room for what was to be sent: who waits for a signal waits for room, too */
    unsigned untold_of; /* what no signal has told yet: BECKON_... */

    struct sockaddr_storage to;
    socklen_t tolen;
    struct sockaddr_storage was; /* captured: its own name on the connection before */
    socklen_t waslen;
    sock_handler pre, post;
    void *arg;
    sigset_t mask; /* of the thread that made it: its handlers run with it */
    struct timespec patience;
    bool patient; /* for ever */

    uint64_t net;       /* identity it is connected on, or connecting by; 0: the kernel's choice */
    uint64_t on_labels; /* what this connection was made for */
    uint64_t pass;      /* released: the network that will do whatever the labels; 0: none */
    uint64_t want;      /* with wanted: labels the next attempt is for */
    bool wanted;
    int own;                    /* captured: its description once it was aside; else -1 */
    _Atomic bool aside;         /* datagrams: it is, and a placeholder stands under the numbers */
    bool fresh;                 /* ... it is one of ours, bound to a network's address */
    int hidden;                 /* PREPARING..RESENDING: the new connection; MOVING: the old one; else -1 */
    int spare;                  /* within a step: the next connection's, before it is steered; else -1 */
    unsigned attempt;           /* rises with every attempt and every end of one */
    uint64_t attempt_at;        /* ms */
    uint64_t due;               /* ms: the next tick for this socket (drain, retry, settling); 0: none */
    uint64_t drain_until;       /* ms */
    uint64_t avoid[SOCK_AVOID]; /* networks that just failed to reach, until due */
    unsigned navoid;            /* more than there is room for: all of them */
    unsigned backoff_ms;
    uint64_t waiting_since; /* CLOCK_REALTIME ms: the latest time it began to wait */

    struct thunk_queue thunks;
    uint64_t round; /* with in_round: the label set whose thunks go on before the socket moves */
    bool in_round;
    pthread_t user;      /* the thread running this socket's user code, if user_depth */
    unsigned user_depth; /* a handler inside a waiting thunk: 2 */
    bool in_handler;
    int lent; /* while in_handler: the connection it works on; else -1 */
    bool in_thunk;
    uint64_t thunk_labels; /* while in_thunk */

    struct options options;
    struct stash unread; /* arrived on connections that are gone */
    int mark;            /* SO_RCVLOWAT, while the kernel's is lower by what is kept; else 0 */
    struct stash sent;   /* replay: not yet acknowledged */
    size_t unsent;       /* replay: of the last one, not yet taken by the kernel; its sender is at work */
    size_t resent;       /* of sent, already on the new connection */
    bool replay;
    unsigned resets; /* how often it was reset */
    ssize_t unacked;

    struct watch *watches;
    unsigned nwatches;
    int ready_fd; /* readable while unread holds bytes; in the epoll sets; -1: none */

    struct wait_list waiters;
    struct sock *next_ready;  /* run's list */
    struct sock *next, *prev; /* all open ones */
};

enum { SOCK_LOW = 1024, SOCK_PAGE = 4096, SOCK_PAGES = 1024 };
extern _Atomic(struct sock *) sock_low[SOCK_LOW] __attribute__((visibility("hidden")));
extern _Atomic(_Atomic(struct sock *) *) sock_pages[SOCK_PAGES] __attribute__((visibility("hidden")));

/* The record of a number, or NULL: not ours. Any thread, no lock. */
struct sock *sock_find(int fd);

/* The same without a call, for the hot path. */
static inline struct sock *sock_look(int fd) {
    if (__builtin_expect((unsigned)fd < SOCK_LOW, 1))
        return atomic_load_explicit(&sock_low[fd], memory_order_acquire);
    if ((unsigned)fd >= SOCK_PAGE * (unsigned)SOCK_PAGES)
        return NULL;
    _Atomic(struct sock *) *slots =
        atomic_load_explicit(&sock_pages[(unsigned)fd / SOCK_PAGE], memory_order_acquire);
    return slots ? atomic_load_explicit(&slots[(unsigned)fd % SOCK_PAGE], memory_order_acquire) : NULL;
}

/* The first number that has one, of those from the first to before end; end: none. Any thread, no lock. */
unsigned sock_next(unsigned from, unsigned end);

/* A record for fd, FRESH. NULL: no memory. */
struct sock *sock_new(int fd, enum sock_kind kind, int family, int type, int protocol);

/* Another number for the same record. 0 or -ENOMEM. */
int sock_alias(struct sock *s, int fd);

/* Takes a number away; true if it was the last. */
bool sock_forget(struct sock *s, int fd);

void sock_get(struct sock *s);
/* Gives a reference back; the last one empties the record for its next use. */
void sock_put(struct sock *s);

/* All open sockets, in no order. */
struct sock *sock_first(void);

/* The state after event; what the machine has no way for is refused: false. */
bool sock_turn(struct sock *s, enum life_event event);

static inline bool sock_stream(const struct sock *s) {
    return s->type == SOCK_STREAM;
}

/* Its network was lost under it. */
void sock_cut(struct sock *s);

/* It is DEAD of an error that the kernel does not tell any more. */
void sock_failed(struct sock *s, int error);

/* What epoll_wait() tells must be looked at: some socket is cut, has an error to tell or a stand-in, or some
 * registration fires once. With the lock to change it; who looks finds out when nothing is left that it is
 * about. */
extern _Atomic bool sock_noted __attribute__((visibility("hidden")));

/* Epoll sets: as the program asked. */
struct watch *sock_watched(struct sock *s, int epfd, int fd);
int sock_watch(struct sock *s, int epfd, int op, int fd, const struct epoll_event *event);

#endif

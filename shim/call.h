/* call - what the calls on managed sockets have in common: waiting, making a real call, judging what it says.
 * With the lock held, which is dropped while they wait or call. */
#ifndef CMM_CALL_H
#define CMM_CALL_H

#include "flow.h"

enum { CALL_AGAIN = -6000 }; /* overtaken: look at the socket again */

/* The record with the lock taken, or NULL without it: not ours, or (labeled) no cmm socket. */
struct sock *call_enter(int fd);
struct sock *call_enter_labeled(int fd);

/* Without the lock: gives a hold on a record back, also where the thread is cancelled. */
void call_let_go(void *record);

typedef ssize_t call_function(int fd, void *msg, int flags);

/* sendmsg without SIGPIPE; recvmsg. */
ssize_t call_send(int fd, void *msg, int flags);
ssize_t call_recv(int fd, void *msg, int flags);

/* A count, -errno or CALL_AGAIN. limit: CLOCK_MONOTONIC ms when the program's own timeout ends it if it is
 * blocking; 0: never. */
ssize_t call_issue(struct sock *s, int fd, call_function *call, void *msg, int flags, bool blocking,
                   uint64_t limit);

/* What the real call's error means for the socket: -errno to return, or CALL_AGAIN. */
ssize_t call_judge(struct sock *s, int error);

/* A captured socket that failed by itself: the kernel goes on telling. */
bool call_kernels_own(const struct sock *s);

/* The error that such a socket has not told yet, once: -errno. To learn of it the kernel had to be asked, and
 * it, too, tells it once. */
int call_told(struct sock *s);

/* Waits until the socket changes, running its handlers if they fall to this thread. network: patience counts
 * (*deadline, made on first need). limit: as call_issue's. 0: look again; else -errno. */
int call_wait(struct sock *s, uint64_t labels, bool network, uint64_t *deadline, uint64_t limit);

/* When SO_RCVTIMEO or SO_SNDTIMEO (name), set now, would end a call that began then (ms; 0: now); 0: never.
 */
uint64_t call_limit(const struct sock *s, int name, uint64_t began);

/* The bytes of a message; the first piece of what is left when so many are done (none: of length 0). */
size_t call_length(const struct msghdr *msg);
struct iovec call_rest(const struct msghdr *msg, size_t done);

/* Without the lock: until fd is ready, a swap has happened, or limit. As poll's revents, or -errno. */
int call_wait_ready(int fd, short events, uint64_t limit);

/* What a call is told whose number was closed meanwhile, and r said: a cmm socket's that it was, another's
 * what the kernel says. */
ssize_t call_closed(const struct sock *s, ssize_t r);

bool call_is_nonblocking(int fd, int flags);

#endif

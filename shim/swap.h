/* swap - another description under the same descriptor numbers. All with the lock held; nothing here blocks.
 */
#ifndef CMM_SWAP_H
#define CMM_SWAP_H

#include "shim.h"

#include <errno.h>

enum { SWAP_MOST = 8 << 20 }; /* so many unread bytes are kept */

/* No descriptor or memory can be had now: there may be later. */
static inline bool swap_lacks(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* fd is what s stands for now. */
void swap_know(struct sock *s, int fd);

/* False: the number was closed behind our back, and is nothing or something else now. */
bool swap_holds(const struct sock *s, int number);

/* Lets go of every such number, as swap_in does; the caller holds a reference. */
void swap_purge(struct sock *s);

/* The numbers can be replaced: none of them lies above what the program's limit allows now. Else a connection
 * that is lost ends in place, and one that is to come waits for the limit, as it does for a descriptor. */
bool swap_may(const struct sock *s);

/* Nobody goes the direct way from now on, and who is on it looks again. */
void swap_turn_away(struct sock *s);

/* fd's description under that number, which closes on exec as it did. False: it could not be had. */
bool swap_put(int fd, int number);

/* Puts the description fd under every number of s, file status flags and epoll registrations carried over,
 * and closes fd. Every poll looks again; who is blocked on the old description stays there until it is shut
 * down or aborted. */
void swap_in(struct sock *s, int fd);

/* A socket that polls silent while there is no connection goes under the numbers. Returns a duplicate of what
 * was there, or -errno with nothing changed. */
int swap_out(struct sock *s);

/* A duplicate of what is under the numbers, or -errno. */
int swap_copy(const struct sock *s);

/* Instead of swap_out, for one whose next connection may come before the lock is dropped: what is left stands
 * under the numbers until then, and no call goes there. The placeholder comes by swap_settle, if there is
 * none yet; where none can be had swap_settle is called again. False, with nothing changed: somebody would
 * see the connection end, or no placeholder may come. */
bool swap_stand(struct sock *s);
void swap_settle(struct sock *s);

/* Moves what has arrived unread on fd into s, once nobody is inside a call on it. fd is shut down for
 * receiving first, unless the description is shared: then it is only copied.  True: nobody was. */
bool swap_collect(struct sock *s, int fd);

/* Ends a connection under whoever waits on it. */
void swap_wake(int fd);

/* The same as far as it goes without disturbing anybody, while fd is still being drained: who only receives
 * is not kept waiting, nor a peer that sends before it reads on. */
void swap_gather(struct sock *s, int fd);

/* The same without a word to anybody: who is inside a call on fd keeps what it gets. */
void swap_take(struct sock *s, int fd);

/* The same without asking for more than there is: an end or an error is left to who receives. */
void swap_take_arrived(struct sock *s, int fd);

/* Gives fd up without a word to the peer that could be mistaken for an end: an abort, then close. */
void swap_abort(int fd);

/* What was cut off goes aside, and a socket that tells of a reset under the numbers: whoever writes it past
 * every door is told an error, and never by a signal. */
void swap_bury(struct sock *s);

/* The same under a number that is not one of a managed socket's. False: it could not be had. */
bool swap_mark(int number);

/* The numbers are to be another connection's: nothing is aside any more. */
void swap_unbury(struct sock *s);

/* Where the connection is that a number stands for. */
static inline int swap_number(const struct sock *s, int fd) {
    return s->buried && s->own >= 0 ? s->own : fd;
}

/* Brings `direct' and the epoll stand-in for kept bytes up to date. */
void swap_review(struct sock *s);

#endif

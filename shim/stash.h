/* stash - bytes the library keeps for a socket: arrived and unread, or sent and unacknowledged. Each chunk is
 * one message; on a stream chunks may be read across. The caller holds the shim's lock. */
#ifndef CMM_STASH_H
#define CMM_STASH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stash_chunk {
    struct stash_chunk *next;
    size_t len, done; /* done: already taken from the front */
    size_t from_len;  /* of its sender's address, which lies behind the bytes; 0: not known */
    unsigned char bytes[];
};

struct stash {
    struct stash_chunk *_Atomic first; /* whether there is one may be asked without the lock */
    struct stash_chunk *last;
    struct stash_chunk *spent; /* taken, to be freed by another: who receives may be in a signal handler */
    size_t bytes;              /* not yet taken */
};

/* Appends a copy. 0 or -ENOMEM. */
int stash_push(struct stash *s, const void *bytes, size_t len);

/* The same for a datagram of that sender. */
int stash_push_from(struct stash *s, const void *bytes, size_t len, const void *from, size_t from_len);

/* Appends one message gathered from iov. Its length, or -ENOMEM. */
ssize_t stash_push_iov(struct stash *s, const struct iovec *iov, int count);

/* Takes len bytes off the end of the last chunk, and the chunk if nothing of it is left. */
void stash_cut(struct stash *s, size_t len);

/* As readv: stream across chunks, or one datagram (the rest of it is dropped, its full length in *ret_full).
 * peek leaves everything. Returns the bytes copied. */
size_t stash_take(struct stash *s, const struct iovec *iov, int count, bool stream, bool peek,
                  size_t *ret_full);

/* Drops whole chunks from the front as long as at least keep bytes remain: what is unacknowledged, in whole
 * calls. */
void stash_trim(struct stash *s, size_t keep);

void stash_finish(struct stash *s);

#endif

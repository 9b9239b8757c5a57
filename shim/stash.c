/* stash - bytes the library keeps for a socket.
 * A list of chunks, one per message or send. The caller holds the shim's lock. Deliberately absent: limits,
 * which belong to those who know the socket's buffers. */
#include "stash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void free_spent(struct stash *s) {
    for (struct stash_chunk *c; (c = s->spent);) {
        s->spent = c->next;
        free(c);
    }
}

static struct stash_chunk *append(struct stash *s, size_t len, size_t from_len) {
    struct stash_chunk *c = malloc(sizeof *c + len + from_len);
    free_spent(s);
    if (!c)
        return NULL;
    *c = (struct stash_chunk){.len = len, .from_len = from_len};
    if (s->last)
        s->last->next = c;
    else
        s->first = c;
    s->last = c;
    s->bytes += len;
    return c;
}

int stash_push_from(struct stash *s, const void *bytes, size_t len, const void *from, size_t from_len) {
    struct stash_chunk *c = append(s, len, from_len);
    if (!c)
        return -ENOMEM;
    memcpy(c->bytes, bytes, len);
    if (from_len)
        memcpy(c->bytes + len, from, from_len);
    return 0;
}

int stash_push(struct stash *s, const void *bytes, size_t len) {
    return stash_push_from(s, bytes, len, NULL, 0);
}

ssize_t stash_push_iov(struct stash *s, const struct iovec *iov, int count) {
    size_t len = 0, at = 0;
    for (int i = 0; i < count; i++)
        len += iov[i].iov_len;
    struct stash_chunk *c = append(s, len, 0);
    if (!c)
        return -ENOMEM;
    for (int i = 0; i < count; at += iov[i++].iov_len)
        if (iov[i].iov_len)
            memcpy(c->bytes + at, iov[i].iov_base, iov[i].iov_len);
    return (ssize_t)len;
}

void stash_cut(struct stash *s, size_t len) {
    struct stash_chunk *before = NULL;
    if (!s->last)
        return;
    s->last->len -= len;
    s->bytes -= len;
    if (s->last->len)
        return;
    for (struct stash_chunk *c = s->first; c != s->last; c = c->next)
        before = c;
    free(s->last);
    s->last = before;
    if (before)
        before->next = NULL;
    else
        s->first = NULL;
}

static void spend_first(struct stash *s) {
    struct stash_chunk *c = s->first;
    s->first = c->next;
    if (!s->first)
        s->last = NULL;
    s->bytes -= c->len - c->done;
    c->next = s->spent;
    s->spent = c;
}

static size_t copy_out(const struct iovec *iov, int count, size_t at, const unsigned char *from, size_t len) {
    size_t copied = 0;
    for (int i = 0; i < count && copied < len; i++) {
        if (at >= iov[i].iov_len) {
            at -= iov[i].iov_len;
            continue;
        }
        size_t part = iov[i].iov_len - at;
        if (part > len - copied)
            part = len - copied;
        if (iov[i].iov_base) /* with MSG_TRUNC there need be none */
            memcpy((unsigned char *)iov[i].iov_base + at, from + copied, part);
        copied += part;
        at = 0;
    }
    return copied;
}

size_t stash_take(struct stash *s, const struct iovec *iov, int count, bool stream, bool peek,
                  size_t *ret_full) {
    size_t taken = 0;
    *ret_full = 0;
    for (struct stash_chunk *c = s->first, *after; c; c = after) {
        after = c->next;
        size_t len = c->len - c->done;
        size_t part = copy_out(iov, count, taken, c->bytes + c->done, len);
        taken += part;
        *ret_full += stream ? part : len;
        if (!peek && stream && part < len) {
            c->done += part;
            s->bytes -= part;
        } else if (!peek) {
            spend_first(s);
        }
        if (!stream || part < len)
            break;
    }
    return taken;
}

void stash_trim(struct stash *s, size_t keep) {
    while (s->first && s->bytes - (s->first->len - s->first->done) >= keep)
        spend_first(s);
    free_spent(s);
}

void stash_finish(struct stash *s) {
    while (s->first)
        spend_first(s);
    free_spent(s);
}

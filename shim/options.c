/* options - the socket options a program has set.
 * A list in the order of setting, since some depend on others, and some change others: an option set again
 * is there twice, where it was first, and last. The caller holds the shim's lock.
 * Multicast memberships add up instead of replacing one another; so they are appended, until they are left.
 */
#include "options.h"
#include "real.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* What adds up, and what takes one of it back. */
static const struct {
    int level, joins, leaves;
} memberships[] = {
    {IPPROTO_IP, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP},
    {IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP},
    {IPPROTO_IP, MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP},
    {IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP},
    {IPPROTO_IPV6, IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP},
    {IPPROTO_IPV6, MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP},
    {IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP},
};

enum { MEMBERSHIPS = sizeof memberships / sizeof *memberships };

static bool adds_up(int level, int name) {
    for (int i = 0; i < MEMBERSHIPS; i++)
        if (level == memberships[i].level && (name == memberships[i].joins || name == memberships[i].leaves))
            return true;
    return false;
}

/* The name of what this one takes back. 0: nothing. */
static int joined_by(int level, int name) {
    for (int i = 0; i < MEMBERSHIPS; i++)
        if (level == memberships[i].level && name == memberships[i].leaves)
            return memberships[i].joins;
    return 0;
}

/* A filter's value only says where the program has it, and for how long is not known. 0: it is no filter. */
static size_t filter_size(int level, int name, const void *value, socklen_t len) {
    struct sock_fprog filter;
    if (level != SOL_SOCKET || (name != SO_ATTACH_FILTER && name != SO_ATTACH_REUSEPORT_CBPF) ||
        len != sizeof filter)
        return 0;
    memcpy(&filter, value, sizeof filter);
    return filter.len * sizeof *filter.filter;
}

/* Into the room behind the value. */
static void take_filter(struct option *o, size_t size) {
    struct sock_fprog filter;
    unsigned char *room = o->value + o->len;
    memcpy(&filter, o->value, sizeof filter);
    room += -(uintptr_t)room % _Alignof(struct sock_filter);
    memcpy(room, filter.filter, size);
    filter.filter = (void *)room;
    memcpy(o->value, &filter, sizeof filter);
}

static struct option *option_new(int level, int name, const void *value, socklen_t len) {
    const size_t filter = filter_size(level, name, value, len);
    struct option *o = malloc(sizeof *o + len + (filter ? filter + _Alignof(struct sock_filter) : 0));
    if (!o)
        return NULL;
    *o = (struct option){.level = level, .name = name, .len = len};
    if (len && value)
        memcpy(o->value, value, len);
    else
        memset(o->value, 0, len); /* which is what some options make of nothing */
    if (filter)
        take_filter(o, filter);
    return o;
}

static bool is(const struct option *o, int level, int name) {
    return o->level == level && o->name == name;
}

static void drop(struct option **at) {
    struct option *gone = *at;
    *at = gone->next;
    free(gone);
}

/* The latest of its kind, unless that is the first and others came after it. */
static void drop_stale(struct options *o, int level, int name) {
    struct option **at = &o->first, **latest = NULL;
    unsigned count = 0;
    for (; *at; at = &(*at)->next)
        if (is(*at, level, name)) {
            latest = at;
            count++;
        }
    if (!latest || (count == 1 && (*latest)->next))
        return;
    drop(latest);
}

/* A group that was joined and is left is as if it had never been: a program may do so for ever. */
static bool leaves(struct options *o, int level, int name, const void *value, socklen_t len) {
    const int joined = joined_by(level, name);
    for (struct option **at = &o->first; joined && *at; at = &(*at)->next)
        if (is(*at, level, joined) && (*at)->len == len && memcmp((*at)->value, value, len) == 0) {
            drop(at);
            return true;
        }
    return false;
}

int options_put(struct options *o, int level, int name, const void *value, socklen_t len) {
    if (leaves(o, level, name, value, len))
        return 0;
    struct option *fresh = option_new(level, name, value, len), **at = &o->first;
    if (!fresh)
        return -ENOMEM;
    if (!adds_up(level, name))
        drop_stale(o, level, name);
    while (*at)
        at = &(*at)->next;
    *at = fresh;
    return 0;
}

const struct option *options_find(const struct options *o, int level, int name) {
    const struct option *found = NULL;
    for (const struct option *at = o->first; at; at = at->next)
        if (is(at, level, name))
            found = at;
    return found;
}

uint64_t options_timeout(const struct options *o, int name) {
    const struct option *found = options_find(o, SOL_SOCKET, name);
    struct timeval t;
    if (!found || found->len != sizeof t)
        return 0;
    memcpy(&t, found->value, sizeof t);
    return (uint64_t)t.tv_sec * 1000 + ((uint64_t)t.tv_usec + 999) / 1000;
}

int options_replay(const struct options *o, int fd) {
    int failed = 0;
    for (const struct option *at = o->first; at; at = at->next)
        if (real.setsockopt(fd, at->level, at->name, at->value, at->len) < 0 && !failed)
            failed = -errno;
    return failed;
}

void options_finish(struct options *o) {
    while (o->first)
        drop(&o->first);
}

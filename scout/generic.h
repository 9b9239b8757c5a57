/* generic - questions to one of the families of the kernel's generic netlink. */
#ifndef CMM_GENERIC_H
#define CMM_GENERIC_H

#include <libmnl/libmnl.h>
#include <stdint.h>

/* Room for a question, and for a piece of its answer. */
enum { GENERIC_ROOM = 8192 };

/* The beginning of a question in buffer, to put attributes behind. */
struct nlmsghdr *generic_begin(char buffer[GENERIC_ROOM], uint16_t family, uint8_t command, uint16_t flags);

/* Which number has the family of that name? */
struct nlmsghdr *generic_which(char buffer[GENERIC_ROOM], const char *name);

/* ... for each attribute of the answer: keeps it. */
int generic_keep(const struct nlattr *a, void *ret_uint16);

#endif

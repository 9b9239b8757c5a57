/* socket_entry - what socket_calls and socket_options share: what stands under a number. */
#ifndef CMM_SOCKET_ENTRY_H
#define CMM_SOCKET_ENTRY_H

#include "shim.h"

/* What a call on fd acts on. */
int socket_number(const struct sock *s, int fd);

/* What is there (socket_number) is the program's own or its connection: the kernel's word on it is good. Else
 * it is a placeholder. */
bool socket_true(const struct sock *s, int fd, int number);

/* A placeholder listens; the program is told what it would be doing. */
static inline bool socket_connecting(const struct sock *s) {
    return s->state == LIFE_WAITING || life_attempting(s->state);
}

#endif

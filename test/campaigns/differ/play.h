/* play - what the steps of a play share.
 * A step is a call or a few; what it does is decided by the seed and its number alone (and by which of the
 * slots hold a socket), so that steps can be left out. What came of it goes into the step's line. */
#ifndef DIFFER_PLAY_H
#define DIFFER_PLAY_H

#include "far.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Past the library, also where that is preloaded. */
extern long (*raw)(long, ...);

unsigned chance(unsigned n); /* 0 .. n - 1 */
#define one_of(list) ((list)[chance(sizeof(list) / sizeof *(list))])

/* ---- the line ---- */

__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
void say_bytes(const void *bytes, long len);
void say_address(const void *address, socklen_t len, socklen_t room);

/* errno is 0 before the call; its result, errno and the signals that came meanwhile are said. */
void before(void);
long after(long result);
#define TOLD(call) (before(), after((long)(call)))

/* The next call may block on fd, if it does not poll so (0: whatever it polls; -1: it does not go by fd
 * alone): somebody is to end that. */
void may_block(int fd, int flags, short events);

/* ---- the slots ---- */

enum { SLOTS = 6, SETS = 2 };
extern int slots[SLOTS], sets[SETS];

int a_slot(void);        /* its index */
int a_socket(void);      /* the number in a slot, seldom another; filled if it is empty */
int an_empty_slot(void); /* or any */
void put(int slot, int fd);
void gone(int fd);
extern bool urgent; /* the far end is so in this play: what splice makes of that is its own */
extern bool mapped; /* IPv6 sockets speak IPv4: a socket that has tried it once is spoilt for the other */
uint16_t own_port(unsigned i); /* nobody else's */

/* One that nobody can read or write. */
#define NOWHERE ((void *)16)

int type_of(int fd);
bool connected(int fd);
short polled(int fd); /* past the library */

/* ---- the far end ---- */

struct far_answer far_do(int verb, int fd, unsigned len);

/* Packets have arrived and been answered, and the library's threads have done what they had to do. */
void rest(void);

/* ---- the steps ---- */

struct step {
    const char *name;
    void (*play)(void);
    unsigned weight;
};
extern const struct step steps_open[], steps_io[], steps_ask[], steps_wait[], steps_far[];

void open_at(int slot);

#endif

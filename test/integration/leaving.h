/* leaving - a labeled socket that leaves wifi for cell, and what the calls say of it. wifi is withdrawn,
 * which still works and is left in peace; in a world it is lost. */
#ifndef LEAVING_H
#define LEAVING_H

#include "talk.h"

#include <stdint.h>

extern const char leaving_config[], leaving_world[]; /* wifi (all), cell (ondemand, small) */

void leaving_live(int flags);          /* wifi carries it */
void leaving_live_in_world(int flags); /* ... from 10.1.0.2 */
void leaving_move(void);               /* ... then cell does */

int leaving_number(int request); /* of ioctl */
short leaving_polled(short events);
bool leaving_selected(bool to_read);

/* Its epoll set; the events of one look, 0 for none. */
int leaving_watch(uint32_t events);
uint32_t leaving_look(int ep, int ms);

/* A pattern that tells every byte's place. */
unsigned char leaving_at(size_t i);
extern size_t leaving_put_at;                                 /* how much of it the library has taken */
long leaving_put(size_t len, int flags);                      /* cmm_send() of what comes next */
void leaving_expect(int connection, size_t from, size_t len); /* that is all it carried */

#endif

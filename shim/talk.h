/* talk - the conversation with the scout: looks for one, hears it and does its word, tells it what waits
 * here. With the lock. */
#ifndef CMM_TALK_H
#define CMM_TALK_H

#include "shim.h"

/* ---- for everybody ---- */

/* What waits has changed; the scout will be told soon. */
void talk_report(void);
bool talk_reports(void); /* it is due already */

/* Look for a scout again if there is none, at most once a second. */
void talk_seek(void);

/* ---- on the listening thread: the lock is dropped while it looks for a scout ---- */

/* Looks for a scout, once. */
void talk_open(void);

/* The scout has said something, or is gone; one that comes has rung the bell. */
void talk_hear(void);
void talk_bell(void);

/* Looks for a scout, reports: if it is time. The ms when to come back; 0: never. */
void talk_look(uint64_t now_ms);
uint64_t talk_say(uint64_t now_ms);

/* What is to be said to the program's user, without the lock; NULL: nothing new. Valid until the next
 * talk_say. */
const char *talk_news(void);

/* ---- its descriptors ---- */

/* One has moved to another number. */
void talk_moved(int from, int to);

/* The program has closed them past every door. */
void talk_forget(void);

/* Nobody listens any more. */
void talk_end(void);

#endif

/* machine - what the scout has to know of the machine it runs on, once at the start. */
#ifndef CMM_MACHINE_H
#define CMM_MACHINE_H

#include <stdint.h>

/* The same for every scout in this boot and network namespace: a restarted one must give the same ids. */
uint64_t machine_seed(void);
uint64_t machine_random(void);

/* Which network namespace this is; 0: not known. */
uint64_t machine_namespace(void);

/* Descriptors and queues for as many subscribers as there may be. */
void machine_raise_limits(void);

int64_t machine_now_ms(void);   /* CLOCK_MONOTONIC */
uint64_t machine_wall_ms(void); /* CLOCK_REALTIME */

#endif

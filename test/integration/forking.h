/* forking - a process and its child with one labeled socket. The child tells by its exit code; 0 is success.
 * What both must see lies in memory they share. */
#ifndef FORKING_H
#define FORKING_H

#include "stage.h"

#include <libcmm.h>
#include <stdatomic.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

extern const char forking_config[]; /* wifi (background), cell (ondemand) */
extern const char forking_world[];  /* ... cell (background, ondemand) */

extern struct forking { _Atomic int runs, runs_in_child, step; } * forking_both;
extern pid_t forking_parent;

void forking_share(void); /* first of all */
int forking_connected(unsigned long labels);
int forking_ended(pid_t child); /* its status, once it is */
void forking_step(int wanted);  /* until the other has come so far */

#define forking_carries(i, text)                                                                             \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        stage_expect_text(i, text);                                                                          \
    } while (0)

#endif

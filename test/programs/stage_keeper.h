/* stage_keeper - who sets a stage up and clears it away: one process a test, its parent. */
#ifndef STAGE_KEEPER_H
#define STAGE_KEEPER_H

#include "stage_far.h"

/* In the process of a test: what the keeper has prepared. NULL: this is the outermost process. */
struct far_record *keeper_inherited(int *ret_commands);

/* Runs the tests one after the other; the exit code. */
int keeper_main(int argc, char **argv, const char *config, const struct stage_test *tests, size_t count);

/* 0 or -errno; ECONNREFUSED: no scout listens (yet). */
int keeper_set(const struct far_record *record, const char *network, int action);

int keeper_scout_start(struct far_record *record);
void keeper_scout_kill(struct far_record *record);

#endif

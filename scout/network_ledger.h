/* network_ledger - which ids this scout has given, for its successor to go on with. */
#ifndef CMM_NETWORK_LEDGER_H
#define CMM_NETWORK_LEDGER_H

#include "network.h"

/* Before the first look: what the one before has told. Nothing, where there is nothing to be believed. */
void network_ledger_read(int fd, struct network_table *t);

/* Before others are told. Writes only what is news; fd negative: there is nowhere to keep it. */
void network_ledger_write(int fd, const struct network_table *t);

#endif

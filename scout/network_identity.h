/* network_identity - which network it is. For network: one of its table, and what is seen of it now. */
#ifndef CMM_NETWORK_IDENTITY_H
#define CMM_NETWORK_IDENTITY_H

#include "network.h"

/* Gives it an id, as it is now. */
void network_identify(struct network_table *t, struct network *n);

/* All that it rests on is there. */
bool network_rests(const struct network *n, const struct fact_network *f);

/* What it is by IPv4 it still is. */
bool network_goes_on_by_four(const struct network *n, const struct fact_network *f);

/* Something else is there instead of what it rests on: then it has lost its id, or what it is by IPv6. False:
 * it is another network altogether. */
bool network_review(struct network_table *t, struct network *n, const struct fact_network *f);

/* It rests on what works of it now. A family that comes later joins the identity and does not change it. */
void network_settle(struct network_table *t, struct network *n, const struct fact_network *f);

/* It was offered under its id: that id is over. By IPv6 it is another one from now on. */
void network_lose(struct network_table *t, struct network *n);
void network_lose_six(struct network *n);

#endif

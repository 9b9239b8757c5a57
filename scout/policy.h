/* policy - what configuration and kind of interface make of a link: which network it is and what it offers.
 * Pure. */
#ifndef CMM_POLICY_H
#define CMM_POLICY_H

#include "settings.h"

/* The network that l is. False: it is none. ret->addresses points into l. */
bool policy_link(const struct settings *s, const struct fact_link *l, struct fact_network *ret);

/* Section index as a host address only; works: it can be bound. False: it is not such a section.
 * ret->addresses points into s. */
bool policy_address(const struct settings *s, unsigned index, bool works, uint32_t ifindex,
                    struct fact_network *ret);

/* Sections that have no network in snapshot join it as down, as far as there is room: they are listed. */
void policy_listed(const struct settings *s, struct wire_snapshot *snapshot);

/* A section of the configuration has this NAME (or the NAME of NAME@IFACE). */
bool policy_knows(const struct settings *s, const char *name);

/* The orders of preference as indices into the networks of snapshot; ifaces[i] is the interface of
 * networks[i]. */
void policy_prefs(const struct settings *s, const char (*ifaces)[FACT_IFACE], struct wire_snapshot *snapshot);

#endif

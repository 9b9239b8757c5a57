/* herald - what has changed between two snapshots, in words. Pure. */
#ifndef CMM_HERALD_H
#define CMM_HERALD_H

#include "fact.h"
#include "label.h"

/* A snapshot and the interfaces of its networks. */
struct herald_view {
    struct wire_snapshot snapshot;
    char ifaces[WIRE_NETWORKS][FACT_IFACE];
};

typedef void (*herald_say)(void *arg, const char *text);

/* One line for each change: "network wifi0 up", "network home@wlan0 grace", ... */
void herald_compare(const struct herald_view *before, const struct herald_view *now,
                    const struct label_names *names, herald_say say, void *arg);

#endif

/* monitor_kind - what kind of network an interface belongs to, guessed without configuration. */
#ifndef CMM_MONITOR_KIND_H
#define CMM_MONITOR_KIND_H

#include "fact.h"

/* hardware: ARPHRD_...; kind: IFLA_INFO_KIND or empty. Looks at /sys, and last at the name. */
enum fact_type monitor_kind(const char *name, uint32_t ifindex, uint16_t hardware, bool loopback,
                            const char *kind);

#endif

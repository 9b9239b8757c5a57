/* ctl_kin - which subscribers a process id means. */
#ifndef CMM_CTL_KIN_H
#define CMM_CTL_KIN_H

#include "ctl_client.h"
#include <stdbool.h>

/* Leaves in the view that process alone; or, if it is none and only carries the library, those that it has
 * started, and they in turn. False: none. */
bool ctl_kin_select(struct ctl_view *v, uint32_t pid);

#endif

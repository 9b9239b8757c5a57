/* ctl_why - what one process waits for, and what would release it. */
#ifndef CMM_CTL_WHY_H
#define CMM_CTL_WHY_H

#include "ctl_client.h"
#include <stdbool.h>

/* Leaves in the view that process alone, and of the networks those that offer what it waits for. False: no
 * such subscriber. */
bool ctl_why_select(struct ctl_view *v, uint32_t pid);

/* Of a view so reduced. */
void ctl_why_print(const struct ctl_view *v);

#endif

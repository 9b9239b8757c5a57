/* ctl_why - what one process, or who wants certain labels, waits for, and what would release it. */
#ifndef CMM_CTL_WHY_H
#define CMM_CTL_WHY_H

#include "ctl_client.h"
#include <stdbool.h>

/* There is such a subscriber. */
bool ctl_why_knows(const struct ctl_view *v, uint32_t pid);

/* Leaves in the view that process alone (or those that wait for these labels, maybe among others), and of the
 * networks those that offer what is waited for. */
void ctl_why_select(struct ctl_view *v, uint32_t pid);
void ctl_why_select_labels(struct ctl_view *v, uint64_t wanted);

/* Of the whole view: also what the other networks lack. */
void ctl_why_print(const struct ctl_view *v, uint32_t pid);
void ctl_why_print_labels(const struct ctl_view *v, uint64_t wanted);

#endif

/* ctl_why - what processes, or who wants certain labels, waits for, and what would release it. */
#ifndef CMM_CTL_WHY_H
#define CMM_CTL_WHY_H

#include "ctl_client.h"

/* Leaves in the view the networks that offer what its subscribers wait for; or the subscribers that wait for
 * these labels, maybe among others, and the networks that offer them. */
void ctl_why_select_networks(struct ctl_view *v);
void ctl_why_select_labels(struct ctl_view *v, uint64_t wanted);

/* Of all networks: also what the others lack. */
void ctl_why_print(const struct ctl_view *v);
void ctl_why_print_labels(const struct ctl_view *v, uint64_t wanted);

#endif

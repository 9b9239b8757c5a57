/* ctl_set - the words after `cmm-ctl set NETWORK`. Pure. */
#ifndef CMM_CTL_SET_H
#define CMM_CTL_SET_H

#include "label.h"
#include "private/wire.h"

/* One word into m. 0, -EINVAL: neither metered= nor labels= with a value that goes there, -ENOENT: an unknown
 * label, copied to bad (LABEL_NAME bytes). */
int ctl_set_word(const char *word, const struct label_names *names, struct wire_policy *m, char *bad);

#endif

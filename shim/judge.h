/* judge - whose business a destination is. Without the lock. */
#ifndef CMM_JUDGE_H
#define CMM_JUDGE_H

#include "shim.h"

struct verdict {
    bool ours;  /* with labels 0: to wait while there is no way */
    bool ruled; /* ... by a rule, which overrides every exemption */
    bool home;  /* ... though it is the machine itself */
    uint64_t labels;
    int policy;
};

/* bound: the program has chosen a way itself. */
struct verdict judge(int protocol, const struct sockaddr *to, bool bound);

/* The machine has no route there at all. */
bool judge_nowhere(const struct sockaddr *to);

#endif

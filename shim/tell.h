/* tell - in words, for those who asked for them (-v): what waits, and why; what was left alone. Pure. */
#ifndef CMM_TELL_H
#define CMM_TELL_H

#include "label.h"
#include "net.h"

enum { TELL_TEXT = 320 };
#define TELL_NOTHING "nothing waits any more"

/* What a report means while the networks are as in t; heard: a scout tells of them now. */
void tell_waiting(const struct wire_report *r, const struct net_table *t, bool heard,
                  const struct label_names *names, char ret[TELL_TEXT]);

/* Something was left alone, its route is by iface: true if that is new. Of many only the first are kept. */
bool tell_left(char left[WIRE_LEFT][WIRE_IFACE], const char *iface);

#endif

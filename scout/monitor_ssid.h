/* monitor_ssid - the name of the access point that an interface is connected to. */
#ifndef CMM_MONITOR_SSID_H
#define CMM_MONITOR_SSID_H

#include "fact.h"

/* Empty if it has none, or nobody knows. Never waits: the kernel answers at once. */
void monitor_ssid(uint32_t ifindex, char ret[FACT_SSID]);

/* One message of an answer: ret is set if it names the access point. */
struct nlmsghdr;
void monitor_ssid_read(const struct nlmsghdr *answer, char ret[FACT_SSID]);

#endif

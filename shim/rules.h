/* rules - which labels a destination gets: [PROTO:][ADDR[/LEN]][:PORT]=LABELS[+POLICY]. Pure; first match
 * wins. */
#ifndef CMM_RULES_H
#define CMM_RULES_H

#include "label.h"
#include <stdbool.h>
#include <sys/socket.h>

enum rules_policy { RULES_POLICY_DEFAULT = 0, RULES_POLICY_FAIL, RULES_POLICY_RECONNECT, RULES_POLICY_MPTCP };

/* Wishes that need no labels. */
static inline bool rules_beyond_failing(int policy) {
    return policy == RULES_POLICY_RECONNECT || policy == RULES_POLICY_MPTCP;
}

struct rule {
    uint64_t labels;
    uint8_t policy;   /* enum rules_policy */
    bool bypass;      /* leave alone */
    uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP or 0 */
    uint8_t family;   /* AF_INET, AF_INET6 or 0: any address */
    uint8_t prefix;   /* bits */
    uint16_t port;    /* host byte order; 0: any */
    unsigned char address[16];
};

struct rules {
    size_t count;
    struct rule rule[64];
};

/* One rule. 0, -EINVAL with one clear line in why (len bytes), or -E2BIG when the table is full. names may be
 * NULL. */
int rules_add(struct rules *r, const char *text, const struct label_names *names, char *why, size_t len);

/* Several, separated by blanks (CMM_RULES). Stops at the first bad one. */
int rules_add_all(struct rules *r, const char *text, const struct label_names *names, char *why, size_t len);

/* The first rule that matches; an IPv4-mapped IPv6 destination is IPv4. NULL: none. */
const struct rule *rules_find(const struct rules *r, int protocol, const struct sockaddr *to);

/* fail | reconnect | mptcp, or -EINVAL. */
int rules_policy(const char *text);

#endif

/* target - where a program sends to, as route and rules look at it. Pure.
 * Its address may lie anywhere: it is copied, never cast. */
#include "target.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

int target_read(const struct sockaddr *to, struct target *ret) {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    sa_family_t family;
    memcpy(&family, (const char *)to + offsetof(struct sockaddr, sa_family), sizeof family);
    if (family == AF_INET) {
        memcpy(&in, to, sizeof in);
        *ret = (struct target){AF_INET, 4, ntohs(in.sin_port), {0}};
        memcpy(ret->address, &in.sin_addr, 4);
        return 0;
    }
    if (family != AF_INET6)
        return -EAFNOSUPPORT;
    memcpy(&in6, to, sizeof in6);
    const bool four = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
    *ret = (struct target){four ? AF_INET : AF_INET6, four ? 4 : 16, ntohs(in6.sin6_port), {0}};
    memcpy(ret->address, in6.sin6_addr.s6_addr + (four ? 12 : 0), ret->len);
    return 0;
}

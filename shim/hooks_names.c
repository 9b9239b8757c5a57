/* hooks_names - the doors of names: lookups by libc's resolver, whose own sockets pass by every other door.
 * Each is a loop around libc's own: begun when there is a network to ask by, and again if that failed it. */
#include "hook.h"
#include "lookup.h"

#include <netinet/in.h>
#include <resolv.h>
#include <string.h>

HOOK(int, getaddrinfo,
     (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list)) {
    struct lookup l = lookup_of_name(hints && hints->ai_flags & AI_NUMERICHOST ? NULL : node);
    int r;
    do {
        if (lookup_begin(&l) < 0)
            return EAI_AGAIN;
        r = real.getaddrinfo(node, service, hints, ret_list);
    } while ((r == EAI_AGAIN || r == EAI_FAIL || r == EAI_SYSTEM) && lookup_again(&l));
    return r;
}

/* ---- the older ones ---- */

static struct hostent *try_again(int *ret_error) {
    *ret_error = TRY_AGAIN;
    return NULL;
}

HOOK(struct hostent *, gethostbyname, (const char *name)) {
    struct lookup l = lookup_of_name(name);
    struct hostent *host;
    do {
        if (lookup_begin(&l) < 0)
            return try_again(&h_errno);
        host = real.gethostbyname(name);
    } while (!host && h_errno == TRY_AGAIN && lookup_again(&l));
    return host;
}

HOOK(struct hostent *, gethostbyname2, (const char *name, int family)) {
    struct lookup l = lookup_of_name(name);
    struct hostent *host;
    do {
        if (lookup_begin(&l) < 0)
            return try_again(&h_errno);
        host = real.gethostbyname2(name, family);
    } while (!host && h_errno == TRY_AGAIN && lookup_again(&l));
    return host;
}

HOOK(int, gethostbyname_r,
     (const char *name, struct hostent *host, char *buf, size_t len, struct hostent **ret_host,
      int *ret_error)) {
    struct lookup l = lookup_of_name(name);
    int r;
    do {
        if (lookup_begin(&l) < 0) {
            *ret_host = try_again(ret_error);
            return EAGAIN;
        }
        r = real.gethostbyname_r(name, host, buf, len, ret_host, ret_error);
    } while (!*ret_host && *ret_error == TRY_AGAIN && lookup_again(&l));
    return r;
}

HOOK(int, gethostbyname2_r,
     (const char *name, int family, struct hostent *host, char *buf, size_t len, struct hostent **ret_host,
      int *ret_error)) {
    struct lookup l = lookup_of_name(name);
    int r;
    do {
        if (lookup_begin(&l) < 0) {
            *ret_host = try_again(ret_error);
            return EAGAIN;
        }
        r = real.gethostbyname2_r(name, family, host, buf, len, ret_host, ret_error);
    } while (!*ret_host && *ret_error == TRY_AGAIN && lookup_again(&l));
    return r;
}

/* ---- names of addresses ---- */

static struct lookup of_bytes(const void *address, socklen_t len, int family) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (family == AF_INET && len == sizeof in.sin_addr) {
        memcpy(&in.sin_addr, address, len);
        return lookup_of_address((struct sockaddr *)&in);
    }
    if (family != AF_INET6 || len != sizeof in6.sin6_addr)
        return lookup_of_name(NULL);
    memcpy(&in6.sin6_addr, address, len);
    return lookup_of_address((struct sockaddr *)&in6);
}

HOOK(struct hostent *, gethostbyaddr, (const void *address, socklen_t len, int family)) {
    struct lookup l = of_bytes(address, len, family);
    struct hostent *host;
    do {
        if (lookup_begin(&l) < 0)
            return try_again(&h_errno);
        host = real.gethostbyaddr(address, len, family);
    } while (!host && h_errno == TRY_AGAIN && lookup_again(&l));
    return host;
}

HOOK(int, gethostbyaddr_r,
     (const void *address, socklen_t addrlen, int family, struct hostent *host, char *buf, size_t len,
      struct hostent **ret_host, int *ret_error)) {
    struct lookup l = of_bytes(address, addrlen, family);
    int r;
    do {
        if (lookup_begin(&l) < 0) {
            *ret_host = try_again(ret_error);
            return EAGAIN;
        }
        r = real.gethostbyaddr_r(address, addrlen, family, host, buf, len, ret_host, ret_error);
    } while (!*ret_host && *ret_error == TRY_AGAIN && lookup_again(&l));
    return r;
}

/* Who does not insist on a name gets the number: that is no failure. */
HOOK(int, getnameinfo,
     (const struct sockaddr *address, socklen_t addrlen, char *host, socklen_t hostlen, char *service,
      socklen_t servicelen, int flags)) {
    const bool insists = flags & NI_NAMEREQD && !(flags & NI_NUMERICHOST) && host && hostlen;
    const bool whole = address && addrlen >= (address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                                            : sizeof(struct sockaddr_in6));
    struct lookup l = insists && whole ? lookup_of_address(address) : lookup_of_name(NULL);
    int r;
    do {
        if (lookup_begin(&l) < 0)
            return EAI_AGAIN;
        r = real.getnameinfo(address, addrlen, host, hostlen, service, servicelen, flags);
    } while ((r == EAI_AGAIN || r == EAI_FAIL || r == EAI_SYSTEM) && lookup_again(&l));
    return r;
}

/* ---- questions for the resolver itself, as for MX and SRV records ---- */

/* error: where this form of it leaves what went wrong. */
#define ASK(name, call, error)                                                                               \
    struct lookup l = lookup_of_name(name);                                                                  \
    int n;                                                                                                   \
    do {                                                                                                     \
        if (lookup_begin(&l) < 0) {                                                                          \
            h_errno = TRY_AGAIN;                                                                             \
            error = TRY_AGAIN;                                                                               \
            return -1;                                                                                       \
        }                                                                                                    \
        n = (call);                                                                                          \
    } while (n < 0 && error == TRY_AGAIN && lookup_again(&l));                                               \
    return n

HOOK(int, res_query, (const char *name, int class, int type, unsigned char *answer, int len)) {
    ASK(name, real.res_query(name, class, type, answer, len), h_errno);
}

HOOK(int, res_search, (const char *name, int class, int type, unsigned char *answer, int len)) {
    ASK(name, real.res_search(name, class, type, answer, len), h_errno);
}

HOOK(int, res_nquery,
     (res_state state, const char *name, int class, int type, unsigned char *answer, int len)) {
    ASK(name, real.res_nquery(state, name, class, type, answer, len), state->res_h_errno);
}

HOOK(int, res_nsearch,
     (res_state state, const char *name, int class, int type, unsigned char *answer, int len)) {
    ASK(name, real.res_nsearch(state, name, class, type, answer, len), state->res_h_errno);
}

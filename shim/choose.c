/* choose - which network a socket's traffic goes by now, and whose thunks are next. With the lock held;
 * changes nothing. A preference is the net table's affair; here it meets what the socket knows: its
 * destination's family, the network that has just failed it, the one it was released to. */
#include "choose.h"

#include <errno.h>
#include <netinet/in.h>

int choose_family(const struct sock *s) {
    const struct sockaddr_in6 *to = (const struct sockaddr_in6 *)&s->to;
    if (s->to.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&to->sin6_addr))
        return AF_INET;
    return s->to.ss_family ? s->to.ss_family : s->family;
}

/* The network that has just failed to reach the peer stands back until its time is over. */
static const struct wire_network *pick_but(uint64_t labels, int family, uint64_t avoid) {
    struct net_table table = shim.nets;
    for (uint32_t i = 0; i < table.now.count; i++)
        if (table.now.networks[i].id == avoid)
            table.now.networks[i].state = WIRE_NET_DOWN;
    const struct wire_network *n = net_pick(&table, labels, family);
    return n ? net_find(&shim.nets, n->id) : NULL;
}

bool choose_suits(const struct sock *s, const struct wire_network *n, uint64_t labels) {
    return n->id == s->pass || net_matches(n, labels);
}

/* The network that s was released to, if it can carry it now. */
static const struct wire_network *pick_pass(const struct sock *s, bool avoiding) {
    const struct wire_network *n = s->pass ? net_find(&shim.nets, s->pass) : NULL;
    return n && net_usable(n, choose_family(s)) && !(avoiding && s->avoid == s->pass) ? n : NULL;
}

int choose_network(const struct sock *s, uint64_t labels, const struct wire_network **ret) {
    uint32_t settling;
    const bool avoiding = s->backoff_ms && s->due > wait_now_ms();
    *ret = NULL;
    if (!labels)
        return !avoiding;
    *ret = avoiding ? pick_but(labels, choose_family(s), s->avoid)
                    : net_pick(&shim.nets, labels, choose_family(s));
    if (!*ret)
        *ret = pick_pass(s, avoiding);
    if (*ret)
        return 1;
    if (net_never(&shim.nets, choose_family(s)))
        return -ENETUNREACH;
    return s->kind == SOCK_CAPTURED &&
                   net_unreachable(&shim.nets, labels, choose_family(s), (uint32_t)wait_now_ms(), &settling)
               ? -ENETUNREACH
               : 0;
}

bool choose_stays(const struct sock *s, uint64_t labels) {
    const struct wire_network *n;
    if (s->state != LIFE_LIVE)
        return false;
    if (!labels || s->sealed)
        return true;
    n = s->net ? net_find(&shim.nets, s->net) : NULL;
    return n && (n->state == WIRE_NET_UP || n->state == WIRE_NET_GRACE) && choose_suits(s, n, labels);
}

static bool can_run(void *context, uint64_t labels) {
    const struct wire_network *n;
    const struct sock *s = context;
    return s->state == LIFE_DEAD || choose_stays(s, labels) || choose_network(s, labels, &n) > 0;
}

struct thunk_set *choose_thunks(struct sock *s) {
    struct thunk_set *set = s->in_round ? thunk_find(&s->thunks, s->round) : NULL;
    if (set && (s->state == LIFE_DEAD || choose_stays(s, set->labels)))
        return set;
    return thunk_oldest(&s->thunks, can_run, s);
}

/* choose - which network a socket's traffic goes by now, and whose thunks are next. With the lock held;
 * changes nothing but how long a network is known to be there. A preference is the net table's affair; here
 * it meets what the socket knows: its destination's family, the network that has just failed it, the one it
 * was released to. */
#include "choose.h"
#include "route.h"

#include <errno.h>
#include <netinet/in.h>

int choose_family(const struct sock *s) {
    const struct sockaddr_in6 *to = (const struct sockaddr_in6 *)&s->to;
    if (s->to.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&to->sin6_addr))
        return AF_INET;
    return s->to.ss_family ? s->to.ss_family : s->family;
}

/* An address is not enough: without a route there the kernel would look for the peer on the link itself. */
static bool reaches(const struct sock *s, const struct wire_network *n) {
    const struct sockaddr *to = (const struct sockaddr *)&s->to;
    if (n->flags & WIRE_ADDRESS || !n->ifindex || route_special(to))
        return true;
    const int r = route_by(to, n->ifindex, n->family, n->address);
    if (r == ROUTE_FROM)
        net_found_ruled(&shim.nets, n->id);
    return r != -ENETUNREACH && r != -EHOSTUNREACH;
}

/* Who has not looked whether there is a route asks nothing: few networks have such rules. */
bool choose_by_address(const struct sock *s, const struct wire_network *n) {
    const struct sockaddr *to = (const struct sockaddr *)&s->to;
    if (n->flags & WIRE_ADDRESS)
        return true;
    return shim.nets.ruled && net_ruled(&shim.nets, n->id) &&
           route_by(to, n->ifindex, n->family, n->address) == ROUTE_FROM;
}

/* It has just failed to reach the peer. */
static bool avoids(const struct sock *s, uint64_t network) {
    bool found = s->navoid > SOCK_AVOID;
    for (unsigned i = 0; !found && i < s->navoid; i++)
        found = s->avoid[i] == network;
    return found;
}

bool choose_misses(const struct wire_network *n) {
    if (route_carried(n->ifindex))
        return false;
    net_comes_anew(&shim.nets, n->id, (uint32_t)wait_now_ms());
    return true;
}

/* The networks as they are for s. Those that have just failed to reach the peer stand back until their time
 * is over; and for an unmodified program, which is to try the other family, what has no route to the peer has
 * no address either. ret_pick: into the table. */
static void look_from(const struct sock *s, uint64_t labels, bool avoiding, struct net_table *ret,
                      const struct wire_network **ret_pick) {
    const int family = choose_family(s);
    *ret = shim.nets;
    for (uint32_t i = 0; avoiding && i < ret->now.count; i++)
        if (avoids(s, net_id(&ret->now.networks[i], family)))
            ret->now.networks[i].state = WIRE_NET_DOWN;
    while ((*ret_pick = net_pick(ret, labels, family)) && s->kind == SOCK_CAPTURED &&
           !reaches(s, *ret_pick)) {
        const uint64_t id = (*ret_pick)->id;
        if (choose_misses(*ret_pick))
            net_comes_anew(ret, id, (uint32_t)wait_now_ms());
        net_lacks(ret, id, family);
    }
}

bool choose_suits(const struct sock *s, const struct wire_network *n, uint64_t labels) {
    return net_is(n, s->pass) || net_matches(n, labels);
}

/* The network that s was released to, if it can carry it now. */
static const struct wire_network *pick_pass(const struct sock *s, bool avoiding) {
    const struct wire_network *n = net_find(&shim.nets, s->pass);
    return n && net_usable(n, choose_family(s)) && !(avoiding && avoids(s, s->pass)) ? n : NULL;
}

/* Nothing to pick: for ever, or not yet? */
static int tell_nothing(const struct sock *s, uint64_t labels, const struct net_table *seen) {
    uint32_t settling;
    const int family = choose_family(s);
    if (net_never(&shim.nets, family))
        return -ENETUNREACH;
    if (seen && net_unreachable(seen, labels, family, (uint32_t)wait_now_ms(), &settling))
        return -ENETUNREACH;
    return 0;
}

/* No wish, and the kernel has just had no route: that one may come, but not to a family that no network has
 * while some are up; an unmodified program is told so, as it is with a wish. */
static int tell_no_route(const struct sock *s) {
    return s->kind == SOCK_LABELED ? 0 : tell_nothing(s, 0, &shim.nets);
}

int choose_network(const struct sock *s, uint64_t labels, const struct wire_network **ret) {
    struct net_table seen;
    const struct wire_network *n = NULL;
    const bool avoiding = s->backoff_ms && s->due > wait_now_ms();
    *ret = NULL;
    if (!labels)
        return avoiding ? tell_no_route(s) : 1;
    if (s->kind == SOCK_LABELED && !avoiding)
        n = net_pick(&shim.nets, labels, choose_family(s));
    else
        look_from(s, labels, avoiding, &seen, &n);
    *ret = n ? net_find(&shim.nets, n->id) : pick_pass(s, avoiding);
    if (*ret)
        return 1;
    return tell_nothing(s, labels, s->kind == SOCK_CAPTURED && !avoiding ? &seen : NULL);
}

uint32_t choose_settling(const struct sock *s, uint64_t labels) {
    struct net_table seen;
    const struct wire_network *n;
    uint32_t settling;
    look_from(s, labels, false, &seen, &n);
    net_unreachable(&seen, labels, choose_family(s), (uint32_t)wait_now_ms(), &settling);
    return settling;
}

/* A network that is taken away is as good as lost to it. */
static bool fails(const struct sock *s) {
    return s->kind == SOCK_CAPTURED && s->policy != RULES_POLICY_RECONNECT;
}

bool choose_stays(const struct sock *s, uint64_t labels) {
    const struct wire_network *n;
    if (s->state != LIFE_LIVE)
        return false;
    if (!labels || s->carried || (s->sealed && !fails(s)))
        return true;
    n = net_find(&shim.nets, s->net);
    return net_works(n) && choose_suits(s, n, labels);
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

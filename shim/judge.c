/* judge - whose business a destination is: the labels and the policy it gets, or that it is left alone.
 * By rules, and by the machine's own route there, which is asked each time: routes change. Without the lock,
 * on any thread. */
#include "judge.h"
#include "log.h"
#include "route.h"
#include "talk.h"
#include "tell.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>

/* For a datagram only what is new: there may be many. */
static void say_left_alone(int protocol, uint32_t ifindex) {
    char name[IF_NAMESIZE];
    if (!if_indextoname(ifindex, name))
        return;
    lock_take();
    const bool news = tell_left(shim.left, name);
    if (news)
        talk_report();
    lock_drop();
    if (news || protocol == IPPROTO_TCP)
        log_say(LOG_INFO, "left alone: route by %s", name);
}

/* The machine's own way there leads through something that is no network of ours: a tunnel, a container's
 * bridge. */
static bool routed_elsewhere(int protocol, const struct sockaddr *to) {
    struct route way;
    bool elsewhere;
    lock_take();
    const bool spoken = shim.nets.spoken;
    lock_drop();
    if (!spoken || route_get(to, 0, &way) < 0)
        return false;
    if (way.local)
        return true;
    lock_take();
    elsewhere = way.ifindex && !net_find_ifindex(&shim.nets, way.ifindex);
    lock_drop();
    if (elsewhere)
        say_left_alone(protocol, way.ifindex);
    return elsewhere;
}

static bool is_home(const struct sockaddr *to) {
    struct route way;
    return route_get(to, 0, &way) == 0 && way.local;
}

bool judge_nowhere(const struct sockaddr *to) {
    struct route way;
    return route_get(to, 0, &way) == -ENETUNREACH;
}

/* Nothing is wished for but a way. A stream's is asked for now; a datagram socket may yet lose its own. */
static bool may_lack_way(int protocol, const struct sockaddr *to) {
    lock_take();
    const bool spoken = shim.nets.spoken;
    lock_drop();
    return spoken && !route_special(to) && (protocol != IPPROTO_TCP || judge_nowhere(to));
}

/* No network is wished for, but more than failing, of a stream whose network is lost. While no scout has
 * spoken nobody would tell. */
static bool wants_care(int protocol, const struct sockaddr *to, int policy) {
    if (protocol != IPPROTO_TCP || !rules_beyond_failing(policy))
        return false;
    lock_take();
    const bool spoken = shim.nets.spoken;
    lock_drop();
    return spoken && !route_special(to) && !routed_elsewhere(protocol, to);
}

struct verdict judge(int protocol, const struct sockaddr *to, bool bound) {
    struct verdict v = {.labels = shim.labels_bad ? LABEL_INTENTS : atomic_load(&shim.default_labels),
                        .policy = (int)shim.on_loss};
    const struct rule *rule = rules_find(&shim.rules, protocol, to);
    if (rule) {
        v.labels = rule->labels;
        v.policy = rule->policy ? rule->policy : v.policy;
        v.ours = v.ruled = !rule->bypass && v.labels;
        v.home = v.ruled && is_home(to);
        if (!rule->bypass && !v.labels)
            v.ours = !bound && (may_lack_way(protocol, to) || wants_care(protocol, to, v.policy));
        return v;
    }
    if (bound || (to->sa_family != AF_INET && to->sa_family != AF_INET6))
        return v;
    if (v.labels)
        v.ours = !route_special(to) && !routed_elsewhere(protocol, to);
    else
        v.ours = wants_care(protocol, to, v.policy);
    return v;
}

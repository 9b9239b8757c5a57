/* fuzz_wire - any bytes as a message; a snapshot that passes is applied and picked from as the shim would. */
#include "fuzz.h"
#include "net.h"
#include "private/wire.h"

#include <sys/socket.h>

static const struct wire_subscribe subscribe = {
    {WIRE_VERSION, WIRE_SUBSCRIBE, sizeof subscribe}, 7, 1, "curl"};
static const struct wire_ask ask = {{WIRE_VERSION, WIRE_ASK, sizeof ask}, WIRE_ASK_LABELS, 0};
static const struct wire_set set = {{WIRE_VERSION, WIRE_SET, sizeof set}, WIRE_SET_UP, 0, "home@wlan0"};
static const struct wire_policy policy = {
    {WIRE_VERSION, WIRE_POLICY, sizeof policy}, "home@wlan0", 8, WIRE_SET_LABELS, WIRE_METERED_YES};
static const struct wire_release release = {{WIRE_VERSION, WIRE_RELEASE, sizeof release}};
static const struct wire_report report = {
    {WIRE_VERSION, WIRE_REPORT, sizeof report}, 1, 2, 1, 0, {{8, 1000, 1, 0}}, {"tun0"}};
static const struct wire_labels labels = {{WIRE_VERSION, WIRE_LABELS, sizeof labels}, {"backup"}};
static const struct wire_status status = {.header = {WIRE_VERSION, WIRE_STATUS, sizeof status},
                                          .name = "scout"};
static const struct wire_subscriber subscriber = {
    .header = {WIRE_VERSION, WIRE_SUBSCRIBER, sizeof subscriber}, .program = "curl"};
static const struct wire_event event = {{WIRE_VERSION, WIRE_EVENT, sizeof event}, 1, "home is up"};
static const struct wire_done done = {{WIRE_VERSION, WIRE_DONE, sizeof done}, 0, 0, ""};
static const struct wire_snapshot empty = {
    .header = {WIRE_VERSION, WIRE_SNAPSHOT, sizeof empty - sizeof empty.networks}, .generation = 1};
static const struct wire_snapshot full = {
    .header = {WIRE_VERSION, WIRE_SNAPSHOT, sizeof empty - 30 * sizeof empty.networks[0]},
    .generation = 2,
    .count = 2,
    .pref_count = 2,
    .prefs = {{3, 2, {1, 0}}, {63, 1, {1}}},
    .networks = {{.name = "home",
                  .id = 5,
                  .labels = 0x3f,
                  .ifindex = 3,
                  .metric = 100,
                  .state = WIRE_NET_UP,
                  .flags = WIRE_HAS4 | WIRE_EVER4 | WIRE_EVER6,
                  .since_ms = 5000},
                 {.name = "cell",
                  .id = 6,
                  .labels = 0x14,
                  .ifindex = 4,
                  .metric = 600,
                  .state = WIRE_NET_GRACE,
                  .flags = WIRE_HAS4 | WIRE_HAS6 | WIRE_METERED}}};

const struct fuzz_seed fuzz_seeds[] = {{&full, sizeof empty - 30 * sizeof empty.networks[0]},
                                       {&empty, sizeof empty - sizeof empty.networks},
                                       {&subscribe, sizeof subscribe},
                                       {&report, sizeof report},
                                       {&ask, sizeof ask},
                                       {&set, sizeof set},
                                       {&policy, sizeof policy},
                                       {&release, sizeof release},
                                       {&labels, sizeof labels},
                                       {&status, sizeof status},
                                       {&subscriber, sizeof subscriber},
                                       {&event, sizeof event},
                                       {&done, sizeof done},
                                       {NULL, 0}};

static void check_pick(const struct net_table *t, uint64_t wish, int family) {
    uint32_t settling;
    const struct wire_network *n = net_pick(t, wish, family);
    if (n) {
        FUZZ_CHECK(n >= t->now.networks && n < t->now.networks + t->now.count);
        FUZZ_CHECK(net_matches(n, wish) && net_usable(n, family) && net_find(t, n->id));
    }
    FUZZ_CHECK(!net_unreachable(t, wish, family, 6000, &settling) || (!n && settling == 0));
    FUZZ_CHECK(!net_never(t, family) || !n);
}

static void use(const struct wire_snapshot *s) {
    static struct net_table t;
    net_apply(&t, s);
    for (uint32_t i = 0; i < s->count; i++)
        FUZZ_CHECK(strlen(s->networks[i].name) < WIRE_NAME);
    for (int bit = 0; bit < 64; bit += 3) {
        check_pick(&t, UINT64_C(1) << bit, AF_INET);
        check_pick(&t, UINT64_C(3) << bit, AF_INET6);
    }
    check_pick(&t, 0, AF_UNSPEC);
    net_find_ifindex(&t, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* Of exactly that size, so that a sanitizer sees a step beyond it. */
    void *msg = malloc(size ? size : 1);
    FUZZ_CHECK(msg);
    memcpy(msg, data, size);
    struct wire_header *h = msg;
    if (wire_check(msg, size) == WIRE_SNAPSHOT)
        use(msg);
    /* A mutation seldom leaves the size right: put it right and look again. */
    if (size >= sizeof *h) {
        h->version = WIRE_VERSION;
        h->size = (uint32_t)size;
        if (wire_check(msg, size) == WIRE_SNAPSHOT)
            use(msg);
    }
    free(msg);
    return 0;
}

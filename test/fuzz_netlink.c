/* fuzz_netlink - any bytes as the kernel's messages: the table of links and an access point's name stay
 * sound. */
#include "fuzz.h"
#include "monitor_ssid.h"
#include "monitor_table.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

/* Link 7 "wl0", address 10.0.0.1/24 on it, default route by it; each as the kernel lays it out. */
static const uint8_t link_seed[] = {44, 0, 0, 0, 16, 0, 0,   0,   0,   0,  0, 0, 0,  0,  0,
                                    0,  0, 0, 1, 0,  7, 0,   0,   0,   67, 0, 1, 0,  0,  0,
                                    0,  0, 8, 0, 3,  0, 'w', 'l', '0', 0,  4, 0, 18, 128};
static const uint8_t address_seed[] = {32, 0,  0,   0, 20, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0,
                                       2,  24, 128, 0, 7,  0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1};
static const uint8_t route_seed[] = {44, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0,   0, 254, 3,
                                     0,  1, 0, 0, 0,  0, 8, 0, 4, 0, 7, 0, 0, 0, 8, 0, 6, 0, 100, 0, 0,   0};

/* nl80211: of a scan, the access point "home" that is joined. */
static const uint8_t scan_seed[] = {64, 0, 0, 0, 32, 0, 0,   0,   0, 0, 0,   0,   0,   0,   0,  0,
                                    34, 1, 0, 0, 8,  0, 3,   0,   2, 0, 0,   0,   36,  0,   47, 128,
                                    20, 0, 6, 0, 1,  2, 130, 132, 0, 4, 'h', 'o', 'm', 'e', 3,  1,
                                    5,  0, 0, 0, 8,  0, 9,   0,   1, 0, 0,   0,   4,   0,   7,  0};

const struct fuzz_seed fuzz_seeds[] = {{link_seed, sizeof link_seed},
                                       {address_seed, sizeof address_seed},
                                       {route_seed, sizeof route_seed},
                                       {scan_seed, sizeof scan_seed},
                                       {NULL, 0}};

static void check_table(const struct monitor_table *t) {
    for (unsigned i = 0; i < t->count; i++) {
        const struct fact_link *l = &t->links[i].fact;
        FUZZ_CHECK(l->ifindex > 0 && (i == 0 || l->ifindex > t->links[i - 1].fact.ifindex));
        FUZZ_CHECK(memchr(l->name, 0, sizeof l->name));
        FUZZ_CHECK(l->address_count <= FACT_ADDRESSES);
        for (unsigned k = 0; k < l->address_count; k++)
            FUZZ_CHECK(l->addresses[k].family);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static _Alignas(struct nlmsghdr) uint8_t copy[4400];
    static struct monitor_table t;
    bool changed = false;
    if (size > sizeof copy)
        return 0;
    memcpy(copy, data, size);
    const struct nlmsghdr *msg = (const void *)copy;
    for (int left = (int)size; mnl_nlmsg_ok(msg, left) && msg->nlmsg_len <= (uint32_t)left;
         msg = mnl_nlmsg_next(msg, &left)) {
        char name[FACT_SSID] = "";
        monitor_ssid_read(msg, name);
        FUZZ_CHECK(memchr(name, 0, sizeof name));
        FUZZ_CHECK(monitor_table_take(&t, msg, (size & 1) != 0, &changed) >= 0);
    }
    check_table(&t);
    for (int kind = MONITOR_LINK; kind <= MONITOR_ROUTE; kind <<= 1)
        if (size % 7 == (size_t)kind) {
            monitor_table_done(&t, kind);
            monitor_table_dump(&t, kind);
        }
    check_table(&t);
    if (t.count > 200)
        monitor_table_finish(&t);
    return 0;
}

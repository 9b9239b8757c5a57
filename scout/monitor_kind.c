/* monitor_kind - what kind of network an interface belongs to, guessed without configuration.
 *
 * monitor_table comes in for a new or renamed link. The kernel's word first (kind of driver, hardware type,
 * device type in /sys), the name last. /sys may show another network namespace than ours: its ifindex must
 * agree.
 */
#include "monitor_kind.h"

#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool is_one_of(const char *word, const char *const *list) {
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

static bool is_bridge(const char *kind) {
    static const char *const kinds[] = {"bridge", "openvswitch", "ifb", "nlmon", "vcan", "vrf", NULL};
    return is_one_of(kind, kinds);
}

static bool is_tunnel(uint16_t hardware, const char *kind) {
    static const char *const kinds[] = {"tun",    "wireguard", "ipip",   "ip6tnl", "sit",  "gre",  "gretap",
                                        "ip6gre", "ip6gretap", "erspan", "vti",    "vti6", "xfrm", "vxlan",
                                        "geneve", "bareudp",   "ppp",    "gtp",    "amt",  "ovpn", NULL};
    return is_one_of(kind, kinds) || hardware == ARPHRD_PPP || hardware == ARPHRD_TUNNEL ||
           hardware == ARPHRD_TUNNEL6 || hardware == ARPHRD_SIT || hardware == ARPHRD_IPGRE ||
           hardware == 823; /* ARPHRD_IP6GRE */
}

/* One line of /sys/class/net/NAME/FILE that begins with key. */
static bool sys_line(const char *name, const char *file, const char *key, char *ret, size_t len) {
    char path[96], line[128];
    bool found = false;
    snprintf(path, sizeof path, "/sys/class/net/%s/%s", name, file);
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        found = strncmp(line, key, strlen(key)) == 0;
    }
    if (f)
        fclose(f);
    if (found)
        snprintf(ret, len, "%s", line + strlen(key));
    return found;
}

static bool sys_is_ours(const char *name, uint32_t ifindex) {
    char text[32];
    return sys_line(name, "ifindex", "", text, sizeof text) && strtoul(text, NULL, 10) == ifindex;
}

static enum fact_type by_sys(const char *name, uint32_t ifindex) {
    char type[64], path[96];
    if (!sys_is_ours(name, ifindex))
        return FACT_UNKNOWN;
    if (sys_line(name, "uevent", "DEVTYPE=", type, sizeof type)) {
        if (strcmp(type, "wlan") == 0)
            return FACT_WIFI;
        if (strcmp(type, "wwan") == 0)
            return FACT_CELLULAR;
    }
    snprintf(path, sizeof path, "/sys/class/net/%s/wireless", name);
    return access(path, F_OK) == 0 ? FACT_WIFI : FACT_UNKNOWN;
}

static enum fact_type by_name(const char *name) {
    static const struct {
        const char *prefix;
        enum fact_type type;
    } prefixes[] = {{"wl", FACT_WIFI},       {"wifi", FACT_WIFI},      {"ww", FACT_CELLULAR},
                    {"cell", FACT_CELLULAR}, {"rmnet", FACT_CELLULAR}, {"docker", FACT_BRIDGE},
                    {"virbr", FACT_BRIDGE}};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0)
            return prefixes[i].type;
    return FACT_WIRED;
}

enum fact_type monitor_kind(const char *name, uint32_t ifindex, uint16_t hardware, bool loopback,
                            const char *kind) {
    if (loopback)
        return FACT_LOOPBACK;
    if (is_bridge(kind))
        return FACT_BRIDGE;
    if (is_tunnel(hardware, kind))
        return FACT_TUNNEL;
    if (strcmp(kind, "wwan") == 0 || hardware == ARPHRD_RAWIP)
        return FACT_CELLULAR;
    enum fact_type type = by_sys(name, ifindex);
    if (type)
        return type;
    /* Raw IP without a driver's word (ARPHRD_NONE) is somebody's tunnel. */
    return hardware == ARPHRD_NONE ? FACT_TUNNEL : by_name(name);
}

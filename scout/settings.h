/* settings - what the configuration says, as plain data: made by config, read by policy and scout. */
#ifndef CMM_SETTINGS_H
#define CMM_SETTINGS_H

#include "fact.h"
#include "label.h"

enum {
    SETTINGS_NETWORKS = 64,
    SETTINGS_PREFS = WIRE_PREFS,
    SETTINGS_ORDER = WIRE_PREF_ORDER,
    SETTINGS_GLOB = 64
};

enum settings_metered { SETTINGS_METERED_AUTO = 0, SETTINGS_METERED_YES, SETTINGS_METERED_NO };

struct settings_network {
    char name[WIRE_NAME];
    char match[SETTINGS_GLOB]; /* empty: any interface, narrowed by the rest */
    char ssid[FACT_SSID];
    enum fact_type type; /* FACT_UNKNOWN: not given, or any */
    bool any_type;       /* "type = any": tunnels and bridges too, however wide the glob */
    bool address_only;
    struct fact_address address;
    bool has_labels, has_metric;
    uint64_t labels;
    uint32_t metric;
    enum settings_metered metered;
    struct fact_address check; /* family 0: no check */
    uint16_t check_port;       /* host byte order */
};

struct settings_pref {
    int bit;
    unsigned count;
    char order[SETTINGS_ORDER][FACT_FULL_NAME];
};

struct settings {
    unsigned network_count, pref_count;
    struct settings_network networks[SETTINGS_NETWORKS];
    struct settings_pref prefs[SETTINGS_PREFS];
    struct label_names names;
    uint32_t hold_ms, grace_ms;
    bool mptcp; /* endpoints for Multipath TCP are made, where they may be */
};

#endif

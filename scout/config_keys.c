/* config_keys - which keys a section may have, and what their values mean.
 *
 * config comes in with one line at a time. A key that is not in the table is a mistake, and so is one that is
 * there twice.
 */
#include "config_reading.h"

#include "words.h"
#include <stdlib.h>

struct key {
    enum section section;
    const char *name;
    void (*take)(struct config *c, char *value);
};

static void take_hold_down(struct config *c, char *value) {
    if (words_seconds(value, &c->settings->hold_ms) < 0)
        config_mistake(c, "hold-down: '%s' is not a number of seconds", value);
}

static void take_grace(struct config *c, char *value) {
    if (words_seconds(value, &c->settings->grace_ms) < 0)
        config_mistake(c, "grace: '%s' is not a number of seconds", value);
}

static void take_mptcp(struct config *c, char *value) {
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        config_mistake(c, "mptcp: '%s' is neither yes nor no", value);
    else
        c->settings->mptcp = strcmp(value, "yes") == 0;
}

static void take_bit(struct config *c, char *value) {
    uint64_t bit;
    if (words_number(value, LABEL_USER_FIRST + LABEL_USER - 1, &bit) < 0 || bit < LABEL_USER_FIRST) {
        config_mistake(c, "bit: '%s' is not a number from 32 to 63", value);
        return;
    }
    if (c->bit >= 0 && c->bit < LABEL_USER_FIRST) {
        config_mistake(c, "bit: '%s' is built in, its bit cannot be set", c->name);
        return;
    }
    if (c->bit >= 0 && (uint64_t)c->bit != bit) {
        config_mistake(c, "bit: '%s' is the name of bit %d already", c->name, c->bit);
        return;
    }
    if (c->bit >= 0)
        return; /* it has that name already */
    char *slot = c->settings->names.name[bit - LABEL_USER_FIRST];
    if (*slot) {
        config_mistake(c, "bit: %u is already the label '%s'", (unsigned)bit, slot);
        return;
    }
    c->bit = (int)bit;
    c->labels_here |= UINT64_C(1) << bit;
    strcpy(slot, c->name);
}

static void take_prefer(struct config *c, char *value) {
    free(c->prefer);
    c->prefer = strdup(value);
    c->prefer_line = c->line;
}

static void take_match(struct config *c, char *value) {
    if (!*value || strlen(value) >= SETTINGS_GLOB || strpbrk(value, " \t/"))
        config_mistake(c, "match: '%s' is not an interface name or pattern", value);
    else if (strlen(value) >= FACT_IFACE && !strpbrk(value, "*?["))
        config_mistake(c, "match: '%s' is too long for an interface name", value);
    else
        strcpy(config_network(c)->match, value);
}

static void take_type(struct config *c, char *value) {
    static const struct {
        const char *name;
        enum fact_type type;
    } types[] = {
        {"wifi", FACT_WIFI}, {"wired", FACT_WIRED}, {"cellular", FACT_CELLULAR}, {"any", FACT_UNKNOWN}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(value, types[i].name) == 0) {
            config_network(c)->type = types[i].type;
            config_network(c)->any_type = types[i].type == FACT_UNKNOWN;
            return;
        }
    config_mistake(c, "type: '%s' is not wifi, wired, cellular or any", value);
}

static void take_ssid(struct config *c, char *value) {
    size_t len = strlen(value);
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value[len - 1] = 0;
        value++;
    }
    if (!*value || strlen(value) >= FACT_SSID)
        config_mistake(c, "ssid: 1 to 32 bytes are allowed");
    else
        strcpy(config_network(c)->ssid, value);
}

static void take_address(struct config *c, char *value) {
    if (words_address(value, &config_network(c)->address) < 0)
        config_mistake(c, "address: '%s' is not an address or network in CIDR notation", value);
}

static void take_labels(struct config *c, char *value) {
    config_network(c)->has_labels = true;
    config_keep(c, SECTION_NETWORK, c->index, c->line, value);
}

static void take_metered(struct config *c, char *value) {
    static const char *const words[] = {"auto", "yes", "no"};
    for (int i = 0; i < 3; i++)
        if (strcmp(value, words[i]) == 0) {
            config_network(c)->metered = (enum settings_metered)i;
            return;
        }
    config_mistake(c, "metered: '%s' is not yes, no or auto", value);
}

static void take_metric(struct config *c, char *value) {
    uint64_t n;
    if (words_number(value, UINT32_MAX, &n) < 0) {
        config_mistake(c, "metric: '%s' is not a number from 0 to %u", value, UINT32_MAX);
        return;
    }
    config_network(c)->metric = (uint32_t)n;
    config_network(c)->has_metric = true;
}

static void take_check(struct config *c, char *value) {
    if (words_address_port(value, &config_network(c)->check, &config_network(c)->check_port) < 0)
        config_mistake(c, "check: '%s' is not ADDRESS:PORT", value);
}

static const struct key keys[] = {
    {SECTION_SCOUT, "hold-down", take_hold_down}, {SECTION_SCOUT, "grace", take_grace},
    {SECTION_SCOUT, "mptcp", take_mptcp},         {SECTION_LABEL, "bit", take_bit},
    {SECTION_LABEL, "prefer", take_prefer},       {SECTION_NETWORK, "match", take_match},
    {SECTION_NETWORK, "type", take_type},         {SECTION_NETWORK, "ssid", take_ssid},
    {SECTION_NETWORK, "address", take_address},   {SECTION_NETWORK, "labels", take_labels},
    {SECTION_NETWORK, "metered", take_metered},   {SECTION_NETWORK, "metric", take_metric},
    {SECTION_NETWORK, "check", take_check},
};

void config_take_key(struct config *c, const char *name, char *value) {
    static const char *const where[] = {"", "", "[scout]", "[network]", "[label]"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].section != c->section || strcmp(keys[i].name, name) != 0)
            continue;
        if (c->seen_keys & (1u << i))
            config_mistake(c, "'%s' is there already in this section", name);
        else
            keys[i].take(c, value);
        c->seen_keys |= 1u << i;
        return;
    }
    config_mistake(c, "unknown key '%s' in %s", name, where[c->section]);
}

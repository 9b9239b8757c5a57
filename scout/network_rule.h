/* network_rule - what people say of a network, beside the kernel: script and cmm-ctl, by NAME or NAME@IFACE.
 * Pure. */
#ifndef CMM_NETWORK_RULE_H
#define CMM_NETWORK_RULE_H

#include "fact.h"

enum { NETWORK_RULES = 128 };

/* Who overrides: cmm-ctl stands above the script, the script above the kernel. */
enum network_voice { NETWORK_SCRIPT = 0, NETWORK_CTL, NETWORK_VOICES };
enum network_wish { NETWORK_AUTO = 0, NETWORK_UP, NETWORK_DOWN };

struct network_rule {
    char name[FACT_FULL_NAME];
    enum network_wish wish[NETWORK_VOICES];
    bool has_labels[NETWORK_VOICES];
    uint64_t labels[NETWORK_VOICES];
    enum wire_metered metered; /* cmm-ctl's; WIRE_METERED_AUTO: nothing said */
};

struct network_rules {
    unsigned count;
    struct network_rule rules[NETWORK_RULES];
};

/* What is said of NAME takes back what was said of its NAME@IFACE. 0, or -ENOSPC. labels NULL: as the
 * configuration has it. */
int network_rule_wish(struct network_rules *t, enum network_voice voice, const char *name,
                      enum network_wish wish);
int network_rule_labels(struct network_rules *t, enum network_voice voice, const char *name,
                        const uint64_t *labels);
void network_rule_forget_labels(struct network_rules *t, enum network_voice voice);
int network_rule_metered(struct network_rules *t, const char *name, enum wire_metered metered);

/* What holds for a network. NETWORK_AUTO: nothing was said. */
enum network_wish network_rule_wish_of(const struct network_rules *t, enum network_voice voice,
                                       const struct fact_network *f);

/* Its labels and WIRE_METERED after all that was said; WIRE_OVERRIDE if cmm-ctl has spoken. */
uint64_t network_rule_labels_of(const struct network_rules *t, const struct fact_network *f);
uint8_t network_rule_flags_of(const struct network_rules *t, const struct fact_network *f);

#endif

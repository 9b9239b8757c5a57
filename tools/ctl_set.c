/* ctl_set - the words after `cmm-ctl set NETWORK`.
 *
 * cmm-ctl comes in with one word at a time. Pure. "all" means the six intents here, as in a configuration.
 */
#include "ctl_set.h"

#include <errno.h>
#include <string.h>

static int take_metered(const char *word, struct wire_policy *m) {
    static const char *const words[] = {"auto", "yes", "no"}; /* as enum wire_metered */
    for (uint32_t i = 0; i < 3; i++)
        if (!strcmp(word, words[i])) {
            m->metered = i;
            m->fields |= WIRE_SET_METERED;
            return 0;
        }
    return -EINVAL;
}

static int take_labels(const char *list, const struct label_names *names, struct wire_policy *m, char *bad) {
    char copy[1024];
    uint64_t one, labels = 0;
    bad[0] = 0;
    if (strlen(list) >= sizeof copy)
        return -ENOENT;
    strcpy(copy, list);
    for (char *at = copy, *word; (word = strsep(&at, ","));) {
        if (!strcmp(word, "all"))
            one = LABEL_INTENTS;
        else if (label_parse(word, names, &one, bad) < 0)
            return -ENOENT;
        labels |= one;
    }
    m->labels = labels;
    m->fields |= WIRE_SET_LABELS;
    return 0;
}

int ctl_set_word(const char *word, const struct label_names *names, struct wire_policy *m, char *bad) {
    if (!strncmp(word, "metered=", 8))
        return take_metered(word + 8, m);
    if (strncmp(word, "labels=", 7) != 0)
        return -EINVAL;
    m->fields &= ~(WIRE_SET_LABELS | WIRE_SET_LABELS_AUTO);
    if (strcmp(word + 7, "auto") != 0)
        return take_labels(word + 7, names, m, bad);
    m->fields |= WIRE_SET_LABELS_AUTO;
    return 0;
}

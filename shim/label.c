/* label - the names of label bits.
 *
 * Pure text: no allocation, no locale, no state; any thread may come in. Shared by shim, scout and tools, so
 * it includes nothing but its own header. What a configuration means by "all" is deliberately not known here.
 */
#include "label.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int bit;
} built_in[] = {
    {"red", 0},   {"blue", 1},      {"ondemand", 2}, {"background", 3}, {"small", 4},
    {"large", 5}, {"unmetered", 8}, {"wired", 9},    {"wifi", 10},      {"cellular", 11},
};

enum { BUILT_IN = sizeof built_in / sizeof built_in[0] };

/* The C library's isalpha() and kin follow the locale of a program that is not ours. */
static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_' ||
           c == '.';
}

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int same(const char *text, size_t len, const char *name) {
    return strlen(name) == len && memcmp(text, name, len) == 0;
}

static const char *built_in_name(int bit) {
    for (int i = 0; i < BUILT_IN; i++)
        if (built_in[i].bit == bit)
            return built_in[i].name;
    return NULL;
}

static int built_in_bit(const char *name, size_t len) {
    for (int i = 0; i < BUILT_IN; i++)
        if (same(name, len, built_in[i].name))
            return built_in[i].bit;
    return -EINVAL;
}

static int numbered_bit(const char *name, size_t len) {
    if (len != 5 || memcmp(name, "bit", 3) != 0 || !is_digit(name[3]) || !is_digit(name[4]))
        return -EINVAL;
    int bit = (name[3] - '0') * 10 + (name[4] - '0');
    return bit >= LABEL_USER_FIRST && bit < LABEL_USER_FIRST + LABEL_USER ? bit : -EINVAL;
}

/* "bit7" and "bit064" are refused too: they would be taken for the numbered form. */
static int looks_numbered(const char *name) {
    return strncmp(name, "bit", 3) == 0 && name[3] && strspn(name + 3, "0123456789") == strlen(name + 3);
}

int label_name_ok(const char *name) {
    size_t len = strnlen(name, LABEL_NAME);
    if (len == 0 || len == LABEL_NAME)
        return 0;
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(name[i]))
            return 0;
    return built_in_bit(name, len) < 0 && !looks_numbered(name) && strcmp(name, "all") != 0 &&
           strcmp(name, "none") != 0 && strcmp(name, "bypass") != 0;
}

int label_bit(const char *name, size_t len, const struct label_names *names) {
    int bit = built_in_bit(name, len);
    if (bit < 0)
        bit = numbered_bit(name, len);
    /* The table may come from outside: a name in it that is not legal does not exist. */
    for (int i = 0; bit < 0 && names && i < LABEL_USER; i++)
        if (label_name_ok(names->name[i]) && same(name, len, names->name[i]))
            bit = LABEL_USER_FIRST + i;
    return bit;
}

static void copy_bad(char *bad, const char *name, size_t len) {
    if (!bad)
        return;
    if (len > LABEL_NAME - 1)
        len = LABEL_NAME - 1;
    for (size_t i = 0; i < len; i++)
        bad[i] = name[i] >= 0x20 && name[i] < 0x7f ? name[i] : '?';
    bad[len] = '\0';
}

static void trim(const char **name, size_t *len) {
    while (*len && is_blank((*name)[0])) {
        (*name)++;
        (*len)--;
    }
    while (*len && is_blank((*name)[*len - 1]))
        (*len)--;
}

int label_parse(const char *text, const struct label_names *names, uint64_t *ret_labels, char *bad) {
    uint64_t labels = 0;
    const char *all = text;
    size_t all_len = strlen(text);
    trim(&all, &all_len);
    if (all_len == 0) {
        *ret_labels = 0;
        return 0;
    }
    for (const char *at = text, *end; at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, ",");
        const char *name = at;
        size_t len = (size_t)(end - at);
        trim(&name, &len);
        if (same(name, len, "none"))
            continue;
        int bit = label_bit(name, len, names);
        if (bit < 0) {
            copy_bad(bad, name, len);
            return bit;
        }
        labels |= UINT64_C(1) << bit;
    }
    *ret_labels = labels;
    return 0;
}

/* As snprintf: counts on past the end of the buffer. */
static void append(char *buf, size_t len, size_t *used, const char *name) {
    const char *comma = *used ? "," : "";
    size_t room = *used < len ? len - *used : 0;
    int n = snprintf(room ? buf + *used : NULL, room, "%s%s", comma, name);
    *used += n > 0 ? (size_t)n : 0;
}

/* The user's name for a bit only if reading it gives the same bit: a table from outside may hold one twice.
 */
static void bit_name(int bit, const struct label_names *names, char *ret_name, size_t len) {
    const char *name = built_in_name(bit);
    if (!name && names && label_name_ok(names->name[bit - LABEL_USER_FIRST])) {
        name = names->name[bit - LABEL_USER_FIRST];
        if (label_bit(name, strlen(name), names) != bit)
            name = NULL;
    }
    if (name)
        snprintf(ret_name, len, "%s", name);
    else
        snprintf(ret_name, len, "bit%d", bit);
}

int label_format(uint64_t labels, const struct label_names *names, char *buf, size_t len) {
    size_t used = 0;
    char name[LABEL_NAME];
    uint64_t unknown = labels & ~LABEL_KNOWN;
    for (int bit = 0; bit < LABEL_USER_FIRST + LABEL_USER; bit++) {
        if (!(labels & LABEL_KNOWN & (UINT64_C(1) << bit)))
            continue;
        bit_name(bit, names, name, sizeof name);
        append(buf, len, &used, name);
    }
    if (unknown) {
        snprintf(name, sizeof name, "0x%" PRIx64, unknown);
        append(buf, len, &used, name);
    }
    if (labels == 0)
        append(buf, len, &used, "none");
    return (int)used;
}

int label_names_format(const struct label_names *names, char *buf, size_t len) {
    size_t used = 0;
    char pair[2 * LABEL_NAME];
    if (len)
        *buf = '\0';
    for (int i = 0; i < LABEL_USER; i++) {
        if (!label_name_ok(names->name[i]))
            continue;
        snprintf(pair, sizeof pair, "%s=%d", names->name[i], LABEL_USER_FIRST + i);
        append(buf, len, &used, pair);
    }
    return (int)used;
}

void label_names_parse(const char *text, struct label_names *ret) {
    char name[LABEL_NAME];
    int bit = 0;
    memset(ret, 0, sizeof *ret);
    for (const char *at = text; *at; at += *at == ',') {
        if (sscanf(at, "%31[^=,]=%3d", name, &bit) == 2 && bit >= LABEL_USER_FIRST &&
            bit < LABEL_USER_FIRST + LABEL_USER)
            memcpy(ret->name[bit - LABEL_USER_FIRST], name, strlen(name) + 1);
        at += strcspn(at, ",");
    }
}

/* rules - which labels a destination gets: [PROTO:][ADDR[/LEN]][:PORT]=LABELS[+POLICY].
 *
 * Text to table, and a look into the table; the first match wins. Pure, no allocation, any thread; once read,
 * a table is not changed. Names of hosts are deliberately not known: looking them up would itself need a
 * network.
 */
#include "rules.h"
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RULE_TEXT = 1024, SHOWN = 64, CAPACITY = sizeof((struct rules *)0)->rule / sizeof(struct rule) };

/* Where to say what is wrong, and of which rule. */
struct complaint {
    const char *rule;
    char *why;
    size_t len;
};

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* What came from outside may hold anything, and people read it on a terminal. */
static void show(const char *text, char ret_shown[SHOWN]) {
    size_t n = 0;
    for (; text[n] && n < SHOWN - 1; n++)
        ret_shown[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    ret_shown[n] = '\0';
    if (text[n])
        memcpy(ret_shown + SHOWN - 4, "...", 4);
}

__attribute__((format(printf, 2, 3))) static int bad(const struct complaint *c, const char *format, ...) {
    char shown[SHOWN];
    va_list args;
    if (!c->why || c->len == 0)
        return -EINVAL;
    show(c->rule, shown);
    int n = snprintf(c->why, c->len, "rule '%s': ", shown);
    va_start(args, format);
    if (n >= 0 && (size_t)n < c->len)
        vsnprintf(c->why + n, c->len - (size_t)n, format, args);
    va_end(args);
    return -EINVAL;
}

static int bad_text(const struct complaint *c, const char *what, const char *text) {
    char shown[SHOWN];
    show(text, shown);
    return bad(c, "%s '%s'", what, shown);
}

/* Decimal digits only: no sign, no blank, no locale. */
static int number(const char *text, long low, long high) {
    long n = 0;
    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > high)
            return -EINVAL;
        n = n * 10 + (*text - '0');
    }
    return n >= low && n <= high ? (int)n : -EINVAL;
}

/* ---- the destination ---- */

/* A destination of that kind is looked up as IPv4, so a rule for it is one for IPv4. */
static void unmap(struct rule *rule) {
    if (rule->family != AF_INET6 || rule->prefix < 96 || memcmp(rule->address, mapped, sizeof mapped) != 0)
        return;
    memmove(rule->address, rule->address + 12, 4);
    memset(rule->address + 4, 0, 12);
    rule->family = AF_INET;
    rule->prefix -= 96;
}

static int parse_address(const struct complaint *c, const char *text, const char *prefix, int family,
                         struct rule *ret) {
    int most = family == AF_INET ? 32 : 128;
    if (inet_pton(family, text, ret->address) != 1)
        return bad_text(c, "not an address (and names are not looked up):", text);
    int bits = prefix ? number(prefix, 0, most) : most;
    if (bits < 0)
        return bad(c, "the prefix length is 0 to %d", most);
    ret->family = (uint8_t)family;
    ret->prefix = (uint8_t)bits;
    unmap(ret);
    return 0;
}

static int parse_port(const struct complaint *c, const char *text, struct rule *ret) {
    int port = number(text, 1, 65535);
    if (port < 0)
        return bad_text(c, "a port is 1 to 65535, not", text);
    ret->port = (uint16_t)port;
    return 0;
}

/* Cuts text at the first of the character; what follows it, or NULL. */
static char *cut(char *text, char at) {
    char *found = strchr(text, at);
    if (found)
        *found++ = '\0';
    return found;
}

/* [ADDR]... : the address without its brackets; *text is what follows them. NULL: not closed. */
static char *take_bracketed(char **text) {
    char *address = *text + 1;
    char *rest = cut(address, ']');
    *text = rest;
    return rest ? address : NULL;
}

static int parse_place(const struct complaint *c, char *text, struct rule *ret) {
    char *address = text;
    int family = AF_INET;
    if (*text == '[') {
        family = AF_INET6;
        address = take_bracketed(&text);
        if (!address || (*text && *text != '/' && *text != ':'))
            return bad(c, "an IPv6 address is written [ADDR] or [ADDR]/LEN");
    }
    char *port = cut(text, ':');
    char *prefix = cut(text, '/');
    if (port && strchr(port, ':'))
        return bad(c, "IPv6 addresses are written in brackets, [ADDR]/LEN, and PROTO is tcp or udp");
    if (!*address && (family == AF_INET6 || prefix))
        return bad(c, "the address is missing");
    int r = *address ? parse_address(c, address, prefix, family, ret) : 0;
    if (r == 0 && port)
        r = parse_port(c, port, ret);
    return r;
}

static int parse_destination(const struct complaint *c, char *text, struct rule *ret) {
    if (strncmp(text, "tcp:", 4) == 0)
        ret->protocol = IPPROTO_TCP;
    else if (strncmp(text, "udp:", 4) == 0)
        ret->protocol = IPPROTO_UDP;
    return parse_place(c, ret->protocol ? text + 4 : text, ret);
}

/* ---- what it gets ---- */

int rules_policy(const char *text) {
    static const struct {
        const char *name;
        enum rules_policy policy;
    } known[] = {
        {"fail", RULES_POLICY_FAIL}, {"reconnect", RULES_POLICY_RECONNECT}, {"mptcp", RULES_POLICY_MPTCP}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(text, known[i].name) == 0)
            return (int)known[i].policy;
    return -EINVAL;
}

static int parse_labels(const struct complaint *c, const char *text, const struct label_names *names,
                        struct rule *ret) {
    char unknown[LABEL_NAME];
    if (!*text)
        return bad(c, "labels are missing after '=' (\"none\" for no wish, \"bypass\" to leave it alone)");
    ret->bypass = strcmp(text, "bypass") == 0;
    if (ret->bypass || label_parse(text, names, &ret->labels, unknown) == 0)
        return 0;
    if (strcmp(unknown, "bypass") == 0)
        return bad(c, "\"bypass\" stands alone");
    return bad_text(c, "unknown label", unknown);
}

static int parse_outcome(const struct complaint *c, char *text, const struct label_names *names,
                         struct rule *ret) {
    char *policy = cut(text, '+');
    int r = parse_labels(c, text, names, ret);
    if (r < 0 || !policy)
        return r;
    int p = rules_policy(policy);
    if (p < 0)
        return bad_text(c, "the policy is fail, reconnect or mptcp, not", policy);
    if (ret->bypass)
        return bad(c, "what is left alone has no policy");
    ret->policy = (uint8_t)p;
    return 0;
}

/* ---- the table ---- */

int rules_add(struct rules *r, const char *text, const struct label_names *names, char *why, size_t len) {
    const struct complaint c = {text, why, len};
    struct rule rule = {0};
    char copy[RULE_TEXT];
    size_t size = strnlen(text, sizeof copy);
    if (size == sizeof copy)
        return bad(&c, "it is too long");
    memcpy(copy, text, size + 1);
    char *outcome = cut(copy, '=');
    if (copy[strcspn(copy, " \t\r\n")] || (outcome && outcome[strcspn(outcome, " \t\r\n")]))
        return bad(&c, "there is a blank in it");
    if (!outcome)
        return bad(&c, "'=LABELS' is missing");
    int e = parse_destination(&c, copy, &rule);
    if (e == 0)
        e = parse_outcome(&c, outcome, names, &rule);
    if (e < 0)
        return e;
    if (r->count >= CAPACITY) {
        bad(&c, "there are more than %d rules", (int)CAPACITY);
        return -E2BIG;
    }
    r->rule[r->count++] = rule;
    return 0;
}

int rules_add_all(struct rules *r, const char *text, const struct label_names *names, char *why, size_t len) {
    static const char blanks[] = " \t\r\n";
    char one[RULE_TEXT + 1];
    int e = 0;
    for (text += strspn(text, blanks); *text && e == 0; text += strspn(text, blanks)) {
        /* Cut one byte late: rules_add sees that it is too long. */
        size_t size = strcspn(text, blanks);
        size_t kept = size < sizeof one ? size : sizeof one - 1;
        memcpy(one, text, kept);
        one[kept] = '\0';
        e = rules_add(r, one, names, why, len);
        text += size;
    }
    return e;
}

/* ---- the look ---- */

static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits) {
    unsigned bytes = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a, b, bytes) != 0)
        return false;
    return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

static bool rule_matches(const struct rule *rule, int protocol, const struct target *to) {
    if (rule->protocol && rule->protocol != protocol)
        return false;
    if (rule->port && rule->port != to->port)
        return false;
    if (!rule->family)
        return true;
    return rule->family == to->family && same_prefix(rule->address, to->address, rule->prefix);
}

const struct rule *rules_find(const struct rules *r, int protocol, const struct sockaddr *to) {
    struct target target;
    if (r->count == 0 || target_read(to, &target) < 0)
        return NULL;
    for (size_t i = 0; i < r->count; i++)
        if (rule_matches(&r->rule[i], protocol, &target))
            return &r->rule[i];
    return NULL;
}

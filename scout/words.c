/* words - the small text of configuration and script: lines, numbers, addresses, label lists.
 *
 * Pure but for reading the stream it is given. No locale: strtod() and isspace() are not used, so that a file
 * means the same everywhere. Messages are deliberately absent: the caller knows file and line.
 */
#include "words.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

enum { ENDLESS = 65536 };

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

int words_line(FILE *f, char ret_line[WORDS_LINE]) {
    size_t len = 0;
    int c = EOF, bad = 0;
    size_t left = ENDLESS; /* somebody may have named /dev/zero */
    while (left-- && (c = getc(f)) != EOF && c != '\n') {
        if (c == 0)
            bad = -EILSEQ;
        else if (len == WORDS_LINE - 1)
            bad = bad ? bad : -EMSGSIZE;
        else
            ret_line[len++] = (char)c;
    }
    ret_line[len] = 0;
    if (left == SIZE_MAX)
        return -EFBIG;
    return bad ? bad : c != EOF || len > 0;
}

char *words_trim(char *text) {
    while (is_blank(*text))
        text++;
    size_t len = strlen(text);
    while (len && is_blank(text[len - 1]))
        text[--len] = 0;
    return text;
}

char *words_strip(char *line) {
    bool quoted = false;
    if (strncmp(line, "\xef\xbb\xbf", 3) == 0) /* an editor's mark, at the start of a file */
        line += 3;
    for (char *p = line; *p; p++) {
        if (*p == '"')
            quoted = !quoted;
        if ((*p == '#' || *p == ';') && !quoted && (p == line || is_blank(p[-1]))) {
            *p = 0;
            break;
        }
    }
    return words_trim(line);
}

char *words_next(char **at) {
    char *start = *at;
    while (is_blank(*start))
        start++;
    if (!*start)
        return NULL;
    char *end = start;
    while (*end && !is_blank(*end))
        end++;
    *at = *end ? end + 1 : end;
    *end = 0;
    return start;
}

int words_number(const char *text, uint64_t max, uint64_t *ret) {
    uint64_t n = 0;
    if (!*text)
        return -EINVAL;
    for (; *text; text++) {
        if (!is_digit(*text))
            return -EINVAL;
        uint64_t digit = (uint64_t)(*text - '0');
        if (digit > max || n > (max - digit) / 10)
            return -EINVAL;
        n = n * 10 + digit;
    }
    *ret = n;
    return 0;
}

int words_seconds(const char *text, uint32_t *ret_ms) {
    const char *dot = strchr(text, '.');
    char whole[16];
    uint64_t seconds = 0;
    uint32_t ms = 0, unit = 100;
    size_t len = dot ? (size_t)(dot - text) : strlen(text);
    if (len >= sizeof whole || (len == 0 && (!dot || !dot[1])))
        return -EINVAL;
    memcpy(whole, text, len);
    whole[len] = 0;
    if (len && words_number(whole, 1000000, &seconds) < 0)
        return -EINVAL;
    for (const char *p = dot ? dot + 1 : ""; *p; p++, unit /= 10) {
        if (!is_digit(*p))
            return -EINVAL;
        ms += unit * (uint32_t)(*p - '0');
    }
    *ret_ms = (uint32_t)seconds * 1000 + ms;
    return 0;
}

int words_address(const char *text, struct fact_address *ret) {
    char plain[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    uint64_t bits = 0;
    if (len >= sizeof plain)
        return -EINVAL;
    memcpy(plain, text, len);
    plain[len] = 0;
    *ret = (struct fact_address){.preferred = true};
    if (inet_pton(AF_INET, plain, ret->bytes) == 1)
        ret->family = AF_INET;
    else if (inet_pton(AF_INET6, plain, ret->bytes) == 1)
        ret->family = AF_INET6;
    else
        return -EINVAL;
    ret->prefix = ret->family == AF_INET ? 32 : 128;
    if (slash && words_number(slash + 1, ret->prefix, &bits) < 0)
        return -EINVAL;
    if (slash)
        ret->prefix = (uint8_t)bits;
    return 0;
}

int words_address_port(const char *text, struct fact_address *ret, uint16_t *ret_port) {
    char address[INET6_ADDRSTRLEN + 2];
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    uint64_t port;
    if (!colon || len == 0 || len >= sizeof address || strchr(text, '/') ||
        words_number(colon + 1, 65535, &port) < 0 || port == 0)
        return -EINVAL;
    memcpy(address, text, len);
    address[len] = 0;
    bool bracketed = address[0] == '[' && address[len - 1] == ']';
    if (bracketed)
        address[len - 1] = 0;
    if (words_address(address + bracketed, ret) < 0 || bracketed != (ret->family == AF_INET6))
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

int words_labels(const char *text, const struct label_names *names, uint64_t *ret, char *bad) {
    char rest[WORDS_LINE] = "", copy[WORDS_LINE];
    bool all = false;
    size_t used = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *at = copy, *word; (word = strsep(&at, ","));) {
        word = words_trim(word);
        if (strcmp(word, "all") == 0)
            all = true;
        else
            used += (size_t)snprintf(rest + used, sizeof rest - used, "%s%s", used ? "," : "", word);
    }
    int r = label_parse(rest, names, ret, bad);
    if (r == 0 && all)
        *ret |= LABEL_INTENTS;
    return r;
}

bool words_name_ok(const char *name) {
    size_t len = strnlen(name, WIRE_NAME);
    if (len == 0 || len == WIRE_NAME)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~' || strchr(",;#@[]\"'\\/", name[i]))
            return false;
    return true;
}

void words_clean(char *text) {
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

void words_tell(words_sink sink, void *arg, const char *file, unsigned line, const char *format,
                va_list list) {
    char text[512];
    vsnprintf(text, sizeof text, format, list);
    words_clean(text);
    sink(arg, file, line, text);
}

/* config - reads the configuration into settings.
 *
 * An INI parser by hand: every mistake is told with file and line, indentation and comments after values are
 * fine. What names another section (label lists, prefer) is kept as text and resolved at the end, so that
 * order does not matter, nor which drop-in holds what. What the settings mean is policy's business.
 */
#include "config_reading.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>

void config_mistake(struct config *c, const char *format, ...) {
    va_list list;
    va_start(list, format);
    words_tell(c->sink, c->arg, c->file, c->line, format, list);
    va_end(list);
    c->mistakes++;
}

struct settings_network *config_network(struct config *c) {
    return &c->settings->networks[c->index];
}

void config_keep(struct config *c, enum section section, unsigned index, unsigned line, const char *text) {
    struct later *more = reallocarray(c->later, c->later_count + 1, sizeof *more);
    char *file = strdup(c->file), *copy = strdup(text);
    if (more)
        c->later = more;
    if (!more || !file || !copy) {
        free(file);
        free(copy);
        config_mistake(c, "out of memory");
        return;
    }
    c->later[c->later_count++] = (struct later){section, index, line, file, copy};
}

static bool is_of_a_host(const struct fact_address *a) {
    static const uint8_t wildcard[16] = {0};
    size_t len = a->family == AF_INET ? 4 : 16;
    bool group = a->family == AF_INET ? a->bytes[0] >= 224 : a->bytes[0] == 0xff;
    return !group && memcmp(a->bytes, wildcard, len) != 0;
}

static void leave_network(struct config *c) {
    struct settings_network *n = config_network(c);
    bool wide = n->address.family && n->address.prefix < (n->address.family == AF_INET ? 32 : 128);
    n->address_only = n->address.family && !n->match[0] && !wide && !n->ssid[0];
    if (!n->match[0] && !n->address.family && !n->ssid[0] && !n->type && !n->any_type)
        config_mistake(c, "[network %s] needs 'match =' or 'address ='", c->name);
    if (n->address_only && !is_of_a_host(&n->address))
        config_mistake(c, "[network %s] has an address that no host can have", c->name);
}

static void leave_label(struct config *c) {
    if (c->bit < 0)
        config_mistake(c, "[label %s] needs 'bit ='", c->name);
    else if (c->prefer)
        config_keep(c, SECTION_LABEL, (unsigned)c->bit, c->prefer_line, c->prefer);
}

/* What can only be said of a whole section is said of its first line. */
static void leave_section(struct config *c) {
    unsigned line = c->line;
    c->line = c->section_line;
    /* A value that was refused is not missing as well. */
    if (c->section == SECTION_NETWORK && c->mistakes == c->section_mistakes)
        leave_network(c);
    else if (c->section == SECTION_LABEL && c->mistakes == c->section_mistakes)
        leave_label(c);
    free(c->prefer);
    c->prefer = NULL;
    c->section = SECTION_NONE;
    c->line = line;
}

/* A section that was in a file before changes only what it contains. */
static bool is_there(uint64_t *here, unsigned index) {
    bool before = *here >> index & 1;
    *here |= UINT64_C(1) << index;
    return before;
}

static enum section enter_network(struct config *c, const char *name) {
    struct settings *s = c->settings;
    if (!words_name_ok(name)) {
        config_mistake(c, "'%s' cannot be the name of a network", name);
        return SECTION_BAD;
    }
    unsigned i = 0;
    while (i < s->network_count && strcmp(s->networks[i].name, name) != 0)
        i++;
    if (i == SETTINGS_NETWORKS) {
        config_mistake(c, "more than %d networks", SETTINGS_NETWORKS);
        return SECTION_BAD;
    }
    if (is_there(&c->networks_here, i)) {
        config_mistake(c, "[network %s] is there already", name);
        return SECTION_BAD;
    }
    if (i == s->network_count) {
        s->network_count++;
        strcpy(s->networks[i].name, name);
    }
    c->index = i;
    return SECTION_NETWORK;
}

static enum section enter_label(struct config *c, const char *name) {
    int bit = label_bit(name, strlen(name), &c->settings->names);
    if (bit < 0 && !label_name_ok(name)) {
        config_mistake(c, "'%s' cannot be the name of a label", name);
        return SECTION_BAD;
    }
    if (bit >= 0 && is_there(&c->labels_here, (unsigned)bit)) {
        config_mistake(c, "[label %s] is there already", name);
        return SECTION_BAD;
    }
    c->bit = bit;
    return SECTION_LABEL;
}

static enum section enter_section(struct config *c, const char *kind, const char *name) {
    bool named = name && *name;
    snprintf(c->name, sizeof c->name, "%s", named ? name : "");
    if (strcmp(kind, "scout") == 0 && !named)
        return SECTION_SCOUT;
    if (strcmp(kind, "network") == 0 && named)
        return enter_network(c, name);
    if (strcmp(kind, "label") == 0 && named)
        return enter_label(c, name);
    if (!named && (strcmp(kind, "network") == 0 || strcmp(kind, "label") == 0))
        config_mistake(c, "[%s] needs a name: [%s NAME]", kind, kind);
    else
        config_mistake(c, "unknown section [%s%s%s]", kind, named ? " " : "", named ? name : "");
    return SECTION_BAD;
}

static void take_header(struct config *c, char *text) {
    size_t len = strlen(text);
    leave_section(c);
    c->section_line = c->line;
    c->section_mistakes = c->mistakes;
    c->seen_keys = 0;
    c->bit = -1;
    c->section = SECTION_BAD;
    if (text[len - 1] != ']') {
        config_mistake(c, "']' is missing");
        return;
    }
    text[len - 1] = 0;
    char *rest = words_trim(text + 1);
    char *kind = words_next(&rest);
    c->section = enter_section(c, kind ? kind : "", kind ? words_trim(rest) : NULL);
}

static void take_line(struct config *c, char *line) {
    char *text = words_strip(line);
    char *equals = strchr(text, '=');
    if (!*text)
        return;
    if (*text == '[') {
        take_header(c, text);
        return;
    }
    if (c->section == SECTION_BAD)
        return; /* said once, at its header */
    if (!equals || equals == text) {
        config_mistake(c, "expected 'key = value' or '[section]'");
        return;
    }
    *equals = 0;
    if (c->section == SECTION_NONE)
        config_mistake(c, "'%s' stands before any [section]", words_trim(text));
    else
        config_take_key(c, words_trim(text), words_trim(equals + 1));
}

void config_read(struct config *c, FILE *f, const char *file) {
    char line[WORDS_LINE];
    int r;
    c->file = file;
    c->section = SECTION_NONE;
    c->networks_here = c->labels_here = 0;
    for (c->line = 1; c->mistakes < WORDS_MISTAKES && (r = words_line(f, line)) != 0; c->line++) {
        if (r == -EMSGSIZE || r == -EFBIG)
            config_mistake(c, "the line is longer than %d bytes", WORDS_LINE - 1);
        else if (r < 0)
            config_mistake(c, "the line holds a NUL byte");
        else
            take_line(c, line);
        if (r == -EFBIG)
            break;
    }
    if (ferror(f)) {
        c->line = 0;
        config_mistake(c, "cannot be read");
    }
    leave_section(c);
}

/* A network that has no section may be on another machine that shares this file; scout mentions it. */
static bool may_name_a_network(const char *name) {
    char plain[WIRE_NAME];
    size_t len = strcspn(name, "@");
    if (len >= sizeof plain || strlen(name) >= FACT_FULL_NAME)
        return false;
    memcpy(plain, name, len);
    plain[len] = 0;
    return words_name_ok(plain);
}

static void resolve_prefer(struct config *c, const struct later *l) {
    struct settings *s = c->settings;
    unsigned i = 0;
    while (i < s->pref_count && s->prefs[i].bit != (int)l->index)
        i++;
    if (i == SETTINGS_PREFS) {
        config_mistake(c, "more than %d labels with 'prefer ='", SETTINGS_PREFS);
        return;
    }
    s->pref_count += i == s->pref_count;
    struct settings_pref *p = &s->prefs[i];
    *p = (struct settings_pref){.bit = (int)l->index};
    for (char *at = l->text, *name; (name = strsep(&at, ","));) {
        name = words_trim(name);
        if (!may_name_a_network(name))
            config_mistake(c, "prefer: '%s' cannot be the name of a network", name);
        else if (p->count == SETTINGS_ORDER)
            config_mistake(c, "prefer: more than %d networks", SETTINGS_ORDER);
        else
            strcpy(p->order[p->count++], name);
    }
}

static void resolve(struct config *c, const struct later *l) {
    char bad[LABEL_NAME];
    c->file = l->file;
    c->line = l->line;
    if (l->section == SECTION_LABEL)
        resolve_prefer(c, l);
    else if (words_labels(l->text, &c->settings->names, &c->settings->networks[l->index].labels, bad) < 0)
        config_mistake(c, "labels: unknown label '%s'", bad);
}

unsigned config_finish(struct config *c) {
    for (size_t i = 0; i < c->later_count; i++) {
        resolve(c, &c->later[i]);
        free(c->later[i].file);
        free(c->later[i].text);
    }
    unsigned mistakes = c->mistakes;
    free(c->later);
    free(c);
    return mistakes;
}

void config_defaults(struct settings *ret) {
    *ret = (struct settings){.hold_ms = 500, .grace_ms = 1000, .mptcp = true};
}

struct config *config_new(struct settings *into, words_sink sink, void *arg) {
    struct config *c = calloc(1, sizeof *c);
    if (c)
        *c = (struct config){.settings = into, .sink = sink, .arg = arg, .file = ""};
    return c;
}

static void cannot_be_read(struct config *c, const char *path) {
    c->file = path;
    c->line = 0;
    config_mistake(c, "%s", strerror(errno));
}

static void read_path(struct config *c, const char *path, bool must_exist) {
    FILE *f = fopen(path, "re");
    if (f) {
        config_read(c, f, path);
        fclose(f);
    } else if (must_exist || errno != ENOENT) {
        cannot_be_read(c, path);
    }
}

/* glob's: a directory that cannot be read is to be told, one that is not there is not. */
static int is_no_directory(const char *path, int error) {
    errno = error;
    return error != ENOENT && error != ENOTDIR;
}

/* What stands for more in a pattern stands for itself in a path. */
static void drop_ins(const char *file, char pattern[2 * PATH_MAX + 16]) {
    char *to = pattern;
    for (const char *from = file; *from && to < pattern + 2 * PATH_MAX; from++) {
        if (strchr("*?[\\", *from))
            *to++ = '\\';
        *to++ = *from;
    }
    strcpy(to, ".d/*.conf");
}

int config_load(const char *file, bool must_exist, struct settings *ret, words_sink sink, void *arg) {
    char pattern[2 * PATH_MAX + 16];
    glob_t found = {0};
    struct config *c = config_new(ret, sink, arg);
    if (!c)
        return -ENOMEM;
    config_defaults(ret);
    read_path(c, file, must_exist);
    drop_ins(file, pattern);
    int r = glob(pattern, 0, is_no_directory, &found);
    if (r != 0 && r != GLOB_NOMATCH) {
        snprintf(pattern, sizeof pattern, "%s.d", file);
        cannot_be_read(c, pattern);
    }
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++)
        read_path(c, found.gl_pathv[i], true);
    globfree(&found);
    return config_finish(c) ? -EINVAL : 0;
}

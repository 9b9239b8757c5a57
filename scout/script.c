/* script - a timetable of networks.
 *
 * scout.c comes in: read once, then take what is due. Beside the timetable any number of random networks
 * (cdf) run on their own. Every mistake is told with file and line before anything starts. What an action
 * means for a network is not known here.
 */
#include "script.h"

#include "script_chance.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/random.h>

/* A network that goes up and down at random times. */
struct random_network {
    char network[FACT_FULL_NAME];
    struct script_chance up, down; /* how long it stays so */
    uint64_t generator;
    bool is_up;
    int64_t next_ms;
};

struct script {
    struct script_action *actions;
    size_t count, next;
    int64_t round_ms; /* when this round of the loop began */
    struct random_network *random;
    size_t random_count;
};

struct reading {
    struct script *s;
    const struct script_reader *reader;
    const char *file;
    unsigned line, mistakes;
    bool closed; /* by loop, end or exit */
};

__attribute__((format(printf, 2, 3))) static void mistake(struct reading *r, const char *format, ...) {
    va_list list;
    va_start(list, format);
    words_tell(r->reader->sink, r->reader->arg, r->file, r->line, format, list);
    va_end(list);
    r->mistakes++;
}

static bool takes_network(struct reading *r, const char *name, char ret[FACT_FULL_NAME]) {
    if (!name)
        mistake(r, "the network is missing");
    else if (strlen(name) >= FACT_FULL_NAME || !r->reader->knows(r->reader->arg, name))
        mistake(r, "unknown network '%s'", name);
    else
        strcpy(ret, name);
    return name && ret[0];
}

static void push(struct reading *r, const struct script_action *a) {
    struct script_action *more = reallocarray(r->s->actions, r->s->count + 1, sizeof *more);
    if (!more) {
        mistake(r, "out of memory");
        return;
    }
    r->s->actions = more;
    r->s->actions[r->s->count++] = *a;
}

static FILE *open_beside(const char *file, const char *name, char *ret_path, size_t len) {
    const char *slash = strrchr(file, '/');
    int dir = slash && name[0] != '/' ? (int)(slash - file) + 1 : 0;
    snprintf(ret_path, len, "%.*s%s", dir, file, name);
    return fopen(ret_path, "re");
}

static void read_chance(struct reading *r, const char *name, struct script_chance *ret) {
    char path[4096];
    const char *why, *file = r->file;
    unsigned line = r->line, wrong;
    FILE *f = open_beside(r->file, name, path, sizeof path);
    if (!f) {
        mistake(r, "%s: %s", path, strerror(errno));
        return;
    }
    if (script_chance_read(f, ret, &wrong, &why) < 0 && wrong == 0) {
        mistake(r, "%s: %s", path, why);
    } else if (why) {
        r->file = path;
        r->line = wrong;
        mistake(r, "%s", why);
        r->file = file;
        r->line = line;
    }
    fclose(f);
}

/* cdf NETWORK UPTIMES DOWNTIMES [SEED] */
static void take_random(struct reading *r, char *rest) {
    struct random_network n = {.is_up = false};
    char *name = words_next(&rest), *up = words_next(&rest), *down = words_next(&rest),
         *seed = words_next(&rest);
    if (!down || words_next(&rest)) {
        mistake(r, "expected 'cdf NETWORK UPTIMES DOWNTIMES [SEED]'");
        return;
    }
    if (!takes_network(r, name, n.network))
        return;
    if (seed && words_number(seed, UINT64_MAX, &n.generator) < 0)
        mistake(r, "'%s' is not a seed: a whole number", seed);
    if (!seed && getrandom(&n.generator, sizeof n.generator, 0) != sizeof n.generator)
        n.generator = (uint64_t)(uintptr_t)r; /* any will do */
    read_chance(r, up, &n.up);
    read_chance(r, down, &n.down);
    struct random_network *more = reallocarray(r->s->random, r->s->random_count + 1, sizeof *more);
    if (n.up.count && n.down.count && more)
        n.next_ms = script_chance_draw(&n.down, &n.generator);
    if (!more)
        mistake(r, "out of memory");
    else
        r->s->random = more;
    if (more && n.next_ms) {
        r->s->random[r->s->random_count++] = n;
        return;
    }
    script_chance_finish(&n.up);
    script_chance_finish(&n.down);
}

static bool takes_verb(struct reading *r, const char *word, enum script_verb *ret) {
    static const char *const verbs[] = {"up", "down", "labels", "loop", "end", "exit"};
    for (int i = 0; word && i < (int)(sizeof verbs / sizeof *verbs); i++)
        if (strcmp(word, verbs[i]) == 0) {
            *ret = (enum script_verb)i;
            return true;
        }
    if (word)
        mistake(r, "unknown action '%s'", word);
    else
        mistake(r, "the action is missing");
    return false;
}

static bool takes_object(struct reading *r, struct script_action *a, char **rest) {
    char bad[LABEL_NAME];
    if (a->verb >= SCRIPT_LOOP)
        return true;
    if (!takes_network(r, words_next(rest), a->network))
        return false;
    if (a->verb != SCRIPT_LABELS)
        return true;
    char *list = words_trim(*rest);
    if (!*list)
        mistake(r, "the labels are missing");
    else if (words_labels(list, r->reader->names, &a->labels, bad) < 0)
        mistake(r, "unknown label '%s'", bad);
    *rest = list + strlen(list);
    return true;
}

static bool follows(struct reading *r, const struct script_action *a) {
    const struct script_action *before = r->s->count ? &r->s->actions[r->s->count - 1] : NULL;
    if (r->closed)
        mistake(r, "nothing can follow 'loop', 'end' or 'exit'");
    else if (before && a->at_ms < before->at_ms)
        mistake(r, "the time is before that of line %u", before->line);
    else if (a->verb == SCRIPT_LOOP && a->at_ms == 0)
        mistake(r, "'loop' needs a time above 0");
    else
        return true;
    return false;
}

static void take_line(struct reading *r, char *text) {
    struct script_action a = {.line = r->line};
    char *rest = text, *time = words_next(&rest), *extra;
    if (!time)
        return;
    if (strcmp(time, "cdf") == 0) {
        take_random(r, rest);
        return;
    }
    if (words_seconds(time, &a.at_ms) < 0) {
        mistake(r, "'%s' is not a number of seconds", time);
        return;
    }
    if (!takes_verb(r, words_next(&rest), &a.verb) || !takes_object(r, &a, &rest))
        return;
    if ((extra = words_next(&rest)))
        mistake(r, "'%s' is too much", extra);
    if (!follows(r, &a))
        return;
    r->closed = a.verb >= SCRIPT_LOOP;
    push(r, &a);
}

int script_read(FILE *f, const char *file, const struct script_reader *reader, struct script **ret) {
    char line[WORDS_LINE];
    int got;
    struct reading r = {.s = calloc(1, sizeof *r.s), .reader = reader, .file = file};
    if (!r.s)
        return -ENOMEM;
    for (r.line = 1; r.mistakes < WORDS_MISTAKES && (got = words_line(f, line)) != 0; r.line++) {
        if (got == -EMSGSIZE || got == -EFBIG)
            mistake(&r, "the line is longer than %d bytes", WORDS_LINE - 1);
        else if (got < 0)
            mistake(&r, "the line holds a NUL byte");
        else
            take_line(&r, words_strip(line));
        if (got == -EFBIG)
            break;
    }
    if (ferror(f)) {
        r.line = 0;
        mistake(&r, "cannot be read");
    }
    if (r.mistakes) {
        script_free(r.s);
        return -EINVAL;
    }
    *ret = r.s;
    return 0;
}

int script_load(const char *file, const struct script_reader *reader, struct script **ret) {
    FILE *f = fopen(file, "re");
    if (!f) {
        reader->sink(reader->arg, file, 0, strerror(errno));
        return -EINVAL;
    }
    int r = script_read(f, file, reader, ret);
    fclose(f);
    return r;
}

void script_free(struct script *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->random_count; i++) {
        script_chance_finish(&s->random[i].up);
        script_chance_finish(&s->random[i].down);
    }
    free(s->random);
    free(s->actions);
    free(s);
}

static struct random_network *first_random(const struct script *s) {
    struct random_network *first = NULL;
    for (size_t i = 0; i < s->random_count; i++)
        if (!first || s->random[i].next_ms < first->next_ms)
            first = &s->random[i];
    return first;
}

static int64_t timetable_deadline(const struct script *s) {
    if (s->next >= s->count || s->actions[s->next].verb == SCRIPT_END)
        return -1;
    return s->round_ms + s->actions[s->next].at_ms;
}

int64_t script_deadline(const struct script *s) {
    const struct random_network *n = first_random(s);
    int64_t at = timetable_deadline(s);
    return n && (at < 0 || n->next_ms < at) ? n->next_ms : at;
}

static void take_from_random(struct random_network *n, struct script_action *ret) {
    n->is_up = !n->is_up;
    *ret = (struct script_action){.verb = n->is_up ? SCRIPT_UP : SCRIPT_DOWN};
    memcpy(ret->network, n->network, sizeof ret->network);
    n->next_ms += script_chance_draw(n->is_up ? &n->up : &n->down, &n->generator);
}

int script_take(struct script *s, int64_t elapsed_ms, struct script_action *ret) {
    struct random_network *n = first_random(s);
    int64_t at = timetable_deadline(s);
    if (at >= 0 && at <= elapsed_ms && (!n || at <= n->next_ms)) {
        *ret = s->actions[s->next++];
        if (ret->verb == SCRIPT_LOOP) {
            s->round_ms = at;
            s->next = 0;
        }
        return 1;
    }
    if (!n || n->next_ms > elapsed_ms)
        return 0;
    take_from_random(n, ret);
    return 1;
}

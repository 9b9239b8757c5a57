/* script_chance - times drawn from a measured distribution.
 *
 * Only script comes in. Its own generator (splitmix64), because a seed must give the same run with every C
 * library.
 */
#include "script_chance.h"

#include "words.h"
#include <errno.h>
#include <stdlib.h>

/* A decimal number without sign and exponent, whatever the locale. */
static int decimal(const char *text, double *ret) {
    double n = 0, unit = 1;
    bool point = false, digits = false;
    for (; *text; text++) {
        if (*text == '.' && !point) {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9')
            return -EINVAL;
        digits = true;
        unit = point ? unit / 10 : unit;
        n = point ? n + unit * (*text - '0') : n * 10 + (*text - '0');
    }
    *ret = n;
    return digits && n < 1e9 ? 0 : -EINVAL;
}

/* "75" or "75%". */
static int percentage(char *text, double *ret) {
    size_t len = strlen(text);
    if (len > 1 && text[len - 1] == '%')
        text[len - 1] = 0;
    return decimal(text, ret);
}

/* A distribution that ends at 1 is not one of a single percent: it is written in fractions. */
static void use_fractions(struct script_chance *c) {
    bool fractions = c->points[c->count - 1].percent == 1;
    for (unsigned i = 0; fractions && i < c->count; i++)
        c->points[i].percent *= 100;
}

static const char *take_line(struct script_chance *c, char *text) {
    struct script_point p;
    char *value = words_next(&text), *percent = words_next(&text);
    if (!value)
        return NULL;
    if (!percent || words_next(&text) || decimal(value, &p.ms) < 0 || percentage(percent, &p.percent) < 0)
        return "expected a value in seconds and a percentage";
    p.ms *= 1000;
    if (p.percent > 100 || p.ms > UINT32_MAX / 2)
        return p.percent > 100 ? "more than 100 percent" : "the value is too large";
    if (c->count && (p.ms < c->points[c->count - 1].ms || p.percent < c->points[c->count - 1].percent))
        return "values and percentages must not fall";
    struct script_point *more = reallocarray(c->points, c->count + 1, sizeof *more);
    if (!more)
        return "out of memory";
    c->points = more;
    c->points[c->count++] = p;
    return NULL;
}

int script_chance_read(FILE *f, struct script_chance *ret, unsigned *ret_line, const char **ret_why) {
    char line[WORDS_LINE];
    int r;
    *ret = (struct script_chance){0};
    *ret_why = NULL;
    for (*ret_line = 1; (r = words_line(f, line)) != 0 && !*ret_why; ++*ret_line)
        *ret_why = r < 0 ? "the line is too long or holds a NUL byte" : take_line(ret, words_strip(line));
    --*ret_line;
    if (!*ret_why && ret->count == 0) {
        *ret_line = 0;
        *ret_why = "no values";
    }
    if (!*ret_why) {
        use_fractions(ret);
        return 0;
    }
    script_chance_finish(ret);
    return -EINVAL;
}

void script_chance_finish(struct script_chance *c) {
    free(c->points);
    *c = (struct script_chance){0};
}

static uint64_t next(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t script_chance_draw(const struct script_chance *c, uint64_t *state) {
    double percent = (double)(next(state) >> 11) / 9007199254740992.0 * 100; /* 2^53 steps */
    unsigned i = 0;
    while (i < c->count - 1 && c->points[i].percent < percent)
        i++;
    double ms = c->points[i].ms;
    if (i > 0 && c->points[i].percent > percent) {
        const struct script_point *a = &c->points[i - 1], *b = &c->points[i];
        ms = a->ms + (b->ms - a->ms) * (percent - a->percent) / (b->percent - a->percent);
    }
    return ms < 1 ? 1 : (uint32_t)(ms + 0.5);
}

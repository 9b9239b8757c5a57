/* script - a timetable of networks. Reads files; knows no clock: time is passed in, in milliseconds since the
 * start. */
#ifndef CMM_SCRIPT_H
#define CMM_SCRIPT_H

#include "words.h"

enum script_verb { SCRIPT_UP, SCRIPT_DOWN, SCRIPT_LABELS, SCRIPT_LOOP, SCRIPT_END, SCRIPT_EXIT };

struct script_action {
    uint32_t at_ms;
    enum script_verb verb;
    char network[FACT_FULL_NAME];
    uint64_t labels;
    unsigned line;
};

/* Whether a network of that name can exist. */
typedef bool (*script_knows)(void *arg, const char *network);

struct script_reader {
    const struct label_names *names;
    script_knows knows;
    words_sink sink;
    void *arg; /* of both */
};

struct script;

/* 0, -EINVAL after telling the sink, or -ENOMEM. Files named in it are relative to the directory of file. */
int script_read(FILE *f, const char *file, const struct script_reader *reader, struct script **ret);
int script_load(const char *file, const struct script_reader *reader, struct script **ret);
void script_free(struct script *s);

/* The next action due at elapsed_ms since the start, in order. 1 with it (SCRIPT_UP, DOWN, LABELS, EXIT, or
 * LOOP: a round begins), 0: none yet. */
int script_take(struct script *s, int64_t elapsed_ms, struct script_action *ret);

/* When the next one is due, in milliseconds since the start; -1: never. */
int64_t script_deadline(const struct script *s);

#endif

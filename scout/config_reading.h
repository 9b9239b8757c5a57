/* config_reading - a configuration while it is being read. Only config*.c comes in. */
#ifndef CMM_CONFIG_READING_H
#define CMM_CONFIG_READING_H

#include "config.h"

enum section { SECTION_NONE, SECTION_BAD, SECTION_SCOUT, SECTION_NETWORK, SECTION_LABEL };

/* A value that refers to other sections. */
struct later {
    enum section section;
    unsigned index; /* a network's, or a label's bit */
    unsigned line;
    char *file, *text;
};

struct config {
    struct settings *settings;
    words_sink sink;
    void *arg;
    unsigned mistakes;
    const char *file;
    unsigned line;
    enum section section;
    char name[WIRE_NAME];      /* of the section */
    unsigned index, seen_keys; /* of the network; bits in the section's key table */
    int bit;                   /* of the label; -1: not known yet */
    char *prefer;
    unsigned section_line, section_mistakes, prefer_line;
    struct later *later;
    size_t later_count;
    uint64_t networks_here, labels_here; /* which have a section in this file: bits */
};

/* Says what is wrong at the current line. */
__attribute__((format(printf, 2, 3))) void config_mistake(struct config *c, const char *format, ...);

/* Keeps a value until all sections are known. */
void config_keep(struct config *c, enum section section, unsigned index, unsigned line, const char *text);

/* The network whose section is being read. */
struct settings_network *config_network(struct config *c);

/* One line "name = value" of the section being read. */
void config_take_key(struct config *c, const char *name, char *value);

#endif

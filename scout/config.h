/* config - reads the configuration into settings. */
#ifndef CMM_CONFIG_H
#define CMM_CONFIG_H

#include "settings.h"
#include "words.h"

struct config;

/* What an empty configuration means. */
void config_defaults(struct settings *ret);

/* Collects one file after the other; finish resolves what refers to other sections. NULL: no memory. */
struct config *config_new(struct settings *into, words_sink sink, void *arg);
void config_read(struct config *c, FILE *f, const char *file);
/* How many mistakes there were; frees c. */
unsigned config_finish(struct config *c);

/* File and its drop-ins (FILE.d/ *.conf, by name). A missing file is a mistake only if must_exist. 0, -EINVAL
 * after telling the sink, or -ENOMEM. */
int config_load(const char *file, bool must_exist, struct settings *ret, words_sink sink, void *arg);

#endif

/* words - the small text of configuration and script: lines, numbers, addresses, label lists. No state. */
#ifndef CMM_WORDS_H
#define CMM_WORDS_H

#include "fact.h"
#include "label.h"
#include <stdarg.h>
#include <stdio.h>

/* A file with that many mistakes is not read on. */
enum { WORDS_LINE = 1024, WORDS_MISTAKES = 100 };

/* Called for each mistake found; line 0: the file as a whole. */
typedef void (*words_sink)(void *arg, const char *file, unsigned line, const char *text);

/* A mistake, fit for terminals and logs. */
void words_tell(words_sink sink, void *arg, const char *file, unsigned line, const char *format,
                va_list list);

/* The next line without its end. 1, 0: no more, -EMSGSIZE: longer than WORDS_LINE - 1 (skipped), -EILSEQ:
 * holds a NUL, -EFBIG: no end of it in sight, what follows makes no sense. */
int words_line(FILE *f, char ret_line[WORDS_LINE]);

/* Cuts a comment ('#' or ';' at the start or after a blank, outside double quotes) and blanks at both ends.
 */
char *words_strip(char *line);
char *words_trim(char *text);

/* The next blank-separated word, NUL-terminated in place, or NULL. */
char *words_next(char **at);

/* Whole decimal number up to max. 0 or -EINVAL. */
int words_number(const char *text, uint64_t max, uint64_t *ret);

/* Seconds with decimals, at most about 11 days. 0 or -EINVAL. */
int words_seconds(const char *text, uint32_t *ret_ms);

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32" (prefix: all bits if none is given). 0 or -EINVAL. */
int words_address(const char *text, struct fact_address *ret);

/* "192.0.2.1:443" or "[2001:db8::1]:443". 0 or -EINVAL. */
int words_address_port(const char *text, struct fact_address *ret, uint16_t *ret_port);

/* A label list in which "all" means the six intents. 0, or -EINVAL with the unknown name in bad (LABEL_NAME
 * bytes). */
int words_labels(const char *text, const struct label_names *names, uint64_t *ret, char *bad);

/* A legal network name: printable, without blanks, commas, '@' and brackets, shorter than WIRE_NAME. */
bool words_name_ok(const char *name);

/* Unprintable bytes become '?': the text goes to terminals and logs. */
void words_clean(char *text);

#endif

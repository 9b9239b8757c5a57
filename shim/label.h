/* label - the names of label bits. Pure; shared by shim, scout and tools. */
#ifndef CMM_LABEL_H
#define CMM_LABEL_H

#include <stddef.h>
#include <stdint.h>

enum { LABEL_NAME = 32, LABEL_USER = 32, LABEL_USER_FIRST = 32 };

#define LABEL_INTENTS  UINT64_C(0x3f)  /* "all" in a configuration */
#define LABEL_DERIVED  UINT64_C(0xf00) /* what a network is like */
#define LABEL_USERBITS UINT64_C(0xffffffff00000000)
#define LABEL_KNOWN    (LABEL_INTENTS | LABEL_DERIVED | LABEL_USERBITS)

/* Names of bits 32..63 from the scout's configuration; an empty one is none ("bit32" always works). */
struct label_names {
    char name[LABEL_USER][LABEL_NAME];
};

/* The bit number of one name of len bytes, or -EINVAL. names may be NULL. */
int label_bit(const char *name, size_t len, const struct label_names *names);

/* "background,large", "none" or "" (0); blanks around names are fine. 0, or -EINVAL with the first unknown
 * name copied, cut and with unprintable bytes as '?', to bad (LABEL_NAME bytes; may be NULL). */
int label_parse(const char *text, const struct label_names *names, uint64_t *ret_labels, char *bad);

/* Writes the names, comma-separated ("none" for 0; unknown bits 0..31 as hex), as snprintf does. */
int label_format(uint64_t labels, const struct label_names *names, char *buf, size_t len);

/* A table of names as text, "backup=32,lab=40", as it is handed on in CMM_NAMES. Writes as snprintf does;
 * reads what is there, and passes over what is no such pair. */
int label_names_format(const struct label_names *names, char *buf, size_t len);
void label_names_parse(const char *text, struct label_names *ret);

/* A legal name for a user label: letters, digits, '-', '_' and '.', shorter than LABEL_NAME, not a built-in
 * name, not "all", "none", "bypass" nor bitNN. */
int label_name_ok(const char *name);

#endif

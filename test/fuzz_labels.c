/* fuzz_labels - any text as a list of labels, any bytes as a table of names. */
#include "fuzz.h"
#include "label.h"

#include <errno.h>

enum { TEXT = 4400 };

const struct fuzz_seed fuzz_seeds[] = {FUZZ_TEXT("background,large"),
                                       FUZZ_TEXT("none"),
                                       FUZZ_TEXT(" red , blue\t"),
                                       FUZZ_TEXT("bit32,bit63,unmetered"),
                                       FUZZ_TEXT("backup,all"),
                                       FUZZ_TEXT("wired,wifi,cellular,ondemand,small"),
                                       FUZZ_TEXT("bit31"),
                                       {NULL, 0}};

/* A table full of what the input says, legal or not. */
static void fill(struct label_names *names, const uint8_t *data, size_t size) {
    memset(names, 0, sizeof *names);
    strcpy(names->name[0], "backup");
    memcpy(names->name[1], data, size < sizeof *names - LABEL_NAME ? size : sizeof *names - LABEL_NAME);
}

static void check_bad(const char *bad) {
    FUZZ_CHECK(memchr(bad, 0, LABEL_NAME));
    for (; *bad; bad++)
        FUZZ_CHECK(*bad >= 0x20 && *bad < 0x7f);
}

static void check_round(uint64_t labels, const struct label_names *names) {
    char text[LABEL_NAME * 64];
    char small[16];
    uint64_t again = ~labels;
    int n = label_format(labels, names, text, sizeof text);
    FUZZ_CHECK(n > 0 && (size_t)n == strlen(text));
    FUZZ_CHECK(label_format(labels, names, small, sizeof small) == n && strlen(small) < sizeof small);
    FUZZ_CHECK(label_parse(text, names, &again, NULL) == 0 && again == labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct label_names names;
    char text[TEXT];
    char bad[LABEL_NAME];
    uint64_t labels = 0;
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    fill(&names, data, size);
    for (int with = 0; with < 2; with++) {
        const struct label_names *n = with ? &names : NULL;
        int r = label_parse(text, n, &labels, bad);
        FUZZ_CHECK(r == 0 || r == -EINVAL);
        if (r < 0) {
            check_bad(bad);
            continue;
        }
        FUZZ_CHECK((labels & ~LABEL_KNOWN) == 0);
        check_round(labels, n);
        check_round(LABEL_KNOWN, n);
    }
    if (label_name_ok(text))
        FUZZ_CHECK(label_bit(text, size, NULL) < 0 && strlen(text) < LABEL_NAME);
    return 0;
}

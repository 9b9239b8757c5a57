/* fuzz - one driver for all fuzz_*.c: a file defines fuzz_seeds and LLVMFuzzerTestOneInput.
 *
 * Without a fuzzing engine (-DCMM_ENGINE leaves main to it) the program mutates its seeds by itself: `fuzz_x
 * [RUNS [SEED [CORPUS]]]', the same inputs for the same seed, or `fuzz_x FILE...' for an engine's corpus.
 * CORPUS is what an engine has found worth keeping, an input a line as hex: more seeds. A finding is an abort
 * with the input written to stderr as hex.
 */
#ifndef CMM_FUZZ_H
#define CMM_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_seed {
    const void *data;
    size_t size;
};

/* Ends with one of size 0. */
extern const struct fuzz_seed fuzz_seeds[];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_TEXT(text)                                                                                      \
    { text, sizeof text - 1 }

#define FUZZ_CHECK(condition)                                                                                \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#ifndef CMM_ENGINE

#include <signal.h>
#include <unistd.h>

enum { FUZZ_MAX = 4300, FUZZ_RUNS = 200000 };

static uint8_t fuzz_input[FUZZ_MAX];
static size_t fuzz_size;
static uint64_t fuzz_state = 1;

static uint32_t fuzz_random(uint32_t below) {
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return (uint32_t)((fuzz_state * UINT64_C(0x2545F4914F6CDD1D)) >> 32) % below;
}

static void fuzz_show(int signal) {
    static const char digits[] = "0123456789abcdef";
    char pair[2];
    for (size_t i = 0; i < fuzz_size; i++) {
        pair[0] = digits[fuzz_input[i] >> 4];
        pair[1] = digits[fuzz_input[i] & 15];
        if (write(2, pair, 2) != 2)
            break;
    }
    _exit(128 + signal);
}

static void fuzz_erase(size_t at, size_t len) {
    memmove(fuzz_input + at, fuzz_input + at + len, fuzz_size - at - len);
    fuzz_size -= len;
}

static void fuzz_insert(size_t at, const void *data, size_t len) {
    if (fuzz_size + len > FUZZ_MAX)
        return;
    memmove(fuzz_input + at + len, fuzz_input + at, fuzz_size - at);
    memcpy(fuzz_input + at, data, len);
    fuzz_size += len;
}

static void fuzz_splice(const struct fuzz_seed *seed, size_t at) {
    size_t from = fuzz_random((uint32_t)seed->size);
    size_t len = 1 + fuzz_random((uint32_t)(seed->size - from));
    fuzz_insert(at, (const uint8_t *)seed->data + from, len);
}

static void fuzz_mutate(const struct fuzz_seed *other) {
    static const uint8_t telling[] = {0,   1,   2,   0x20, 0x7f, 0x80, 0xff, ',',
                                      ':', '/', '[', ']',  '=',  '+',  '.',  '0'};
    size_t at = fuzz_random((uint32_t)fuzz_size + 1);
    uint8_t byte = telling[fuzz_random(sizeof telling)];
    switch (fuzz_random(6)) {
    case 0:
        if (at < fuzz_size)
            fuzz_input[at] ^= (uint8_t)(1u << fuzz_random(8));
        break;
    case 1:
        if (at < fuzz_size)
            fuzz_input[at] = byte;
        break;
    case 2:
        fuzz_insert(at, &byte, 1);
        break;
    case 3:
        if (at < fuzz_size)
            fuzz_erase(at, 1 + fuzz_random((uint32_t)(fuzz_size - at)) % 8);
        break;
    case 4:
        fuzz_splice(other, at);
        break;
    case 5:
        if (at < fuzz_size)
            fuzz_input[at] = (uint8_t)fuzz_random(256);
        break;
    }
}

static void fuzz_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    fuzz_size = fread(fuzz_input, 1, sizeof fuzz_input, f);
    fclose(f);
    LLVMFuzzerTestOneInput(fuzz_input, fuzz_size);
}

static struct fuzz_seed *fuzz_known;
static uint32_t fuzz_count;

static void fuzz_know(const void *data, size_t size) {
    fuzz_known = realloc(fuzz_known, (fuzz_count + 1) * sizeof *fuzz_known);
    FUZZ_CHECK(fuzz_known && size && size <= FUZZ_MAX);
    fuzz_known[fuzz_count++] = (struct fuzz_seed){data, size};
}

static void fuzz_read_corpus(const char *path) {
    char line[2 * FUZZ_MAX + 2];
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    while (fgets(line, sizeof line, f)) {
        size_t len = strspn(line, "0123456789abcdef") / 2;
        uint8_t *bytes = malloc(len + 1);
        for (size_t i = 0; bytes && i < len; i++)
            if (sscanf(line + 2 * i, "%2hhx", &bytes[i]) != 1)
                abort();
        fuzz_know(bytes, len);
    }
    fclose(f);
}

static void fuzz_runs(long runs) {
    for (uint32_t i = 0; fuzz_seeds[i].size; i++)
        fuzz_know(fuzz_seeds[i].data, fuzz_seeds[i].size);
    const uint32_t count = fuzz_count;
    for (long i = 0; i < runs; i++) {
        const struct fuzz_seed *seed = &fuzz_known[(size_t)i % count];
        memcpy(fuzz_input, seed->data, seed->size);
        fuzz_size = seed->size;
        /* The first round gives the seeds themselves. */
        for (uint32_t k = (size_t)i < count ? 0 : 1 + fuzz_random(6); k; k--)
            fuzz_mutate(&fuzz_known[fuzz_random(count)]);
        LLVMFuzzerTestOneInput(fuzz_input, fuzz_size);
    }
    printf("%ld runs, nothing found\n", runs);
}

int main(int argc, char **argv) {
    char *end = NULL;
    long runs = argc > 1 ? strtol(argv[1], &end, 10) : FUZZ_RUNS;
    signal(SIGABRT, fuzz_show);
    if (end && *end) {
        for (int i = 1; i < argc; i++)
            fuzz_file(argv[i]);
        return EXIT_SUCCESS;
    }
    if (argc > 2)
        fuzz_state = strtoull(argv[2], NULL, 10) | 1;
    if (argc > 3)
        fuzz_read_corpus(argv[3]);
    fuzz_runs(runs);
    return EXIT_SUCCESS;
}

#endif
#endif

/* fail_alloc - preloaded: the allocation number FAIL_ALLOC of this process fails, and only that one. When the
 * process ends it says how many there were in the file FAIL_COUNT, if that is set. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static atomic_long count;
static long chosen;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAIL_ALLOC");
    chosen = text ? atol(text) : 0;
    count = 0; /* what the loader needed is not ours */
}

__attribute__((destructor)) static void say(void) {
    const char *path = getenv("FAIL_COUNT");
    long n = count;
    FILE *f = path ? fopen(path, "we") : NULL;
    if (f) {
        fprintf(f, "%ld\n", n);
        fclose(f);
    }
}

static bool fails(void) {
    if (atomic_fetch_add(&count, 1) + 1 != chosen)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    return fails() ? NULL : __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t n, size_t size) {
    size_t all;
    if (__builtin_mul_overflow(n, size, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(old, all);
}

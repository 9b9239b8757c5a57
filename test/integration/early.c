/* early - an allocator that calls syscall() as soon as its library begins, as jemalloc's does.
 * Preloaded beside the library that is tested; who begins first depends on the order. The process ends with
 * 42 if its calls came before the other's constructor, with 43 if after, and with 1 if they were answered
 * wrong. */
#include <libcmm.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
#pragma weak cmm_get_default_labels

static int inside, early, wrong;

/* Allocators have locks of their own: what is called in here must not come back for memory. */
__attribute__((visibility("default"))) void *malloc(size_t size) {
    if (inside++)
        wrong = 1;
    if (syscall(SYS_getpid) != getpid() || syscall(SYS_close, -1) != -1)
        wrong = 1;
    inside--;
    return __libc_malloc(size);
}

__attribute__((constructor)) static void begin(void) {
    void *volatile memory = malloc(1);
    early = cmm_get_default_labels() == 0;
    free(memory);
}

__attribute__((destructor)) static void end(void) {
    _exit(wrong || cmm_get_default_labels() == 0 ? 1 : early ? 42 : 43);
}

/* real - libc's own functions.
 * The table starts out with stand-ins that look all names up and go on: so a call made before our
 * constructor, by an allocator say, needs no check and the later ones pay for none. Several threads may look
 * up at once: all find the same. Deliberately absent: dlopen, allocation, locks. */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <string.h>
#include <unistd.h>

/* Arguments and results of all of them are words in registers, or on a stack that more words do no harm to:
 * so one stand-in's body serves all. */
typedef long any_function(long a, long b, long c, long d, long e, long f);

#define REAL_NUMBER(result, name, parameters, arguments) NUMBER_##name,
enum { REAL_FUNCTIONS(REAL_NUMBER) COUNT };
#undef REAL_NUMBER

__attribute__((noinline)) static long first(long a, long b, long c, long d, long e, long f, int number) {
    real_init();
    return ((any_function **)&real)[number](a, b, c, d, e, f);
}

#define REAL_STANDIN(result, name, parameters, arguments)                                                    \
    static long first_##name(long a, long b, long c, long d, long e, long f) {                               \
        return first(a, b, c, d, e, f, NUMBER_##name);                                                       \
    }
REAL_FUNCTIONS(REAL_STANDIN)
#undef REAL_STANDIN

struct real real = {
#define REAL_FIRST(result, name, parameters, arguments) .name = (void *)first_##name,
    REAL_FUNCTIONS(REAL_FIRST)
#undef REAL_FIRST
};

/* An old libc lacks some names; no program asks for those there. */
static long absent(void) {
    errno = ENOSYS;
    return -1;
}

#define REAL_NAME(result, name, parameters, arguments) #name "\0"
static const char names[] = REAL_FUNCTIONS(REAL_NAME);
#undef REAL_NAME

void real_init(void) {
    const char *name = names;
    for (int i = 0; i < COUNT; i++, name += strlen(name) + 1) {
        void *found = dlsym(RTLD_NEXT, name);
        __atomic_store_n((void **)&real + i, found ? found : (void *)absent, __ATOMIC_RELAXED);
    }
}

const char *real_behind(void) {
    Dl_info taker, libc;
    if (!dladdr((void *)real.connect, &taker) || !dladdr((void *)gnu_get_libc_version, &libc) ||
        taker.dli_fbase == libc.dli_fbase || dlsym(RTLD_DEFAULT, "__sanitizer_set_report_fd"))
        return NULL;
    return taker.dli_fname;
}

#if defined(__x86_64__)
long real_syscall(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}
#else
long real_syscall(long number, long a, long b, long c, long d, long e, long f) {
    static long (*libc_syscall)(long, ...);
    if (!libc_syscall)
        libc_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return libc_syscall(number, a, b, c, d, e, f);
}
#endif

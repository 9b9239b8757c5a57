/* real - libc's own functions.
 * The table starts out with stand-ins that look all names up and go on: so a call made before our
 * constructor, by an allocator say, needs no check and the later ones pay for none. Several threads may look
 * up at once: all find the same. Deliberately absent: dlopen, allocation, locks. */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

#define REAL_STANDIN(result, name, parameters, arguments)                                                    \
    static result first_##name parameters {                                                                  \
        real_init();                                                                                         \
        return real.name arguments;                                                                          \
    }
REAL_FUNCTIONS(REAL_STANDIN)
#undef REAL_STANDIN

struct real real = {
#define REAL_FIRST(result, name, parameters, arguments) .name = first_##name,
    REAL_FUNCTIONS(REAL_FIRST)
#undef REAL_FIRST
};

/* An old libc lacks some names; no program asks for those there. */
static long absent(void) {
    errno = ENOSYS;
    return -1;
}

static void *look_up(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    return found ? found : (void *)absent;
}

void real_init(void) {
#define REAL_LOOK_UP(result, name, parameters, arguments)                                                    \
    __atomic_store_n((void **)&real.name, look_up(#name), __ATOMIC_RELAXED);
    REAL_FUNCTIONS(REAL_LOOK_UP)
#undef REAL_LOOK_UP
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

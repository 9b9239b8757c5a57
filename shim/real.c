/* real - libc's own functions.
 * The table starts out with stand-ins that look all names up and go on: so a program that needs none pays for
 * none, and the later calls need no check. The first may come from anywhere, an allocator before our
 * constructor, a signal handler, while another thread holds the loader's lock: the names are read where the
 * loader has put them, and it is asked only for what is not there. Several threads may look up at once: all
 * find the same. Deliberately absent: dlopen, allocation, locks. */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/lib-names.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
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

/* ---- who comes after us ---- */

/* The loader's list, by the word it leaves for debuggers. */
static const struct link_map *objects(void) {
    const ElfW(Phdr) *program = (const void *)getauxval(AT_PHDR);
    const unsigned long count = program ? getauxval(AT_PHNUM) : 0;
    const ElfW(Dyn) *d = NULL;
    ElfW(Addr) base = 0;
    for (unsigned long i = 0; i < count; i++)
        if (program[i].p_type == PT_PHDR)
            base = (ElfW(Addr))program - program[i].p_vaddr;
    for (unsigned long i = 0; i < count; i++)
        if (program[i].p_type == PT_DYNAMIC)
            d = (const void *)(base + program[i].p_vaddr);
    for (; d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_DEBUG && d->d_un.d_ptr)
            return ((const struct r_debug *)d->d_un.d_ptr)->r_map;
    return NULL;
}

/* What an object defines, by its hash table. */
struct names_of {
    const struct link_map *map;
    const uint32_t *hash;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Half) * versions;
};

/* Some loaders leave addresses as they are in the file. */
static const void *placed(const struct link_map *map, ElfW(Addr) at) {
    return (const void *)(at < map->l_addr ? at + map->l_addr : at);
}

static bool names_of(const struct link_map *map, struct names_of *ret) {
    *ret = (struct names_of){.map = map};
    for (const ElfW(Dyn) *d = map->l_ld; d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_GNU_HASH)
            ret->hash = placed(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_SYMTAB)
            ret->symbols = placed(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_STRTAB)
            ret->strings = placed(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_VERSYM)
            ret->versions = placed(map, d->d_un.d_ptr);
    return ret->hash && ret->symbols && ret->strings;
}

/* Defined here, in the version that programs are linked with today. */
static bool is(const struct names_of *n, uint32_t i, const char *name) {
    const ElfW(Sym) *s = &n->symbols[i];
    return s->st_shndx != SHN_UNDEF && s->st_value && (s->st_info & 0xf) == STT_FUNC &&
           (!n->versions || !(n->versions[i] & 0x8000)) && strcmp(n->strings + s->st_name, name) == 0;
}

static void *defined(const struct names_of *n, const char *name, uint32_t hash) {
    const uint32_t buckets = n->hash[0], first = n->hash[1], words = n->hash[2], shift = n->hash[3];
    const ElfW(Addr) *bloom = (const void *)(n->hash + 4);
    const uint32_t *bucket = (const void *)(bloom + words), *chain = bucket + buckets;
    const unsigned bits = 8 * sizeof *bloom;
    const ElfW(Addr) word = bloom[hash / bits % words];
    if (!(word >> (hash % bits) & word >> ((hash >> shift) % bits) & 1))
        return NULL;
    for (uint32_t i = bucket[hash % buckets]; i; i++) {
        const uint32_t at = chain[i - first];
        if ((at | 1) == (hash | 1) && is(n, i, name))
            return (void *)(n->map->l_addr + n->symbols[i].st_value);
        if (at & 1)
            break;
    }
    return NULL;
}

static uint32_t hash_of(const char *name) {
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

/* What comes behind libc may be closed again by another thread. */
static bool is_libc(const struct link_map *map) {
    const char *base = strrchr(map->l_name, '/');
    return strcmp(base ? base + 1 : map->l_name, LIBC_SO) == 0;
}

static void find_in(const struct names_of *n, void **ret_found) {
    const char *name = names;
    for (int i = 0; i < COUNT; i++, name += strlen(name) + 1)
        if (!ret_found[i])
            ret_found[i] = defined(n, name, hash_of(name));
}

const struct link_map *real_us(void) {
    const struct link_map *map = objects();
    while (map && map->l_ld != _DYNAMIC)
        map = map->l_next;
    return map;
}

/* The first of these that takes connections, or end. */
static const struct link_map *taker(const struct link_map *from, const struct link_map *end) {
    static const char name[] = "connect";
    const uint32_t hash = hash_of(name);
    struct names_of n;
    while (from != end && !(names_of(from, &n) && defined(&n, name, hash)))
        from = from->l_next;
    return from;
}

bool real_first(void) {
    const struct link_map *us = real_us(), *before = us;
    while (before && (before = before->l_prev))
        if (is_libc(before))
            return false;
    return us || dlsym(RTLD_DEFAULT, "connect") == (void *)connect;
}

static void find_all(void **ret_found) {
    const struct link_map *map = real_us();
    struct names_of n;
    for (bool last = !map; !last && (map = map->l_next); last = is_libc(map))
        if (names_of(map, &n))
            find_in(&n, ret_found);
}

void real_init(void) {
    void *found[COUNT] = {0};
    const char *name = names;
    find_all(found);
    for (int i = 0; i < COUNT; i++, name += strlen(name) + 1) {
        if (!found[i] && !(found[i] = dlsym(RTLD_NEXT, name)))
            found[i] = (void *)absent;
        __atomic_store_n((void **)&real + i, found[i], __ATOMIC_RELAXED);
    }
}

const char *real_behind(void) {
    const struct link_map *us = real_us(), *behind = us ? taker(us->l_next, NULL) : NULL;
    if (!behind || is_libc(behind) || dlsym(RTLD_DEFAULT, "__sanitizer_set_report_fd"))
        return NULL;
    return behind->l_name;
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

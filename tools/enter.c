/* enter - whether a preloaded library gets into a program: not into static ones, nor Go's (its runtime makes
 * its own system calls), nor setuid ones, nor those of another machine or C library.
 *
 * cmm-exec comes in here before it runs the program. The file is only read, never believed: every offset is
 * checked against what pread() returns. What cannot be read counts as enterable; the kernel has the last
 * word. Programs that go round libc by themselves (io_uring, raw system calls) cannot be seen from here.
 */
#include "enter.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { SCRIPTS = 5, SEGMENTS = 128, NOTES = 16, SECTIONS = 256, LINE = 256 };

#if __SIZEOF_POINTER__ == 8
enum { OUR_CLASS = ELFCLASS64 };
typedef Elf64_Ehdr elf_header;
typedef Elf64_Phdr elf_segment;
typedef Elf64_Shdr elf_section;
#else
enum { OUR_CLASS = ELFCLASS32 };
typedef Elf32_Ehdr elf_header;
typedef Elf32_Phdr elf_segment;
typedef Elf32_Shdr elf_section;
#endif

static int executable(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == EACCES ? -EPERM : -ENOENT;
    return S_ISREG(st.st_mode) && access(path, X_OK) == 0 ? 0 : -EACCES;
}

int enter_find(const char *program, char ret_path[ENTER_PATH]) {
    const char *path = getenv("PATH");
    int found = -ENOENT;
    if (strchr(program, '/'))
        return snprintf(ret_path, ENTER_PATH, "%s", program) < ENTER_PATH ? executable(program)
                                                                          : -ENAMETOOLONG;
    if (!*program)
        return -ENOENT;
    for (path = path ? path : "/bin:/usr/bin"; path; path = *path ? path + 1 : NULL) {
        int len = (int)strcspn(path, ":");
        int n = snprintf(ret_path, ENTER_PATH, "%.*s%s%s", len, path, len ? "/" : "", program);
        int r = n < ENTER_PATH ? executable(ret_path) : -ENOENT;
        if (r == 0)
            return 0;
        found = r == -EACCES ? r : found;
        path += len;
    }
    return found;
}

/* The kernel then starts it in secure mode, and the loader ignores LD_PRELOAD. */
static const char *privileged(int fd) {
    struct stat st;
    struct statvfs fs;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 || fstat(fd, &st) < 0 ||
        (fstatvfs(fd, &fs) == 0 && fs.f_flag & ST_NOSUID))
        return NULL;
    if (st.st_mode & S_ISUID && st.st_uid != getuid())
        return "it is setuid";
    if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
        return "it is setgid";
    if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return "it has file capabilities";
    return NULL;
}

static bool read_at(int fd, void *buf, size_t len, uint64_t offset) {
    return offset < INT64_MAX && pread(fd, buf, len, (off_t)offset) == (ssize_t)len;
}

static uint64_t padded(uint64_t size, uint64_t align) {
    return (size + align - 1) & ~(align - 1);
}

static bool notes_are_go(int fd, const elf_segment *p) {
    struct {
        Elf64_Nhdr head; /* the same in 32 bits */
        char name[4];
    } note;
    const uint64_t align = p->p_align == 8 ? 8 : 4;
    uint64_t at = 0;
    for (int i = 0; p->p_type == PT_NOTE && i < NOTES && at < p->p_filesz; i++) {
        if (!read_at(fd, &note, sizeof note, p->p_offset + at))
            return false;
        if (note.head.n_namesz == 4 && !memcmp(note.name, "Go\0", 4))
            return true;
        at += padded(sizeof note.head + (uint64_t)note.head.n_namesz, align) +
              padded(note.head.n_descsz, align);
    }
    return false;
}

/* A Go program linked by the system's linker (cgo) has a libc, but its sockets do not use it. */
static bool sections_are_go(int fd, const elf_header *e) {
    elf_section names, s;
    char name[16];
    if (e->e_shentsize != sizeof s || e->e_shstrndx >= e->e_shnum ||
        !read_at(fd, &names, sizeof names, e->e_shoff + (uint64_t)e->e_shstrndx * sizeof s))
        return false;
    for (unsigned i = 0; i < e->e_shnum && i < SECTIONS; i++)
        if (read_at(fd, &s, sizeof s, e->e_shoff + (uint64_t)i * sizeof s) &&
            read_at(fd, name, sizeof ".go.buildinfo", names.sh_offset + s.sh_name) &&
            !memcmp(name, ".go.buildinfo", sizeof ".go.buildinfo"))
            return true;
    return false;
}

static enum enter check_loader(const char *loader, char *why, size_t len) {
    if (strstr(loader, "ld-musl") || strstr(loader, "uClibc") || strstr(loader, "/system/bin/linker")) {
        snprintf(why, len, "it uses another C library");
        return ENTER_HARM;
    }
    return ENTER_YES;
}

static enum enter cannot(const char *reason, char *why, size_t len) {
    snprintf(why, len, "%s", reason);
    return ENTER_NO;
}

static enum enter check_segments(int fd, const elf_header *e, const char *path, char *why, size_t len) {
    char loader[LINE] = "";
    const char *base = strrchr(path, '/');
    for (unsigned i = 0; i < e->e_phnum && i < SEGMENTS; i++) {
        elf_segment p;
        if (!read_at(fd, &p, sizeof p, e->e_phoff + (uint64_t)i * sizeof p))
            return ENTER_YES;
        if (notes_are_go(fd, &p))
            return cannot("it is written in Go", why, len);
        if (p.p_type == PT_INTERP && p.p_filesz < sizeof loader &&
            !read_at(fd, loader, p.p_filesz, p.p_offset))
            return ENTER_YES;
    }
    if (sections_are_go(fd, e))
        return cannot("it is written in Go", why, len);
    /* The loader itself, run as a command, has no interpreter and does preload. */
    if (!*loader && strncmp(base ? base + 1 : path, "ld-linux", 8) &&
        strncmp(base ? base + 1 : path, "ld.so", 5))
        return cannot("it is statically linked", why, len);
    return check_loader(loader, why, len);
}

static enum enter check_elf(int fd, const char *path, char *why, size_t len) {
    elf_header e, self;
    const char *reason = privileged(fd);
    if (reason)
        return cannot(reason, why, len);
    if (!read_at(fd, &e, sizeof e, 0) || memcmp(e.e_ident, ELFMAG, SELFMAG))
        return ENTER_YES;
    int own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool known = own >= 0 && read_at(own, &self, sizeof self, 0);
    if (own >= 0)
        close(own);
    if (e.e_ident[EI_CLASS] != OUR_CLASS)
        return cannot(OUR_CLASS == ELFCLASS64 ? "it is a 32-bit program" : "it is a 64-bit program", why,
                      len);
    if (known && e.e_machine != self.e_machine)
        return cannot("it is for another kind of machine", why, len);
    return e.e_phentsize == sizeof(elf_segment) ? check_segments(fd, &e, path, why, len) : ENTER_YES;
}

/* An option of env(1), at whose end another word may be a part of it; or, behind -S, the program already. */
static char *past_option(char *word, const char *blank, char **save) {
    static const char *const with_word[] = {"-u", "-C", "--unset", "--chdir"};
    char *const split = *word == '-' ? word + 1 + strspn(word + 1, "iv") : word;
    for (size_t i = 0; i < sizeof with_word / sizeof *with_word; i++)
        if (!strcmp(word, with_word[i]))
            strtok_r(NULL, blank, save); /* what it is about */
    return *split == 'S' && split[1] ? split + 1 : strtok_r(NULL, blank, save);
}

/* The program that "#!/usr/bin/env [-S] [NAME=VALUE] PROGRAM" runs, else the interpreter itself. */
static bool interpreter(char *line, char ret_path[ENTER_PATH]) {
    static const char blank[] = " \t\r\n\"'";
    char *save, *word = strtok_r(line, blank, &save);
    if (!word)
        return false;
    snprintf(ret_path, ENTER_PATH, "%s", word);
    char *base = strrchr(word, '/');
    if (strcmp(base ? base + 1 : word, "env"))
        return true;
    word = strtok_r(NULL, blank, &save);
    while (word && (*word == '-' || strchr(word, '=')))
        word = past_option(word, blank, &save);
    return !word || enter_find(word, ret_path) == 0;
}

enum enter enter_check(const char *path, char *why, size_t len) {
    char at[ENTER_PATH];
    snprintf(at, sizeof at, "%s", path);
    for (int depth = 0; depth < SCRIPTS; depth++) {
        char line[LINE] = "";
        int fd = open(at, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            return ENTER_YES;
        ssize_t n = pread(fd, line, sizeof line - 1, 0);
        bool script = n > 2 && line[0] == '#' && line[1] == '!';
        enum enter result = script ? ENTER_YES : check_elf(fd, at, why, len);
        close(fd);
        if (!script)
            return result;
        line[strcspn(line, "\n")] = 0;
        if (!interpreter(line + 2, at))
            return ENTER_YES;
    }
    return ENTER_YES;
}

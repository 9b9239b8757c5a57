/* alias - another name for a file whose own the loader cannot take.
 *
 * cmm-exec comes in when libcmm is installed below a prefix with a blank in it. The link lies in a directory
 * that nobody else can write to, so that nobody can make another library of it, and is named after what it
 * leads to: all programs of all installations find theirs, and a link once made is never in the way.
 */
#include "alias.h"
#include "place.h"
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool alias_needed(const char *path) {
    return strpbrk(path, ": \t\n") != NULL;
}

/* FNV-1a. A collision is noticed when the link is read. */
static uint64_t hash(const char *text) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h;
}

static int fits(int n, size_t len) {
    return n >= 0 && (size_t)n < len ? 0 : -ENAMETOOLONG;
}

/* Others may pass through root's (a daemon that becomes another user), but not write there. */
static int make_dir(const char *dir) {
    struct stat st;
    if (mkdir(dir, 0700) == 0 && geteuid() == 0)
        chmod(dir, 0755);
    if (lstat(dir, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    return st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)) ? 0 : -EPERM;
}

static bool leads_to(const char *alias, const char *path) {
    char there[PATH_MAX];
    ssize_t n = readlink(alias, there, sizeof there);
    return n >= 0 && (size_t)n == strlen(path) && !memcmp(there, path, (size_t)n);
}

/* Of two that make it at a time the second finds it made. */
static int make_link(const char *path, const char *alias) {
    if (leads_to(alias, path) || symlink(path, alias) == 0)
        return 0;
    int error = -errno;
    return leads_to(alias, path) ? 0 : error;
}

static int make_in(const char *dir, const char *path, char ret_alias[ALIAS_PATH]) {
    snprintf(ret_alias, ALIAS_PATH, "%s", dir);
    int r = make_dir(dir);
    if (r < 0)
        return r;
    char alias[ALIAS_PATH];
    r = fits(snprintf(alias, sizeof alias, "%s/%016llx.so", dir, (unsigned long long)hash(path)),
             sizeof alias);
    if (r == 0 && (r = make_link(path, alias)) == 0)
        memcpy(ret_alias, alias, sizeof alias);
    return r;
}

int alias_make(const char *path, char ret_alias[ALIAS_PATH]) {
    char dir[PLACE_MAX];
    if (place_own_dir(dir, sizeof dir) == 0 && !alias_needed(dir) && make_in(dir, path, ret_alias) == 0)
        return 0;
    snprintf(dir, sizeof dir, "/tmp/cmm-%lu", (unsigned long)geteuid());
    return make_in(dir, path, ret_alias);
}

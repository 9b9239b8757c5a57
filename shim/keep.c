/* keep - the environment that is passed on.
 * Remembered once, in the constructor; used by children of vfork on their parent's memory: so nothing here
 * allocates or locks, and nothing is changed later. */
#include "keep.h"

#include <string.h>

static const char preload[] = "LD_PRELOAD=";

static bool is_setting(const char *entry) {
    return strncmp(entry, "CMM_", 4) == 0;
}

bool keep_preloads(const char *entry) {
    return strncmp(entry, preload, sizeof preload - 1) == 0;
}

static bool is_ours(const char *entry) {
    return keep_preloads(entry) || is_setting(entry);
}

void keep_remember(struct keep *k, const char *library, char *const envp[]) {
    size_t used = 0;
    k->library = library;
    k->count = 0;
    for (; envp && *envp; envp++) {
        const size_t size = strlen(*envp) + 1;
        if (!is_ours(*envp))
            continue;
        if (k->count == KEEP_MOST || size > sizeof k->text - used) {
            k->count = 0;
            return;
        }
        k->entry[k->count++] = memcpy(k->text + used, *envp, size);
        used += size;
    }
}

size_t keep_room(const struct keep *k, char *const envp[]) {
    size_t count = 0;
    if (!k->count)
        return 0;
    for (; envp && envp[count]; count++)
        if (is_ours(envp[count]))
            return 0;
    return count + k->count + 1;
}

static bool names_library(const struct keep *k, const char *entry) {
    const char *base = strrchr(k->library, '/');
    return strstr(entry, base ? base + 1 : k->library);
}

/* The LD_PRELOAD that has been put in the place of ours; what else is set for the library is still there. */
static const char *replacement(const struct keep *k, char *const envp[]) {
    const char *found = NULL;
    bool meant = false;
    for (; envp && *envp; envp++) {
        meant |= is_setting(*envp);
        found = keep_preloads(*envp) ? *envp : found;
    }
    return meant && k->library && found && found[sizeof preload - 1] && !names_library(k, found) ? found
                                                                                                 : NULL;
}

size_t keep_amend(const struct keep *k, char *const envp[]) {
    const char *found = replacement(k, envp);
    return found ? strlen(found) + strlen(k->library) + sizeof ":" : 0;
}

char *keep_amended(const struct keep *k, char *const envp[], char *ret) {
    strcpy(stpcpy(stpcpy(ret, replacement(k, envp)), ":"), k->library);
    return ret;
}

void keep_complete(const struct keep *k, char *const envp[], char **ret) {
    for (; envp && *envp; envp++)
        *ret++ = *envp;
    for (unsigned i = 0; i < k->count; i++)
        *ret++ = k->entry[i];
    *ret = NULL;
}

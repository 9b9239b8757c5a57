/* keep - the environment that is passed on.
 * Remembered once, in the constructor; used by children of vfork on their parent's memory: so nothing here
 * allocates or locks, and nothing is changed later. */
#include "keep.h"

#include <stdbool.h>
#include <string.h>

static bool is_ours(const char *entry) {
    return strncmp(entry, "LD_PRELOAD=", 11) == 0 || strncmp(entry, "CMM_", 4) == 0;
}

void keep_remember(struct keep *k, char *const envp[]) {
    size_t used = 0;
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

void keep_complete(const struct keep *k, char *const envp[], char **ret) {
    for (; envp && *envp; envp++)
        *ret++ = *envp;
    for (unsigned i = 0; i < k->count; i++)
        *ret++ = k->entry[i];
    *ret = NULL;
}

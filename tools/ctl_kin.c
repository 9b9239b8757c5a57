/* ctl_kin - which subscribers a process id means.
 *
 * cmm-ctl's commands for a process come in here. What runs under the library and has no business of its own
 * with the scout stands for what it has started: people look for their rsync, and it is its ssh that waits.
 */
#include "ctl_kin.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_of(uint32_t pid, const char *what) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/%s", pid, what);
    return fopen(path, "re");
}

static bool carries_library(uint32_t pid) {
    FILE *f = open_of(pid, "maps");
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (f && !found && getline(&line, &size, f) > 0)
        found = strstr(line, "/libcmm_preload.so");
    free(line);
    if (f)
        fclose(f);
    return found;
}

/* 0: none. */
static uint32_t parent_of(uint32_t pid) {
    FILE *f = open_of(pid, "status");
    char line[256];
    uint32_t parent = 0;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "PPid: %" SCNu32, &parent) != 1)
        ;
    if (f)
        fclose(f);
    return parent;
}

static bool started(uint32_t pid, uint32_t later) {
    while (later && later != pid)
        later = parent_of(later);
    return later == pid;
}

static bool subscribed(const struct ctl_view *v, uint32_t pid) {
    for (size_t i = 0; i < v->subscriber_count; i++)
        if (v->subscribers[i].pid == pid)
            return true;
    return false;
}

bool ctl_kin_select(struct ctl_view *v, uint32_t pid) {
    const bool itself = subscribed(v, pid), others = !itself && carries_library(pid);
    size_t found = 0;
    for (size_t i = 0; i < v->subscriber_count; i++)
        if (v->subscribers[i].pid == pid || (others && started(pid, v->subscribers[i].pid)))
            v->subscribers[found++] = v->subscribers[i];
    v->subscriber_count = found;
    return found > 0;
}

/* lookup - name lookups of a preloaded program.
 * The resolver's own sockets pass by every door, and its packets follow the routing table: all that can be
 * done is to begin when a network is there that matches, and again when it went, or was still settling, as
 * the lookup failed. Names of the machine itself take no network. */
#include "lookup.h"
#include "capture.h"
#include "link.h"
#include "route.h"
#include "talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAUSE_MS = 100, HOST_NAME = 256 };

/* ---- what takes no network ---- */

static bool ends_in_localhost(const char *name) {
    static const char local[] = "localhost";
    const size_t len = strlen(name), tail = sizeof local - 1;
    return len >= tail && strcasecmp(name + len - tail, local) == 0 &&
           (len == tail || name[len - tail - 1] == '.');
}

static bool is_own_name(const char *name) {
    char own[HOST_NAME] = "";
    return gethostname(own, sizeof own - 1) == 0 && strcasecmp(own, name) == 0;
}

static bool is_loopback(const char *address) {
    struct in_addr in;
    return inet_pton(AF_INET, address, &in) == 1 ? ntohl(in.s_addr) >> 24 == 127
                                                 : strcmp(address, "::1") == 0;
}

/* A line of hosts(5) that gives the name a loopback address. */
static bool gives_loopback(char *line, const char *name) {
    static const char blank[] = " \t\r\n";
    char *save, *word;
    line[strcspn(line, "#")] = '\0';
    word = strtok_r(line, blank, &save);
    if (!word || !is_loopback(word))
        return false;
    while ((word = strtok_r(NULL, blank, &save)))
        if (strcasecmp(word, name) == 0)
            return true;
    return false;
}

static bool is_listed_loopback(const char *name) {
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *f = fopen("/etc/hosts", "re");
    while (f && !found && getline(&line, &room, f) > 0)
        found = gives_loopback(line, name);
    free(line);
    if (f)
        real.fclose(f);
    return found;
}

static bool is_home(const char *name) {
    struct in_addr in;
    return !*name || strchr(name, ':') || inet_aton(name, &in) || ends_in_localhost(name) ||
           is_own_name(name) || is_listed_loopback(name);
}

static bool asked(void) {
    return shim.preloaded && atomic_load(&shim.default_labels) && !self.holding;
}

struct lookup lookup_of_name(const char *name) {
    return (struct lookup){.waits = asked() && name && !is_home(name)};
}

struct lookup lookup_of_address(const struct sockaddr *address) {
    struct route way;
    return (struct lookup){.waits = asked() && !route_special(address) &&
                                    !(route_get(address, 0, &way) == 0 && way.local)};
}

/* ---- what does ---- */

/* With the lock. */
static const struct wire_network *pick(void) {
    return net_pick(&shim.nets, atomic_load(&shim.default_labels), AF_UNSPEC);
}

static int wait_once(uint64_t deadline, uint64_t since_ms) {
    const struct wait w = {.deadline_ms = deadline,
                           .labels = atomic_load(&shim.default_labels),
                           .since_ms = since_ms,
                           .network = true};
    talk_seek();
    talk_report();
    if (deadline)
        link_kick();
    const int r = wait_on(&shim.lookups, &w);
    talk_report();
    return r == -EINTR ? 0 : r;
}

int lookup_begin(struct lookup *l) {
    const uint64_t deadline = shim.patient ? 0 : wait_end(&shim.patience), since = wait_wall_ms();
    const struct wire_network *n;
    int r = 0;
    if (!l->waits)
        return 0;
    if (link_need() < 0)
        return 0; /* it finds out by itself */
    capture_say_no_scout();
    lock_take();
    const unsigned releases = shim.releases;
    while (r == 0 && releases == shim.releases && !pick())
        r = wait_once(deadline, since);
    n = pick();
    l->net = n ? n->id : 0;
    shim.name_released = releases != shim.releases && !n;
    lock_drop();
    return r;
}

bool lookup_again(const struct lookup *l) {
    if (!l->waits)
        return false;
    lock_take();
    const struct wire_network *n = pick();
    const bool changed = !n || n->id != l->net;
    const bool settling = n && (uint32_t)wait_now_ms() - n->since_ms < NET_SETTLE_MS;
    lock_drop();
    if (!changed && settling)
        nanosleep(&(struct timespec){0, PAUSE_MS * 1000000L}, NULL);
    return changed || settling;
}

/* multipath_ledger - what this scout has done to the kernel's Multipath TCP.
 *
 * It is kept in the file that is the lock on the scout's name: so who reads it is the only one of that name,
 * and nobody else's scout. One write of less than a page: it is there as a whole or not at all. Fixed width,
 * and checked as any bytes from outside.
 */
#include "multipath_ledger.h"
#include "machine.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char mark[8] = "cmm-mp1";

struct entry {
    uint8_t id, family, backup, unused;
    uint32_t ifindex;
    uint8_t address[16];
};

struct record {
    char mark[sizeof mark];
    uint64_t namespace; /* of the network: endpoints are a namespace's own */
    uint32_t limit_before, limit_set;
    uint32_t count, unused;
    struct entry entry[MULTIPATH_MAX];
};

/* Where a name is a path the directory may be anybody's. */
static bool is_ours(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

void multipath_ledger_read(int fd, struct multipath_ledger *ret) {
    struct record r;
    *ret = (struct multipath_ledger){.count = 0};
    if (fd < 0 || !is_ours(fd) || pread(fd, &r, sizeof r, 0) != sizeof r ||
        memcmp(r.mark, mark, sizeof mark) != 0 || r.namespace != machine_namespace() ||
        r.count > MULTIPATH_MAX)
        return;
    ret->limit_before = r.limit_before;
    ret->limit_set = r.limit_set;
    for (uint32_t i = 0; i < r.count; i++) {
        const struct entry *e = &r.entry[i];
        struct multipath_endpoint *to = &ret->endpoint[ret->count];
        if (e->family != AF_INET && e->family != AF_INET6)
            continue;
        *to = (struct multipath_endpoint){.id = e->id};
        to->path = (struct multipath_path){.ifindex = e->ifindex, .backup = e->backup};
        to->path.address.family = e->family;
        memcpy(to->path.address.bytes, e->address, sizeof e->address);
        ret->count++;
    }
}

void multipath_ledger_write(int fd, const struct multipath_ledger *ledger) {
    struct record r = {.namespace = machine_namespace(),
                       .limit_before = ledger->limit_before,
                       .limit_set = ledger->limit_set,
                       .count = ledger->count};
    memcpy(r.mark, mark, sizeof mark);
    for (unsigned i = 0; i < ledger->count; i++) {
        const struct multipath_endpoint *e = &ledger->endpoint[i];
        r.entry[i] = (struct entry){.id = e->id,
                                    .family = (uint8_t)e->path.address.family,
                                    .backup = e->path.backup,
                                    .ifindex = e->path.ifindex};
        memcpy(r.entry[i].address, e->path.address.bytes, sizeof r.entry[i].address);
    }
    if (fd >= 0 && pwrite(fd, &r, sizeof r, 0) != sizeof r)
        (void)!ftruncate(fd, 0); /* nothing is better than half of it */
}

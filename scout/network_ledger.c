/* network_ledger - which ids this scout has given, for its successor to go on with: else whoever was
 * connected by a network that had been lost once would lose it again by a scout's restart.
 *
 * In the lock on the scout's name, behind what multipath_ledger keeps there, and with its cautions: one write
 * of less than a page, fixed width, checked as any bytes from outside.
 */
#include "network_ledger.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLACE = 4096 };

static const char mark[8] = "cmm-id1";

struct record {
    char mark[sizeof mark];
    uint64_t seed; /* of another boot it says nothing */
    uint64_t count;
    struct network_known known[NETWORK_KNOWN];
};

static bool is_ours(int fd) {
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & 022);
}

void network_ledger_read(int fd, struct network_table *t) {
    struct record r;
    if (is_ours(fd) && pread(fd, &r, sizeof r, PLACE) == sizeof r && memcmp(r.mark, mark, sizeof mark) == 0 &&
        r.seed == t->seed && r.count <= NETWORK_KNOWN)
        network_recall(t, r.known, (unsigned)r.count);
}

void network_ledger_write(int fd, const struct network_table *t) {
    static struct record written;
    struct record r = {.seed = t->seed};
    memcpy(r.mark, mark, sizeof mark);
    r.count = network_remember(t, r.known);
    if (fd < 0 || memcmp(&r, &written, sizeof r) == 0)
        return;
    if (pwrite(fd, &r, sizeof r, PLACE) == sizeof r)
        written = r;
    else
        (void)!ftruncate(fd, 0); /* nothing is better than half of it */
}

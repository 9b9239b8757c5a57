/* multipath - the endpoints of the kernel's Multipath TCP: the addresses by which its connections may go,
 * too. What others have made is never touched. */
#ifndef CMM_MULTIPATH_H
#define CMM_MULTIPATH_H

#include "fact.h"

/* The kernel has room for eight, and lists some of its own besides. */
enum { MULTIPATH_MAX = 8, MULTIPATH_LISTED = 32 };

/* One address of a network that is offered, or withdrawn. */
struct multipath_path {
    struct fact_address address;
    uint32_t ifindex;
    bool way;       /* out into the world: what goes by it need not end at its neighbours */
    bool young;     /* ... which it may yet get: its routes are still on their way */
    bool backup;    /* carries only while no other can */
    bool withdrawn; /* it works, and is not to be used */
};

struct multipath_endpoint {
    struct multipath_path path;
    uint8_t id;
    bool otherwise; /* it has flags, or a port, that we never give */
};

struct multipath_list {
    unsigned count;
    struct multipath_endpoint endpoint[MULTIPATH_LISTED];
};

struct multipath {
    struct mnl_socket *socket; /* NULL: not in this kernel */
    uint16_t family;
    bool allowed; /* by the kernel: with the privilege */
    bool asked;   /* by the configuration */
    int ledger;   /* where it is kept what we have done, for a successor; -1: nowhere */
    uint8_t first_id;
    unsigned count;
    struct multipath_endpoint own[MULTIPATH_MAX];
    struct multipath_list there;      /* where they are not ours to make: as of the last look */
    uint32_t limit_before, limit_set; /* subflows a connection; set 0: as it was */
};

/* To ask the kernel, no more; closed by multipath_close(). False: it is not there. */
bool multipath_open(struct multipath *m);
void multipath_close(struct multipath *m);

/* Whatever the kernel lacks or refuses is no error. ledger: a file of this scout's name alone, or -1; what a
 * scout of that name that was killed has left is ours from now on. */
void multipath_init(struct multipath *m, const char *scout, int ledger);

/* What we have made goes. */
void multipath_finish(struct multipath *m);

/* The endpoints become what is offered. The kernel tries a new one once for each connection: so it is made
 * later, or anew, when it has got a way out that it had not. With nothing offered what is there stays: a
 * connection whose last endpoint is taken is closed a minute later. asked: the configuration wants this at
 * all. */
void multipath_settle(struct multipath *m, bool asked, const struct multipath_path *paths, unsigned count);

/* Where they are not ours to make: looks what others have made. True: something has changed. */
bool multipath_look(struct multipath *m);

/* Who makes the endpoints, and how many there are now, whoever made them. */
enum wire_multipath multipath_who(const struct multipath *m, uint32_t *ret_endpoints);

/* Connections go, or will, by that address, too: it is ours to give, or somebody has given it. */
bool multipath_reaches(const struct multipath *m, const struct fact_address *a);

#endif

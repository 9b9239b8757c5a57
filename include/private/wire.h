/* wire.h - what shim, scout and cmm-ctl say to each other.
 *
 * Packets on an AF_UNIX SEQPACKET socket, snapshots also by a POSIX message queue that the scout hands over.
 * Every message starts with a header; fixed width and the same layout for 32- and 64-bit programs. Whoever
 * receives one checks it with wire_check() before use; what fails is dropped and counted, never fatal.
 * Strings are NUL-terminated within their field. Updates are whole states with a generation, never
 * differences.
 */
#ifndef CMM_PRIVATE_WIRE_H
#define CMM_PRIVATE_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    WIRE_VERSION = 1,
    WIRE_NAME = 32,     /* network and label names, NUL included */
    WIRE_PROGRAM = 16,  /* as in /proc/PID/comm */
    WIRE_NETWORKS = 32, /* so a snapshot stays below 3104 bytes: 256 mailboxes fit a user's quota */
    WIRE_PREFS = 16,
    WIRE_PREF_ORDER = 30,
    WIRE_WANTS = 8,
    WIRE_LEFT = 4,
    WIRE_IFACE = 16,       /* an interface's name, NUL included */
    WIRE_USER_LABELS = 32, /* bits 32..63 */
    WIRE_TEXT = 120,
    WIRE_MAX = 4096, /* no message is longer */
};

enum wire_type {
    /* client to scout */
    WIRE_SUBSCRIBE =
        1,       /* struct wire_subscribe; answered by a snapshot, with the mailbox in SCM_RIGHTS if any */
    WIRE_REPORT, /* struct wire_report; not answered */
    WIRE_ASK,    /* struct wire_ask; answered by what was asked, then WIRE_DONE */
    WIRE_SET,    /* struct wire_set; answered by WIRE_DONE */
    WIRE_POLICY, /* struct wire_policy; answered by WIRE_DONE */
    /* scout to client */
    WIRE_SNAPSHOT = 32, /* struct wire_snapshot */
    WIRE_LABELS,        /* struct wire_labels */
    WIRE_STATUS,        /* struct wire_status */
    WIRE_SUBSCRIBER,    /* struct wire_subscriber, one each */
    WIRE_EVENT,         /* struct wire_event, one each, while watching */
    WIRE_DONE,          /* struct wire_done */
    WIRE_RELEASE,       /* struct wire_release: what waits now may go by any network, this once */
};

struct wire_header {
    uint16_t version; /* WIRE_VERSION */
    uint16_t type;    /* enum wire_type */
    uint32_t size;    /* of the whole message in bytes, this header included */
};

/* ---- client to scout ---- */

struct wire_subscribe {
    struct wire_header header;
    uint32_t tid;   /* the listening thread, for the SIGHUP (0: none); the pid is the kernel's word */
    uint32_t flags; /* WIRE_WANT_QUEUE */
    char program[WIRE_PROGRAM];
};
#define WIRE_WANT_QUEUE 1u

struct wire_want {
    uint64_t labels;
    uint64_t since_ms; /* CLOCK_REALTIME: people read it */
    uint32_t count;    /* operations or thunks waiting for these labels */
    uint32_t pad;
};

struct wire_report {
    struct wire_header header;
    uint32_t sockets;
    uint32_t thunks;
    uint32_t count; /* of wants; more than WIRE_WANTS are left out */
    uint32_t pad;
    struct wire_want wants[WIRE_WANTS];
    char left[WIRE_LEFT]
             [WIRE_IFACE]; /* what was left alone went by these, which are no networks; empty: none */
};

enum wire_topic {
    WIRE_ASK_STATUS = 1,
    WIRE_ASK_LABELS,
    WIRE_ASK_NETWORKS,
    WIRE_ASK_SUBSCRIBERS,
    WIRE_ASK_WATCH
};

struct wire_ask {
    struct wire_header header;
    uint32_t topic; /* enum wire_topic; NETWORKS is answered by WIRE_SNAPSHOTs: the last one, then the rest */
    uint32_t pad;
};

enum wire_action { WIRE_SET_UP = 1, WIRE_SET_DOWN, WIRE_SET_AUTO, WIRE_SET_RELOAD, WIRE_SET_RELEASE };

enum wire_metered { WIRE_METERED_AUTO = 0, WIRE_METERED_YES, WIRE_METERED_NO };

/* Fields of a policy. */
#define WIRE_SET_METERED     1u
#define WIRE_SET_LABELS      2u
#define WIRE_SET_LABELS_AUTO 4u

struct wire_set {
    struct wire_header header;
    uint32_t action;             /* enum wire_action */
    uint32_t pid;                /* RELEASE only */
    char network[2 * WIRE_NAME]; /* NAME or NAME@IFACE */
};

struct wire_policy {
    struct wire_header header;
    char network[2 * WIRE_NAME]; /* as of wire_set */
    uint64_t labels;
    uint32_t fields;  /* WIRE_SET_METERED ... */
    uint32_t metered; /* enum wire_metered */
};

/* ---- scout to client ---- */

enum wire_state {
    WIRE_NET_DOWN = 0,  /* listed, not there: not up, still held down, or lost */
    WIRE_NET_UP,        /* offered */
    WIRE_NET_GRACE,     /* the kernel says it is gone; connections keep it a while, no new one picks it */
    WIRE_NET_WITHDRAWN, /* it works, but script, policy, check or cmm-ctl says no */
};

/* As people are told of it, by scout and tools. */
static inline const char *wire_state_word(uint8_t state) {
    switch ((enum wire_state)state) {
    case WIRE_NET_DOWN:
        return "down";
    case WIRE_NET_UP:
        return "up";
    case WIRE_NET_GRACE:
        return "grace";
    case WIRE_NET_WITHDRAWN:
        return "withdrawn";
    }
    return "?";
}

/* Why a network is not up, or what one that is up does without. */
enum wire_lack {
    WIRE_LACK_NOTHING = 0,
    WIRE_LACK_LINK,    /* its interface is not there, down or without carrier */
    WIRE_LACK_ADDRESS, /* none, or none that may be used yet or still */
    WIRE_LACK_ROUTE,   /* none leaves by it */
    WIRE_LACK_DEFAULT, /* up, but with no default route: it reaches only its own neighbourhood */
    WIRE_LACK_TIME,    /* there for less than hold-down */
    WIRE_LACK_CHECK,   /* no connection to its check's address */
    WIRE_LACK_SCRIPT,  /* the script has it down */
    WIRE_LACK_CTL,     /* cmm-ctl has it down */
    WIRE_LACK_LISTING, /* no section matches it any more */
};

/* Flags of a network. */
#define WIRE_HAS4     0x01u /* usable IPv4 address and route now */
#define WIRE_HAS6     0x02u
#define WIRE_EVER4    0x04u /* may ever have IPv4 (a host-address network has one family for ever) */
#define WIRE_EVER6    0x08u
#define WIRE_ADDRESS  0x10u /* a host address only: steer by binding the source, not the device */
#define WIRE_METERED  0x20u
#define WIRE_OVERRIDE 0x40u /* cmm-ctl has spoken */
#define WIRE_STRICT                                                                                          \
    0x80u /* strict rp_filter: what comes in by it while another has the best route is dropped */

/* Of an id: changes when a network that goes on by IPv4 loses its IPv6 address. Connections by IPv4 know the
 * network by the rest. */
#define WIRE_ID_SIX (UINT64_C(0xff) << 56)

struct wire_network {
    char name[WIRE_NAME]; /* of its section; several interfaces of one section share it */
    uint64_t id;          /* never 0, never used again by this scout nor, practically, by another */
    uint64_t labels;
    uint32_t since_ms;   /* CLOCK_MONOTONIC, low 32 bits: when it was last offered */
    uint32_t ifindex;    /* 0: none */
    uint32_t metric;     /* lower is preferred */
    uint8_t state;       /* enum wire_state */
    uint8_t flags;       /* WIRE_HAS4 ... */
    uint8_t family;      /* of address: AF_INET, AF_INET6 or 0 */
    uint8_t lack;        /* enum wire_lack */
    uint8_t address[16]; /* the source address if WIRE_ADDRESS, else its first one; network byte order */
};

struct wire_pref {
    uint8_t bit;                    /* the label */
    uint8_t count;                  /* of order */
    uint8_t order[WIRE_PREF_ORDER]; /* indices into networks, best first */
};

struct wire_snapshot {
    struct wire_header header;
    uint64_t generation; /* rises by one with every snapshot of this scout */
    uint32_t
        count; /* of networks: all that are listed, offered or not; state DOWN without ifindex: not there */
    uint32_t pref_count;
    uint64_t joins; /* bit i: while networks[i] is offered, Multipath TCP connections go by it, too */
    struct wire_pref prefs[WIRE_PREFS];
    struct wire_network networks[WIRE_NETWORKS]; /* cut after count on the wire */
};

struct wire_labels {
    struct wire_header header;
    char names[WIRE_USER_LABELS][WIRE_NAME]; /* of bits 32..63; empty: none */
};

/* Who makes the endpoints of the kernel's Multipath TCP. */
enum wire_multipath {
    WIRE_MULTIPATH_NONE = 0, /* not in this kernel */
    WIRE_MULTIPATH_OFF,      /* net.mptcp.enabled is 0 */
    WIRE_MULTIPATH_KERNEL,   /* what others have made is used */
    WIRE_MULTIPATH_SCOUT,
};

struct wire_status {
    struct wire_header header;
    uint64_t started_ms; /* CLOCK_REALTIME */
    uint64_t generation;
    uint64_t dropped; /* messages of the wrong version, size or content */
    uint32_t pid;
    uint32_t subscribers;
    uint32_t queues;    /* mailboxes handed out */
    uint32_t scripted;  /* 1: --script drives the networks */
    uint32_t multipath; /* enum wire_multipath */
    uint32_t endpoints; /* of Multipath TCP, whoever made them */
    char name[WIRE_NAME];
    char release[16]; /* of the scout, e.g. 1.0.0 */
    char config[WIRE_TEXT];
};

struct wire_subscriber {
    struct wire_header header;
    uint32_t pid;
    uint32_t uid;
    char program[WIRE_PROGRAM];
    struct wire_report report; /* its last; header.size 0 if none came */
};

struct wire_event {
    struct wire_header header;
    uint64_t at_ms; /* CLOCK_REALTIME */
    char text[WIRE_TEXT];
};

struct wire_done {
    struct wire_header header;
    int32_t error; /* 0, or a positive errno */
    uint32_t pad;
    char text[WIRE_TEXT]; /* one clear line, may be empty */
};

struct wire_release {
    struct wire_header header;
};

/* Room for any message that is received, aligned as wire_check() wants it. */
union wire_message {
    struct wire_header header;
    struct wire_snapshot snapshot;
    struct wire_labels labels;
    struct wire_status status;
    struct wire_subscriber subscriber;
    struct wire_event event;
    struct wire_done done;
    char bytes[WIRE_MAX];
};

_Static_assert(sizeof(struct wire_network) == 80, "32 networks of 80 bytes");
_Static_assert(sizeof(struct wire_snapshot) <= 3104, "256 mailboxes fit a user's quota");
_Static_assert(sizeof(struct wire_labels) <= WIRE_MAX, "one packet");

/* ---- checks ---- */

static inline int wire_text_ok(const char *text, size_t size) {
    return memchr(text, 0, size) != NULL;
}

static inline size_t wire_snapshot_size(uint32_t count) {
    return offsetof(struct wire_snapshot, networks) + (size_t)count * sizeof(struct wire_network);
}

static inline int wire_snapshot_ok(const struct wire_snapshot *s, size_t len) {
    if (len < wire_snapshot_size(0) || s->count > WIRE_NETWORKS || s->pref_count > WIRE_PREFS ||
        len != wire_snapshot_size(s->count))
        return 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct wire_network *n = &s->networks[i];
        if (!wire_text_ok(n->name, sizeof n->name) || n->state > WIRE_NET_WITHDRAWN || n->id == 0)
            return 0;
    }
    for (uint32_t i = 0; i < s->pref_count; i++) {
        const struct wire_pref *p = &s->prefs[i];
        if (p->bit > 63 || p->count > WIRE_PREF_ORDER)
            return 0;
        for (uint8_t k = 0; k < p->count; k++)
            if (p->order[k] >= s->count)
                return 0;
    }
    return 1;
}

static inline int wire_report_ok(const struct wire_report *r) {
    for (size_t i = 0; i < WIRE_LEFT; i++)
        if (!wire_text_ok(r->left[i], WIRE_IFACE))
            return 0;
    return r->count <= WIRE_WANTS;
}

static inline int wire_labels_ok(const struct wire_labels *l) {
    for (size_t i = 0; i < WIRE_USER_LABELS; i++)
        if (!wire_text_ok(l->names[i], WIRE_NAME))
            return 0;
    return 1;
}

/* The type of a whole, well-formed message of len bytes at msg (aligned to 8), or 0. */
static inline int wire_check(const void *msg, size_t len) {
    const struct wire_header *h = msg;
    if (len < sizeof *h || h->version != WIRE_VERSION || h->size != len)
        return 0;
    switch (h->type) {
    case WIRE_SUBSCRIBE:
        return len == sizeof(struct wire_subscribe) &&
                       wire_text_ok(((const struct wire_subscribe *)msg)->program, WIRE_PROGRAM)
                   ? h->type
                   : 0;
    case WIRE_REPORT:
        return len == sizeof(struct wire_report) && wire_report_ok(msg) ? h->type : 0;
    case WIRE_ASK:
        return len == sizeof(struct wire_ask) ? h->type : 0;
    case WIRE_SET:
        return len == sizeof(struct wire_set) &&
                       wire_text_ok(((const struct wire_set *)msg)->network, 2 * WIRE_NAME)
                   ? h->type
                   : 0;
    case WIRE_POLICY:
        return len == sizeof(struct wire_policy) &&
                       wire_text_ok(((const struct wire_policy *)msg)->network, 2 * WIRE_NAME) &&
                       ((const struct wire_policy *)msg)->metered <= WIRE_METERED_NO
                   ? h->type
                   : 0;
    case WIRE_SNAPSHOT:
        return wire_snapshot_ok(msg, len) ? h->type : 0;
    case WIRE_LABELS:
        return len == sizeof(struct wire_labels) && wire_labels_ok(msg) ? h->type : 0;
    case WIRE_STATUS: {
        const struct wire_status *s = msg;
        return len == sizeof *s && wire_text_ok(s->name, sizeof s->name) &&
                       wire_text_ok(s->release, sizeof s->release) &&
                       wire_text_ok(s->config, sizeof s->config)
                   ? h->type
                   : 0;
    }
    case WIRE_SUBSCRIBER: {
        const struct wire_subscriber *s = msg;
        return len == sizeof *s && wire_text_ok(s->program, WIRE_PROGRAM) && wire_report_ok(&s->report)
                   ? h->type
                   : 0;
    }
    case WIRE_EVENT:
        return len == sizeof(struct wire_event) &&
                       wire_text_ok(((const struct wire_event *)msg)->text, WIRE_TEXT)
                   ? h->type
                   : 0;
    case WIRE_DONE:
        return len == sizeof(struct wire_done) &&
                       wire_text_ok(((const struct wire_done *)msg)->text, WIRE_TEXT)
                   ? h->type
                   : 0;
    case WIRE_RELEASE:
        return len == sizeof(struct wire_release) ? h->type : 0;
    default:
        return 0;
    }
}

#endif

/* multipath - the endpoints of the kernel's Multipath TCP (generic netlink, "mptcp_pm").
 *
 * scout.c comes in when networks have come or gone, and asks for the status. Our endpoints bear numbers that
 * the scout's name gives; but the kernel may give such a number to somebody else's afterwards, so ours is
 * only what is remembered, here and for a successor in the ledger: number, address and all. The kernel puts
 * its answer into the socket before send() is back; so nothing here waits.
 */
#include "multipath.h"
#include "multipath_ledger.h"

#include "generic.h"
#include "log.h"
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/mptcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

enum { ID_FIRST = 64, ID_SLOTS = 24 };

/* ---- talking to the kernel ---- */

/* 0 or -errno. Calls take, if any, for each message of the answer. */
static int ask(const struct multipath *m, const struct nlmsghdr *question, mnl_cb_t take, void *arg) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    ssize_t n;
    int r = MNL_CB_OK;
    if (mnl_socket_sendto(m->socket, question, question->nlmsg_len) < 0)
        return -errno;
    while (r == MNL_CB_OK && (n = recv(mnl_socket_get_fd(m->socket), buffer, sizeof buffer, 0)) > 0)
        r = mnl_cb_run(buffer, (size_t)n, 0, 0, take, arg);
    return r == MNL_CB_ERROR ? -errno : r == MNL_CB_OK ? -EPROTO : 0;
}

static int take_family(const struct nlmsghdr *msg, void *arg) {
    mnl_attr_parse(msg, sizeof(struct genlmsghdr), generic_keep, arg);
    return MNL_CB_STOP;
}

static int keep_limit(const struct nlattr *a, void *arg) {
    if (mnl_attr_get_type(a) == MPTCP_PM_ATTR_SUBFLOWS && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
        *(uint32_t *)arg = mnl_attr_get_u32(a);
    return MNL_CB_OK;
}

static int take_limit(const struct nlmsghdr *msg, void *arg) {
    mnl_attr_parse(msg, sizeof(struct genlmsghdr), keep_limit, arg);
    return MNL_CB_STOP;
}

static int get_limit(const struct multipath *m, uint32_t *ret) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    return ask(m, generic_begin(buffer, m->family, MPTCP_PM_CMD_GET_LIMITS, 0), take_limit, ret);
}

static int set_limit(const struct multipath *m, uint32_t subflows) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    struct nlmsghdr *msg = generic_begin(buffer, m->family, MPTCP_PM_CMD_SET_LIMITS, NLM_F_ACK);
    mnl_attr_put_u32(msg, MPTCP_PM_ATTR_SUBFLOWS, subflows);
    return ask(m, msg, NULL, NULL);
}

static void put_address(struct nlmsghdr *msg, const struct multipath_endpoint *e) {
    const struct fact_address *a = &e->path.address;
    const bool four = a->family == AF_INET;
    struct nlattr *nest = mnl_attr_nest_start(msg, MPTCP_PM_ATTR_ADDR);
    mnl_attr_put_u16(msg, MPTCP_PM_ADDR_ATTR_FAMILY, a->family);
    mnl_attr_put_u8(msg, MPTCP_PM_ADDR_ATTR_ID, e->id);
    mnl_attr_put(msg, four ? MPTCP_PM_ADDR_ATTR_ADDR4 : MPTCP_PM_ADDR_ATTR_ADDR6, four ? 4 : 16, a->bytes);
    mnl_attr_put_u32(msg, MPTCP_PM_ADDR_ATTR_FLAGS,
                     MPTCP_PM_ADDR_FLAG_SUBFLOW | (e->path.backup ? MPTCP_PM_ADDR_FLAG_BACKUP : 0));
    if (e->path.ifindex)
        mnl_attr_put_u32(msg, MPTCP_PM_ADDR_ATTR_IF_IDX, e->path.ifindex);
    mnl_attr_nest_end(msg, nest);
}

static int change(const struct multipath *m, uint8_t command, const struct multipath_endpoint *e) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    struct nlmsghdr *msg = generic_begin(buffer, m->family, command, NLM_F_ACK);
    put_address(msg, e);
    return ask(m, msg, NULL, NULL);
}

/* ---- what the kernel has ---- */

static void take_bytes(const struct nlattr *a, struct fact_address *ret, uint8_t family, size_t len) {
    if (mnl_attr_get_payload_len(a) != len)
        return;
    ret->family = family;
    memcpy(ret->bytes, mnl_attr_get_payload(a), len);
}

static int keep_endpoint(const struct nlattr *a, void *arg) {
    struct multipath_endpoint *e = arg;
    switch (mnl_attr_get_type(a)) {
    case MPTCP_PM_ADDR_ATTR_ID:
        if (mnl_attr_validate(a, MNL_TYPE_U8) >= 0)
            e->id = mnl_attr_get_u8(a);
        break;
    case MPTCP_PM_ADDR_ATTR_ADDR4:
        take_bytes(a, &e->path.address, AF_INET, 4);
        break;
    case MPTCP_PM_ADDR_ATTR_ADDR6:
        take_bytes(a, &e->path.address, AF_INET6, 16);
        break;
    case MPTCP_PM_ADDR_ATTR_FLAGS:
        if (mnl_attr_validate(a, MNL_TYPE_U32) < 0)
            break;
        e->path.backup = mnl_attr_get_u32(a) & MPTCP_PM_ADDR_FLAG_BACKUP;
        e->otherwise |=
            (mnl_attr_get_u32(a) & ~(uint32_t)MPTCP_PM_ADDR_FLAG_BACKUP) != MPTCP_PM_ADDR_FLAG_SUBFLOW;
        break;
    case MPTCP_PM_ADDR_ATTR_PORT:
        e->otherwise |= mnl_attr_validate(a, MNL_TYPE_U16) < 0 || mnl_attr_get_u16(a);
        break;
    case MPTCP_PM_ADDR_ATTR_IF_IDX:
        if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
            e->path.ifindex = mnl_attr_get_u32(a);
        break;
    default:
        break;
    }
    return MNL_CB_OK;
}

static int keep_nest(const struct nlattr *a, void *arg) {
    struct multipath_list *all = arg;
    if (mnl_attr_get_type(a) != MPTCP_PM_ATTR_ADDR || all->count == MULTIPATH_LISTED)
        return MNL_CB_OK;
    struct multipath_endpoint *e = &all->endpoint[all->count];
    *e = (struct multipath_endpoint){.id = 0};
    mnl_attr_parse_nested(a, keep_endpoint, e);
    all->count += e->path.address.family != 0;
    return MNL_CB_OK;
}

static int take_endpoints(const struct nlmsghdr *msg, void *arg) {
    mnl_attr_parse(msg, sizeof(struct genlmsghdr), keep_nest, arg);
    return MNL_CB_OK;
}

static void list(const struct multipath *m, struct multipath_list *ret) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    memset(ret, 0, sizeof *ret);
    if (m->socket)
        ask(m, generic_begin(buffer, m->family, MPTCP_PM_CMD_GET_ADDR, NLM_F_DUMP), take_endpoints, ret);
}

/* ---- beginning and end ---- */

static uint8_t first_id_of(const char *scout) {
    uint32_t sum = 2166136261u;
    for (const char *p = scout; *p; p++)
        sum = (sum ^ (unsigned char)*p) * 16777619u;
    return (uint8_t)(ID_FIRST + sum % ID_SLOTS * MULTIPATH_MAX);
}

/* ---- what is ours ---- */

static void keep(const struct multipath *m) {
    struct multipath_ledger ledger = {
        .count = m->count, .limit_before = m->limit_before, .limit_set = m->limit_set};
    memcpy(ledger.endpoint, m->own, sizeof ledger.endpoint);
    multipath_ledger_write(m->ledger, &ledger);
}

static bool same_address(const struct fact_address *a, const struct fact_address *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}

static bool same(const struct multipath_endpoint *a, const struct multipath_endpoint *b) {
    return a->id == b->id && same_address(&a->path.address, &b->path.address) &&
           a->path.ifindex == b->path.ifindex && a->path.backup == b->path.backup &&
           a->otherwise == b->otherwise;
}

static bool is_there(const struct multipath_list *all, const struct multipath_endpoint *e) {
    for (unsigned i = 0; i < all->count; i++)
        if (same(&all->endpoint[i], e))
            return true;
    return false;
}

/* What a killed predecessor has left, as far as it is still as he left it. */
static void inherit(struct multipath *m) {
    struct multipath_ledger ledger;
    struct multipath_list all;
    multipath_ledger_read(m->ledger, &ledger);
    list(m, &all);
    for (unsigned i = 0; i < ledger.count; i++)
        if (is_there(&all, &ledger.endpoint[i])) {
            m->own[m->count] = ledger.endpoint[i];
            m->own[m->count++].path.way = true; /* as far as we know */
        }
    if (ledger.limit_set && ledger.limit_set == m->limit_before) {
        m->limit_before = ledger.limit_before;
        m->limit_set = ledger.limit_set;
    }
    if (m->count)
        log_say(LOG_INFORM, "Multipath TCP: endpoints taken over from a scout that was killed: %u", m->count);
    keep(m);
}

bool multipath_open(struct multipath *m) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    m->asked = true;
    m->socket = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!m->socket)
        return false;
    const struct nlmsghdr *question = generic_which(buffer, MPTCP_PM_NAME);
    if (ask(m, question, take_family, &m->family) < 0 || !m->family)
        multipath_close(m);
    return m->socket != NULL;
}

void multipath_close(struct multipath *m) {
    if (m->socket)
        mnl_socket_close(m->socket);
    m->socket = NULL;
}

void multipath_init(struct multipath *m, const char *scout, int ledger) {
    *m = (struct multipath){.ledger = ledger, .first_id = first_id_of(scout)};
    if (!multipath_open(m))
        return;
    /* Setting what is set already asks for the privilege and changes nothing. */
    m->allowed = get_limit(m, &m->limit_before) == 0 && set_limit(m, m->limit_before) == 0;
    if (m->allowed)
        inherit(m);
}

/* The kernel goes by the number alone, which may be somebody else's by now. */
static void forget(struct multipath *m, unsigned i) {
    struct multipath_list all;
    list(m, &all);
    const int r = is_there(&all, &m->own[i]) ? change(m, MPTCP_PM_CMD_DEL_ADDR, &m->own[i]) : -ENOENT;
    if (r < 0)
        log_say(LOG_DETAIL, "Multipath TCP: endpoint %u is gone already: %s", m->own[i].id, strerror(-r));
    m->own[i] = m->own[--m->count];
    keep(m);
}

/* Somebody else may have set another one since. */
static void restore_limit(struct multipath *m) {
    uint32_t now = 0;
    if (m->limit_set && get_limit(m, &now) == 0 && now == m->limit_set)
        set_limit(m, m->limit_before);
    m->limit_set = 0;
    keep(m);
}

void multipath_finish(struct multipath *m) {
    if (!m->socket)
        return;
    while (m->count)
        forget(m, m->count - 1);
    restore_limit(m);
    multipath_close(m);
}

/* ---- what is offered ---- */

/* What never leaves the machine or the link joins nothing; what cannot yet would be tried in vain. */
static bool usable(const struct multipath_path *p) {
    const uint8_t *b = p->address.bytes;
    struct in6_addr six;
    if (p->withdrawn || (p->young && !p->way))
        return false;
    if (p->address.family == AF_INET)
        return b[0] != 127 && !(b[0] == 169 && b[1] == 254);
    memcpy(&six, b, sizeof six);
    return p->address.family == AF_INET6 && !IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_LINKLOCAL(&six);
}

static const struct multipath_path *path_of(const struct fact_address *a, const struct multipath_path *paths,
                                            unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (same_address(&paths[i].address, a))
            return &paths[i];
    return NULL;
}

static bool have(const struct multipath *m, const struct multipath_path *p) {
    for (unsigned i = 0; i < m->count; i++)
        if (same_address(&m->own[i].path.address, &p->address))
            return true;
    return false;
}

/* The kernel's own word: its errors differ from version to version. 0: all of ours are taken. */
static uint8_t free_id(const struct multipath *m, const struct multipath_list *all) {
    for (unsigned slot = 0; slot < MULTIPATH_MAX; slot++) {
        const uint8_t id = (uint8_t)(m->first_id + slot);
        bool taken = false;
        for (unsigned i = 0; i < all->count; i++)
            taken |= all->endpoint[i].id == id;
        if (!taken)
            return id;
    }
    return 0;
}

/* Another manager's, who looks after it. */
static bool is_anothers(const struct multipath_list *all, const struct fact_address *a) {
    for (unsigned i = 0; i < all->count; i++)
        if (same_address(&all->endpoint[i].path.address, a))
            return true;
    return false;
}

/* One connection may have a subflow by each; the kernel makes it as soon as it hears of the endpoint. */
static void raise_limit(struct multipath *m, uint32_t need) {
    uint32_t now = 0;
    if (need <= m->limit_set || get_limit(m, &now) < 0 || now >= need)
        return;
    const uint32_t before = m->limit_set;
    if (!before)
        m->limit_before = now;
    m->limit_set = need;
    keep(m);
    if (set_limit(m, need) < 0)
        m->limit_set = before;
}

/* Written down before it is done: who is killed in between claims what is not there, which is nothing. */
static void add(struct multipath *m, const struct multipath_path *p) {
    struct multipath_list all;
    list(m, &all);
    if (is_anothers(&all, &p->address))
        return;
    raise_limit(m, m->count + 1);
    m->own[m->count] = (struct multipath_endpoint){.path = *p, .id = free_id(m, &all)};
    m->count++;
    keep(m);
    const int r = m->own[m->count - 1].id ? change(m, MPTCP_PM_CMD_ADD_ADDR, &m->own[m->count - 1]) : -EBUSY;
    if (r == 0)
        return;
    m->count--;
    keep(m);
    log_often(LOG_WARNING, "Multipath TCP: no endpoint for interface %u: %s", p->ifindex, strerror(-r));
}

static bool stays(const struct multipath *m, const struct multipath_endpoint *e,
                  const struct multipath_path *paths, unsigned count, bool any) {
    const struct multipath_path *p = path_of(&e->path.address, paths, count);
    if (!m->asked || (p && p->withdrawn))
        return false;
    if (!p)
        return !any;
    return p->ifindex == e->path.ifindex && p->backup == e->path.backup && (e->path.way || !p->way);
}

static void add_missing(struct multipath *m, const struct multipath_path *paths, unsigned count) {
    for (unsigned i = 0; i < count && m->count < MULTIPATH_MAX; i++)
        if (usable(&paths[i]) && !have(m, &paths[i]))
            add(m, &paths[i]);
}

void multipath_settle(struct multipath *m, bool asked, const struct multipath_path *paths, unsigned count) {
    bool any = false;
    m->asked = asked;
    if (!m->allowed)
        return;
    for (unsigned i = 0; i < count; i++)
        any |= usable(&paths[i]);
    if (asked) /* New ways come before old ones go, where there is room: so a connection is never without. */
        add_missing(m, paths, count);
    for (unsigned i = m->count; i-- > 0;)
        if (!stays(m, &m->own[i], paths, count, any))
            forget(m, i);
    if (asked)
        add_missing(m, paths, count);
    else
        restore_limit(m);
}

/* ---- what is asked ---- */

enum wire_multipath multipath_who(const struct multipath *m, uint32_t *ret_endpoints) {
    struct multipath_list all;
    list(m, &all);
    *ret_endpoints = all.count;
    const int trial = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
    if (trial >= 0)
        close(trial);
    if (trial < 0)
        return m->socket ? WIRE_MULTIPATH_OFF : WIRE_MULTIPATH_NONE;
    return m->allowed && m->asked ? WIRE_MULTIPATH_SCOUT : WIRE_MULTIPATH_KERNEL;
}

bool multipath_look(struct multipath *m) {
    const struct multipath_list before = m->there;
    if (m->allowed && m->asked)
        return false;
    list(m, &m->there);
    return memcmp(&before, &m->there, sizeof before) != 0;
}

bool multipath_reaches(const struct multipath *m, const struct fact_address *a) {
    if (m->allowed && m->asked)
        return true;
    for (unsigned i = 0; i < m->there.count; i++)
        if (same_address(&m->there.endpoint[i].path.address, a))
            return true;
    return false;
}

/* air - preloaded under the scout where there is no radio: its questions to nl80211 are answered as the
 * kernel lays the answers out. What is joined stands in the file CMM_TEST_AIR: "interface NAME" where the
 * interface knows the name, "scan NAME" where only the scan's results do (Linux 5.19 and later); nothing, or
 * no file: none is. */
#include <dlfcn.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/nl80211.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FAMILY = 33, SIZE = 4096 };

static int ours = -1; /* the scout has one such socket at a time, and one thread */
static _Alignas(struct nlmsghdr) char answer[SIZE];
static size_t answer_len;

static struct nlmsghdr *begin(const struct nlmsghdr *question, uint8_t command, uint16_t flags) {
    struct nlmsghdr *msg = mnl_nlmsg_put_header(answer + answer_len);
    msg->nlmsg_type = question->nlmsg_type;
    msg->nlmsg_flags = flags;
    msg->nlmsg_seq = question->nlmsg_seq;
    struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(msg, sizeof *generic);
    generic->cmd = command;
    generic->version = 1;
    return msg;
}

static void end(const struct nlmsghdr *msg) {
    answer_len += msg->nlmsg_len;
}

/* What the file says is joined, if it is to be said there. */
static const char *joined(const char *where) {
    static char name[64];
    char format[32], *path = getenv("CMM_TEST_AIR");
    FILE *f = path ? fopen(path, "re") : NULL;
    snprintf(format, sizeof format, "%s %%63[^\n]", where);
    bool said = f && fscanf(f, format, name) == 1;
    if (f)
        fclose(f);
    return said ? name : NULL;
}

static void tell_family(const struct nlmsghdr *question) {
    struct nlmsghdr *msg = begin(question, CTRL_CMD_NEWFAMILY, 0);
    mnl_attr_put_strz(msg, CTRL_ATTR_FAMILY_NAME, NL80211_GENL_NAME);
    mnl_attr_put_u16(msg, CTRL_ATTR_FAMILY_ID, FAMILY);
    mnl_attr_put_u32(msg, CTRL_ATTR_VERSION, 1);
    end(msg);
}

static void tell_interface(const struct nlmsghdr *question) {
    const char *name = joined("interface");
    struct nlmsghdr *msg = begin(question, NL80211_CMD_NEW_INTERFACE, 0);
    mnl_attr_put_strz(msg, NL80211_ATTR_IFNAME, "wifi0");
    mnl_attr_put_u32(msg, NL80211_ATTR_IFTYPE, NL80211_IFTYPE_STATION);
    mnl_attr_put_u64(msg, NL80211_ATTR_WDEV, 1);
    if (name)
        mnl_attr_put(msg, NL80211_ATTR_SSID, strlen(name), name);
    mnl_attr_put_u8(msg, NL80211_ATTR_4ADDR, 0);
    end(msg);
}

/* Information elements: rates stand behind the name. */
static void tell_found(const struct nlmsghdr *question, const char *name, bool is_joined) {
    static const char rates[] = {1, 1, 0x0c};
    char elements[2 + 32 + sizeof rates] = {0, (char)strlen(name)};
    memcpy(elements + 2, name, strlen(name));
    memcpy(elements + 2 + strlen(name), rates, sizeof rates);
    struct nlmsghdr *msg = begin(question, NL80211_CMD_NEW_SCAN_RESULTS, NLM_F_MULTI);
    mnl_attr_put_u32(msg, NL80211_ATTR_GENERATION, 7);
    struct nlattr *nest = mnl_attr_nest_start(msg, NL80211_ATTR_BSS);
    mnl_attr_put(msg, NL80211_BSS_BSSID, 6, "\2\0\0\0\1\0");
    mnl_attr_put(msg, NL80211_BSS_INFORMATION_ELEMENTS, 2 + strlen(name) + sizeof rates, elements);
    if (is_joined)
        mnl_attr_put_u32(msg, NL80211_BSS_STATUS, NL80211_BSS_STATUS_ASSOCIATED);
    mnl_attr_nest_end(msg, nest);
    end(msg);
}

static void tell_scan(const struct nlmsghdr *question) {
    const char *name = joined("scan");
    tell_found(question, "Neighbour", false);
    if (name)
        tell_found(question, name, true);
    struct nlmsghdr *msg = begin(question, 0, NLM_F_MULTI);
    msg->nlmsg_type = NLMSG_DONE;
    end(msg);
}

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

int socket(int family, int type, int protocol) {
    int fd = REAL(socket)(family, type, protocol);
    if (family == AF_NETLINK && protocol == NETLINK_GENERIC)
        ours = fd;
    return fd;
}

int close(int fd) {
    if (fd == ours)
        ours = -1;
    return REAL(close)(fd);
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t to_len) {
    const struct nlmsghdr *question = data;
    if (fd != ours || (question->nlmsg_type != GENL_ID_CTRL && question->nlmsg_type != FAMILY))
        return REAL(sendto)(fd, data, len, flags, to, to_len);
    const struct genlmsghdr *generic = mnl_nlmsg_get_payload(question);
    answer_len = 0;
    if (question->nlmsg_type == GENL_ID_CTRL)
        tell_family(question);
    else if (generic->cmd == NL80211_CMD_GET_INTERFACE)
        tell_interface(question);
    else if (generic->cmd == NL80211_CMD_GET_SCAN)
        tell_scan(question);
    return (ssize_t)len;
}

ssize_t recv(int fd, void *buffer, size_t len, int flags) {
    if (fd != ours)
        return REAL(recv)(fd, buffer, len, flags);
    size_t n = answer_len < len ? answer_len : len;
    answer_len = 0;
    memcpy(buffer, answer, n);
    errno = EAGAIN;
    return n ? (ssize_t)n : -1;
}

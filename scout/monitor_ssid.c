/* monitor_ssid - the name of the access point that an interface is connected to (nl80211).
 *
 * monitor_table comes in with each word of a Wi-Fi interface that is up. A socket for each question: they are
 * rare, and an idle scout keeps none. The kernel puts its answer into the socket before send() is back. What
 * is no print is kept; a NUL ends the name, so such a network cannot be told by it.
 */
#include "monitor_ssid.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/nl80211.h>
#include <sys/socket.h>

enum { BUFFER = 8192 };

static int keep_family(const struct nlattr *a, void *arg) {
    if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID && mnl_attr_validate(a, MNL_TYPE_U16) >= 0)
        *(uint16_t *)arg = mnl_attr_get_u16(a);
    return MNL_CB_OK;
}

static int keep_ssid(const struct nlattr *a, void *arg) {
    size_t len = mnl_attr_get_payload_len(a);
    if (mnl_attr_get_type(a) == NL80211_ATTR_SSID && len < FACT_SSID) {
        memset(arg, 0, FACT_SSID);
        memcpy(arg, mnl_attr_get_payload(a), len);
    }
    return MNL_CB_OK;
}

static struct nlmsghdr *begin(char buffer[BUFFER], uint16_t family, uint8_t command, uint8_t version) {
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
    msg->nlmsg_type = family;
    msg->nlmsg_flags = NLM_F_REQUEST;
    struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(msg, sizeof *generic);
    generic->cmd = command;
    generic->version = version;
    return msg;
}

/* Calls take for each attribute of the answer. */
static void ask(struct mnl_socket *s, const struct nlmsghdr *question, mnl_attr_cb_t take, void *arg) {
    _Alignas(struct nlmsghdr) char buffer[BUFFER];
    if (mnl_socket_sendto(s, question, question->nlmsg_len) < 0)
        return;
    ssize_t n = recv(mnl_socket_get_fd(s), buffer, sizeof buffer, MSG_DONTWAIT);
    const struct nlmsghdr *answer = (const struct nlmsghdr *)buffer;
    if (n > 0 && mnl_nlmsg_ok(answer, (int)n) && answer->nlmsg_type == question->nlmsg_type &&
        mnl_nlmsg_get_payload_len(answer) >= sizeof(struct genlmsghdr))
        mnl_attr_parse(answer, sizeof(struct genlmsghdr), take, arg);
}

void monitor_ssid(uint32_t ifindex, char ret[FACT_SSID]) {
    _Alignas(struct nlmsghdr) char buffer[BUFFER];
    uint16_t family = 0;
    memset(ret, 0, FACT_SSID);
    struct mnl_socket *s = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!s)
        return;
    struct nlmsghdr *question = begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
    mnl_attr_put_strz(question, CTRL_ATTR_FAMILY_NAME, NL80211_GENL_NAME);
    ask(s, question, keep_family, &family);
    if (family) {
        question = begin(buffer, family, NL80211_CMD_GET_INTERFACE, 0);
        mnl_attr_put_u32(question, NL80211_ATTR_IFINDEX, ifindex);
        ask(s, question, keep_ssid, ret);
    }
    mnl_socket_close(s);
}

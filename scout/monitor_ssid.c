/* monitor_ssid - the name of the access point that an interface is connected to (nl80211).
 *
 * monitor_table comes in with each word of a Wi-Fi interface that is up. A socket for each question: they are
 * rare, and an idle scout keeps none. The kernel puts its answer into the socket before send() is back, and
 * more of a long one with each receive. Since Linux 5.19 the interface itself does not know its SSID where
 * wpa_supplicant associates step by step: then the scan's results tell which of them is joined. What is no
 * print is kept; a NUL ends the name, so such a network cannot be told by it.
 */
#include "monitor_ssid.h"
#include "generic.h"

#include <linux/genetlink.h>
#include <linux/nl80211.h>
#include <sys/socket.h>

static void keep_name(const unsigned char *name, size_t len, char ret[FACT_SSID]) {
    if (!len || len >= FACT_SSID)
        return;
    memset(ret, 0, FACT_SSID);
    memcpy(ret, name, len);
}

/* ---- what a scan has found ---- */

struct found {
    const struct nlattr *elements;
    bool joined;
};

static int keep_found(const struct nlattr *a, void *arg) {
    struct found *f = arg;
    if (mnl_attr_get_type(a) == NL80211_BSS_INFORMATION_ELEMENTS)
        f->elements = a;
    if (mnl_attr_get_type(a) == NL80211_BSS_STATUS && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
        f->joined = mnl_attr_get_u32(a) == NL80211_BSS_STATUS_ASSOCIATED ||
                    mnl_attr_get_u32(a) == NL80211_BSS_STATUS_IBSS_JOINED;
    return MNL_CB_OK;
}

/* Information elements (IEEE 802.11): a number, a length and as many bytes, each; number 0 is the SSID. */
static void read_elements(const struct nlattr *a, char ret[FACT_SSID]) {
    const unsigned char *at = mnl_attr_get_payload(a);
    for (size_t left = mnl_attr_get_payload_len(a); left >= 2 && left >= 2u + at[1];) {
        if (at[0] == 0) {
            keep_name(at + 2, at[1], ret);
            return;
        }
        left -= 2u + at[1];
        at += 2u + at[1];
    }
}

static int keep_ssid(const struct nlattr *a, void *arg) {
    struct found f = {NULL, false};
    if (mnl_attr_get_type(a) == NL80211_ATTR_SSID)
        keep_name(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a), arg);
    if (mnl_attr_get_type(a) == NL80211_ATTR_BSS)
        mnl_attr_parse_nested(a, keep_found, &f);
    if (f.joined && f.elements)
        read_elements(f.elements, arg);
    return MNL_CB_OK;
}

static bool is_answer(const struct nlmsghdr *msg) {
    return mnl_nlmsg_get_payload_len(msg) >= sizeof(struct genlmsghdr);
}

void monitor_ssid_read(const struct nlmsghdr *answer, char ret[FACT_SSID]) {
    if (is_answer(answer))
        mnl_attr_parse(answer, sizeof(struct genlmsghdr), keep_ssid, ret);
}

/* ---- asking ---- */

static void ask(struct mnl_socket *s, const struct nlmsghdr *question, mnl_attr_cb_t take, void *arg) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    bool more = mnl_socket_sendto(s, question, question->nlmsg_len) >= 0;
    while (more) {
        int n = (int)recv(mnl_socket_get_fd(s), buffer, sizeof buffer, MSG_DONTWAIT);
        const struct nlmsghdr *answer = (const struct nlmsghdr *)buffer;
        more = n > 0 && (question->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
        for (; mnl_nlmsg_ok(answer, n); answer = mnl_nlmsg_next(answer, &n))
            if (answer->nlmsg_type == question->nlmsg_type && is_answer(answer))
                mnl_attr_parse(answer, sizeof(struct genlmsghdr), take, arg);
            else
                more = false; /* it was the last, or there is none */
    }
}

static void ask_ssid(struct mnl_socket *s, uint16_t family, uint8_t command, uint16_t flags, uint32_t ifindex,
                     char ret[FACT_SSID]) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    struct nlmsghdr *question = generic_begin(buffer, family, command, flags);
    mnl_attr_put_u32(question, NL80211_ATTR_IFINDEX, ifindex);
    ask(s, question, keep_ssid, ret);
}

void monitor_ssid(uint32_t ifindex, char ret[FACT_SSID]) {
    _Alignas(struct nlmsghdr) char buffer[GENERIC_ROOM];
    uint16_t family = 0;
    memset(ret, 0, FACT_SSID);
    struct mnl_socket *s = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!s)
        return;
    ask(s, generic_which(buffer, NL80211_GENL_NAME), generic_keep, &family);
    if (family)
        ask_ssid(s, family, NL80211_CMD_GET_INTERFACE, 0, ifindex, ret);
    if (family && !*ret)
        ask_ssid(s, family, NL80211_CMD_GET_SCAN, NLM_F_DUMP, ifindex, ret);
    mnl_socket_close(s);
}

/* generic - questions to one of the families of the kernel's generic netlink.
 * Only what all of them begin with; no state. Deliberately absent: sockets, and how an answer is waited for.
 */
#include "generic.h"

#include <linux/genetlink.h>

struct nlmsghdr *generic_begin(char buffer[GENERIC_ROOM], uint16_t family, uint8_t command, uint16_t flags) {
    struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);
    msg->nlmsg_type = family;
    msg->nlmsg_flags = NLM_F_REQUEST | flags;
    struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(msg, sizeof *generic);
    generic->cmd = command;
    generic->version = 1;
    return msg;
}

struct nlmsghdr *generic_which(char buffer[GENERIC_ROOM], const char *name) {
    struct nlmsghdr *msg = generic_begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
    mnl_attr_put_strz(msg, CTRL_ATTR_FAMILY_NAME, name);
    return msg;
}

int generic_keep(const struct nlattr *a, void *ret_uint16) {
    if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID && mnl_attr_validate(a, MNL_TYPE_U16) >= 0)
        *(uint16_t *)ret_uint16 = mnl_attr_get_u16(a);
    return MNL_CB_OK;
}

/* abi - the binary interface of libcmm.so.1 as programs were compiled against it: names, signatures,
 * constants and the layout of what crosses the border. What is here never changes; what is new is added.
 *
 * Compiling checks constants, layout and signatures; running checks that each name is there in its version.
 * The list is written by hand, after the contract, and not made out of the header that it checks.
 */
#include <libcmm.h>

#include <dlfcn.h>
#include <stdio.h>

#define SAME(what, is) _Static_assert((what) == (is), #what " is " #is)

SAME(CMM_LABEL_RED, 0x01);
SAME(CMM_LABEL_BLUE, 0x02);
SAME(CMM_LABEL_ONDEMAND, 0x04);
SAME(CMM_LABEL_BACKGROUND, 0x08);
SAME(CMM_LABEL_SMALL, 0x10);
SAME(CMM_LABEL_LARGE, 0x20);
SAME(CMM_LABEL_UNMETERED, 0x100);
SAME(CMM_LABEL_WIRED, 0x200);
SAME(CMM_LABEL_WIFI, 0x400);
SAME(CMM_LABEL_CELLULAR, 0x800);
SAME(CMM_FAILED, -1);
SAME(CMM_DEFERRED, -2);
SAME(CMM_THUNK_EXECUTED, -3);
SAME(CMM_SIGNAL, SIGHUP);
SAME(CMM_DISPATCH_THREAD, 0);
SAME(CMM_DISPATCH_MANUAL, 1);

SAME(offsetof(struct cmm_network, name), 0);
SAME(offsetof(struct cmm_network, ifindex), 32);
SAME(offsetof(struct cmm_network, labels), sizeof(long) == 8 ? 40 : 36);
SAME(offsetof(struct cmm_network, id), sizeof(long) == 8 ? 48 : 40);
SAME(sizeof(struct cmm_network), sizeof(long) == 8 ? 56 : 44);
SAME(sizeof(((struct cmm_network *)0)->ifindex), sizeof(int));
SAME(sizeof(mc_socket_t), sizeof(int));

typedef unsigned long labels_t;
typedef void (*thunk)(void *);
typedef int (*event)(int, labels_t, void *);

#define CALLS(X)                                                                                             \
    X(cmm_socket, int, (int, int, int))                                                                      \
    X(cmm_connect, int, (int, const struct sockaddr *, socklen_t, labels_t, event, event, void *))           \
    X(cmm_send, ssize_t, (int, const void *, size_t, int, labels_t, thunk, void *))                          \
    X(cmm_write, ssize_t, (int, const void *, size_t, labels_t, thunk, void *))                              \
    X(cmm_writev, ssize_t, (int, const struct iovec *, int, labels_t, thunk, void *))                        \
    X(cmm_sendmsg, ssize_t, (int, const struct msghdr *, int, labels_t, thunk, void *))                      \
    X(cmm_recv, ssize_t, (int, void *, size_t, int))                                                         \
    X(cmm_read, ssize_t, (int, void *, size_t))                                                              \
    X(cmm_setsockopt, int, (int, int, int, const void *, socklen_t))                                         \
    X(cmm_getsockopt, int, (int, int, int, void *, socklen_t *))                                             \
    X(cmm_getpeername, int, (int, struct sockaddr *, socklen_t *))                                           \
    X(cmm_getsockname, int, (int, struct sockaddr *, socklen_t *))                                           \
    X(cmm_poll, int, (struct pollfd *, nfds_t, int))                                                         \
    X(cmm_select, int, (int, fd_set *, fd_set *, fd_set *, struct timeval *))                                \
    X(cmm_shutdown, int, (int, int))                                                                         \
    X(cmm_reset, int, (int))                                                                                 \
    X(cmm_close, int, (int))                                                                                 \
    X(cmm_check_label, int, (int, labels_t, thunk, void *))                                                  \
    X(cmm_thunk_cancel, int, (int, thunk, thunk))                                                            \
    X(cmm_thunk_count, int, (int))                                                                           \
    X(cmm_unacked, ssize_t, (int))                                                                           \
    X(cmm_set_replay, int, (int, int))                                                                       \
    X(cmm_set_patience, int, (int, const struct timespec *))                                                 \
    X(cmm_labels_parse, int, (const char *, labels_t *))                                                     \
    X(cmm_labels_format, int, (labels_t, char *, size_t))                                                    \
    X(cmm_set_default_labels, int, (labels_t))                                                               \
    X(cmm_get_default_labels, labels_t, (void))                                                              \
    X(cmm_networks, int, (struct cmm_network *, int))                                                        \
    X(cmm_socket_network, int, (int, struct cmm_network *))                                                  \
    X(cmm_set_dispatch, int, (int))                                                                          \
    X(cmm_dispatch_fd, int, (void))                                                                          \
    X(cmm_dispatch, int, (void))

#define SIGNED(name, result, arguments)                                                                      \
    _Static_assert(__builtin_types_compatible_p(__typeof__(name), result arguments), #name);
CALLS(SIGNED)

#define NAMED(name, result, arguments) {#name, "CMM_1"},
static const struct { const char *name, *version; } symbols[] = {CALLS(NAMED)};

int main(int argc, char **argv) {
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    int missing = 0;
    if (!library) {
        fprintf(stderr, "usage: abi LIBRARY: %s\n", argc == 2 ? dlerror() : "one argument");
        return 2;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (!dlvsym(library, symbols[i].name, symbols[i].version)) {
            printf("%s@%s is gone\n", symbols[i].name, symbols[i].version);
            missing++;
        }
    return missing > 0;
}

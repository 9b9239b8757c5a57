/* place - where a scout of some name listens, and whether it may be believed.
 *
 * Paths out of a name and the environment, and one question to a connected socket. No state, no allocation;
 * any thread may come in. Shared by shim, scout and tools: plain libc. Nothing is opened or made here. In
 * privileged programs the environment is not heard.
 */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SYSTEM_DIR "/run/cmm"

static int fits(int n, size_t len) {
    return n >= 0 && (size_t)n < len ? 0 : -ENAMETOOLONG;
}

static int name_in(const char *dir, const char *name, char *ret_path, size_t len) {
    return fits(snprintf(ret_path, len, "%s/%s.sock", dir, name), len);
}

static int name_ok(const char *name) {
    return name[0] && name[0] != '.';
}

int place_own_dir(char *ret_dir, size_t len) {
    if (geteuid() == 0)
        return fits(snprintf(ret_dir, len, "%s", SYSTEM_DIR), len);
    /* A relative one is to be ignored, says the XDG specification. */
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] == '/')
        return fits(snprintf(ret_dir, len, "%s/cmm", runtime), len);
    return fits(snprintf(ret_dir, len, "/tmp/cmm-%lu", (unsigned long)geteuid()), len);
}

int place_own_socket(const char *name, char *ret_path, size_t len) {
    char dir[PLACE_MAX];
    if (strchr(name, '/'))
        return fits(snprintf(ret_path, len, "%s", name), len);
    if (!name_ok(name))
        return -EINVAL;
    int r = place_own_dir(dir, sizeof dir);
    return r < 0 ? r : name_in(dir, name, ret_path, len);
}

static int system_socket(const char *name, char *ret_path, size_t len) {
    return name_ok(name) ? name_in(SYSTEM_DIR, name, ret_path, len) : -EINVAL;
}

int place_candidate(const char *name, int index, char *ret_path, size_t len) {
    if (!name || !*name)
        name = "scout";
    /* A path has no second place, and root's own is the system's. */
    int places = strchr(name, '/') || geteuid() == 0 ? 1 : 2;
    if (index < 0 || index >= places)
        return 0;
    int r = index == 0 ? place_own_socket(name, ret_path, len) : system_socket(name, ret_path, len);
    return r < 0 ? r : 1;
}

int place_bell(const char *socket_path, char *ret_path, size_t len) {
    size_t stem = strlen(socket_path);
    if (stem > 5 && strcmp(socket_path + stem - 5, ".sock") == 0)
        stem -= 5;
    if (stem >= len)
        return -ENAMETOOLONG;
    return fits(snprintf(ret_path, len, "%.*s.bell", (int)stem, socket_path), len);
}

int place_peer_trusted(int sock) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || len != sizeof peer)
        return 0;
    return peer.uid == 0 || peer.uid == geteuid();
}

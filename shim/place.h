/* place - where a scout of some name listens, and whether it may be believed. Shared by shim, scout and
 * tools. */
#ifndef CMM_PLACE_H
#define CMM_PLACE_H

#include <stddef.h>
#include <sys/un.h>

enum { PLACE_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) };

/* The directory a scout of this user serves from: /run/cmm for root, else $XDG_RUNTIME_DIR/cmm, else
 * /tmp/cmm-UID. 0, or -ENAMETOOLONG. */
int place_own_dir(char *ret_dir, size_t len);

/* NAME.sock in the own directory, or name itself if it has a '/'. -EINVAL for an empty name or one that
 * starts with '.'. */
int place_own_socket(const char *name, char *ret_path, size_t len);

/* Where a client looks, in order: index 0, 1, ...; name NULL or empty: "scout". A path stands alone; a name
 * is the user's own, then /run/cmm/NAME.sock. 1 with the path, 0 when there are no more, or -errno. */
int place_candidate(const char *name, int index, char *ret_path, size_t len);

/* The bell beside a socket: NAME.bell for NAME.sock. */
int place_bell(const char *socket_path, char *ret_path, size_t len);

/* 1 if the peer of this connected unix socket is root or our own uid, else 0. */
int place_peer_trusted(int sock);

#endif

/* post - one datagram socket of an unmodified program, in a world of two interfaces: wifi0 (background,
 * large), preferred by the routes, and cell0 (small, large). */
#ifndef POST_H
#define POST_H

#include "stage.h"

#include <netinet/in.h>

#define POST_TEST(name, labels) STAGE_TEST_WITH(name, STAGE_PRELOAD | STAGE_WORLD, NULL, "CMM_LABELS=" labels)

enum { POST_MOMENT_MS = 200 };

extern const char post_world[];
extern int post_sock;

void post_make(int flags);
in_port_t post_port(void); /* its own */

/* To the far end's UDP port: connect(), send() and sendto() as they are. */
int post_dial(void);
ssize_t post_put(const char *text);
ssize_t post_put_to(const char *text);

/* Somewhere where no network has an address of the family. */
struct sockaddr_in6 post_six(void);

/* The datagram i arrived from there, with that text. */
void post_expect(int i, const char *source, const char *text);

/* A network's interface, and the scout has heard of it. */
void post_down(const char *interface);
void post_up(const char *interface);

/* A new socket, and a thread that is blocked sending by it; it is back, the first datagram came from there.
 */
void post_begin_blocked(void);
void post_expect_sent(const char *source);

#endif

/* datagrams_unlabeled - the datagram sockets of unmodified programs without a wish, by a rule of "none": they
 * go as the kernel routes them, and wait only while there is no route at all. In a world of two interfaces,
 * wifi0 preferred by the routes. */
#include "post.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static void no_wish_goes_as_the_kernel_routes_it(void) {
    post_make(0);
    stage_equal(post_put_to("unconnected"), 11);
    post_expect(0, "10.1.0.2", "unconnected");
    stage_equal(post_dial(), 0);
    stage_equal(post_put("connected"), 9);
    post_expect(1, "10.1.0.2", "connected");
}

static void no_wish_waits_only_while_there_is_no_route_at_all(void) {
    post_make(SOCK_NONBLOCK);
    post_down("cell0");
    stage_equal(post_put_to("by wifi"), 7);
    post_expect(0, "10.1.0.2", "by wifi");
    post_down("wifi0");
    stage_fails(post_put_to("early"), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLOUT, POST_MOMENT_MS), 0);
    stage_equal(post_dial(), 0);
    stage_fails(post_put("early"), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLOUT, POST_MOMENT_MS), 0);
    post_up("cell0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("by cell"), 7);
    post_expect(1, "10.2.0.2", "by cell");
    post_down("cell0");
    stage_fails(post_put("early"), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLOUT, POST_MOMENT_MS), 0);
    post_up("wifi0");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("again"), 5);
    post_expect(2, "10.1.0.2", "again");
}

/* The networks that are up have been so for a while: what they lack they lack. */
static bool settled(void) {
    const struct sockaddr_in6 to = post_six();
    const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const bool told = sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) < 0 && errno == ENETUNREACH;
    close(fd);
    return told;
}

/* The kernel has taken the route, and no scout tells. */
static void a_way_that_went_unheard_of_is_waited_for(void) {
    post_make(SOCK_NONBLOCK);
    stage_equal(post_dial(), 0);
    stage_equal(post_put("1"), 1);
    post_expect(0, "10.1.0.2", "1");
    stage_wait(settled());
    stage_scout_kill();
    stage_shell("ip route flush default");
    stage_fails(post_put("2"), EAGAIN);
    stage_equal(stage_polled(post_sock, POLLOUT, POST_MOMENT_MS), 0);
    stage_shell("ip route add default via 10.2.0.1");
    stage_equal(stage_polled(post_sock, POLLOUT, -1), POLLOUT);
    stage_equal(post_put("3"), 1);
    post_expect(1, "10.2.0.2", "3");
}

static void without_a_wish_a_blocking_send_waits_too(void) {
    post_down("cell0");
    post_down("wifi0");
    post_begin_blocked();
    post_up("wifi0");
    post_expect_sent("10.1.0.2");
}

static void without_a_wish_patience_ends_a_blocking_send(void) {
    post_down("cell0");
    post_down("wifi0");
    post_make(0);
    stage_fails(post_put_to("never"), ETIMEDOUT);
    stage_equal(post_dial(), 0);
    stage_fails(post_put("never"), ETIMEDOUT);
}

/* Nothing waits for what networks that are up do not have: programs try the other family. */
static void without_a_wish_a_family_that_no_network_has_is_unreachable(void) {
    const struct sockaddr_in6 to = post_six();
    post_sock = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stage_wait(sendto(post_sock, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == -1 && errno == ENETUNREACH);
    stage_equal(stage_polled(post_sock, POLLOUT, 0), POLLOUT);
    stage_fails(connect(post_sock, (struct sockaddr *)&to, sizeof to), ENETUNREACH);
}

/* Somebody has decided so: that is no lack of a route. */
static void without_a_wish_what_is_prohibited_is_told(void) {
    post_make(SOCK_NONBLOCK);
    stage_shell("ip route add unreachable 10.9.0.1");
    stage_fails(post_put_to("never"), EHOSTUNREACH);
    stage_fails(post_dial(), EHOSTUNREACH);
    stage_shell("ip route replace prohibit 10.9.0.1");
    stage_fails(post_put_to("never"), EACCES);
    stage_equal(stage_polled(post_sock, POLLOUT, 0), POLLOUT);
}

static const struct stage_test tests[] = {
    POST_TEST(no_wish_goes_as_the_kernel_routes_it, "small CMM_RULES=10.9.0.0/16=none"),
    POST_TEST(no_wish_waits_only_while_there_is_no_route_at_all, "small CMM_RULES=10.9.0.0/16=none"),
    POST_TEST(a_way_that_went_unheard_of_is_waited_for, "small CMM_RULES=10.9.0.0/16=none"),
    POST_TEST(without_a_wish_a_blocking_send_waits_too, "small CMM_RULES=10.9.0.0/16=none"),
    POST_TEST(without_a_wish_patience_ends_a_blocking_send,
              "small CMM_PATIENCE=0.3 CMM_RULES=10.9.0.0/16=none"),
    POST_TEST(without_a_wish_a_family_that_no_network_has_is_unreachable, "small CMM_RULES=[fd00::]/8=none"),
    POST_TEST(without_a_wish_what_is_prohibited_is_told, "small CMM_RULES=10.9.0.0/16=none"),
};

STAGE_MAIN(post_world, tests)

/* carried - unmodified programs under --on-loss mptcp: the kernel carries their streams from network to
 * network. In a world of two interfaces, before a far end that speaks Multipath TCP or not; the scout makes
 * the endpoints, but where a test says otherwise. */
#include "stage.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NETWORKS                                                                                             \
    "[network wifi]\nmatch = wifi0\nlabels = background, large\n"                                            \
    "[network cell]\nmatch = cell0\nlabels = small, large\n"

static const char world[] = NETWORKS;
static const char unmanaged[] = NETWORKS "[scout]\nhold-down = 0\ngrace = 0.1\nmptcp = no\n";

enum { BULK = 4 << 20 };

static int sock = -1;

static void need_multipath(void) {
    if (!stage_multipath())
        stage_skip("no Multipath TCP in this kernel");
}

/* Close-on-exec: who asks and steers for the tests shall not hold it, too. */
static void dial(void) {
    struct sockaddr_in to = stage_tcp();
    sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stage_expect(sock >= 0);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    stage_wait(stage_connections() == 1);
    stage_expect_connection(0, "10.1.0.2");
}

static void say(const char *text) {
    stage_equal(send(sock, text, strlen(text), 0), strlen(text));
}

static void expect_to_hear(const char *text) {
    char got[64] = "";
    stage_say(0, text);
    stage_equal(recv(sock, got, strlen(text), MSG_WAITALL), strlen(text));
    stage_equal(strcmp(got, text), 0);
}

static void dial_and_talk(void) {
    dial();
    say("hello");
    stage_expect_text(0, "hello");
    expect_to_hear("welcome");
}

static bool shell_says(const char *line) {
    char command[512];
    snprintf(command, sizeof command, "env -u LD_PRELOAD sh -c '%s' >/dev/null 2>&1", line);
    return system(command) == 0;
}

static bool ctl_says(const char *command, const char *words) {
    char line[200];
    if (!getenv("CMM_CTL_EXE") || !*getenv("CMM_CTL_EXE"))
        stage_skip("there is no cmm-ctl to ask");
    snprintf(line, sizeof line, "\"$CMM_CTL_EXE\" %s | grep -q \"%s\"", command, words);
    return shell_says(line);
}

/* What people are told of this process. */
static bool waits(void) {
    char why[32];
    snprintf(why, sizeof why, "why %d", (int)getpid());
    return ctl_says(why, "waits for:");
}

static void lose(const char *interface, const char *network) {
    char words[32];
    snprintf(words, sizeof words, "^%s *down", network);
    stage_link(interface, false);
    stage_wait(ctl_says("networks", words));
}

/* By the kernel's own count; its lines are not for everybody's ip. */
static bool has_endpoint(const char *address) {
    char line[128];
    snprintf(line, sizeof line, "ip mptcp endpoint show | grep -q \"^%s \"", address);
    return shell_says(line);
}

static void expect_both_endpoints(void) {
    stage_wait(has_endpoint("10.1.0.2") && has_endpoint("10.2.0.2"));
}

/* An established way from that network's address: the connection has it, for there is no other. */
static bool goes_by(const char *interface) {
    char line[128];
    snprintf(line, sizeof line, "ss -Htn state established | grep -q \"10.%d.0.2[^ ]*:\"",
             strcmp(interface, "wifi0") == 0 ? 1 : 2);
    return shell_says(line);
}

/* It is cat, and waits for something to read. */
static bool asleep(pid_t pid) {
    char path[64], name[32] = "", state = '?';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d (%31[^)]) %c", name, &state) != 2)
        state = '?';
    if (f)
        fclose(f);
    return state == 'S' && strcmp(name, "cat") == 0;
}

/* ---- carried over ---- */

static unsigned char bulk[BULK], back[BULK];

static void *send_bulk(void *arg) {
    _Atomic bool *good = arg;
    size_t at = 0;
    for (ssize_t n = 1; at < BULK && n > 0; at += n > 0 ? (size_t)n : 0)
        n = send(sock, bulk + at, BULK - at > 65536 ? 65536 : BULK - at, 0);
    *good = at == BULK;
    return NULL;
}

static void exchange(size_t until, const char *interface) {
    _Atomic bool sent = false;
    pthread_t sender;
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = (unsigned char)(rand() >> 7);
    stage_echo(true);
    stage_equal(pthread_create(&sender, NULL, send_bulk, &sent), 0);
    for (size_t at = 0; at < BULK;) {
        ssize_t n = recv(sock, back + at, BULK - at > 65536 ? 65536 : BULK - at, 0);
        if (n <= 0)
            stage_fail(__FILE__, __LINE__, "after %zu bytes recv says %zd, %m", at, n);
        if (at < until && at + (size_t)n >= until)
            stage_link(interface, false);
        at += (size_t)n;
    }
    pthread_join(sender, NULL);
    stage_expect(sent);
    stage_expect(memcmp(bulk, back, BULK) == 0);
    stage_wait(stage_received(0) == BULK);
    stage_expect(memcmp(bulk, stage_bytes(0), BULK) == 0);
    stage_equal(stage_connections(), 1);
}

static void a_stream_survives_the_loss_of_its_network_with_no_byte_changed(void) {
    need_multipath();
    expect_both_endpoints();
    dial();
    exchange(BULK / 4, "wifi0");
}

static void it_survives_one_loss_after_the_other(void) {
    need_multipath();
    expect_both_endpoints();
    dial_and_talk();
    stage_link("wifi0", false);
    expect_to_hear("by cell");
    stage_wait(!has_endpoint("10.1.0.2"));
    stage_link("wifi0", true);
    stage_wait(has_endpoint("10.1.0.2"));
    lose("cell0", "cell");
    expect_to_hear("by wifi");
    say(" again");
    stage_expect_text(0, "hello again");
    stage_equal(stage_connections(), 1);
}

static void a_network_that_comes_later_carries_it_on(void) {
    need_multipath();
    stage_link("cell0", false);
    stage_wait(has_endpoint("10.1.0.2") && !has_endpoint("10.2.0.2"));
    dial_and_talk();
    lose("wifi0", "wifi");
    say(" there");
    stage_link("cell0", true);
    stage_expect_text(0, "hello there");
    expect_to_hear("by cell");
    say("!");
    stage_expect_text(0, "hello there!");
    stage_equal(stage_connections(), 1);
}

/* The kernel has tried it in vain before: what has no way is called for next door, where nobody answers. */
static void a_network_whose_way_out_comes_later_carries_it_on(void) {
    need_multipath();
    stage_far_shell("echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore");
    stage_link("cell0", false);
    stage_wait(has_endpoint("10.1.0.2") && !has_endpoint("10.2.0.2"));
    dial_and_talk();
    stage_shell("ip link set cell0 up");
    stage_wait(has_endpoint("10.2.0.2"));
    stage_equal(goes_by("cell0"), 0);
    stage_link("cell0", true);
    stage_wait(goes_by("cell0"));
    lose("wifi0", "wifi");
    expect_to_hear("by cell");
    stage_equal(stage_connections(), 1);
}

/* Without labels of its own: which network that is, is not the label's to say. */
static void it_outlives_a_time_without_any_network(void) {
    need_multipath();
    dial_and_talk();
    stage_wait(goes_by("cell0"));
    lose("wifi0", "wifi");
    stage_link("cell0", false);
    stage_wait(waits());
    stage_link("wifi0", true);
    expect_to_hear("back");
    say("!");
    stage_expect_text(0, "hello!");
    stage_equal(stage_connections(), 1);
}

static void a_withdrawn_network_is_left_for_another(void) {
    need_multipath();
    expect_both_endpoints();
    dial_and_talk();
    stage_wait(goes_by("cell0"));
    stage_down("wifi");
    stage_wait(!goes_by("wifi0"));
    expect_to_hear("by cell");
    say("!");
    stage_expect_text(0, "hello!");
    stage_equal(stage_connections(), 1);
}

static void a_rule_asks_for_it_too(void) {
    a_stream_survives_the_loss_of_its_network_with_no_byte_changed();
}

/* ---- what it cannot carry ---- */

static void expect_reset(void) {
    char c;
    stage_fails(recv(sock, &c, 1, 0), ECONNRESET);
    stage_fails(send(sock, "x", 1, MSG_NOSIGNAL), ECONNRESET);
}

static void without_labels_it_is_asked_for_as_well(void) {
    it_survives_one_loss_after_the_other();
}

static void a_rule_without_labels_asks_for_it_too(void) {
    it_survives_one_loss_after_the_other();
}

static void a_plain_server_s_stream_fails_at_once(void) {
    expect_both_endpoints();
    dial_and_talk();
    stage_link("wifi0", false);
    expect_reset();
    stage_equal(stage_connections(), 1);
}

/* cat's exit code: 0 would be an end of file. execve() would bring the library in. */
static void a_child_without_the_library_sees_no_end_of_file(void) {
    static char name[] = "cat", *const argv[] = {name, NULL}, *const none[] = {NULL};
    int status = -1;
    dial_and_talk();
    const pid_t child = fork();
    if (child == 0) {
        dup2(sock, STDIN_FILENO);
        syscall(SYS_execve, "/bin/cat", argv, none);
        _exit(0);
    }
    stage_wait(asleep(child));
    stage_link("wifi0", false);
    expect_reset();
    stage_equal(waitpid(child, &status, 0), child);
    stage_expect(WIFEXITED(status));
    stage_equal(WEXITSTATUS(status), 1);
}

static void a_plain_server_s_stream_moves_if_it_has_carried_nothing(void) {
    dial();
    stage_link("wifi0", false);
    stage_wait(waits());
    stage_link("wifi0", true);
    say("hello");
    stage_wait(stage_connections() == 2);
    stage_expect_text(1, "hello");
}

static void without_endpoints_it_fails_at_once(void) {
    need_multipath();
    dial_and_talk();
    stage_link("wifi0", false);
    expect_reset();
}

static void what_others_have_made_endpoints_is_used(void) {
    need_multipath();
    stage_shell("ip mptcp endpoint add 10.2.0.2 dev cell0 subflow");
    dial_and_talk();
    stage_wait(goes_by("cell0"));
    stage_link("wifi0", false);
    expect_to_hear("by cell");
    stage_equal(stage_connections(), 1);
}

/* Its endpoint is not the scout's to take. */
static void a_withdrawn_network_is_no_way_on(void) {
    need_multipath();
    stage_shell("ip mptcp endpoint add 10.2.0.2 dev cell0 subflow");
    dial_and_talk();
    stage_wait(goes_by("cell0"));
    stage_down("cell");
    stage_link("wifi0", false);
    expect_reset();
}

/* The network that is there does not lead to the peer, and so it will be: that is not waited for long. */
static void a_network_that_cannot_take_it_over_ends_it(void) {
    need_multipath();
    dial_and_talk();
    stage_far_shell("ip link set far-cell0 down");
    stage_shell("ip link set cell0 down");
    stage_shell(
        "ip link add cell1 type veth peer name nowhere && ip link set nowhere up && ip link set cell1 up "
        "&& ip addr add 10.3.0.2/24 dev cell1");
    stage_link("wifi0", false);
    expect_reset();
}

static void patience_ends_a_time_without_any_network(void) {
    need_multipath();
    dial_and_talk();
    stage_link("cell0", false);
    stage_link("wifi0", false);
    expect_reset();
}

static void where_the_kernel_has_it_switched_off_plain_tcp_will_do(void) {
    stage_shell("echo 0 >/proc/sys/net/mptcp/enabled");
    dial_and_talk();
    stage_link("wifi0", false);
    expect_reset();
}

/* ---- what a program can see ---- */

static int option(int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    stage_equal(getsockopt(sock, level, name, &value, &len), 0);
    return value;
}

static void set(int level, int name, int value) {
    stage_equal(setsockopt(sock, level, name, &value, sizeof value), 0);
    stage_equal(option(level, name), value);
}

static int tcp_state(void) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    stage_equal(getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_state;
}

static int unread(void) {
    int bytes = -1;
    stage_equal(ioctl(sock, FIONREAD, &bytes), 0);
    return bytes;
}

static void expect_tcp(void) {
    stage_equal(option(SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
    set(IPPROTO_TCP, TCP_SYNCNT, 3);
    set(IPPROTO_IP, IP_TTL, 60);
    stage_equal(tcp_state(), TCP_ESTABLISHED);
    stage_equal(unread(), 0);
    stage_say(0, "a");
    stage_wait(unread() == 1);
    expect_to_hear("");
    char c;
    stage_equal(recv(sock, &c, 1, 0), 1);
    stage_finish(0);
    struct pollfd p = {.fd = sock, .events = POLLIN | POLLRDHUP};
    stage_equal(poll(&p, 1, -1), 1);
    stage_equal(p.revents, POLLIN | POLLRDHUP);
    stage_equal(unread(), 0);
    stage_equal(recv(sock, &c, 1, 0), 0);
    stage_equal(tcp_state(), TCP_CLOSE_WAIT);
}

static void the_program_sees_a_tcp_socket(void) {
    need_multipath();
    dial();
    expect_tcp();
}

static void so_it_does_before_a_plain_server(void) {
    dial();
    expect_tcp();
}

static void what_it_falls_back_to_has_the_options_that_were_set_before(void) {
    const struct {
        int level, name, value;
    } all[] = {
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 5000},  {IPPROTO_TCP, TCP_SYNCNT, 3}, {IPPROTO_TCP, TCP_LINGER2, 5},
        {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096}, {IPPROTO_IP, IP_TTL, 60},     {IPPROTO_TCP, TCP_NODELAY, 1}};
    struct sockaddr_in to = stage_tcp();
    sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        set(all[i].level, all[i].name, all[i].value);
    stage_equal(connect(sock, (struct sockaddr *)&to, sizeof to), 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        stage_equal(option(all[i].level, all[i].name), all[i].value);
}

static void expect_no_urgent_data(void) {
    char mark = '!';
    struct iovec one = {&mark, 1};
    const struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
    dial_and_talk();
    stage_fails(send(sock, "!", 1, MSG_OOB), EOPNOTSUPP);
    stage_fails(sendmsg(sock, &msg, MSG_OOB), EOPNOTSUPP);
    stage_fails(send(sock, "!", 1, MSG_ZEROCOPY), EOPNOTSUPP);
    say("?");
    stage_expect_text(0, "hello?");
}

static void urgent_data_is_refused(void) {
    need_multipath();
    expect_no_urgent_data();
}

static void so_it_is_before_a_plain_server(void) {
    const int trial = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
    if (trial < 0)
        stage_skip("no Multipath TCP in this kernel");
    close(trial);
    expect_no_urgent_data();
}

static void with_its_first_way_closed_the_connection_is_established(void) {
    need_multipath();
    expect_both_endpoints();
    dial_and_talk();
    stage_wait(goes_by("cell0"));
    stage_link("wifi0", false);
    stage_wait(!has_endpoint("10.1.0.2"));
    expect_to_hear("by cell");
    stage_equal(tcp_state(), TCP_ESTABLISHED);
    say("!");
    stage_expect_text(0, "hello!");
}

#define WORLD (STAGE_WORLD | STAGE_PRELOAD)
#define ENV   "CMM_LABELS=background CMM_ON_LOSS=mptcp"

static const struct stage_test tests[] = {
    STAGE_TEST_WITH(a_stream_survives_the_loss_of_its_network_with_no_byte_changed, WORLD, world, ENV),
    STAGE_TEST_WITH(it_survives_one_loss_after_the_other, WORLD, world, ENV),
    STAGE_TEST_WITH(a_network_that_comes_later_carries_it_on, WORLD, world, ENV),
    STAGE_TEST_WITH(a_network_whose_way_out_comes_later_carries_it_on, WORLD, world, ENV),
    STAGE_TEST_WITH(it_outlives_a_time_without_any_network, WORLD, world, ENV),
    STAGE_TEST_WITH(a_withdrawn_network_is_left_for_another, WORLD, world, ENV),
    STAGE_TEST_WITH(a_rule_asks_for_it_too, WORLD, world, "CMM_RULES=tcp:10.9.0.1=background+mptcp"),
    STAGE_TEST_WITH(without_labels_it_is_asked_for_as_well, WORLD, world, "CMM_ON_LOSS=mptcp"),
    STAGE_TEST_WITH(a_rule_without_labels_asks_for_it_too, WORLD, world, "CMM_RULES=tcp:10.9.0.1=none+mptcp"),
    STAGE_TEST_WITH(a_plain_server_s_stream_fails_at_once, WORLD, world, ENV),
    STAGE_TEST_WITH(a_child_without_the_library_sees_no_end_of_file, WORLD, world, ENV),
    STAGE_TEST_WITH(a_plain_server_s_stream_moves_if_it_has_carried_nothing, WORLD, world, ENV),
    STAGE_TEST_WITH(without_endpoints_it_fails_at_once, WORLD, unmanaged, ENV),
    STAGE_TEST_WITH(what_others_have_made_endpoints_is_used, WORLD, unmanaged, ENV),
    STAGE_TEST_WITH(a_withdrawn_network_is_no_way_on, WORLD, unmanaged, ENV " CMM_PATIENCE=1"),
    STAGE_TEST_WITH(a_network_that_cannot_take_it_over_ends_it, WORLD,
                    NETWORKS "[network other]\nmatch = cell1\nlabels = small\n", ENV),
    STAGE_TEST_WITH(patience_ends_a_time_without_any_network, WORLD, world, ENV " CMM_PATIENCE=1"),
    STAGE_TEST_WITH(where_the_kernel_has_it_switched_off_plain_tcp_will_do, WORLD, world, ENV),
    STAGE_TEST_WITH(the_program_sees_a_tcp_socket, WORLD, world, ENV),
    STAGE_TEST_WITH(so_it_does_before_a_plain_server, WORLD, world, ENV),
    STAGE_TEST_WITH(what_it_falls_back_to_has_the_options_that_were_set_before, WORLD, world, ENV),
    STAGE_TEST_WITH(urgent_data_is_refused, WORLD, world, ENV),
    STAGE_TEST_WITH(so_it_is_before_a_plain_server, WORLD, world, ENV),
    STAGE_TEST_WITH(with_its_first_way_closed_the_connection_is_established, WORLD, world, ENV),
};

STAGE_MAIN(world, tests)

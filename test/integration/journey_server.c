/* journey_server PORT RECORD - the far end of labeled_journey.
 * Takes numbered messages in lanes and writes down each: by which peer, on which connection, which lane and
 * number, and whether it was new. Only the youngest connection that has spoken counts; what older ones had
 * delivered is read first. One thread, one poll loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LANES = 3, CONNECTIONS = 512, LINE = 4096 };

static struct connection {
    int fd;
    unsigned number; /* rises */
    size_t filled;
    char peer[INET_ADDRSTRLEN];
    char line[LINE];
} connections[CONNECTIONS];
static unsigned count, accepted;
static long have[LANES];
static FILE *record;

static void finish(unsigned at) {
    close(connections[at].fd);
    memmove(&connections[at], &connections[at + 1], (--count - at) * sizeof connections[0]);
}

/* What cannot be said is said with the next message. */
static void say_have(const struct connection *c) {
    char text[128];
    int len = snprintf(text, sizeof text, "have %ld %ld %ld\n", have[0], have[1], have[2]);
    (void)!send(c->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void take_message(struct connection *c, unsigned lane, long number) {
    const char *kind = number == have[lane] + 1 ? "new" : number <= have[lane] ? "again" : "gap";
    fprintf(record, "%s %u %c %ld %s\n", c->peer, c->number, 'a' + (int)lane, number, kind);
    fflush(record);
    if (number > have[lane])
        have[lane] = number;
    say_have(c);
}

static void take_line(struct connection *c, const char *line) {
    char lane;
    long number;
    if (sscanf(line, "m %c %ld", &lane, &number) == 2 && lane >= 'a' && lane < 'a' + LANES) {
        take_message(c, (unsigned)(lane - 'a'), number);
    } else if (line[0] == 'h') {
        say_have(c);
    } else {
        fprintf(record, "%s %u ? %s\n", c->peer, c->number, line);
        fflush(record);
    }
}

/* Everything that is there; 0 at its end. */
static int read_all(struct connection *c) {
    for (;;) {
        ssize_t n = recv(c->fd, c->line + c->filled, LINE - 1 - c->filled, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return 0;
        if (n < 0)
            return 1;
        c->filled += (size_t)n;
        c->line[c->filled] = 0;
        for (char *end; (end = strchr(c->line, '\n'));) {
            *end = 0;
            take_line(c, c->line);
            c->filled -= (size_t)(end + 1 - c->line);
            memmove(c->line, end + 1, c->filled + 1);
        }
    }
}

/* What older connections brought comes before what this one brings; then they are over. */
static void supersede(unsigned at) {
    for (; at > 0; at--) {
        read_all(&connections[0]);
        finish(0);
    }
}

static void take_connection(int listener) {
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    struct connection *c = &connections[count];
    int fd = accept(listener, (struct sockaddr *)&from, &len);
    if (fd < 0)
        return;
    if (count == CONNECTIONS) {
        close(fd);
        return;
    }
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->number = ++accepted;
    inet_ntop(AF_INET, &from.sin_addr, c->peer, sizeof c->peer);
    count++;
}

static int serve(int listener) {
    for (;;) {
        struct pollfd fds[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
        unsigned youngest = 0;
        for (unsigned i = 0; i < count; i++)
            fds[i + 1] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        if (poll(fds, count + 1, -1) < 0)
            return 1;
        for (unsigned i = 0; i < count; i++)
            if (fds[i + 1].revents)
                youngest = i + 1;
        if (youngest) {
            supersede(youngest - 1);
            if (!read_all(&connections[0]))
                finish(0);
        }
        if (fds[0].revents)
            take_connection(listener);
    }
}

int main(int argc, char **argv) {
    const int one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (argc != 3 || !(record = fopen(argv[2], "w")))
        return 2;
    at.sin_port = htons((in_port_t)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 128) < 0) {
        perror("journey_server");
        return 1;
    }
    return serve(listener);
}

/* steps_io - bytes go out and come in, by every call there is. */
#include "play.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 6000 };
static char bytes[ROOM];

static size_t some_length(void) {
    static const size_t lengths[] = {0, 1, 2, 3, 7, 40, 100, 1000, 1448, 1449, 3000, 5000};
    return one_of(lengths);
}

/* What is sent tells how much was sent before. */
static void fill(void) {
    static unsigned sent;
    for (size_t i = 0; i < ROOM; i++)
        bytes[i] = (char)('A' + (sent + i) % 26);
    sent++;
}

/* Pieces of the first len bytes. */
static int pieces(size_t len, struct iovec iov[4]) {
    const int n = len ? 1 + (int)chance(4) : (int)chance(5);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        const size_t part = i == n - 1 ? len - at : chance((unsigned)(len - at) + 1);
        iov[i] = (struct iovec){bytes + at, part};
        at += part;
    }
    return n;
}

static void *bad_now_and_then(void *p) {
    return chance(40) ? p : chance(2) ? NULL : NOWHERE;
}

static socklen_t destination(struct sockaddr_in6 *ret) {
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    static const socklen_t lengths[] = {0, 1, 8, 15, 16, 28, 200};
    const uint16_t port = htons(chance(4) ? FAR_PORT : FAR_REFUSED);
    memset(ret, 0, sizeof *ret);
    if (chance(3)) {
        *in = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = inet_addr(FAR_ADDRESS)};
    } else {
        *ret = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
        inet_pton(AF_INET6, mapped ? "::ffff:" FAR_ADDRESS : FAR_ADDRESS6, &ret->sin6_addr);
    }
    if (chance(20) == 0)
        ret->sin6_family = AF_UNSPEC;
    return chance(12) ? (in->sin_family == AF_INET ? sizeof *in : sizeof *ret) : one_of(lengths);
}

/* ---- out ---- */

static int flags_out(int fd) {
    static const int flags[] = {
        0,       0,       0,           0,        MSG_DONTWAIT, MSG_DONTWAIT, MSG_NOSIGNAL,
        MSG_OOB, MSG_EOR, MSG_CONFIRM, MSG_PEEK, 1 << 30,      MSG_ERRQUEUE};
    const int f = one_of(flags);
    return type_of(fd) == SOCK_DGRAM && chance(10) == 0 ? MSG_MORE : f;
}

static void step_send(void) {
    const int fd = a_socket(), flags = flags_out(fd);
    const size_t len = some_length();
    struct sockaddr_in6 to;
    const unsigned kind = chance(8);
    socklen_t tolen = destination(&to);
    void *buf = bad_now_and_then(bytes), *at = chance(2) ? NULL : &to;
    fill();
    say(" %d kind %u %zu bytes flags %x%s", fd, kind, len, (unsigned)flags, buf == bytes ? "" : " bad");
    may_block(fd, kind < 4 || kind == 7 ? flags : 0, 0);
    switch (kind) {
    case 0:
    case 1:
        TOLD(send(fd, buf, len, flags));
        break;
    case 2:
    case 3:
        say(" to");
        say_address(at == &to ? at : NULL, tolen, at == &to ? sizeof to : 0);
        TOLD(sendto(fd, buf, len, flags, at, tolen));
        break;
    case 4:
    case 5:
    case 6:
        TOLD(write(fd, buf, len));
        break;
    default:
        TOLD(syscall(SYS_sendto, fd, buf, len, flags, at, tolen));
    }
}

static void step_send_pieces(void) {
    const int fd = a_socket(), flags = flags_out(fd);
    const size_t len = some_length();
    struct iovec iov[4];
    struct sockaddr_in6 to;
    const socklen_t tolen = destination(&to);
    const bool there = chance(3) == 0;
    struct mmsghdr many[3] = {0};
    const int n = pieces(len, iov), count = chance(25) ? n : -1;
    const unsigned kind = chance(4);
    fill();
    say(" %d kind %u %zu bytes in %d flags %x", fd, kind, len, count, (unsigned)flags);
    for (int i = 0; i < 3; i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = iov,
                                          .msg_iovlen = (size_t)count,
                                          .msg_name = there ? &to : NULL,
                                          .msg_namelen = there ? tolen : 0};
    may_block(fd, kind ? flags : 0, 0);
    if (kind == 0) {
        TOLD(writev(fd, iov, count));
    } else if (kind == 1) {
        const unsigned most = chance(4);
        say(" %u messages", most);
        TOLD(sendmmsg(fd, many, most, flags));
        say(" %u %u %u", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    } else {
        TOLD(sendmsg(fd, &many[0].msg_hdr, flags));
    }
}

static void step_send_file(void) {
    const int fd = a_socket();
    if (type_of(fd) == SOCK_DGRAM)
        return; /* the kernel may keep it back */
    const int file = (int)raw(SYS_memfd_create, "file", 0);
    off_t at = chance(3);
    const bool by_offset = chance(2);
    const size_t len = some_length();
    fill();
    raw(SYS_write, file, bytes, 1000);
    raw(SYS_lseek, file, 5, SEEK_SET);
    say(" %d %zu bytes", fd, len);
    may_block(fd, 0, 0);
    if (chance(8))
        TOLD(sendfile(fd, file, by_offset ? &at : NULL, len));
    else
        TOLD(sendfile(file, fd, NULL, len));
    say(" at %ld, %ld", (long)at, raw(SYS_lseek, file, 0, SEEK_CUR));
    raw(SYS_close, file);
}

static void step_splice(void) {
    const int fd = a_socket();
    const bool out = chance(2);
    const unsigned flags = chance(2) ? SPLICE_F_NONBLOCK : 0;
    const size_t len = 1 + some_length();
    int line[2];
    if (urgent)
        return;
    raw(SYS_pipe2, line, O_NONBLOCK);
    fill();
    say(out ? " into %d, %zu bytes flags %u" : " from %d, %zu bytes flags %u", fd, len, flags);
    if (out)
        raw(SYS_write, line[1], bytes, 900);
    may_block(fd, 0, out ? 0 : POLLIN);
    const long n = out ? TOLD(splice(line[0], NULL, fd, NULL, len, flags))
                       : TOLD(splice(fd, NULL, line[1], NULL, len, flags));
    if (!out && n > 0)
        say_bytes(bytes, raw(SYS_read, line[0], bytes, sizeof bytes));
    raw(SYS_close, line[0]);
    raw(SYS_close, line[1]);
}

/* ---- in ---- */

/* The whole of what is asked for ends at an urgent byte; in a socket that a child has, too, not for us. */
static int flags_in(int fd) {
    static const int flags[] = {0,
                                0,
                                0,
                                MSG_DONTWAIT,
                                MSG_DONTWAIT,
                                MSG_PEEK,
                                MSG_PEEK,
                                MSG_WAITALL,
                                MSG_TRUNC,
                                MSG_PEEK | MSG_TRUNC,
                                MSG_OOB,
                                MSG_OOB | MSG_PEEK,
                                MSG_ERRQUEUE,
                                MSG_ERRQUEUE | MSG_DONTWAIT,
                                MSG_WAITALL | MSG_DONTWAIT,
                                MSG_NOSIGNAL,
                                MSG_CMSG_CLOEXEC,
                                1 << 30};
    return one_of(flags) & ~(polled(fd) & POLLPRI ? MSG_WAITALL : 0);
}

/* TRUNC on a stream counts bytes that it throws away. */
static void came(long n, const struct msghdr *msg) {
    say_bytes(bytes, n < 0 ? 0 : n < ROOM ? n : ROOM);
    if (msg)
        say(" flags %x control %zu", (unsigned)msg->msg_flags, msg->msg_controllen);
}

static void step_recv(void) {
    const int fd = a_socket();
    const size_t len = some_length();
    /* To wait for nothing ends with anything. */
    const int flags = flags_in(fd) | (len ? 0 : MSG_DONTWAIT);
    struct sockaddr_in6 from = {0};
    socklen_t room = chance(3) ? sizeof from : chance(30), fromlen = room;
    const unsigned kind = chance(8);
    void *buf = bad_now_and_then(bytes), *at = &from;
    memset(bytes, '#', sizeof bytes);
    say(" %d kind %u %zu bytes flags %x%s", fd, kind, len, (unsigned)flags, buf == bytes ? "" : " bad");
    may_block(fd, kind < 5 || kind == 7 ? flags : 0, POLLIN);
    long n;
    switch (kind) {
    case 0:
    case 1:
    case 2:
        n = TOLD(recv(fd, buf, len, flags));
        break;
    case 3:
    case 4:
        n = TOLD(recvfrom(fd, buf, len, flags, at, &fromlen));
        if (at == &from)
            say_address(&from, fromlen, room);
        break;
    case 5:
    case 6:
        n = TOLD(read(fd, buf, len));
        break;
    default:
        n = TOLD(syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL));
    }
    came(n < (long)len ? n : (long)len, NULL);
}

static void step_recv_pieces(void) {
    const int fd = a_socket();
    const size_t len = some_length();
    /* To wait for nothing ends with anything. */
    const int flags = flags_in(fd) | (len ? 0 : MSG_DONTWAIT);
    struct iovec iov[4];
    char control[128];
    struct sockaddr_in6 from[3] = {0};
    struct mmsghdr many[3] = {0};
    const int n = pieces(len, iov), count = chance(25) ? n : -1;
    /* Of a stream the kernel tells what went wrong before what had come. */
    const unsigned kind = type_of(fd) == SOCK_STREAM ? 2 * chance(2) : chance(4);
    const bool named = chance(2), controls = chance(3) == 0;
    memset(bytes, '#', sizeof bytes);
    for (int i = 0; i < 3; i++)
        many[i].msg_hdr = (struct msghdr){.msg_iov = iov,
                                          .msg_iovlen = (size_t)count,
                                          .msg_name = named ? &from[i] : NULL,
                                          .msg_namelen = named ? sizeof from[i] : 0,
                                          .msg_control = controls ? control : NULL,
                                          .msg_controllen = controls ? sizeof control : 0};
    say(" %d kind %u %zu bytes in %d flags %x", fd, kind, len, count, (unsigned)flags);
    may_block(fd, kind ? flags : 0, kind == 1 ? 0 : POLLIN);
    if (kind == 0) {
        came(TOLD(readv(fd, iov, count)), NULL);
    } else if (kind == 1) {
        const unsigned most = chance(4);
        struct timespec none = {0, 0};
        say(" %u messages", most);
        const long got = TOLD(
            recvmmsg(fd, many, most, flags | (chance(2) ? MSG_WAITFORONE : 0), chance(4) ? NULL : &none));
        for (long i = 0; i < got; i++) {
            say(" %u", many[i].msg_len);
            say_address(&from[i], many[i].msg_hdr.msg_namelen, many[i].msg_hdr.msg_namelen);
            came((long)len < (long)many[i].msg_len ? (long)len : (long)many[i].msg_len, &many[i].msg_hdr);
        }
    } else {
        struct msghdr *msg = &many[0].msg_hdr;
        const long got = TOLD(recvmsg(fd, msg, flags));
        if (got >= 0)
            say_address(&from[0], msg->msg_namelen, named ? sizeof from[0] : 0);
        came(got < (long)len ? got : (long)len, got >= 0 ? msg : NULL);
    }
}

const struct step steps_io[] = {{"send", step_send, 12},
                                {"send pieces", step_send_pieces, 6},
                                {"sendfile", step_send_file, 2},
                                {"splice", step_splice, 2},
                                {"recv", step_recv, 12},
                                {"recv pieces", step_recv_pieces, 6},
                                {NULL, NULL, 0}};

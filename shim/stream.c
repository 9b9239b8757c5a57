/* stream - what the kernel knows of a TCP connection.
 * TCP_INFO in the kernel's full form, which libc's header lacks; so its numbering of states stands here too.
 * Of a Multipath connection it tells the first way only, which may be closed long before: there the whole is
 * asked (subflow), and its end is read off poll(). No lock, no state. */
#include "stream.h"
#include "real.h"
#include "subflow.h"

#include <asm/ioctls.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdint.h>

/* As in the kernel's tcp_states.h; netinet/tcp.h, which has them too, cannot be included beside linux/tcp.h.
 */
enum { ESTABLISHED = 1, TIME_WAIT = 6, CLOSE = 7, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

static struct tcp_info info_of(int fd) {
    struct tcp_info info = {.tcpi_state = ESTABLISHED};
    socklen_t len = sizeof info;
    real.getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info;
}

static bool is_finished(int state) {
    return state == CLOSE_WAIT || state == LAST_ACK || state == CLOSING || state == TIME_WAIT;
}

static bool polls(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    return real.poll(&p, 1, 0) == 1 && (p.revents & events);
}

bool stream_finished(int fd) {
    if (subflow_multipath(fd))
        return polls(fd, POLLRDHUP);
    return is_finished(info_of(fd).tcpi_state);
}

bool stream_closed(int fd) {
    if (subflow_multipath(fd))
        return polls(fd, POLLHUP);
    return info_of(fd).tcpi_state == CLOSE;
}

/* A poll says at once that there is no end, mostly; a hang-up may be our own shutdown. */
bool stream_failed(int fd) {
    return polls(fd, POLLERR);
}

bool stream_ended(int fd) {
    if (!polls(fd, POLLRDHUP | POLLHUP))
        return false;
    if (subflow_multipath(fd))
        return true;
    const int state = info_of(fd).tcpi_state;
    return is_finished(state) || state == CLOSE;
}

bool stream_untouched(int fd) {
    const struct tcp_info info = info_of(fd);
    uint64_t sent, received;
    int unread = 0, unsent = 0;
    if (real.ioctl(fd, SIOCINQ, &unread) < 0 || real.ioctl(fd, SIOCOUTQ, &unsent) < 0)
        return false;
    if (subflow_multipath(fd))
        return subflow_account(fd, &sent, &received) && sent == 0 && unsent == 0 &&
               received == (uint64_t)unread;
    /* Fresh from falling back, Multipath TCP counts one byte that is nowhere. */
    if (unsent == 1 && !info.tcpi_unacked && !info.tcpi_notsent_bytes)
        unsent = 0;
    /* The handshake's SYN counts as one byte acknowledged. */
    return info.tcpi_bytes_received == (uint64_t)unread && info.tcpi_bytes_acked <= 1 && unsent == 0;
}

bool stream_aborted(int fd) {
    if (subflow_multipath(fd))
        return polls(fd, POLLHUP) && !polls(fd, POLLRDHUP);
    const struct tcp_info info = info_of(fd);
    return info.tcpi_state == CLOSE && info.tcpi_bytes_acked == 0;
}

size_t stream_unread(int fd) {
    int bytes = 0;
    char first;
    if (real.ioctl(fd, SIOCINQ, &bytes) < 0 || bytes <= 0)
        return 0;
    /* Multipath TCP counts an end as a byte. */
    if (bytes == 1 && real.recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        return 0;
    return (size_t)bytes;
}

size_t stream_unacked(int fd, bool fin) {
    int bytes = 0;
    if (real.ioctl(fd, SIOCOUTQ, &bytes) < 0 || bytes <= 0)
        return 0;
    return (size_t)bytes - (fin ? 1 : 0);
}

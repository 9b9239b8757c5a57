/* stream - what the kernel knows of a TCP connection: its own word, never a count of hooked calls. */
#ifndef CMM_STREAM_H
#define CMM_STREAM_H

#include <stdbool.h>
#include <stddef.h>

/* The peer has sent its end or a reset: it is over by the peer's word. */
bool stream_ended(int fd);

/* The peer's end has come, and everything before it. */
bool stream_finished(int fd);

/* Reset, or closed both ways and acknowledged. */
bool stream_closed(int fd);

/* An error waits to be told. */
bool stream_failed(int fd);

/* Not a byte of data has been delivered to a holder nor accepted from one. */
bool stream_untouched(int fd);

/* Ended by connect(AF_UNSPEC), here or in another process that shares it: the kernel has forgotten even the
 * handshake. */
bool stream_aborted(int fd);

/* Bytes that have arrived and nobody has read. */
size_t stream_unread(int fd);

/* Bytes sent that the peer has not acknowledged; fin: our own end is among them. */
size_t stream_unacked(int fd, bool fin);

#endif

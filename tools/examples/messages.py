#!/usr/bin/env python3
"""messages.py ADDRESS PORT - messages.c again, in Python by ctypes: lines "LABELS TEXT" go by their labels.

The library is loaded, not preloaded: only its own calls know of networks, and Python's sockets stay what they are.
"""

import ctypes
import os
import socket
import struct
import sys
import threading

FAILED, DEFERRED, THUNK_EXECUTED = -1, -2, -3
THUNK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

cmm = ctypes.CDLL(os.environ.get("LIBCMM", "libcmm_preload.so.1"), use_errno=True)
cmm.cmm_send.restype = ctypes.c_ssize_t
cmm.cmm_send.argtypes = [
    ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_ulong, THUNK, ctypes.c_void_p
]
cmm.cmm_connect.argtypes = [
    ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
]
cmm.cmm_labels_parse.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_ulong)]


def check(result):
    if result == FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def parse(names):
    labels = ctypes.c_ulong()
    check(cmm.cmm_labels_parse(names.encode(), ctypes.byref(labels)))
    return labels.value


def address(host, port):
    """A struct sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


class Message:
    """Keeps itself, and with it the callback that C holds, until it is sent."""

    waiting = {}  # number -> Message
    done = threading.Semaphore(0)

    def __init__(self, sock, labels, text):
        self.sock, self.labels, self.text = sock, labels, text.encode()

    def post(self):
        number = id(self)
        Message.waiting[number] = self
        r = check(cmm.cmm_send(self.sock, self.text, len(self.text), 0, self.labels, again, number))
        if r in (DEFERRED, THUNK_EXECUTED):
            if r == DEFERRED:
                print("deferred:", self.text.decode(), end="", flush=True)
            return
        del Message.waiting[number]
        print("sent:", self.text.decode(), end="", flush=True)
        Message.done.release()


@THUNK
def again(number):
    """Runs on the library's thread, or inside cmm_send; ctypes takes Python's lock for it."""
    Message.waiting[number].post()


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    sock = check(cmm.cmm_socket(socket.AF_INET, socket.SOCK_STREAM, 0))
    to = address(host, port)
    check(cmm.cmm_connect(sock, to, len(to), parse("ondemand"), None, None, None))
    count = 0
    for line in sys.stdin:
        names, text = line.split(" ", 1)
        Message(sock, parse(names), text).post()
        count += 1
    for _ in range(count):
        Message.done.acquire()
    check(cmm.cmm_close(sock))


if len(sys.argv) != 3:
    sys.exit("usage: messages.py ADDRESS PORT")
main()

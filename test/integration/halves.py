#!/usr/bin/env python3
"""halves DIRECTORY PORT - a web server that speaks Multipath TCP and stops half-way.

A GET or PUT of /NAME serves or takes DIRECTORY/NAME; with the first half gone it makes DIRECTORY/NAME.half and waits for
DIRECTORY/NAME.go. Without Multipath TCP in the kernel it exits with 77.
"""

import os
import socket
import sys
import threading
import time

directory, port = sys.argv[1], int(sys.argv[2])
PIECE = 65536


def path(name, ending=""):
    return os.path.join(directory, os.path.basename(name) + ending)


def pause_at_half(name):
    open(path(name, ".half"), "w", encoding="ascii").close()
    while not os.path.exists(path(name, ".go")):
        time.sleep(0.005)


def give(peer, name):
    with open(path(name), "rb") as f:
        body = f.read()
    peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    peer.sendall(body[: len(body) // 2])
    pause_at_half(name)
    peer.sendall(body[len(body) // 2 :])


def take(peer, stream, name, length):
    with open(path(name), "wb") as f:
        f.write(stream.read(length // 2))
        pause_at_half(name)
        f.write(stream.read(length - length // 2))
    peer.sendall(b"HTTP/1.0 201 Created\r\nContent-Length: 0\r\n\r\n")


def serve(peer):
    stream = peer.makefile("rb")
    verb, name, _ = stream.readline().decode("ascii").split()
    length = 0
    for line in stream:
        if not line.strip():
            break
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if verb == "PUT":
        take(peer, stream, name, length)
    else:
        give(peer, name)
    peer.close()


try:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError:
    sys.exit(77)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("", port))
listener.listen(16)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

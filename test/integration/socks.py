#!/usr/bin/env python3
"""socks.py PORT - a SOCKS5 server on 127.0.0.1 without passwords: CONNECT to IPv4 addresses and names."""

import socket
import struct
import sys
import threading


def exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    try:
        exactly(client, exactly(client, 2)[1])
        client.sendall(b"\x05\x00")
        kind = exactly(client, 4)[3]
        host = socket.inet_ntoa(exactly(client, 4)) if kind == 1 else exactly(client, exactly(client, 1)[0]).decode()
        port = struct.unpack("!H", exactly(client, 2))[0]
        far = socket.create_connection((host, port))
    except (OSError, EOFError):
        client.close()
        return
    client.sendall(b"\x05\x00\x00\x01" + bytes(6))
    threading.Thread(target=pump, args=(client, far), daemon=True).start()
    pump(far, client)


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

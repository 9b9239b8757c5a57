"""ledger - a server that counts every line of every sender, and what its scout says of subscribers."""

import selectors
import socket
import struct
import threading
import time

ASK, SET, SUBSCRIBER, DONE, SUBSCRIBERS = 3, 4, 35, 37, 4
UP, DOWN = 1, 2
LIMIT = 60


class Ledger(threading.Thread):
    """Lines are "SENDER NUMBER"; a byte for each of a sender's numbers says how often it came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listening.getsockname()[1]
        self.seen, self.lines, self.doubled, self.connections = {}, 0, 0, 0
        self.start()

    def note(self, line):
        sender, number = map(int, line.split())
        marks = self.seen.setdefault(sender, bytearray())
        if number >= len(marks):
            marks.extend(bytes(number + 4096 - len(marks)))
        self.doubled += marks[number]
        self.lines += not marks[number]
        marks[number] = 1

    def take(self, rest, data):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            self.note(line)
        return rest

    def run(self):
        poll = selectors.DefaultSelector()
        poll.register(self.listening, selectors.EVENT_READ)
        rest = {}
        while True:
            for key, _ in poll.select():
                if key.fileobj is self.listening:
                    peer = self.listening.accept()[0]
                    poll.register(peer, selectors.EVENT_READ)
                    rest[peer] = b""
                    self.connections += 1
                    continue
                try:
                    data = key.fileobj.recv(65536)
                except OSError:
                    data = b""
                if data:
                    rest[key.fileobj] = self.take(rest[key.fileobj], data)
                else:
                    poll.unregister(key.fileobj)
                    del rest[key.fileobj]
                    key.fileobj.close()

    def lost(self, sent):
        """Of so many lines, once they have had time to arrive."""
        end = time.monotonic() + LIMIT
        while self.lines < sent and time.monotonic() < end:
            time.sleep(0.01)
        return sent - self.lines


def dial(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(LIMIT)
    s.connect(path)
    return s


def subscribed(path):
    """{pid: thunks} of all subscribers, as cmm-ctl asks for them; none while nobody answers."""
    thunks = {}
    try:
        with dial(path) as s:
            s.send(struct.pack("=HHIII", 1, ASK, 16, SUBSCRIBERS, 0))
            while True:
                message = s.recv(4096)
                kind = struct.unpack_from("=HHI", message)[1] if message else DONE
                if kind == DONE:
                    return thunks
                if kind == SUBSCRIBER:
                    pid, thunks_of_it = struct.unpack_from("=I32xI", message, 8)
                    thunks[pid] = thunks_of_it
    except OSError:
        return thunks


def steer(s, network, action):
    """As cmm-ctl up and down, by a connection of dial()."""
    s.send(struct.pack("=HHIII64s", 1, SET, 80, action, 0, network.encode()))
    while struct.unpack_from("=HHI", s.recv(4096))[1] != DONE:
        pass

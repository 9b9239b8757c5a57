#!/usr/bin/env python3
"""scout_killed SCOUT SENDER [KILLS [SENDERS]] - the scout is killed again and again under load.

Its networks flip by a script while programs linked with the library send numbered lines. A table: how long each
subscriber took to be back, counted from the start of the next scout; and what the server's ledger says of every
line. Exits 1 if a line was lost or doubled, or somebody did not come back.
"""

import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

KILLS, SENDERS, PAUSE_US, LIMIT = 200, 20, 5000, 30
CONFIG = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n[network cell]\naddress = 127.0.2.1\nlabels = background\n"
SCRIPT = "0 up wifi\n0.05 up cell\n0.07 down wifi\n0.12 up wifi\n0.14 down cell\n0.15 loop\n"
ASK, SUBSCRIBER, DONE, SUBSCRIBERS = 3, 35, 37, 4


class Ledger(threading.Thread):
    """A server that counts every line it has ever got."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listening.getsockname()[1]
        self.lines, self.connections = {}, 0
        self.start()

    def take(self, rest, data):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            self.lines[line] = self.lines.get(line, 0) + 1
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
                    key.fileobj.close()


def subscribed(path):
    """The pids of all subscribers, as cmm-ctl asks for them; none while nobody answers."""
    pids = set()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(LIMIT)
        try:
            s.connect(path)
            s.send(struct.pack("=HHIII", 1, ASK, 16, SUBSCRIBERS, 0))
            while True:
                message = s.recv(4096)
                kind = struct.unpack_from("=HHI", message)[1] if message else DONE
                if kind == DONE:
                    return pids
                if kind == SUBSCRIBER:
                    pids.add(struct.unpack_from("=I", message, 8)[0])
        except OSError:
            return pids


def all_back(path, pids, since, took):
    """Adds how long each of them took; False if somebody stays away."""
    away = set(pids)
    while away and time.monotonic() < since + LIMIT:
        back = away & subscribed(path)
        took += [time.monotonic() - since] * len(back)
        away -= back
        time.sleep(0.002)
    return not away


def show(what, values):
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(len(values) * share))] * 1000
    print(f"{what:40} {len(values):7} {at(0):8.1f} {at(.5):8.1f} {at(.9):8.1f} {at(.99):8.1f} {at(1):8.1f}")


def campaign(scout, sender, kills, count, place):
    path = place + "/scout.sock"
    for name, text in (("conf", CONFIG), ("script", SCRIPT)):
        with open(f"{place}/{name}", "w") as f:
            f.write(text)
    start = lambda: subprocess.Popen(
        [scout, "-c", place + "/conf", "--script", place + "/script", "--name", path], stderr=subprocess.DEVNULL)
    ledger, took, daemon = Ledger(), [], start()
    senders = [subprocess.Popen([sender, str(ledger.port), str(i), str(PAUSE_US)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=dict(os.environ, CMM_SCOUT=path)) for i in range(count)]
    good = all_back(path, [s.pid for s in senders], time.monotonic(), [])
    for _ in range(kills):
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        since = time.monotonic()
        daemon = start()
        good &= all_back(path, [s.pid for s in senders], since, took)
    for s in senders:
        s.stdin.close()
    sent = [int(s.stdout.read() or 0) for s in senders]
    good &= all(s.wait() == 0 for s in senders)
    daemon.kill()
    daemon.wait()
    end = time.monotonic() + LIMIT
    while len(ledger.lines) < sum(sent) and time.monotonic() < end:
        time.sleep(0.01)
    lost = sum(sent) - len(ledger.lines)
    doubled = sum(n - 1 for n in ledger.lines.values())
    print(f"{'milliseconds':40} {'times':>7} {'least':>8} {'median':>8} {'90%':>8} {'99%':>8} {'most':>8}")
    show("a subscriber is back after", took)
    print(f"{kills} kills, {count} senders, {sum(sent)} lines by {ledger.connections} connections: "
          f"{lost} lost, {doubled} doubled")
    return 0 if good and not lost and not doubled else 1


with tempfile.TemporaryDirectory() as where:
    numbers = [int(n) for n in sys.argv[3:]]
    sys.exit(campaign(sys.argv[1], sys.argv[2], *(numbers + [KILLS, SENDERS][len(numbers):]), where))

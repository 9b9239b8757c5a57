#!/usr/bin/env python3
"""scout_flooded SCOUT - what the scout costs, and how late the others hear the news while somebody floods it.

A table in milliseconds, from an order to the news at the last of 200 subscribers; a program that only burns the
processor stands beside, for what the machine itself does to others. Nothing is asserted.
"""

import os
import resource
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

SUBSCRIBERS, CROWD, TIMES = 200, 2000, 150
SUBSCRIBE, ASK, SET, QUEUE, ALL_SUBSCRIBERS, UP, DOWN = 1, 3, 4, 1, 4, 1, 2


def message(kind, layout, *values):
    body = struct.pack("=" + layout, *values)
    return struct.pack("=HHI", 1, kind, 8 + len(body)) + body


FLOODS = {
    "hangs: asks and never reads": """
s = connect()
s.setblocking(False)
while True:
    try:
        s.send(question)
    except BlockingIOError:
        time.sleep(0.0001)
""",
    "floods: asks and reads": """
s = connect()
s.setblocking(False)
while True:
    try:
        s.send(question)
    except BlockingIOError:
        pass
    try:
        while True:
            s.recv(4096)
    except BlockingIOError:
        pass
""",
    "comes and goes without end": """
while True:
    s = connect()
    s.send(hello)
    s.close()
""",
    "burns the processor, apart": "while True: pass",
}
PREFACE = """
import socket, sys, time
path, question, hello = sys.argv[1], bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(path)
    return s
"""


def connect(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(path)
    return s


def subscriber(path, flags=0):
    s = connect(path)
    s.send(message(SUBSCRIBE, "II16s", 0, flags, b"campaign"))
    s.recv(4096)
    return s


def swallow(s):
    while select.select([s], [], [], 0)[0]:
        s.recv(4096)


def order(owner, action):
    owner.send(message(SET, "II64s", action, 0, b"lab"))


def delays(owner, last):
    took = []
    for n in range(TIMES + 2):
        swallow(last)
        began = time.monotonic()
        order(owner, DOWN if n % 2 else UP)
        last.recv(4096)
        took.append((time.monotonic() - began) * 1000)
        owner.recv(4096)
        time.sleep(0.005)
    return sorted(took[2:])


def show(what, took):
    print(f"{what:32} {took[len(took) // 2]:8.2f} {took[len(took) * 9 // 10]:8.2f} {took[-1]:8.2f}", flush=True)


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def campaign(scout, place):
    path = place + "/scout.sock"
    with open(place + "/conf", "w") as f:
        f.write("[network lab]\naddress = 127.0.1.1\n")
    daemon = subprocess.Popen([scout, "-c", place + "/conf", "--name", path], stderr=subprocess.DEVNULL)
    while not os.path.exists(path):
        time.sleep(0.01)
    time.sleep(0.1)
    before = memory(daemon.pid)
    crowd = [subscriber(path) for _ in range(CROWD)]
    print(f"{before} kB resident, and {(memory(daemon.pid) - before) / CROWD:.2f} kB a subscriber")
    for s in crowd:
        s.close()
    crowd = [subscriber(path, QUEUE) for _ in range(SUBSCRIBERS)]
    owner, last = connect(path), subscriber(path)
    print(f"{'milliseconds, while another':32} {'median':>8} {'90%':>8} {'most':>8}")
    show("is quiet", delays(owner, last))
    question, hello = message(ASK, "II", ALL_SUBSCRIBERS, 0), message(SUBSCRIBE, "II16s", 0, QUEUE, b"flood")
    for what, program in FLOODS.items():
        other = subprocess.Popen([sys.executable, "-c", PREFACE + program, path, question.hex(), hello.hex()])
        time.sleep(0.5)
        show(what, delays(owner, last))
        other.kill()
        other.wait()
    daemon.kill()
    daemon.wait()


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
with tempfile.TemporaryDirectory() as where:
    campaign(sys.argv[1], where)

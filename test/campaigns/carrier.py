#!/usr/bin/env python3
"""carrier SCOUT CTL [TIMES] - how late a carrier's loss is noticed when the kernel is late to tell.

A link loses its carrier twice within a second (its far end, in another network namespace, goes down): the second
time rtnetlink alone waits for the second to be over. A table in milliseconds: the scout's event, and a bare listener
to rtnetlink while the scout is stopped. Nothing is asserted.
"""

import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

SKIP, LOWER_UP, NEWLINK = 77, 0x10000, 16
FLIP = """
import fcntl
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for line in sys.stdin:
    began = time.time()
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"far0", int(line)))  # SIOCSIFFLAGS
    print(began, flush=True)
"""


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


class World:
    def __init__(self, scout, ctl, place):
        self.other = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.other.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        # The same number at both ends: otherwise the kernel takes its events for urgent ones.
        made = run("ip", "link", "add", "wifi0", "index", "77", "type", "veth", "peer", "name", "far0", "index", "77",
                   "netns", str(self.other.pid))
        if made.returncode:
            print("no veth links here:", made.stderr.strip())
            sys.exit(SKIP)
        run("ip", "addr", "add", "10.1.0.2/24", "dev", "wifi0")
        run("ip", "link", "set", "wifi0", "up")
        self.flipper = subprocess.Popen(["nsenter", f"--net=/proc/{self.other.pid}/ns/net", sys.executable, "-c", FLIP],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with open(place + "/conf", "w") as f:
            f.write("[scout]\nhold-down = 0\ngrace = 0.1\n")
        os.environ["CMM_SCOUT"] = place + "/scout.sock"
        self.daemon = subprocess.Popen([scout, "-c", place + "/conf", "--name", os.environ["CMM_SCOUT"]],
                                       stderr=subprocess.DEVNULL)
        while run(ctl, "networks").returncode:
            time.sleep(0.01)
        self.watch = subprocess.Popen([ctl, "--json", "watch"], stdout=subprocess.PIPE, text=True)
        self.lost = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        s.bind((0, 1))
        while True:
            data, now, at = s.recv(65536), time.time(), 0
            while at < len(data):
                length, kind = struct.unpack_from("IH", data, at)
                if kind == NEWLINK and not struct.unpack_from("I", data, at + 24)[0] & LOWER_UP:
                    self.lost.append(now)
                at += (length + 3) & ~3

    def flip(self, up):
        self.flipper.stdin.write(f"{up}\n")
        self.flipper.stdin.flush()
        return float(self.flipper.stdout.readline())

    def hear(self, what, began):
        while True:
            event = json.loads(self.watch.stdout.readline())
            if event["event"] == "network wifi0 " + what and event["at"] >= began - 0.002:
                return event["at"] - began

    def loss(self, bare):
        """The second of two within a second."""
        self.hear("down", self.flip(0))
        self.hear("up", self.flip(1))
        time.sleep(random.uniform(0.1, 0.4))
        if bare:
            self.daemon.send_signal(signal.SIGSTOP)
        self.lost.clear()
        began = self.flip(0)
        if bare:
            time.sleep(1.2)
            self.daemon.send_signal(signal.SIGCONT)
            took = min(at for at in self.lost if at >= began) - began
        else:
            took = self.hear("grace", began)
        time.sleep(0.3)
        self.hear("up", self.flip(1))
        time.sleep(1.2)
        return took * 1000

    def end(self):
        for process in (self.watch, self.flipper, self.daemon, self.other):
            process.kill()
            process.wait()


def show(what, took):
    took = sorted(took)
    print(f"{what:36} {len(took):5} {took[len(took) // 2]:8.1f} {took[len(took) * 9 // 10]:8.1f} {took[-1]:8.1f}", flush=True)


def campaign(scout, ctl, times, place):
    world = World(scout, ctl, place)
    try:
        world.flip(0)
        time.sleep(1.5)
        world.flip(1)
        time.sleep(1.5)
        print(f"{'milliseconds':36} {'times':>5} {'median':>8} {'90%':>8} {'most':>8}")
        show("carrier lost: the scout's event", [world.loss(False) for _ in range(times)])
        show("the same: rtnetlink alone", [world.loss(True) for _ in range(times)])
    finally:
        world.end()


if "inside" not in sys.argv:
    if run("unshare", "-Urnim", "true").returncode:
        print("no namespaces here")
        sys.exit(SKIP)
    os.execvp("unshare", ["unshare", "-Urnim", sys.executable] + sys.argv + ["inside"])
with tempfile.TemporaryDirectory() as where:
    campaign(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 4 else 30, where)

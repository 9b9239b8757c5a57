#!/usr/bin/env python3
"""scout_killed SCOUT SENDER [KILLS [SENDERS]] - the scout is killed again and again under load.

Its networks flip by a script while programs linked with the library send numbered lines. A table: how long each
subscriber took to be back, counted from the start of the next scout; and what the server's ledger says of every
line. Exits 1 if a line was lost or doubled, or somebody did not come back.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

import ledger

KILLS, SENDERS, PAUSE_US = 200, 20, 5000
CONFIG = "[network wifi]\naddress = 127.0.1.1\nlabels = background\n[network cell]\naddress = 127.0.2.1\nlabels = background\n"
SCRIPT = "0 up wifi\n0.05 up cell\n0.07 down wifi\n0.12 up wifi\n0.14 down cell\n0.15 loop\n"


def all_back(path, pids, since, took):
    """Adds how long each of them took; False if somebody stays away."""
    away = set(pids)
    while away and time.monotonic() < since + ledger.LIMIT:
        back = away & ledger.subscribed(path).keys()
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
    server, took, daemon = ledger.Ledger(), [], start()
    senders = [subprocess.Popen([sender, str(server.port), str(i), str(PAUSE_US)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=dict(os.environ, CMM_SCOUT=path)) for i in range(count)]
    good = all_back(path, [s.pid for s in senders], time.monotonic(), [])
    for _ in range(kills):
        daemon.kill()
        daemon.wait()
        since = time.monotonic()
        daemon = start()
        good &= all_back(path, [s.pid for s in senders], since, took)
        time.sleep(random.choice((0, 0, 0, 0.2)))  # some live to see the networks flip
    for s in senders:
        s.stdin.close()
    sent = sum(int(s.stdout.read() or 0) for s in senders)
    good &= all(s.wait() == 0 for s in senders)
    daemon.kill()
    daemon.wait()
    lost = server.lost(sent)
    print(f"{'milliseconds':40} {'times':>7} {'least':>8} {'median':>8} {'90%':>8} {'99%':>8} {'most':>8}")
    show("a subscriber is back after", took)
    print(f"{kills} kills, {count} senders, {sent} lines by {server.connections} connections: "
          f"{lost} lost, {server.doubled} doubled")
    return 0 if good and not lost and not server.doubled else 1


with tempfile.TemporaryDirectory() as where:
    numbers = [int(n) for n in sys.argv[3:]]
    sys.exit(campaign(sys.argv[1], sys.argv[2], *(numbers + [KILLS, SENDERS][len(numbers):]), where))

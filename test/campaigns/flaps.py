#!/usr/bin/env python3
"""flaps SCOUT SENDER [FLAPS [SUBSCRIBERS [THUNKS]]] - networks flap again and again under many subscribers.

Programs linked with the library keep so many lines under way, all together, each with a thunk that sends it again
while both their networks come and go; now and then both stay away until all of it is stored. A server's ledger says
what has become of every line. Exits 1 if one was lost or doubled.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

import ledger

FLAPS, SUBSCRIBERS, THUNKS, PAUSE_US, FULL_EVERY = 1000, 200, 100000, 10000, 500
CONFIG = ("[network wifi]\naddress = 127.0.1.1\nlabels = background\n[network cell]\naddress = 127.0.2.1\n"
          "labels = background\n[scout]\nhold-down = 0\ngrace = 0\n")


def fill(path, scout, thunks):
    """Both networks away until every subscriber has stored what it may; how many thunks that is."""
    for network in ("wifi", "cell"):
        ledger.steer(scout, network, ledger.DOWN)
    stored, end = 0, time.monotonic() + ledger.LIMIT
    while stored < thunks and time.monotonic() < end:
        time.sleep(0.05)
        stored = sum(ledger.subscribed(path).values())
    return stored


def flap(scout, up, chance):
    network = chance.choice(("wifi", "cell"))
    up[network] = not up[network]
    ledger.steer(scout, network, ledger.UP if up[network] else ledger.DOWN)
    time.sleep(chance.choice((0, 0.005, 0.02)))


def campaign(scout, sender, flaps, count, thunks, place):
    path, chance, stored = place + "/scout.sock", random.Random(1), 0
    with open(place + "/conf", "w") as f:
        f.write(CONFIG)
    daemon = subprocess.Popen([scout, "-c", place + "/conf", "--name", path], stderr=subprocess.DEVNULL)
    while not os.path.exists(path):
        time.sleep(0.01)
    server, steering = ledger.Ledger(), ledger.dial(path)
    words = [sender, str(server.port), "NUMBER", str(PAUSE_US), str(thunks // count)]
    senders = [subprocess.Popen([str(i) if word == "NUMBER" else word for word in words], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=dict(os.environ, CMM_SCOUT=path)) for i in range(count)]
    while len(ledger.subscribed(path)) < count:
        time.sleep(0.05)
    up = {"wifi": True, "cell": True}
    for i in range(flaps):
        if i % FULL_EVERY == 0:
            stored = max(stored, fill(path, steering, thunks))
            up = {"wifi": False, "cell": False}
        flap(steering, up, chance)
    for network in ("wifi", "cell"):
        ledger.steer(steering, network, ledger.UP)
    for s in senders:
        s.stdin.close()
    sent = sum(int(s.stdout.read() or 0) for s in senders)
    good = all([s.wait() == 0 for s in senders])
    lost = server.lost(sent)
    daemon.kill()
    daemon.wait()
    print(f"{flaps} flaps, {count} subscribers, {stored} thunks at once, {sent} lines by {server.connections} "
          f"connections: {lost} lost, {server.doubled} doubled")
    return 0 if good and not lost and not server.doubled else 1


with tempfile.TemporaryDirectory() as where:
    numbers = [int(n) for n in sys.argv[3:]]
    sys.exit(campaign(sys.argv[1], sys.argv[2], *(numbers + [FLAPS, SUBSCRIBERS, THUNKS][len(numbers):]), where))

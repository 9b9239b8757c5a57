#!/usr/bin/env python3
"""notify SCOUT - what the scout tells the service manager: ready, reloading and ready again, stopping."""

import os
import signal
import socket
import subprocess
import sys
import tempfile


def heard(manager):
    return manager.recv(4096).decode().split("\n")


def life(scout, place, address):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(120)
    manager.bind(address.replace("@", "\0", 1))
    env = dict(os.environ, NOTIFY_SOCKET=address)
    daemon = subprocess.Popen([scout, "-c", place + "/scout.conf", "--name", place + "/s.sock"], env=env,
                              stderr=subprocess.DEVNULL)
    try:
        assert heard(manager) == ["READY=1"]
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        probe.connect(place + "/s.sock")  # ready means that it listens
        daemon.send_signal(signal.SIGHUP)
        reloading = heard(manager)
        assert reloading[0] == "RELOADING=1" and reloading[1].startswith("MONOTONIC_USEC="), reloading
        assert heard(manager) == ["READY=1"]
        daemon.send_signal(signal.SIGTERM)
        assert heard(manager) == ["STOPPING=1"]
        assert daemon.wait(120) == 0
    finally:
        daemon.kill()
        daemon.wait()
        manager.close()


with tempfile.TemporaryDirectory() as place:
    with open(place + "/scout.conf", "w") as f:
        f.write("[network lab]\naddress = 127.0.1.1\n")
    life(sys.argv[1], place, place + "/notify")
    life(sys.argv[1], place, f"@cmm-notify-{os.getpid()}")

#!/usr/bin/env python3
"""scout_fails SCOUT FAIL_ALLOC - every allocation and every system call of the scout fails, one a life.

A life: start, be asked, subscribed to, steered, reloaded, ended. First one undisturbed, under strace, to count its
calls; then each call number N of each name fails once (strace -e inject), and each allocation (the preload). After
each the scout must have ended by itself, with 0, or with 1 and a line that says why; and while it lived it held no
more descriptors than undisturbed.
"""

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

CONFIG = "[label backup]\nbit = 32\nprefer = lab\n[network lab]\naddress = 127.0.1.1\nlabels = all, backup\n[network wired]\nmatch = e*\n"
# Nothing that is ours to handle: the loader's and the end's.
NOT_OURS = {"execve", "exit_group", "rt_sigreturn", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "mprotect",
            "munmap", "restart_syscall", "close"}  # injected, a close would not close
ERRORS = {"mmap": "ENOMEM", "brk": "ENOMEM", "openat": "EMFILE", "socket": "EMFILE", "accept4": "EMFILE", "mq_open": "EMFILE",
          "mq_timedsend": "EINTR", "mq_timedreceive": "EINTR", "epoll_wait": "EINTR", "recvfrom": "EINTR", "recvmsg": "ENOBUFS",
          "write": "EIO", "close": "EIO"}
MOST_OF_A_NAME, LIMIT, KILL_AFTER = 60, 10, 20


def packet(kind, layout, *values):
    body = struct.pack("=" + layout, *values)
    return struct.pack("=HHI", 1, kind, 8 + len(body)) + body


TALK = [packet(3, "II", topic, 0) for topic in (1, 2, 3, 4, 5)] + [packet(1, "II16s", 0, 1, b"life")] + \
    [packet(4, "II64s", action, 0, b"lab") for action in (2, 1, 3)] + [b"rubbish"]


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def child_of(pid):
    """The scout itself: strace is its parent."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            words = f.read().split()
        return int(words[0]) if words else pid
    except OSError:
        return pid


def talk(path, pid, least):
    """Asks everything twice; how many descriptors it holds once it has come to rest, or has not within a second."""
    for _ in range(2):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(1)
        try:
            s.connect(path)
            for message in TALK:
                s.send(message)
                while select.select([s], [], [], 0.01)[0] and s.recv(4096):
                    pass
        except OSError:
            pass
        s.close()
    os.kill(pid, signal.SIGHUP)
    end = time.monotonic() + 1
    time.sleep(0.05)
    while descriptors(pid) > least and time.monotonic() < end:
        time.sleep(0.01)
    return descriptors(pid)


def life(scout, place, prefix=(), env=None, least=0):
    """(code, what it said, descriptors)"""
    path = place + "/scout.sock"
    with open(place + "/said", "wb") as said:
        top = subprocess.Popen([*prefix, scout, "-c", place + "/conf", "--name", path], stderr=said, stdout=said,
                               env=dict(os.environ, **(env or {})))
    end, held = time.monotonic() + LIMIT, 0
    while top.poll() is None and time.monotonic() < end:
        with open(place + "/said", "rb") as f:
            if b"listening on" in f.read():
                break
        time.sleep(0.01)
    if top.poll() is None:
        pid = child_of(top.pid) if prefix else top.pid
        try:
            held = talk(path, pid, least)
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    try:
        code = top.wait(LIMIT)
    except subprocess.TimeoutExpired:
        code = "hung"
        os.kill(child_of(top.pid), signal.SIGKILL)
        top.kill()
        top.wait()
    with open(place + "/said", errors="replace") as f:
        return code, f.read(), held


def verdict(outcome, least):
    code, said, held = outcome
    if code not in (0, 1):
        return f"ended with {code}"
    if code == 1 and not said.strip():
        return "ended with 1 and said nothing"
    if held > least:
        return f"held {held} descriptors, not {least}"
    return None


def campaign(scout, preload, place):
    with open(place + "/conf", "w") as f:
        f.write(CONFIG)
    trace, count = place + "/trace", place + "/count"
    code, said, least = life(scout, place, ("strace", "-o", trace))
    if code != 0:
        print("no life to begin with (strace?):", code, said)
        return 77
    calls, loaders = {}, {}
    with open(trace, errors="replace") as f:
        for line in f:
            name = re.match(r"(\w+)\(", line)
            if place + "/conf" in line and not loaders:
                loaders = dict(calls)
            if name and name[1] not in NOT_OURS:
                calls[name[1]] = calls.get(name[1], 0) + 1
    lives, bad, ends = 0, [], {0: 0, 1: 0}
    for name, times in sorted(calls.items()):
        for n in range(loaders.get(name, 0) + 1, min(times, MOST_OF_A_NAME) + 1):
            inject = f"{name}:error={ERRORS.get(name, 'ENOMEM')}:when={n}"
            outcome = life(scout, place, ("strace", "-o", "/dev/null", "-e", f"trace={name}", "-e", "inject=" + inject), least=least)
            lives, wrong = lives + 1, verdict(outcome, least)
            ends[outcome[0]] = ends.get(outcome[0], 0) + 1
            if wrong:
                bad.append(f"{inject}: {wrong}: {outcome[1].strip()[-200:]}")
                print(bad[-1], flush=True)
    print(f"{lives} lives with a failing system call, of {len(calls)} names: {len(bad)} bad; ends {ends}", flush=True)
    life(scout, place, env={"LD_PRELOAD": preload, "FAIL_COUNT": count})
    with open(count) as f:
        times = int(f.read())
    before, ends = len(bad), {0: 0, 1: 0}
    for n in range(1, times + 1):
        outcome = life(scout, place, env={"LD_PRELOAD": preload, "FAIL_ALLOC": str(n)}, least=least)
        wrong = verdict(outcome, least)
        ends[outcome[0]] = ends.get(outcome[0], 0) + 1
        if wrong:
            bad.append(f"allocation {n}: {wrong}: {outcome[1].strip()[-200:]}")
            print(bad[-1], flush=True)
    print(f"{times} lives with a failing allocation: {len(bad) - before} bad; ends {ends}")
    return 1 if bad else 0


with tempfile.TemporaryDirectory() as where:
    sys.exit(campaign(sys.argv[1], os.path.abspath(sys.argv[2]), where))

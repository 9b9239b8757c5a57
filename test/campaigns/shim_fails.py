#!/usr/bin/env python3
"""shim_fails SCOUT LIBRARY CALLER FAIL_ALLOC - every allocation and every system call fails once in a program that
runs with the library preloaded and goes by a label.

The program must do its job (0), or say what failed (1), and never crash or hang.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

CONFIG = "[network lab]\naddress = 127.0.1.1\nlabels = all\n"
NOT_OURS = {"execve", "exit_group", "exit", "rt_sigreturn", "arch_prctl", "set_tid_address", "set_robust_list", "rseq",
            "mprotect", "munmap", "restart_syscall", "close", "madvise", "futex",
            "brk", "dup3", "newfstatat", "getpid", "gettid"}  # the last ones cannot fail, or not so
ERRORS = {"socket": "EMFILE", "openat": "EMFILE", "epoll_wait": "EINTR", "connect": "ENOBUFS",
          "clone3": "EAGAIN", "clone": "EAGAIN", "recvmsg": "ENOBUFS", "write": "EIO", "read": "EIO"}
MOST_OF_A_NAME, LIMIT = 40, 5


def serve(listening):
    while True:
        peer = listening.accept()[0]
        peer.settimeout(1)
        try:
            peer.recv(64)
            peer.send(b"answer\n")
        except OSError:
            pass
        peer.close()


def life(command, env, prefix=()):
    top = subprocess.Popen([*prefix, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        said = top.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        os.killpg(top.pid, signal.SIGKILL)  # who is traced, too
        return "hung", top.communicate()[0].decode(errors="replace")
    return top.returncode, said.decode(errors="replace")


def verdict(outcome):
    code, said = outcome
    if code == 0:
        return None if "answer" in said else "0 without an answer"
    return None if code == 1 and "caller:" in said else f"ended with {code}: {said.strip()[-160:]}"


def campaign(scout, library, caller, fail_alloc, place):
    with open(place + "/conf", "w") as f:
        f.write(CONFIG)
    path = place + "/scout.sock"
    daemon = subprocess.Popen([scout, "-c", place + "/conf", "--name", path], stderr=subprocess.DEVNULL)
    while not os.path.exists(path):
        time.sleep(0.01)
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listening,), daemon=True).start()
    command, trace, bad = [caller, str(listening.getsockname()[1])], place + "/trace", []
    env = dict(os.environ, CMM_SCOUT=path, CMM_LABELS="red", CMM_RULES="127.0.0.0/8=red")
    try:
        preload = ["-E", "LD_PRELOAD=" + library]
        if life(command, env, ["strace", "-f", *preload, "-o", trace])[0] != 0:
            print("no life to begin with (strace?)")
            return 77
        calls, chosen, never, loading = {}, {}, set(), True
        with open(trace, errors="replace") as f:
            for line in f:
                call = re.match(r"(\d+) +(\w+)\(", line)
                loading = loading and "socket(" not in line
                if not call or call[2] in NOT_OURS:
                    continue
                calls[call[0]] = n = calls.get(call[0], 0) + 1  # strace counts by thread
                if loading or re.search(r"F_[GS]ET", line):  # those cannot fail
                    never.add((call[2], n))
                chosen.setdefault(call[2], set()).add(n)
        lives, ends = 0, {}
        for name, numbers in sorted(chosen.items()):
            for n in sorted(n for n in numbers if (name, n) not in never)[:MOST_OF_A_NAME]:
                inject = f"{name}:error={ERRORS.get(name, 'ENOMEM')}:when={n}"
                outcome = life(command, env, ["strace", "-f", *preload, "-o", "/dev/null", "-e", "trace=" + name, "-e",
                                              "inject=" + inject])
                lives, ends[outcome[0]] = lives + 1, ends.get(outcome[0], 0) + 1
                if verdict(outcome):
                    bad.append(inject)
                    print(f"{inject}: {verdict(outcome)}", flush=True)
        print(f"{lives} lives with a failing system call, of {len(chosen)} names: {len(bad)} bad; ends {ends}", flush=True)
        env["LD_PRELOAD"] = library + " " + fail_alloc
        life(command, dict(env, FAIL_COUNT=place + "/count"))
        with open(place + "/count") as f:
            times = int(f.read())
        before, ends = len(bad), {}
        for n in range(1, times + 1):
            outcome = life(command, dict(env, FAIL_ALLOC=str(n)))
            ends[outcome[0]] = ends.get(outcome[0], 0) + 1
            if verdict(outcome):
                bad.append(f"allocation {n}")
                print(f"allocation {n}: {verdict(outcome)}", flush=True)
        print(f"{times} lives with a failing allocation: {len(bad) - before} bad; ends {ends}")
    finally:
        daemon.kill()
        daemon.wait()
    return 1 if bad else 0


with tempfile.TemporaryDirectory() as where:
    sys.exit(campaign(sys.argv[1], *(os.path.abspath(word) for word in sys.argv[2:5]), where))

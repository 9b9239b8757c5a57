#!/usr/bin/env python3
"""differ SCOUT LIBRARY PLAYER [PLAYS [SEED [STEPS]]] - programs see under the library what they see without it.

A player makes calls on sockets by chance, which the seed decides, and tells what came of each: once as it is, and
once with the library preloaded and a label, in a world whose networks stay. Where the two tell different things the
steps that are not needed for that are left out one after the other, and what is left is shown. Exits 1 then. STEPS: how
many a play has, or, with commas, which: those of a play shown before.
"""

import os
import subprocess
import sys
import tempfile
import time

PLAYS, SEED, STEPS, MOST, LIMIT, SKIP = 1000, 1, 60, 20, 30, 77
SETTLED = 2.2  # so long a network that was just offered is given the benefit of the doubt
CONFIG = ("[network wifi]\nmatch = wifi0\nlabels = all\n[network cell]\nmatch = cell0\nlabels = all\n"
          "[scout]\nhold-down = 0\ngrace = 0.2\n")
KNOBS = ("ipv4/icmp_ratelimit=0", "ipv4/icmp_msgs_per_sec=1000000", "ipv4/icmp_msgs_burst=1000000", "ipv6/icmp/ratelimit=0",
         "ipv4/tcp_no_metrics_save=1", "ipv4/tcp_max_tw_buckets=0", "ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0")


class World:
    """Two interfaces, wifi0 (preferred) and cell0, with ways to a far end in another network namespace."""

    def __init__(self):
        self.far = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.far.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.namespace = f"/proc/{self.far.pid}/ns/net"
        there = f"nsenter --net={self.namespace} "
        for prefix in ("", there):
            for knob in KNOBS:
                name, value = knob.split("=")
                self.do(f"{prefix}sh -c 'echo {value} >/proc/sys/net/{name}' 2>/dev/null", must=False)
            self.do(prefix + "ip link set lo up")
        self.do(there + "ip addr add 10.9.0.1/32 dev lo")
        self.do(there + "ip addr add fd00:9::1/128 dev lo nodad")
        for lane, name in ((1, "wifi0"), (2, "cell0")):
            if not self.do(f"ip link add {name} type veth peer name far-{name} netns {self.far.pid}", must=False):
                print("no veth links here")
                sys.exit(SKIP)
            for prefix, link, other, end in (("", name, f"far-{name}", 2), (there, f"far-{name}", name, 1)):
                self.do(f"{prefix}ip addr add 10.{lane}.0.{end}/24 dev {link}")
                self.do(f"{prefix}ip addr add fd00:{lane}::{end}/64 dev {link} nodad")
                self.do(f"{prefix}ip link set {link} up")
            self.do(f"ip route add default via 10.{lane}.0.1 dev {name} metric {lane}00 quickack 1")
            self.do(f"ip -6 route add default via fd00:{lane}::1 dev {name} metric {lane}00 quickack 1")
            # What is sent is acknowledged at once, and Nagle never waits.
            self.do(f"{there}ip route replace 10.{lane}.0.0/24 dev far-{name} src 10.{lane}.0.1 quickack 1")
            self.do(f"{there}ip -6 route replace fd00:{lane}::/64 dev far-{name} quickack 1 metric 1")

    @staticmethod
    def do(line, must=True):
        done = subprocess.run(line, shell=True, capture_output=True, text=True)
        if done.returncode and must:
            sys.exit(f"{line}: {done.stderr.strip()}")
        return done.returncode == 0


class Game:
    def __init__(self, world, player, library, scout, pid):
        self.world, self.player, self.number = world, player, 0
        # A play is the same whatever its surroundings look like.
        plain = {"PATH": os.environ["PATH"], "PLAYER_SCOUT": str(pid)}
        self.sides = [plain, dict(plain, PLAYER_PRELOAD=library, CMM_SCOUT=scout, CMM_LABELS="background")]

    def side(self, env, seed, steps):
        words = [self.player, self.world.namespace, str(self.number), str(seed), ",".join(map(str, steps))]
        playing = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, errors="replace", start_new_session=True)
        try:
            out, err = playing.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(playing.pid, 9)
            out, err = playing.communicate()
            err += "hung"
        return [line.split(" ", 1)[1] for line in out.splitlines()] + [f"{err} ended with {playing.returncode}"]

    def differ(self, seed, steps):
        """None, or the number of the line where it begins, and what both told."""
        self.number += 1
        told = [self.side(env, seed, steps) for env in self.sides]
        for i, (one, other) in enumerate(zip(*told)):
            if one != other:
                return i, told
        return None

    def shrink(self, seed, steps):
        """As few steps as it takes to differ, and how; None: it does not when played again."""
        at, told = self.differ(seed, steps) or (None, None)
        if at is None:
            return steps, None
        steps, size = steps[:at + 1], (at + 1) // 2 or 1
        while True:
            i, changed = 0, False
            while i < len(steps):
                fewer = steps[:i] + steps[i + size:]
                found = self.differ(seed, fewer) if fewer else None
                if found:
                    steps, told, changed = fewer[:found[0] + 1], found[1], True
                else:
                    i += size
            if size == 1 and not changed:
                return steps, told
            size = max(size // 2, 1)


def show(seed, steps, told):
    print(f"seed {seed} steps {','.join(map(str, steps))}")
    for i, lines in enumerate(zip(*told)):
        one, other = lines
        print(f"    {one}" if one == other else f"  - {one}\n  + {other}")
        if one != other:
            break
    sys.stdout.flush()


def campaign(scout, library, player, plays, seed, steps, place):
    path = place + "/scout.sock"
    with open(place + "/conf", "w") as f:
        f.write(CONFIG)
    world = World()
    daemon = subprocess.Popen([scout, "-c", place + "/conf", "--name", path], stderr=subprocess.DEVNULL)
    while not os.path.exists(path):
        time.sleep(0.01)
    time.sleep(SETTLED)
    game, differences = Game(world, player, library, path, daemon.pid), 0
    try:
        for i in range(seed, seed + plays):
            if game.differ(i, steps):
                left, told = game.shrink(i, steps)
                if not told:
                    print(f"seed {i}: differed once, and not again")
                    continue
                show(i, left, told)
                differences += 1
                if differences >= MOST:
                    break
    finally:
        daemon.kill()
        world.far.kill()
    print(f"{i - seed + 1} plays of {len(steps)} steps from seed {seed}: {differences} differ")
    return 1 if differences else 0


def main():
    words = sys.argv[1:]
    if len(words) < 3:
        sys.exit(__doc__)
    if os.environ.get("DIFFER_WORLD") != "1":
        os.environ["DIFFER_WORLD"] = "1"
        user = [] if os.geteuid() == 0 else ["-Ur"]
        flags = user + ["-nim", "--", sys.executable, sys.argv[0]]
        if subprocess.run(["unshare", *user, "-nim", "true"], capture_output=True).returncode:
            print("namespaces are not permitted here")
            sys.exit(SKIP)
        os.execvp("unshare", ["unshare", *flags, *words])
    scout, library, player = map(os.path.abspath, words[:3])
    plays, seed = [int(w) for w in words[3:5]] + [PLAYS, SEED][len(words[3:5]):]
    steps = list(range(STEPS)) if len(words) < 6 else \
        [int(w) for w in words[5].split(",")] if "," in words[5] else list(range(int(words[5])))
    with tempfile.TemporaryDirectory() as place:
        sys.exit(campaign(scout, library, player, plays, seed, steps, place))


if __name__ == "__main__":
    main()

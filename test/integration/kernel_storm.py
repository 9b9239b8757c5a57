#!/usr/bin/env python3
"""kernel_storm SCOUT CTL [ROUNDS] - after any storm the scout's table is what `ip -j` says.

In a world of its own (user, network, mount and IPC namespaces) links, addresses and routes change at random:
up and down, renamed, moved to another network namespace and back. In some rounds the scout is stopped
meanwhile until the kernel has dropped messages for it (in all, if their number is given). Each round ends when the table agrees; it never does
if something was missed.
"""

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

LINKS, ROUNDS, CHANGES, LIMIT = 5, 16, 60, 120
SKIP = 77


def ip(*words):
    return subprocess.run(("ip",) + words, capture_output=True, text=True)


def ip_json(*words):
    return json.loads(subprocess.check_output(("ip", "-j") + words) or b"[]")


class World:
    """The links by their number; a link that is away is in the other namespace."""

    def __init__(self, chance):
        self.chance = chance
        self.names = {}
        self.away = set()
        self.serial = 0
        self.other = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.other.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        ip("link", "set", "lo", "up")
        for i in range(LINKS):
            done = ip("link", "add", f"net{i}", "type", "veth", "peer", "name", f"far{i}")
            if done.returncode:
                print("no veth links here:", done.stderr.strip())
                sys.exit(SKIP)
            self.names[2 * i], self.names[2 * i + 1] = f"net{i}", f"far{i}"

    def command(self, i):
        """Random words for `ip`, for one link."""
        c, name = self.chance, self.names[i]
        kind = c.choice(("up", "up", "down", "add", "add", "add6", "del", "flush", "route", "route6", "table", "noroute", "rename",
                         "altname"))
        if kind in ("up", "down"):
            return f"link set {name} {kind}"
        if kind in ("add", "del"):
            where = c.choice(("/24", "/24", "/16", f" peer 10.{i}.3.1", "/24 scope host"))
            return f"addr {kind} 10.{i}.{c.randrange(3)}.1{where} dev {name}"
        if kind == "add6":
            return f"addr add 2001:db8:{i}:{c.randrange(3)}::1/64 dev {name} nodad preferred_lft {c.choice(('forever', '0'))}"
        if kind == "flush":
            return f"addr flush dev {name}"
        if kind == "route":
            return f"route add default dev {name} metric {c.randrange(1, 900)}"
        if kind == "route6":
            return f"-6 route add 2001:db8:ffff::/48 dev {name} metric {c.randrange(1, 900)}"
        if kind == "table":
            return f"route add default dev {name} metric {c.randrange(1, 900)} table {c.choice(('100', '200'))}"
        if kind == "altname":
            return f"link property {c.choice(('add', 'del'))} dev {name} altname a-much-longer-name-of-{i}"
        if kind == "noroute":
            return f"route flush dev {name}"
        self.serial += 1
        self.names[i] = f"n{self.serial}"
        return f"link set {name} name {self.names[i]}"

    def change(self, count):
        here = [i for i in self.names if i not in self.away]
        lines = [self.command(self.chance.choice(here)) for _ in range(count)]
        subprocess.run(["ip", "-force", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True)
        # What was refused may have been a rename: numbers are found again by what is there.
        self.see_names()

    def see_names(self):
        for link in ip_json("link"):
            for i in self.names:
                if i not in self.away and link["ifindex"] == self.index[i]:
                    self.names[i] = link["ifname"]

    @property
    def index(self):
        if not hasattr(self, "_index"):
            self._index = {}
            for link in ip_json("link"):
                for i, name in self.names.items():
                    if link["ifname"] == name:
                        self._index[i] = link["ifindex"]
        return self._index

    def travel(self):
        """Some link goes to the other namespace, or comes back, where its number may be taken."""
        i = self.chance.choice(list(self.names))
        if i in self.away:
            subprocess.run(["nsenter", f"--net=/proc/{self.other.pid}/ns/net", "ip", "link", "set", self.names[i],
                            "netns", str(os.getpid())], check=True)
            self.away.remove(i)
            del self.index[i]
            self.index[i] = next(l["ifindex"] for l in ip_json("link") if l["ifname"] == self.names[i])
        elif len(self.away) < LINKS:
            subprocess.run(["ip", "link", "set", self.names[i], "netns", str(self.other.pid)], check=True)
            self.away.add(i)

    def flood(self):
        """More messages than fit a netlink buffer."""
        name = self.names[next(i for i in self.names if i not in self.away)]
        lines = [f"addr {verb} 10.200.{n % 200}.1/24 dev {name}" for n in range(1500) for verb in ("add", "del")]
        subprocess.run(["ip", "-force", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True)


def routes_out(family):
    """The links that some unicast route beyond the link-local leaves by, and the metrics of default routes: the main
    table's, where it has one."""
    out, metrics = set(), {}
    for route in ip_json(family, "route", "show", "table", "all"):
        dest, table = route["dst"], route.get("table", "main")
        if route.get("type", "unicast") != "unicast" or dest.startswith(("fe80:", "ff00:")) or "dead" in route.get("flags", []):
            continue
        if "linkdown" in route.get("flags", []) or table == "local":
            continue
        out.add(route["dev"])
        if dest == "default":
            rank = (table != "main", route.get("metric", 0))
            metrics[route["dev"]] = min(rank, metrics.get(route["dev"], rank))
    return out, {name: metric for name, (_, metric) in metrics.items()}


def expected():
    """(name, ifindex, up, metric) of every link that can be a network."""
    four, metrics4 = routes_out("-4")
    six, metrics6 = routes_out("-6")
    networks = set()
    for link in ip_json("addr"):
        name = link["ifname"]
        if name == "lo":
            continue
        running = {"UP", "LOWER_UP"} <= set(link["flags"])
        has = {"inet": False, "inet6": False}
        for a in link.get("addr_info", []):
            if a.get("scope") == "global" and not a.get("deprecated") and not a.get("tentative"):
                has[a["family"]] = True
        up = running and ((has["inet"] and name in four) or (has["inet6"] and name in six))
        networks.add((name, link["ifindex"], up, metrics4.get(name, metrics6.get(name, 0))))
    return networks


def told(ctl):
    answer = json.loads(subprocess.check_output([ctl, "--json", "networks"]))
    return {(n["name"], n["ifindex"], n["up"], n["metric"]) for n in answer["networks"]}


def agree(ctl, what):
    end = time.monotonic() + LIMIT
    while expected() != (have := told(ctl)):
        if time.monotonic() > end:
            want = expected()
            print(f"{what}: the scout does not know {sorted(want - have)}, but says {sorted(have - want)}")
            subprocess.run([ctl, "why", "none"])
            sys.exit(1)
        time.sleep(0.01)


def dropped(pid):
    """What the kernel could not deliver to that process's rtnetlink socket."""
    with open("/proc/net/netlink") as f:
        rows = [line.split() for line in f][1:]
    return sum(int(r[8]) for r in rows if r[1] == "0" and int(r[2]) == pid)


def storm(scout, ctl, place, rounds, calm):
    os.environ["CMM_SCOUT"] = place + "/scout.sock"
    with open(place + "/scout.conf", "w") as f:
        f.write("[scout]\nhold-down = 0\ngrace = 0\n")
    seed = int(os.environ.get("CMM_TEST_SEED", random.randrange(1 << 32)))
    print("CMM_TEST_SEED =", seed)
    world = World(random.Random(seed))
    with open(place + "/log", "w") as log:
        daemon = subprocess.Popen([scout, "-c", place + "/scout.conf", "--name", os.environ["CMM_SCOUT"]], stderr=log)
    try:
        end = time.monotonic() + LIMIT
        while subprocess.run([ctl, "networks"], capture_output=True).returncode and time.monotonic() < end:
            time.sleep(0.01)
        agree(ctl, "at the start")
        overflows = 0
        for n in range(rounds):
            stopped = n % calm == calm - 1
            if stopped:
                before = dropped(daemon.pid)
                daemon.send_signal(signal.SIGSTOP)
                world.flood()
            world.change(CHANGES)
            world.travel()
            world.change(CHANGES)
            if stopped:
                overflows += dropped(daemon.pid) > before
                daemon.send_signal(signal.SIGCONT)
            agree(ctl, f"round {n}")
            if n % 100 == 99:
                print(f"{n + 1} rounds agreed, overflows in {overflows}", flush=True)
        print(f"{rounds} rounds agreed, the kernel dropped messages in {overflows}")
        return 0 if overflows else 1
    finally:
        for process in (daemon, world.other):
            process.kill()
            process.wait()


def main():
    if "inside" not in sys.argv:
        inside = subprocess.run(["unshare", "-Urnim", "true"], capture_output=True)
        if inside.returncode:
            print("no namespaces here:", inside.stderr.decode().strip())
            return SKIP
        os.execvp("unshare", ["unshare", "-Urnim", sys.executable] + sys.argv + ["inside"])
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a harness that gives up takes us along
    with tempfile.TemporaryDirectory() as place:
        given = [int(word) for word in sys.argv[3:-1]]
        return storm(sys.argv[1], sys.argv[2], place, *([given[0], 1] if given else [ROUNDS, 4]))


sys.exit(main())

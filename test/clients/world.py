"""world - a private world for real programs: a client with the networks wifi0 and wwan0, and a server behind both.

enter() starts the program again in namespaces of its own (a user namespace, too, unless root), where it is the
client; all that is made there ends with it, so worlds never meet and stand side by side. The same world as
integration/world.sh, for Python, with three things more: a slow wifi0 (whose transfers can be cut in the middle), names
(resolv.conf points to the server's dnsmasq, where there is one), and every condition waited for by within().
"""

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

SERVER = "10.9.0.1"
NAME = "server.test"
NUMBERS = {"wifi0": 1, "wwan0": 2}
PATIENCE = 120  # seconds until a condition that never comes is given up: no part of any promise
ESTABLISHED, CLOSE_WAIT, LISTENING = 1, 8, 10  # the kernel's, linux/tcp.h
ACCEPTS = 1 << 16  # likewise, linux/net.h
LABELS = {"wifi0": "all", "wwan0": "ondemand, small"}


class Skip(Exception):
    """What cannot be done here, and is said aloud."""


def within(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.02)


def run(*words, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)


def must(*words):
    done = run(*words)
    if done.returncode:
        raise Skip(f"no world of namespaces here: {' '.join(words)}: {done.stderr.strip()}")


def flags():
    user = "" if os.getuid() == 0 else "Ur"
    # With a process namespace nothing outlives the test, however it ends.
    for choice in ([f"-{user}nimpf", "--mount-proc", "--kill-child"], [f"-{user}nim"]):
        probe = "mount -t tmpfs world /run && ip netns add probe && ip link add probe type veth"
        if run("unshare", *choice, "sh", "-c", probe).returncode == 0:
            return choice
    raise Skip("namespaces (unshare) are not permitted here")


def enter():
    if "WORLD" not in os.environ:
        chosen = flags()
        os.environ["WORLD"] = "root" if os.getuid() == 0 else "user"
        os.execvp("unshare", ["unshare", *chosen, "--", sys.executable, *sys.argv])


class World:
    """Made once a process, in the namespaces that enter() has come into."""

    def __init__(self, build, root="/run/world"):
        self.build = build
        self.tools = os.path.join(build, "tools")
        must("mount", "-t", "tmpfs", "-o", "mode=0755", "world", "/run")
        for name in ("/run/tmp", "/run/home", "/run/lock", root):
            os.mkdir(name)
        os.chmod("/run/tmp", 0o1777)
        self.root = root
        self.name = SERVER  # until there are names
        self.multipath = []  # what a server is begun by, so that it speaks Multipath TCP
        self.privileged = os.environ["WORLD"] == "root"
        self.environment()
        self.knobs()
        must("ip", "netns", "add", "server")
        must("ip", "link", "set", "lo", "up")
        must("ip", "-n", "server", "link", "set", "lo", "up")
        must("ip", "-n", "server", "addr", "add", SERVER + "/32", "dev", "lo")
        for network in NUMBERS:
            self.cable(network)

    def environment(self):
        for key in list(os.environ):
            if key.startswith(("CMM_LABELS", "CMM_RULES", "CMM_ON_LOSS", "CMM_PATIENCE", "CMM_LOG", "CMM_STRICT",
                               "CMM_NAMES", "XDG_", "LD_PRELOAD", "SSH_", "GIT_")) or key.lower().endswith("_proxy"):
                del os.environ[key]
        # The plain programs, not what a developer's version manager puts in front of them.
        os.environ.update(CMM_SCOUT=self.root + "/scout.sock", LC_ALL="C", TMPDIR="/run/tmp", HOME="/run/home",
                          PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

    @staticmethod
    def knobs():
        """Answers may come by a network that is not the preferred one."""
        for knob in ("all", "default"):
            try:
                with open(f"/proc/sys/net/ipv4/conf/{knob}/rp_filter", "w", encoding="ascii") as f:
                    f.write("0")
            except OSError:
                pass

    def names(self):
        """The names of this world are the server's dnsmasq's to tell."""
        target = os.path.realpath("/etc/resolv.conf")
        mine = self.root + "/resolv.conf"
        with open(mine, "w", encoding="ascii") as f:
            f.write(f"nameserver {SERVER}\noptions timeout:2 attempts:5\n")
        if target.startswith("/run/"):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(mine, target)
        else:
            must("mount", "--bind", mine, target)
        self.name = NAME

    # ---- networks ----

    def cable(self, network):
        n = NUMBERS[network]
        must("ip", "link", "add", "name", network, "type", "veth", "peer", "name", network + "-end", "netns", "server")
        must("ip", "addr", "add", f"10.{n}.0.2/24", "dev", network)
        must("ip", "-n", "server", "addr", "add", f"10.{n}.0.1/24", "dev", network + "-end")
        must("ip", "-n", "server", "link", "set", network + "-end", "up")

    @staticmethod
    def slow(network, rate):
        """Both ways, so that what is to be cut off in the middle has a middle."""
        for where in ([], ["-n", "server"]):
            device = network + ("-end" if where else "")
            must("tc", *where, "qdisc", "replace", "dev", device, "root", "tbf", "rate", rate, "burst", "16k", "latency", "200ms")

    @staticmethod
    def fast(network):
        for where in ([], ["-n", "server"]):
            run("tc", *where, "qdisc", "del", "dev", network + ("-end" if where else ""), "root")

    @staticmethod
    def link(network):
        """The routes go with the link."""
        n = NUMBERS[network]
        batch = f"link set {network} up\nroute replace default via 10.{n}.0.1 dev {network} metric {n}00\n"
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)

    def up(self, network):
        self.link(network)
        within(lambda: self.offered(network), f"the scout offers {network}")

    def down(self, network):
        """The link only; who wants to know when the scout has noticed asks gone()."""
        subprocess.run(["ip", "link", "set", network, "down"], check=True)

    def gone(self, network):
        within(lambda: not self.offered(network), f"the scout has noticed that {network} is gone")

    def carried(self, network):
        """Bytes that the network has carried, both ways: the kernel's own count, at the client's end."""
        stats = json.loads(run("ip", "-s", "-j", "link", "show", "dev", network).stdout)[0]["stats64"]
        return stats["rx"]["bytes"] + stats["tx"]["bytes"]

    @staticmethod
    def moved():
        """Has the client a connection, stream or datagram, by wwan0?"""
        return "ESTAB" in run("ss", "-Htun", "src", "10.2.0.2", "dst", SERVER).stdout

    def counted(self, protocol, name):
        """One of the counts of the server's kernel."""
        heads, counts = [line.split() for line in self.at_server("cat", "/proc/net/snmp").stdout.splitlines()
                         if line.startswith(protocol + ":")]
        return int(counts[heads.index(name)])

    def connections(self):
        """TCP connections that have ever reached the server."""
        return self.counted("Tcp", "PassiveOpens")

    def datagrams(self):
        return self.counted("Udp", "InDatagrams")

    def mute(self, on):
        """The server hears the client by wifi0, and does not answer there."""
        self.at_server("ip", "route", "add" if on else "del", "blackhole", "10.1.0.2/32")

    # ---- the server's side ----

    def speak_multipath(self):
        """All servers, from now on."""
        if not shutil.which("mptcpize"):
            raise Skip("mptcpize is not installed")
        if self.at_server("ip", "mptcp", "limits").returncode:
            raise Skip("no Multipath TCP in this kernel, or an ip without it")
        self.multipath = ["mptcpize", "run"]

    @staticmethod
    def at_server(*words):
        return run("nsenter", "--net=/run/netns/server", "--", *words)

    def reset(self):
        """The server's kernel resets every connection that came by wifi0."""
        self.at_server("ss", "-K", "dst", "10.1.0.2")

    def find_reset(self):
        """Can it? Tried out on a connection of our own; what its server says first is no answer."""
        self.can_reset = False
        try:
            with socket.create_connection((SERVER, self.port)) as probe:
                within(lambda: self.serves(self.port), "the server knows of a connection")
                self.reset()
                if not self.serves(self.port):
                    while probe.recv(4096):
                        pass
        except ConnectionResetError:
            self.can_reset = True

    def states(self, port, *tables):
        """As the kernel numbers them, of the server's sockets of that port."""
        rows = [line.split() for line in self.at_server("cat", *tables).stdout.split("\n")]
        return {int(row[3], 16) for row in rows if len(row) > 3 and row[1].endswith(f":{port:04X}")}

    def streams(self, port):
        return self.states(port, "/proc/net/tcp", "/proc/net/tcp6")

    def listens(self, port):
        return LISTENING in self.streams(port)

    def serves(self, port):
        return bool(self.streams(port) & {ESTABLISHED, CLOSE_WAIT})

    def hears(self, port):
        """By datagrams."""
        return bool(self.states(port, "/proc/net/udp", "/proc/net/udp6"))

    def accepts(self, path):
        """By a socket of that name."""
        rows = [line.split() for line in self.at_server("cat", "/proc/net/unix").stdout.split("\n")]
        return any(row[-1] == path and int(row[3], 16) & ACCEPTS for row in rows[1:] if len(row) > 7)

    # ---- the scout ----

    def scout(self):
        conf = self.root + "/scout.conf"
        with open(conf, "w", encoding="ascii") as f:
            for network, labels in LABELS.items():
                f.write(f"[network {network}]\nmatch = {network}\nlabels = {labels}\n")
            f.write("[scout]\nhold-down = 0\ngrace = 0.2\n")
        with open(self.root + "/scout.log", "w", encoding="ascii") as log:
            subprocess.Popen([self.build + "/scout/cmm-scout", "-c", conf, "--name", os.environ["CMM_SCOUT"]],
                             stdin=subprocess.DEVNULL, stderr=log)
        within(lambda: run(self.tools + "/cmm-ctl", "status").returncode == 0, "the scout answers")

    def start(self):
        """Both networks up, and a scout that has seen it."""
        for network in NUMBERS:
            self.link(network)
        self.scout()
        for network in NUMBERS:
            self.up(network)
        self.find_reset()

    def told(self, what):
        said = run(self.tools + "/cmm-ctl", "--json", what).stdout
        return json.loads(said)[what] if said else []

    def offered(self, network):
        return any(n["name"] == network and n["up"] for n in self.told("networks"))

    def waiting(self, label):
        return any(label in s["waiting"] for s in self.told("subscribers"))


def end_session(leader):
    """Ends what a task has left, by its session: the task's own processes and nobody else's."""
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat, encoding="utf-8", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(stat.split("/")[2]), signal.SIGKILL)
        except (OSError, ValueError):
            pass

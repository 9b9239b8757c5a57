"""cases - what is done with a program in a world, one function a case; each says what happened, or raises Wrong.

still  networks stay: without and with the shim, and the same.
late   begun while no network matches, which comes two seconds after the program waits.
lost   its network goes in the middle of a transfer, and another is there.
again  the same with whoever tries again: whole in the end.
reconnect  its network goes between two questions, and the connection is remade.
mptcp  as lost, but before servers that speak Multipath TCP.
"""

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass

from programs import AGAIN, CARRIED, LATE, RESET, STILL, TIME_PASSES
from servers import settle
from world import PATIENCE, SERVER, end_session, within

LATE_SECONDS = 2
BEGUN = 300_000  # bytes that a transfer has had by then; large is far more
RATE = "8mbit"  # of wifi0, where a transfer is to be cut


class Wrong(Exception):
    """Something is not as expected: the text says what."""


@dataclass
class Result:
    code: int
    out: bytes
    err: str
    left: list

    def __str__(self):
        return f"exit {self.code}, {len(self.out)} bytes out, {self.err.strip()!r}"


class Task:
    """A command of a program's, under way: in a directory and a session of its own."""

    serial = 0

    def __init__(self, world, program, command, front=(), traced=True, asked=False):
        settle(world, program.server)
        Task.serial += 1
        self.here = f"{world.root}/task{Task.serial}"
        os.mkdir(self.here)
        self.fds = self.here + ".fds" if traced else None
        front = list(front)
        if traced:
            front += [f"{world.build}/test/clients/leftover", self.fds]
        variables = dict(os.environ, name=world.name, server=SERVER, files=world.files, world=world.root,
                         asks=os.path.join(os.path.dirname(os.path.abspath(__file__)), "asks"))
        script = f"set -o pipefail\nrun() {{ {' '.join(map(shlex.quote, front))} \"$@\"; }}\n{command}"
        with open(self.here + ".out", "wb") as out, open(self.here + ".err", "wb") as err:
            self.process = subprocess.Popen(["bash", "-c", script], cwd=self.here, env=variables, stdout=out, stderr=err,
                                            stdin=subprocess.PIPE if asked else subprocess.DEVNULL, start_new_session=True)

    def ask(self, question):
        self.process.stdin.write(question.encode())
        self.process.stdin.flush()

    def ask_no_more(self):
        self.process.stdin.close()

    def answers(self):
        with open(self.here + ".out", "rb") as f:
            return f.read().count(b"\n")

    def alive(self):
        return self.process.poll() is None

    def said(self):
        with open(self.here + ".err", encoding="utf-8", errors="replace") as f:
            return f.read()

    def end(self):
        """Its result; who does not end by himself hangs, which nobody may."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Wrong(f"hangs; it had said: {self.said().strip()!r}") from None
        with open(self.here + ".out", "rb") as f:
            out = f.read()
        left = []
        if self.fds and os.path.exists(self.fds):
            with open(self.fds, encoding="utf-8") as f:
                left = sorted(re.sub(r"task\d+", "task", line.strip()) for line in f)
        return Result(code, out, re.sub(r"task\d+", "task", self.said()), left)

    def stop(self):
        end_session(self.process.pid)
        self.process.wait()


def shim(world, labels, *options):
    return [world.tools + "/cmm-run", "-l", labels, *options, "--"]


def natively(world, program, command, traced=False):
    task = Task(world, program, command, traced=traced)
    result = task.end()
    task.stop()
    if result.code or not (result.out or result.err == ""):
        raise Wrong(f"does not work without the shim: {result}")
    return result


def strangers(left):
    """The descriptors of each process, less those that the library knows as its own."""
    return sorted(re.sub(r" own=\d+$", "", line) for line in left)


def same(plain, got):
    for what, a, b in (("exit code", plain.code, got.code), ("output", plain.out, got.out), ("errors", plain.err, got.err)):
        if a != b:
            a, b = (len(a), len(b)) if isinstance(a, bytes) and len(a) > 200 else (a, b)
            raise Wrong(f"{what}: without the shim {a!r}, with it {b!r}; {got}")
    if strangers(plain.left) != strangers(got.left):
        raise Wrong("descriptors at the end: without the shim\n" + "\n".join(strangers(plain.left)) +
                    "\nwith it\n" + "\n".join(strangers(got.left)))


def still(world, program):
    traced = not program.untraced
    plain = natively(world, program, program.ask, traced)
    same(plain, Task(world, program, program.ask, shim(world, "background"), traced).end())
    return "as without" + ("" if traced else ", descriptors not looked at")


def late(world, program):
    plain = natively(world, program, program.ask)
    world.down("wifi0")
    world.gone("wifi0")
    before = world.connections()
    task = Task(world, program, program.ask, shim(world, "background"), traced=False)
    try:
        within(lambda: world.waiting("background") or not task.alive(), "it waits")
        if not task.alive():
            raise Wrong(f"does not wait: {task.end()}")
        time.sleep(LATE_SECONDS)  # the case: its network comes two seconds later
        if not task.alive():
            raise Wrong(f"has not waited: {task.end()}")
        if world.connections() != before:
            raise Wrong("something has reached the server by a network that does not match")
        world.up("wifi0")
        same(plain, task.end())
    finally:
        task.stop()
        world.up("wifi0")
    return "waited"


def in_the_middle(world, program, command, front, cut):
    """The result of a command to which something happens in the middle of its transfer."""
    world.slow("wifi0", RATE)
    before = world.carried("wifi0")
    task = Task(world, program, command, front, traced=False)
    try:
        within(lambda: world.carried("wifi0") - before > BEGUN or not task.alive(), "the transfer is under way")
        if not task.alive():
            raise Wrong(f"ended before it was cut: {task.end()}")
        cut()
        return task.end()
    finally:
        task.stop()
        world.fast("wifi0")
        world.up("wifi0")
        world.reset()


def by_loss(world, program, command, *options):
    return in_the_middle(world, program, command, shim(world, "ondemand", *options), lambda: world.down("wifi0"))


def by_reset(world, program):
    """What the program makes of a peer's reset without the shim, or None: where this kernel cannot do it."""
    if not world.can_reset:
        return None
    return in_the_middle(world, program, program.take, (), world.reset)


def lost(world, program):
    if not program.take:
        return None
    codes, says = program.told
    codes = codes if isinstance(codes, set) else {codes}
    plain = by_reset(world, program)
    if plain and plain.code not in codes:
        raise Wrong(f"a peer's reset, without the shim: expected exit {codes}: {plain}")
    got = by_loss(world, program, program.take)
    if got.code not in codes or not re.search(says, got.err) or not re.search(program.shows, got.out.decode()):
        raise Wrong(f"expected exit {codes} and {says or program.shows!r}: {got}")
    return f"exit {got.code}" + (", as by a peer's reset" if plain else "")


def whole(world, program, command, *options):
    """What its network's loss has cut comes whole in the end, the rest of it by the other network."""
    plain = natively(world, program, command)
    before = world.carried("wwan0")
    got = by_loss(world, program, command, *options)
    if got.code or got.out != plain.out:
        raise Wrong(f"not whole, {len(plain.out)} bytes: {got}")
    if world.carried("wwan0") - before < BEGUN:
        raise Wrong("the rest has not come by the other network")
    return "whole"


def answered(world, program):
    """A lookup whose question has gone by a network that is lost before there is an answer."""
    plain = natively(world, program, program.again)
    world.mute(True)
    before = world.datagrams()
    task = Task(world, program, program.again, shim(world, "ondemand"), traced=False)
    try:
        within(lambda: world.datagrams() > before or not task.alive(), "it has asked")
        if not task.alive():
            raise Wrong(f"ended before it was cut: {task.end()}")
        world.down("wifi0")
        same(plain, task.end())
    finally:
        task.stop()
        world.mute(False)
        world.up("wifi0")
    return "answered"


def again(world, program):
    if not program.again:
        return None
    return answered(world, program) if program.server == "dnsmasq" else whole(world, program, program.again)


def mptcp(world, program):
    command = program.commands()["mptcp"]
    return whole(world, program, command, "--on-loss", "mptcp") if command else None


def conversation(world, program, front, between):
    """Two questions, and what happens between them, once the first has its answer."""
    task = Task(world, program, program.talk, front, traced=False, asked=True)
    try:
        task.ask(program.questions[0])
        within(lambda: task.answers() or not task.alive(), "the first answer")
        if not task.alive():
            raise Wrong(f"ended at once: {task.end()}")
        between()
        task.ask(program.questions[1])
        if program.datagrams:
            within(lambda: task.answers() > 1 or not task.alive(), "the second answer")
        task.ask_no_more()
        return task.end()
    finally:
        task.stop()


def reconnect(world, program):
    if not program.talk:
        return None
    plain = conversation(world, program, (), lambda: None)
    if plain.code:
        raise Wrong(f"does not work without the shim: {plain}")

    def go():
        world.down("wifi0")
        within(lambda: world.moved(), "it is connected by the other network")

    try:
        same(plain, conversation(world, program, shim(world, "ondemand", "--on-loss", "reconnect"), go))
    finally:
        world.up("wifi0")
        world.reset()
    return "unnoticed"


CASES = {"still": (still, STILL), "late": (late, LATE), "lost": (lost, RESET), "again": (again, AGAIN),
         "reconnect": (reconnect, TIME_PASSES), "mptcp": (mptcp, CARRIED)}

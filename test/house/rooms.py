"""rooms - reads the table `rooms`: where each file of the house stands."""

import fnmatch
import os
import sys


class Rooms:
    def __init__(self, top):
        self.top = top
        self.ranks = []  # (house, rank, pattern), in the order of the table
        self.taken = {}  # who may take from the shim: "shared", "tools"
        self.covered = {}
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rooms")) as table:
            for line in table:
                words = line.split("#")[0].split()
                if words:
                    self.add(*words)

    def add(self, first, second, *names):
        if first in ("shim", "scout"):
            self.ranks += [(first, second, name) for name in names]
        elif first == "covered":
            self.covered[second] = names[0]
        else:
            self.taken[first] = set(names)

    def rank(self, house, file):
        """The rank's name, or None for a file that has no room."""
        name = os.path.splitext(file)[0]
        for h, rank, pattern in self.ranks:
            if h == house and (fnmatch.fnmatch(name, pattern) or file == pattern):
                return rank
        return None

    def height(self, house, rank):
        order = []
        for h, r, _ in self.ranks:
            if h == house and r not in order:
                order.append(r)
        return order.index(rank)

    def files(self, house, endings=(".c", ".h")):
        folder = os.path.join(self.top, house)
        if not os.path.isdir(folder):
            return []
        return sorted(f for f in os.listdir(folder) if f.endswith(endings))


def finish(problems):
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)

# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The rule of general requests, of memory and of bandwidth, in plain Python, on small hypes.

A hype has nodes of two sockets; a socket has CORES cores and MEMORY of memory, a node and the whole have bandwidth.
What is free is {key: amount}, with keys in the order of the tree: ("core", node, socket, core): 1, ("memory", node,
socket), ("width", node), ("width",). A general request takes the first that will do, in that order, and what it has
taken for one of its parts it does not give up for the next one. Requests for cores and for whole nodes that do not go
through the tree have the order of naive_plan.
"""
from collections import Counter, namedtuple

from naive_plan import FAR, NEVER, Machine
from naive_tree import CORES, MEMORY

# shape: a naive_tree.Shape; ranks: that it is confined to; duration: in microseconds, NEVER without one.
Job = namedtuple("Job", "id queue ranks shape duration")


def machine(nnodes, width, node_width):
    """All that there is."""
    out = {("width",): width}
    for node in range(nnodes):
        out["width", node] = node_width
        for socket in range(2):
            out.update({("core", node, socket, CORES * socket + core): 1 for core in range(CORES)})
            out["memory", node, socket] = MEMORY
    return out


class Left:
    """What is left for one job, as it takes."""

    def __init__(self, free, everything, nodes):
        """nodes: that it may use, in its order."""
        self.free, self.all, self.nodes = dict(free), everything, nodes
        self.held = Counter()

    def take(self, key, amount):
        self.free[key] -= amount
        self.held[key] += amount

    def attempt(self, step):
        """Whether a step takes what it needs; if not, what it took is put back."""
        before = dict(self.free), Counter(self.held)
        if step():
            return True
        self.free, self.held = before
        return False

    def keys(self, kind, node, socket=None):
        """Of a node, or of one of its sockets."""
        return [key for key in self.all
                if key[0] == kind and key[1:2] == (node,) and (socket is None or key[2:3] == (socket,))]

    def collect(self, kind, need, node):
        """Take so many cores, or so much memory, of a node."""
        for key in self.keys(kind, node):
            amount = min(self.free[key], need)
            if amount > 0:
                self.take(key, amount)
                need -= amount
        return need == 0

    def whole(self, node, sockets):
        """Take sockets of a node, of which nobody holds anything."""
        keys = [key for socket in sockets for kind in ("core", "memory") for key in self.keys(kind, node, socket)]
        if any(self.free[key] < self.all[key] for key in keys):
            return False
        for key in keys:
            self.take(key, self.all[key])
        return True

    def draw(self, node, amount):
        """Take bandwidth of a node, and of all above it."""
        keys = [("width", node), ("width",)]
        if any(self.free[key] < amount for key in keys):
            return False
        for key in keys:
            self.take(key, amount)
        return True

    def part(self, shape, node):
        """What a shape counts, once, on a node."""
        if shape.kind == "flat":
            return self.collect("core", 1, node)
        if shape.kind == "paths":
            return self.collect("core", shape.cores, node) and self.draw(node, shape.width)
        if shape.kind == "whole":
            return self.whole(node, [0, 1])
        return self.collect("core", shape.cores, node) and (
            not shape.memory or self.collect("memory", shape.memory, node))

    def serve(self, shape):
        """Whether a shape fits; it is taken, then."""
        count = 0
        for node in self.nodes:
            if shape.kind == "sockets":
                for socket in range(2):
                    count += count < shape.count and self.whole(node, [socket])
            else:
                once = shape.kind in ("nodes", "whole")
                while count < shape.count and self.attempt(lambda node=node: self.part(shape, node)):
                    count += 1
                    if once:
                        break
        return count == shape.count


class Future:
    """Who holds what when: taken is [(start, end, {key: amount})]."""

    def __init__(self, everything, up, sets, running, now):
        """running: [(end, {key: amount})]; up: the nodes that are up; sets: those of nodes in use."""
        self.all, self.up, self.now = everything, up, now
        nodes = {key[1] for key in everything if key[0] == "core"}
        alike = dict.fromkeys(nodes, ())
        self.machine = Machine(alike, alike, up, sets)
        self.taken = [(now, now + 1 if end <= now else min(end, FAR), held) for end, held in running]

    def instants(self):
        """When anything changes."""
        return sorted({self.now, *(t for took in self.taken for t in took[:2] if t >= self.now)} - {NEVER})

    def at(self, time):
        """What is free at a time."""
        free = Counter(self.all)
        for first, last, held in self.taken:
            if first <= time < last:
                free.subtract(held)
        return free

    def free(self, start, end):
        """The least that is free of each at one time from start to end: of a core, the same all along."""
        times = [start, *(took[0] for took in self.taken if start < took[0] < end)]
        then = [self.at(time) for time in times]
        return {key: min(free[key] for free in then) for key in self.all}

    def fit(self, job, start):
        """What a job that starts then holds; None: it does not fit."""
        flat = job.shape.kind == "flat" or (job.shape.kind == "whole" and job.shape.width)
        nodes = sorted(self.up & job.ranks, key=self.machine.place if flat else None)
        left = Left(self.free(start, start + job.duration), self.all, nodes)
        return +left.held if left.serve(job.shape) else None

    def start(self, job, end, held):
        """A job holds something from now on: what that is."""
        self.taken.append((self.now, end, held))
        return held

    def take(self, job, start, held):
        self.taken.append((start, start + job.duration if start < FAR else NEVER, held))

    def earliest(self, job):
        return next((t for t in self.instants() if self.fit(job, t) is not None), None)

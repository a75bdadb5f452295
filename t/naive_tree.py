# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""A plain model of requests through the tree, on small hypes: cores, memory by socket, bandwidth by node and of all.

Only shapes for which "does it fit" has a short exact answer, so that the matcher can be held to it.
"""

from collections import Counter, namedtuple

from fluxsched.core import Infeasible, Inventory
from naive import estimates, hype, nodes, request, scheduler, tree_request, vertex

CORES = 2                           # a socket
MEMORY = 1000

# kind "sockets": count whole sockets; "nodes": count nodes with cores and memory of each; "slots": count slots of
# cores and memory, each inside a node; "paths": count slots of cores and bandwidth; "whole": count nodes, through the
# tree or not; "flat": count cores.
Shape = namedtuple("Shape", "kind count cores memory width duration", defaults=(1, 0, 0, 0))


def as_request(shape):
    kind, count, cores, memory, width, duration = shape
    parts = [vertex("core", cores)] + [vertex("memory", memory)] * bool(memory)
    if kind == "sockets":
        return tree_request(vertex("socket", count), duration=duration)
    if kind == "nodes":
        return tree_request(vertex("node", count, *parts), duration=duration)
    if kind == "slots":
        return tree_request(vertex("slot", count, *parts), duration=duration)
    if kind == "paths":
        inside = vertex("node", 1, vertex("core", cores), vertex("bandwidth", width))
        return tree_request(vertex("slot", count, inside), duration=duration)
    if kind == "whole":
        if width:
            return nodes(count, duration)
        return tree_request(vertex("node", count, vertex("core", 1), exclusive=True), duration=duration)
    return request(nslots=count, duration=duration)


def parts_held(engine, jobid):
    """Cores and memory that a job holds, by the parts of the tree that it is told."""
    out = Counter()
    node = socket = None
    for name, kind, amount, _ in engine.tree_part(jobid):
        if kind == "node":
            node = int(name[4:])
        elif kind == "socket":
            socket = int(name[6:])
        elif kind == "core":
            out["core", node, socket, int(name[4:])] = 1
        elif kind == "memory":
            out["memory", node, socket] = amount
    return out


class TreeModel:
    """An engine on a hype, and what its jobs hold: {("core", node, socket, id): 1, ("memory", node, socket): amount,
    ("width", node): amount, ("width",): amount}."""

    def __init__(self, nnodes, width, node_width, plugin):
        self.engine = scheduler(Inventory.from_rdl(hype(nnodes, width, node_width)), plugin)
        self.easy = plugin != "sched.plugin1"
        self.nnodes = nnodes
        self.all = Counter({("width",): width})
        for node in range(nnodes):
            self.all["width", node] = node_width
            for socket in range(2):
                self.all["memory", node, socket] = MEMORY
                for core in range(CORES):
                    self.all["core", node, socket, CORES * socket + core] = 1
        self.waiting = {}
        self.running = {}           # id -> (what it holds, end or None)
        self.now = 0
        self.told = {}
        self.promise = None

    def free(self, running):
        left = Counter(self.all)
        for taken, _ in running.values():
            for key, amount in taken.items():
                left[key] -= amount
                assert left[key] >= 0, f"{key} is given out twice"
        return left

    def fits(self, shape, left):
        kind, count, cores, memory, width, _ = shape
        of_socket = {
            (node, socket): sum(left["core", node, socket, CORES * socket + core] for core in range(CORES))
            for node in range(self.nnodes)
            for socket in range(2)
        }
        whole = [key for key, n in of_socket.items() if n == CORES and left[("memory", *key)] == MEMORY]
        if kind == "sockets":
            return len(whole) >= count
        if kind == "whole":
            return sum((node, 0) in whole and (node, 1) in whole for node in range(self.nnodes)) >= count
        if kind == "flat":
            return sum(of_socket.values()) >= count
        slots = []
        for node in range(self.nnodes):
            fit = (of_socket[node, 0] + of_socket[node, 1]) // cores
            if memory:
                fit = min(fit, (left["memory", node, 0] + left["memory", node, 1]) // memory)
            if kind == "paths":
                fit = min(fit, left["width", node] // width)
            slots.append(fit)
        if kind == "nodes":
            return sum(fit >= 1 for fit in slots) >= count
        return sum(slots) >= count and (kind != "paths" or left["width",] >= count * width)

    def earliest(self, shape, running):
        ends = {jobid: end if end is None else max(end, self.now) for jobid, (_, end) in running.items()}
        for time in sorted({self.now, *(end for end in ends.values() if end is not None)}):
            left = {jobid: running[jobid] for jobid, end in ends.items() if end is None or end > time}
            if self.fits(shape, self.free(left)):
                return time
        return None

    def add(self, jobid, shape):
        try:
            self.engine.add(jobid, as_request(shape), 16, float(jobid))
        except Infeasible:
            assert not self.fits(shape, self.all)
        else:
            assert self.fits(shape, self.all)
            self.waiting[jobid] = shape

    def end(self, jobid):
        self.engine.free(jobid)
        del self.running[jobid]

    def taken(self, jobid, shape):
        """What a job holds, by its part of the tree; and whether that is what it asked for."""
        out = parts_held(self.engine, jobid)
        per_node = Counter(key[1] for key in out if key[0] == "core")
        ncores = sum(per_node.values())
        memory = sum(amount for key, amount in out.items() if key[0] == "memory")
        if shape.kind == "paths":
            for node, n in per_node.items():
                out["width", node] = n // shape.cores * shape.width
            out["width",] = shape.count * shape.width
        want = {
            "sockets": (shape.count * CORES, shape.count * MEMORY),
            "whole": (shape.count * 2 * CORES, shape.count * 2 * MEMORY),
            "flat": (shape.count, 0),
        }.get(shape.kind, (shape.count * shape.cores, shape.count * shape.memory))
        assert (ncores, memory) == want
        if shape.kind == "nodes":
            assert per_node == dict.fromkeys(per_node, shape.cores)
        assert sum(len(text) > 0 for _, text, _ in self.engine.cores_by_rank(jobid)) == len(per_node)
        return out

    def schedule(self, now):
        self.now = now
        for jobid in [jobid for jobid, (_, end) in self.running.items() if end is not None and end <= now]:
            self.end(jobid)
        outcome = self.engine.schedule(float(now))
        self.told.update(estimates(self.engine))
        head = None
        for jobid in sorted(self.waiting):
            shape = self.waiting[jobid]
            left = self.free(self.running)
            if jobid in outcome.started:
                assert head is None or self.easy
                self.running[jobid] = self.taken(jobid, shape), now + shape.duration if shape.duration else None
                del self.waiting[jobid]
                continue
            if head is None:
                assert not self.fits(shape, left), "it could start"
                head = jobid
                if self.easy:
                    assert self.told[jobid] == self.earliest(shape, self.running)
            elif self.easy and shape.duration and self.told[head] and now + shape.duration <= self.told[head]:
                assert not self.fits(shape, left), "it could start"
        if self.promise and self.promise[0] in self.waiting:
            assert self.told[head] <= self.promise[1]
            assert self.promise[1] > now
        self.promise = None
        if self.easy and head is not None and self.told[head] is not None:
            assert self.earliest(self.waiting[head], self.running) <= self.told[head], "the reservation is not kept"
            self.promise = head, self.told[head]
        cores = self.free(self.running)
        assert self.engine.stats()["cores"]["free"] == sum(n for key, n in cores.items() if key[0] == "core")
